"""`config:`: where the state and the plugins are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from msgspec.structs import replace

from engine.config import LockSettings, Settings, StateSettings
from engine.errors import DtmError
from engine.language.duration import seconds
from engine.language.expressions import Raw
from engine.language.references import addresses
from engine.language.yaml import FilePlace
from engine.loading import file_schema
from engine.loading.files import Files, Section
from engine.loading.problems import Report
from engine.loading.variables import Scope
from engine.lock import lease_of
from engine.options.decode import build, decode
from engine.options.fields import folded
from engine.schema import Catalog
from engine.suggestions import nearest
from engine.values import Attributes, Secret, Unknown, leaves


def plain_url(url: str) -> StateSettings:
    """Settings that still hold the URL as it was written, for a caller that reads URLs itself."""
    return StateSettings("url", {"url": url}, source="config")


def settings(
    files: Files,
    scope: Scope,
    state_url: Callable[[str], StateSettings],
    backends: Catalog | None = None,
) -> Settings:
    """Everything that is not a tool. Problems go to the report; a backend's options are checked where `backends` are given."""
    for key in ("varFile", "toolFile"):
        files.single(key)  # read already; here only to find it given twice
    return Settings(
        files.base,
        _state(files.single("state"), scope, state_url, backends, files.report),
        _plugin_dir(files, scope),
        tuple(text.source.name for text in files.texts.values()),
    )


def _plugin_dir(files: Files, scope: Scope) -> Path | None:
    section = files.single("pluginDir")
    if section is None:
        return None
    value = scope.render(section.value)
    if isinstance(value, str):
        return files.absolute(value) if value else None
    if not isinstance(value, Unknown):
        files.report.add(section.place.at(), 'key "pluginDir" must be the path of a directory')
    return None


def _state(
    section: Section | None,
    scope: Scope,
    state_url: Callable[[str], StateSettings],
    backends: Catalog | None,
    report: Report,
) -> StateSettings | None:
    if section is None:
        return None
    value = scope.render(section.value)
    if addresses(value):
        report.add(section.place.at(), "the state must be known before any tool is: no ${{ }} here")
        return None
    if any(isinstance(leaf, Unknown) for leaf in leaves(value)):
        return None
    if isinstance(value, Secret):
        value = value.value
    if isinstance(value, str):
        return _from_url(value, section.place, state_url, report)
    if not isinstance(value, dict):
        report.add(section.place.at(), 'key "state" must be a map, or the URL of the state')
        return None
    found, faults = decode(value, file_schema.StateSection, env={}, noun="key")
    for fault in faults:
        report.add(
            section.place.at(*fault.path, key=fault.key), f"state: {fault.message}", fault.hint
        )
    return None if faults else _from_map(found, value, section.place, backends, report)


def _from_url(
    url: str, place: FilePlace, state_url: Callable[[str], StateSettings], report: Report
) -> StateSettings | None:
    if not url:
        return None
    try:
        return replace(state_url(url), source="config", where=place.where)
    except DtmError as error:
        report.add(place.at(), error.message, error.hint)
        return None


def _from_map(
    state: Attributes,
    raw: Mapping[str, Raw],
    place: FilePlace,
    backends: Catalog | None,
    report: Report,
) -> StateSettings | None:
    lock = _lock(
        cast("Attributes", state.get("lock") or {}), place, report
    )  # decoded by LockSection
    built = build({**state, "lock": None, "options": {}}, file_schema.StateSection)
    if backends is None:
        given = cast("Attributes", state.get("options") or {})  # a map, by StateSection
        taken = {_camel(key): value for key, value in given.items()}
        return StateSettings(
            built.backend.lower(), taken, lock, built.log, built.history, "config", place.where
        )
    schema = backends.find(built.backend.lower())
    if schema is None:
        report.add(place.at("backend"), *_no_backend(built.backend, backends))
        return None
    written = next((item for key, item in raw.items() if folded(key) == "options"), None)
    options, faults = decode(
        cast("dict[str, Raw]", written or {}), schema.options, env={}
    )  # a map here too
    for fault in faults:
        report.add(
            place.at("options", *fault.path, key=fault.key), f"state: {fault.message}", fault.hint
        )
    return StateSettings(
        schema.plugin, options, lock, built.log, built.history, "config", place.where
    )


def _no_backend(name: str, backends: Catalog) -> tuple[str, str]:
    if name.lower() in backends.unshipped():
        return (
            f"state backend {name} is not part of this version",
            f"there are: {', '.join(backends.names())}",
        )
    return f'there is no state backend "{name}"', nearest(name, list(backends.names()))


def _lock(lock: Attributes, place: FilePlace, report: Report) -> LockSettings:
    built, lease = build(lock, file_schema.LockSection), None
    if built.lease is not None:
        try:
            lease = lease_of(seconds(built.lease))
        except ValueError as error:
            report.add(place.at("lock", "lease"), str(error))
        else:
            if lease is None:
                report.add(
                    place.at("lock", "lease"),
                    f'"{built.lease}" is no lease: more than 0s, at most 24h',
                )
    return LockSettings(built.kind, built.url, lease)


def _camel(key: str) -> str:
    return re.sub("_([a-z])", lambda found: found[1].upper(), key)
