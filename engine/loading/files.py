"""The files of a configuration, and the sections that each top-level key has in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from engine.errors import ConfigError
from engine.language import yaml
from engine.language.expressions import Expression, Raw
from engine.language.yaml import FilePlace, Text
from engine.loading import file_schema
from engine.loading.file_schema import LATER
from engine.loading.problems import Report
from engine.suggestions import nearest

_SETTINGS: Final = file_schema.SettingsSection.__struct_encode_fields__
KEYS: Final = file_schema.ConfigFile.__struct_encode_fields__
_LISTS: Final = frozenset({"tools", "apps", "pipelineTemplates"})
_MAPS: Final = frozenset({"config", "vars", "variables", "outputs"})
_FILES: Final = {"varFile": True, "toolFile": False}
"""Keys that name further files, and whether those hold bare variables."""


class Section(msgspec.Struct):
    """A value of the configuration and its place: all of a top-level key, or one entry of it."""

    value: Raw
    place: FilePlace

    @property
    def text(self) -> Text:
        """The file that it stands in."""
        return self.place.text


class Files(msgspec.Struct):
    """All files read, and the sections of each top-level key in reading order."""

    base: Path
    cwd: Path
    report: Report
    texts: dict[Path, Text] = {}
    sections: dict[str, list[Section]] = {}

    def expressions(self) -> Iterator[Expression]:
        """Yield every expression in every file."""
        for text in self.texts.values():
            yield from text.scanned.expressions

    def items(self, key: str) -> Iterator[Section]:
        """Yield the entries of a list that several documents may give."""
        for section in self.sections.get(key, ()):
            if isinstance(section.value, list):
                for index, item in enumerate(section.value):
                    yield Section(item, section.place.step(index))

    def entries(self, key: str, kind: str) -> Mapping[str, Section]:
        """Collect entries of a map that several documents may give; report repeats of a `kind`."""
        found: dict[str, Section] = {}
        for section in self.sections.get(key, ()):
            for name, item in section.value.items() if isinstance(section.value, dict) else ():
                place = section.place.step(name)
                if name in found:
                    first = found[name].place.at(key=True)
                    self.report.add(
                        place.at(key=True), f'{kind} "{name}" is given twice, first at {first}'
                    )
                else:
                    found[name] = Section(item, place)
        return found

    def single(self, key: str) -> Section | None:
        """Find the section of a key that may be given only once; report further ones."""
        found = self.sections.get(key, [])
        for other in found[1:]:
            self.report.add(
                other.place.at(key=True),
                f'"{key}" is given twice, first at {found[0].place.at(key=True)}',
            )
        return found[0] if found else None

    def display_path(self, path: Path) -> str:
        """Spell a path for messages: relative to the current directory if it is inside."""
        return str(path.relative_to(self.cwd)) if path.is_relative_to(self.cwd) else str(path)

    def resolve_path(self, text: str) -> Path:
        """Resolve a path of the configuration, which is relative to its base."""
        return self.base / Path(text).expanduser()


def read(path: Path, cwd: Path, report: Report) -> Files:
    """Read a file, or all YAML files of a directory, and the files that they name."""
    path = cwd / path
    files = Files(path if path.is_dir() else path.parent, cwd, report)
    pending = [(found, False) for found in _main(path)]
    bare: set[Path] = set()
    while pending:
        found, variables = pending.pop(0)
        if variables:
            bare.add(found)
        # Each file is read once, so files that name each other end.
        if found not in files.texts and (
            text := load_text(found, files.display_path(found), report)
        ):
            files.texts[found] = text
            pending += _named(files, text)
    # After the reading: a file may be named as a file of variables by one that is read later.
    for found, text in files.texts.items():
        _classify(files, text, bare=found in bare)
    return files


def load_text(path: Path, name: str, report: Report) -> Text | None:
    """Parse one file; None, after reporting why, if it cannot be read."""
    report.files.append(name)
    try:
        return yaml.parse(name, path.read_text("utf-8"))
    except ConfigError as error:
        report.extend(error)
    except UnicodeDecodeError:
        report.add(name, "is not UTF-8 text")
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        report.add(name, f"cannot be read: {getattr(error, 'strerror', None) or error}")
    return None


def _main(path: Path) -> list[Path]:
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


def _named(files: Files, text: Text) -> Iterator[tuple[Path, bool]]:
    """Yield the files that a text names under varFile and toolFile."""
    for place, document in text.places():
        config = document.get("config") if isinstance(document, dict) else None
        for inner, around in ((document, place), (config, place.step("config"))):
            for key, variables in _FILES.items():
                if isinstance(inner, dict) and inner.get(key) not in (None, ""):
                    yield from _file(files, inner[key], around.step(key), variables=variables)


def _file(
    files: Files, value: Raw, place: FilePlace, *, variables: bool
) -> Iterator[tuple[Path, bool]]:
    key = place.path[-1]
    if not isinstance(value, str):
        files.report.add(
            place.at(),
            f'"{key}" must be the path of a file',
            "variables are not known yet where files are read",
        )
        return
    path = files.resolve_path(value)
    if path.is_file():
        yield path, variables
    else:
        files.report.add(
            place.at(),
            f"there is no file {files.display_path(path)}",
            f"{key} is relative to the directory of the config file",
        )


def _classify(files: Files, text: Text, *, bare: bool) -> None:
    several = sum(document is not None for document in text.documents) > 1
    for place, document in text.places():
        if isinstance(document, dict):
            # A map with none of our keys holds variables where that can be meant: in a file of
            # variables, or as one of several documents. Elsewhere its keys are misspelt.
            known = any(key in KEYS or key in LATER for key in document)
            if document and not known and (bare or several):
                _add(files, "vars", document, place)
            else:
                _keys(files, document, place)
        elif document is not None:
            kind = "a list" if isinstance(document, list) else "a single value"
            files.report.add(
                place.at(),
                f"a configuration is a map of keys, not {kind}",
                f"known: {', '.join(KEYS)}",
            )


def _keys(files: Files, document: dict[str, Raw], place: FilePlace) -> None:
    for key, value in document.items():
        here = place.step(key)
        if key == "config" and isinstance(value, dict):
            for inner, item in value.items():
                if inner in _SETTINGS:
                    _add(files, inner, item, here.step(inner))
                else:
                    _unknown(files, here.step(inner), _SETTINGS)
        elif key in KEYS:
            _add(files, key, value, here)
        else:
            _unknown(files, here, KEYS)


def _unknown(files: Files, place: FilePlace, known: tuple[str, ...]) -> None:
    key = str(place.path[-1])
    if key in LATER:
        files.report.add(place.at(key=True), f'key "{key}" is not supported by this version')
    else:
        hint = (
            nearest(key, known, few=0)
            or "variables stand under vars:, or in a file or document of their own"
        )
        files.report.add(place.at(key=True), f'unknown key "{key}"', hint)


def _add(files: Files, key: str, value: Raw, place: FilePlace) -> None:
    """Keep a section. An empty one counts as given, but holds nothing."""
    wanted = list if key in _LISTS else dict if key in _MAPS else None
    if wanted and value is not None and not isinstance(value, wanted):
        files.report.add(place.at(), f'"{key}" must be a {"list" if wanted is list else "map"}')
        # Kept as an empty section: the key was given, so later checks must not call it missing.
        value = None
    if value is not None or wanted:
        files.sections.setdefault(key, []).append(Section(value, place))
