"""Where the value of each variable comes from: the last of default, DTM_VAR_, files, --var-file and --var wins."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

from engine.errors import ConfigError
from engine.language.expressions import NAME, Expression, Raw
from engine.language.references import VARIABLE_PREFIX
from engine.language.yaml import Place, Text
from engine.loading import file_schema
from engine.loading.files import Files, Section, load_text
from engine.loading.problems import Report
from engine.loading.variables import Binding, Declared, Scope, given
from engine.options.decode import build, decode
from engine.options.fields import folded
from engine.suggestions import nearest
from engine.values import UNKNOWN, Attributes, Value, reveal

_USED: Final = re.compile(rf"\[\[ *\.?({NAME})")


def bindings(
    files: Files,
    env: Mapping[str, str],
    var_files: Sequence[Path],
    variables: Sequence[tuple[str, str]],
) -> dict[str, Binding]:
    """Every variable with the value that wins. Problems and warnings go to the report of `files`."""
    report = files.report
    declared, bound = _declarations(files)
    written = files.entries("vars", "variable")
    loaded = [
        load_text(files.cwd / path, files.shown(files.cwd / path), report) for path in var_files
    ]
    texts = [text for text in loaded if text]
    used = {
        name for expression in _expressions(files, texts) for name in _USED.findall(expression.text)
    }
    known = dict.fromkeys([*declared, *written, *sorted(used)])
    for name in known:
        if VARIABLE_PREFIX + name in env:
            _give(
                bound, name, env[VARIABLE_PREFIX + name], declared, VARIABLE_PREFIX + name, report
            )
    for name, section in written.items():
        bound[name] = Binding(section.value, section.place.at, declared.get(name, Declared()))
    for name, place, value in _entries(texts, report):
        if name in known:
            bound[name] = Binding(value, place.at, declared.get(name, Declared()))
        else:
            report.warn(f'{place.at(key=True)}: variable "{name}" is not used anywhere')
    for name, value_text in variables:
        if name in known:
            _give(bound, name, value_text, declared, f"--var {name}", report)
        else:
            report.add(
                f"--var {name}", f'there is no variable "{name}"', nearest(name, list(known))
            )
    for name in declared.keys() - bound.keys():
        told = f": {declared[name].description}" if declared[name].description else ""
        hint = (
            f"give it a default, a value under vars:, --var {name}=... or {VARIABLE_PREFIX}{name}"
        )
        report.add(declared[name].where(), f'variable "{name}" has no value{told}', hint)
    return bound


def outside(
    name: str,
    env: Mapping[str, str],
    var_files: Sequence[Path],
    variables: Sequence[tuple[str, str]],
    *,
    structured: bool,
) -> Value:
    """A variable as it is given beside a configuration, None if it is not.

    What a flag or the environment says stays text unless it is to be `structured`.
    """
    report = Report()
    loaded = [load_text(path, str(path), report) for path in var_files]
    found: list[Raw] = [text] if (text := env.get(VARIABLE_PREFIX + name)) else []
    found += [
        value
        for key, _, value in _entries([text for text in loaded if text], report)
        if key == name
    ]
    found += [value for key, value in variables if key == name]
    if not found:
        return None
    last = found[-1]
    if structured and isinstance(last, str):
        last = given(last, Declared("map"), name).value
    return reveal(Scope({}, env, report).render(last))


def _give(
    bound: dict[str, Binding],
    name: str,
    text: str,
    declared: Mapping[str, Declared],
    where: str,
    report: Report,
) -> None:
    bound[name] = Binding(UNKNOWN)
    try:
        text.encode()
        bound[name] = given(text, declared.get(name, Declared()), where)
    except UnicodeEncodeError:
        report.add(where, "is not valid UTF-8")
    except ConfigError as error:
        report.extend(error)


def _expressions(files: Files, texts: Sequence[Text]) -> Iterator[Expression]:
    yield from files.expressions()
    for text in texts:
        yield from text.scanned.expressions


def _entries(texts: Sequence[Text], report: Report) -> Iterator[tuple[str, Place, Raw]]:
    """The variables of files named by --var-file: bare, or under `vars:`."""
    for text in texts:
        for index, document in enumerate(text.documents):
            place = Place(text, index)
            if isinstance(document, dict) and document.keys() == {"vars"}:
                document, place = document["vars"], place.step("vars")
            if isinstance(document, dict):
                yield from ((name, place.step(name), value) for name, value in document.items())
            elif document is not None:
                report.add(place.at(), "a file of variables is a map of names and values")


def _declarations(files: Files) -> tuple[dict[str, Declared], dict[str, Binding]]:
    """What `variables:` says, and the defaults it gives."""
    declared: dict[str, Declared] = {}
    bound: dict[str, Binding] = {}
    for name, section in files.entries("variables", "variable").items():
        attributes = _declaration(section, files.report)
        if attributes is None:  # told already; that its uses are wrong too would be noise
            declared[name], bound[name] = Declared(where=section.place.at), Binding(UNKNOWN)
            continue
        built = build(
            {key: item for key, item in attributes.items() if key != "default"},
            file_schema.Variable,
        )
        rules = cast(
            "Attributes", attributes.get("validation") or {}
        )  # a map, by layout.Validation
        declared[name] = Declared(
            built.type, built.sensitive, built.description, rules, section.place.at
        )
        default = [
            key for key in cast("dict[str, Raw]", section.value or {}) if folded(key) == "default"
        ]
        if default:
            value = cast("dict[str, Raw]", section.value)[default[0]]
            bound[name] = Binding(value, section.place.step(default[0]).at, declared[name])
    return declared, bound


def _declaration(section: Section, report: Report) -> Attributes | None:
    if not isinstance(section.value, dict | None):
        report.add(
            section.place.at(),
            "a declaration is a map: type, default, sensitive, validation",
            "values stand under vars:",
        )
        return None
    attributes, faults = decode(section.value or {}, file_schema.Variable, env={}, noun="key")
    for fault in faults:
        report.add(section.place.at(*fault.path, key=fault.key), fault.message, fault.hint)
    rules = attributes.get("validation")
    if not faults and isinstance(rules, dict) and "pattern" in rules:
        try:
            re.compile(str(rules["pattern"]))
        except re.error as error:
            report.add(
                section.place.at("validation", "pattern"), f"not a regular expression: {error}"
            )
            return None
    return None if faults else attributes
