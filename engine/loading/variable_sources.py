"""The sources of a variable's value, and their precedence.

From the weakest to the strongest:

    1. the default under `variables:`
    2. the environment variable DTM_VAR_<name>
    3. `vars:`, and the files that `varFile` names
    4. the files that --var-file names
    5. --var
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import msgspec

from engine.errors import ConfigError
from engine.language.expressions import NAME, RawValue
from engine.language.references import VARIABLE_PREFIX
from engine.language.yaml import FilePlace, ParsedFile
from engine.loading import file_schema
from engine.loading.files import Files, Section, load_text
from engine.loading.problems import Report, describe_kind
from engine.loading.variables import Binding, Declaration, Scope, bind_text
from engine.options.decode import build, decode
from engine.options.fields import fold_name
from engine.suggestions import suggest
from engine.values import UNKNOWN, Attributes, Value, reveal

_USED: Final = re.compile(rf"\[\[ *\.?(?!env +[\w\"'])({NAME})")  # not `[[ env NAME ]]`


def bind_variables(
    files: Files,
    env: Mapping[str, str],
    var_files: Sequence[Path],
    variables: Sequence[tuple[str, str]],
) -> dict[str, Binding]:
    """Return every variable with its value from the strongest source.

    Problems and warnings go to `files.report`.
    """
    report = files.report
    found = _Bindings(report)
    _bind_declarations(found, files)
    written = files.entries("vars", "variable")
    paths = [files.cwd / path for path in var_files]
    parsed = _parse_files([(path, files.display_path(path)) for path in paths], report)
    found.known = dict.fromkeys([*found.declared, *written, *sorted(_used_names(files, parsed))])
    # From the weakest source to the strongest: each one overwrites the bindings before it.
    for name in found.known:
        if VARIABLE_PREFIX + name in env:
            found.bind_text(name, env[VARIABLE_PREFIX + name], VARIABLE_PREFIX + name)
    for name, section in written.items():
        found.bind(name, section.value, section.place)
    for name, place, value in _file_variables(parsed, report):
        found.bind_if_known(name, value, place)
    for name, text in variables:
        found.bind_flag(name, text)
    found.report_missing()
    return found.bound


def look_up(
    name: str,
    env: Mapping[str, str],
    var_files: Sequence[Path],
    variables: Sequence[tuple[str, str]],
    *,
    structured: bool,
) -> Value:
    """Look up a variable in --var, --var-file and the environment; return None if it is absent.

    Used for a secret whose variable is no longer in the configuration. A value from a flag or the
    environment is text, or is parsed as a map if `structured`.
    """
    report = Report()
    parsed = _parse_files([(path, str(path)) for path in var_files], report)
    found: list[RawValue] = [text] if (text := env.get(VARIABLE_PREFIX + name)) else []
    found += [value for key, _, value in _file_variables(parsed, report) if key == name]
    found += [value for key, value in variables if key == name]
    if not found:
        return None
    last = found[-1]
    if structured and isinstance(last, str):
        last = bind_text(last, Declaration("map"), name).value
    return reveal(Scope({}, env, report).render(last))


class _Bindings(msgspec.Struct):
    """The known variables, their declarations and their current values.

    A variable is known if it is declared, has a value under `vars:`, or is used in an expression.
    """

    report: Report
    known: Mapping[str, None] = {}
    declared: dict[str, Declaration] = {}
    bound: dict[str, Binding] = {}

    def bind(self, name: str, value: RawValue, place: FilePlace) -> None:
        """Bind a value from a file."""
        self.bound[name] = Binding(value, place.at, self.declared.get(name, Declaration()))

    def bind_if_known(self, name: str, value: RawValue, place: FilePlace) -> None:
        """Bind a value from --var-file; warn if the configuration does not use the variable."""
        if name in self.known:
            self.bind(name, value, place)
        else:
            # Not an error: several configurations may share one file of variables.
            self.report.warn(f'{place.at(key=True)}: variable "{name}" is not used anywhere')

    def bind_flag(self, name: str, text: str) -> None:
        """Bind a value from --var; report a variable that does not exist."""
        if name in self.known:
            self.bind_text(name, text, f"--var {name}")
        else:
            # An error, unlike in a file: a flag is typed for this run, and a typo would silently
            # leave the intended variable at its old value.
            hint = suggest(name, list(self.known))
            self.report.add(f"--var {name}", f'the configuration has no variable "{name}"', hint)

    def bind_text(self, name: str, text: str, where: str) -> None:
        """Bind a value from the command line or the environment."""
        self.bound[name] = Binding(UNKNOWN)
        try:
            text.encode()
            self.bound[name] = bind_text(text, self.declared.get(name, Declaration()), where)
        except UnicodeEncodeError:
            self.report.add(where, "the value is not valid UTF-8")
        except ConfigError as error:
            self.report.extend(error)

    def report_missing(self) -> None:
        """Report every declared variable without a value."""
        for name in self.declared.keys() - self.bound.keys():
            declared = self.declared[name]
            purpose = f" ({declared.description})" if declared.description else ""
            hint = (
                f"set it under vars:, with --var {name}=... or export {VARIABLE_PREFIX}{name}=..."
            )
            self.report.add(declared.where(), f'variable "{name}" has no value{purpose}', hint)


def _parse_files(files: Iterable[tuple[Path, str]], report: Report) -> list[ParsedFile]:
    """Parse the files that can be read. Each is given by its path and its name in messages."""
    loaded = [load_text(path, name, report) for path, name in files]
    return [file for file in loaded if file]


def _used_names(files: Files, parsed: Sequence[ParsedFile]) -> set[str]:
    """Collect the names that expressions use, in the configuration and in files of variables."""
    scanned = [
        *files.expressions(),
        *(each for file in parsed for each in file.scanned.expressions),
    ]
    return {name for expression in scanned for name in _USED.findall(expression.text)}


def _file_variables(
    parsed: Sequence[ParsedFile], report: Report
) -> Iterator[tuple[str, FilePlace, RawValue]]:
    """Yield the variables of files named by --var-file: bare, or under `vars:`."""
    for file in parsed:
        for place, document in file.places():
            if isinstance(document, dict) and document.keys() == {"vars"}:
                document, place = document["vars"], place.step("vars")
            if isinstance(document, dict):
                yield from ((name, place.step(name), value) for name, value in document.items())
            elif document is not None:
                kind = describe_kind(document)
                message = f"a file of variables must be a map of names and values, not {kind}"
                report.add(place.at(), message)


def _bind_declarations(found: _Bindings, files: Files) -> None:
    """Add the declarations under `variables:`, and bind their defaults."""
    for name, section in files.entries("variables", "variable").items():
        attributes = _declaration(name, section, files.report)
        if attributes is None:
            # The declaration is reported. UNKNOWN prevents further problems where it is used.
            found.declared[name] = Declaration(where=section.place.at)
            found.bound[name] = Binding(UNKNOWN)
            continue
        settled = {key: item for key, item in attributes.items() if key != "default"}
        built = build(settled, file_schema.VariableSection)
        # VariableSection has checked that the rules are a map.
        rules = cast("Attributes", attributes.get("validation") or {})
        found.declared[name] = Declaration(
            built.type, built.sensitive, built.description, rules, section.place.at
        )
        for key, value in cast("dict[str, RawValue]", section.value or {}).items():
            if fold_name(key) == "default":
                found.bind(name, value, section.place.step(key))


def _declaration(name: str, section: Section, report: Report) -> Attributes | None:
    """Decode the declaration of a variable. Returns None after reporting a problem."""
    if not isinstance(section.value, dict | None):
        report.add(
            section.place.at(),
            f'the declaration of variable "{name}" must be a map such as {{type: string}}, '
            f"not {describe_kind(section.value)}",
            "to set the value of a variable, write it under vars:",
        )
        return None
    attributes, faults = decode(
        section.value or {}, file_schema.VariableSection, env={}, noun="key"
    )
    report.add_faults(section.place.at, faults)
    rules = attributes.get("validation")
    if not faults and isinstance(rules, dict) and "pattern" in rules:
        try:
            re.compile(str(rules["pattern"]))
        except re.error as error:
            report.add(
                section.place.at("validation", "pattern"),
                f'key "validation.pattern" is not a regular expression: {error}',
            )
            return None
    return None if faults else attributes
