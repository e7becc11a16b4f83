"""The files of a configuration, split into the sections of each top-level key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from engine.errors import ConfigError
from engine.language import yaml
from engine.language.expressions import Expression, RawValue, TextTemplate
from engine.language.yaml import FilePlace, ParsedFile
from engine.loading import file_schema
from engine.loading.file_schema import LATER
from engine.loading.problems import Report, describe_kind
from engine.suggestions import suggest

_SETTINGS: Final = file_schema.SettingsSection.__struct_encode_fields__
KEYS: Final = file_schema.ConfigFile.__struct_encode_fields__
_LISTS: Final = frozenset({"tools", "apps", "pipelineTemplates"})
_MAPS: Final = frozenset({"config", "vars", "variables", "outputs"})
_FILES: Final = {"varFile": True, "toolFile": False}
"""The keys that name further files. True if such a file may hold variables without `vars:`."""


class Section(msgspec.Struct):
    """The value of a top-level key, or one entry of it, and its place in a file."""

    value: RawValue
    place: FilePlace

    @property
    def file(self) -> ParsedFile:
        """The file that holds the section."""
        return self.place.file


class Files(msgspec.Struct):
    """All files read, and the sections of each top-level key in reading order.

    Relative paths in the configuration start at `base`. A key has one section for each YAML
    document that gives it.
    """

    base: Path
    cwd: Path
    report: Report
    parsed: dict[Path, ParsedFile] = {}
    sections: dict[str, list[Section]] = {}

    def expressions(self) -> Iterator[Expression]:
        """Yield every expression in every file."""
        for file in self.parsed.values():
            yield from file.scanned.expressions

    def items(self, key: str) -> Iterator[Section]:
        """Yield the items of a list key, from all documents that give it."""
        for section in self.sections.get(key, ()):
            if isinstance(section.value, list):
                for index, item in enumerate(section.value):
                    yield Section(item, section.place.step(index))

    def entries(self, key: str, kind: str) -> Mapping[str, Section]:
        """Collect the entries of a map key, from all documents that give it.

        Reports an entry that is given twice; `kind` names it in that message.
        """
        found: dict[str, Section] = {}
        for section in self.sections.get(key, ()):
            for name, item in section.value.items() if isinstance(section.value, dict) else ():
                place = section.place.step(name)
                if name in found:
                    first = found[name].place.at(key=True)
                    self.report.add(
                        place.at(key=True),
                        f'{kind} "{name}" is given twice, first at {first}',
                        "remove or rename one of the two",
                    )
                else:
                    found[name] = Section(item, place)
        return found

    def single(self, key: str) -> Section | None:
        """Return the section of a key that may be given only once. Reports every further one."""
        found = self.sections.get(key, [])
        for other in found[1:]:
            self.report.add(
                other.place.at(key=True),
                f'key "{key}" is given twice, first at {found[0].place.at(key=True)}',
                "remove one of the two",
            )
        return found[0] if found else None

    def display_path(self, path: Path) -> str:
        """Format a path for messages: relative to the current directory if it is inside it."""
        return str(path.relative_to(self.cwd)) if path.is_relative_to(self.cwd) else str(path)

    def resolve_path(self, text: str) -> Path:
        """Resolve a path that the configuration names, relative to `base`."""
        return self.base / Path(text).expanduser()


def read_files(path: Path, cwd: Path, report: Report) -> Files:
    """Read a file, or all YAML files of a directory, and the files that these name."""
    path = cwd / path
    files = Files(path if path.is_dir() else path.parent, cwd, report)
    pending = [(found, False) for found in _main_files(path)]
    bare: set[Path] = set()
    while pending:
        found, variables = pending.pop(0)
        if variables:
            bare.add(found)
        # Each file is read once, so that files that name each other do not loop.
        if found not in files.parsed and (
            file := load_text(found, files.display_path(found), report)
        ):
            files.parsed[found] = file
            pending += _named_files(files, file)
    # This waits until all files are read: a later file may name an earlier one under `varFile`.
    for found, file in files.parsed.items():
        _add_sections(files, file, bare=found in bare)
    return files


def load_text(path: Path, name: str, report: Report) -> ParsedFile | None:
    """Parse one file. Returns None, and reports the problem, if it cannot be read."""
    report.files.append(name)
    try:
        return yaml.parse(name, path.read_text("utf-8"))
    except ConfigError as error:
        report.extend(error)
    except UnicodeDecodeError:
        report.add(name, "the file is not UTF-8 text", "save it in the encoding UTF-8")
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        report.add(name, f"the file cannot be read: {getattr(error, 'strerror', None) or error}")
    return None


def _main_files(path: Path) -> list[Path]:
    """List the file itself, or the YAML files of a directory; hidden ones are left out."""
    if not path.is_dir():
        return [path]
    # Sorted, so that the order of tools and messages is the same on every machine.
    found = sorted(
        inner for inner in path.rglob("*") if inner.suffix in {".yaml", ".yml"} and inner.is_file()
    )
    return [
        inner
        for inner in found
        if not any(part.startswith(".") for part in inner.relative_to(path).parts)
    ]


def _named_files(files: Files, file: ParsedFile) -> Iterator[tuple[Path, bool]]:
    """Yield the files that a file names under `varFile` (True) and `toolFile` (False)."""
    for place, document in file.places():
        config = document.get("config") if isinstance(document, dict) else None
        for inner, around in ((document, place), (config, place.step("config"))):
            for key, variables in _FILES.items():
                if isinstance(inner, dict) and inner.get(key) not in (None, ""):
                    yield from _named_file(files, inner[key], around.step(key), variables=variables)


def _named_file(
    files: Files, value: RawValue, place: FilePlace, *, variables: bool
) -> Iterator[tuple[Path, bool]]:
    key = place.path[-1]
    if isinstance(value, TextTemplate):
        # Variables may come from the very file that is named here.
        files.report.add(
            place.at(),
            f'key "{key}" cannot use [[ ]] or ${{{{ }}}}: dtm reads the file before any variable',
            "write the path of the file",
        )
        return
    if not isinstance(value, str):
        message = f'key "{key}" must be the path of a file, not {describe_kind(value)}'
        files.report.add(place.at(), message)
        return
    path = files.resolve_path(value)
    if path.is_file():
        yield path, variables
    else:
        files.report.add(
            place.at(),
            f"the file {files.display_path(path)} does not exist",
            f"write {key} relative to the directory of the config file",
        )


def _add_sections(files: Files, file: ParsedFile, *, bare: bool) -> None:
    """Add the sections of a file. `bare`: its documents may hold variables without `vars:`."""
    several = sum(document is not None for document in file.documents) > 1
    for place, document in file.places():
        if isinstance(document, dict):
            # A map without any known key holds variables if it is in a file of variables or is one
            # of several documents. Anywhere else its keys are typos, and are reported as such.
            known = any(key in KEYS or key in LATER for key in document)
            if document and not known and (bare or several):
                _add(files, "vars", document, place)
            else:
                _add_keys(files, document, place)
        elif document is not None:
            message = "a configuration must be a map of keys such as tools: and vars:"
            if bare:
                message = "a file of variables must be a map of names and values"
            files.report.add(place.at(), f"{message}, not {describe_kind(document)}")


def _add_keys(files: Files, document: dict[str, RawValue], place: FilePlace) -> None:
    """Add a section for each key of a document; the keys of `config:` count as top-level keys."""
    for key, value in document.items():
        here = place.step(key)
        if key == "config" and isinstance(value, dict):
            for inner, item in value.items():
                if inner in _SETTINGS:
                    _add(files, inner, item, here.step(inner))
                else:
                    _report_unknown(files, here.step(inner), _SETTINGS)
        elif key in KEYS:
            _add(files, key, value, here)
        else:
            _report_unknown(files, here, KEYS)


def _report_unknown(files: Files, place: FilePlace, known: tuple[str, ...]) -> None:
    key = str(place.path[-1])
    if key in LATER:
        message = f'key "{key}" is not supported by this version'
        files.report.add(place.at(key=True), message, "remove it")
    else:
        hint = suggest(key, known, few=0) or f'if "{key}" is a variable, write it under vars:'
        files.report.add(place.at(key=True), f'unknown key "{key}"', hint)


def _add(files: Files, key: str, value: RawValue, place: FilePlace) -> None:
    """Add a section. A list or map without a value counts as given, and holds nothing."""
    wanted = list if key in _LISTS else dict if key in _MAPS else None
    if wanted and value is not None and not isinstance(value, wanted):
        kind = "list" if wanted is list else "map"
        files.report.add(
            place.at(),
            f'key "{key}" must be a {kind}, not {describe_kind(value)}',
            'start each tool with "- name:"' if key == "tools" else "",
        )
        # Added as an empty section: the key was given, so later checks must not call it missing.
        value = None
    if value is not None or wanted:
        files.sections.setdefault(key, []).append(Section(value, place))
