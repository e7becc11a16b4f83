"""`config:`: where the state and the plugins are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, cast

from engine import layout
from engine.config import LockSettings, Settings, StateSettings
from engine.decode import build, decode, nearest
from engine.duration import seconds
from engine.errors import DtmError
from engine.files import Files, Section
from engine.references import addresses
from engine.report import Report
from engine.values import Attributes, Secret, Unknown, leaves
from engine.variables import Scope
from engine.yaml import Place

BACKENDS: Final[Mapping[str, str]] = {
    "local": "local", "s3": "s3", "k8s": "kubernetes", "kubernetes": "kubernetes", "gcs": "gcs", "azure": "azure",
    "swift": "swift", "oss": "oss", "memory": "memory",
}  # fmt: skip
"""Spellings of backends, and what they are called from here on."""


def plain_url(url: str) -> StateSettings:
    """Settings that still hold the URL as it was written, for a caller that reads URLs itself."""
    return StateSettings("url", {"url": url}, source="config")


def settings(files: Files, scope: Scope, state_url: Callable[[str], StateSettings]) -> Settings:
    """Everything that is not a tool. Problems go to the report."""
    for key in ("varFile", "toolFile"):
        files.single(key)  # read already; here only to find it given twice
    return Settings(
        files.base,
        _state(files.single("state"), scope, state_url, files.report),
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
    section: Section | None, scope: Scope, state_url: Callable[[str], StateSettings], report: Report
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
    found, faults = decode(value, layout.State, env={}, noun="key")
    for fault in faults:
        report.add(section.place.at(*fault.path, key=fault.key), f"state: {fault.message}", fault.hint)
    return None if faults else _from_map(found, section.place, report)


def _from_url(url: str, place: Place, state_url: Callable[[str], StateSettings], report: Report) -> StateSettings | None:
    if not url:
        return None
    try:
        return state_url(url)
    except DtmError as error:
        report.add(place.at(), error.message, error.hint)
        return None


def _from_map(state: Attributes, place: Place, report: Report) -> StateSettings | None:
    written = str(state["backend"])
    backend = BACKENDS.get(written.lower())
    if backend is None:
        report.add(place.at("backend"), f'there is no state backend "{written}"', nearest(written, list(BACKENDS)))
        return None
    lock = _lock(cast("Attributes", state.get("lock") or {}), place, report)  # decoded by layout.Lock
    given = cast("Attributes", state.get("options") or {})  # a map, by layout.State
    options = {_camel(key): value for key, value in given.items() if value is not None}
    built = build({**state, "lock": None, "options": {}}, layout.State)
    return StateSettings(backend, options, lock, built.log, built.history, "config")


def _lock(lock: Attributes, place: Place, report: Report) -> LockSettings:
    built, lease = build(lock, layout.Lock), None
    if built.lease is not None:
        try:
            lease = seconds(built.lease)
        except ValueError as error:
            report.add(place.at("lock", "lease"), str(error))
    return LockSettings(built.kind, built.url, lease)


def _camel(key: str) -> str:
    return re.sub("_([a-z])", lambda found: found[1].upper(), key)
