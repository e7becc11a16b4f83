"""The settings of a configuration: the place of the state and the directory of the plugins."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec
from msgspec.structs import replace

from engine.config import LockSettings, Settings, StateSettings
from engine.errors import DtmError
from engine.language.duration import parse_duration
from engine.language.expressions import RawValue
from engine.language.references import referenced_addresses
from engine.language.yaml import FilePlace
from engine.loading import file_schema
from engine.loading.files import Files
from engine.loading.problems import Report, describe_kind
from engine.loading.variables import Scope
from engine.lock import parse_lease
from engine.options.decode import build, decode
from engine.options.fields import get_by_spelling
from engine.schema import Catalog, PluginSchema
from engine.suggestions import suggest
from engine.values import Attributes, Secret, Unknown, Value, find_leaves


def plain_url(url: str) -> StateSettings:
    """Return settings with the unparsed URL as the option `url`; the caller parses it later."""
    return StateSettings("url", {"url": url}, source="config")


def read_settings(
    files: Files,
    scope: Scope,
    state_url: Callable[[str], StateSettings],
    backends: Catalog | None = None,
) -> Settings:
    """Read `state` and `pluginDir`, and return all settings. Problems go to `files.report`.

    The options of the state backend are checked only if `backends` is given.
    """
    for key in ("varFile", "toolFile"):
        files.single(key)  # These files are read already: this reports a key that is given twice.
    section = files.single("state")
    state = None
    if section is not None:
        reader = _StateReader(section.place, files.report, state_url, backends)
        state = reader.read(scope.render(section.value))
    return Settings(
        files.base,
        state,
        _plugin_dir(files, scope),
        tuple(file.source.name for file in files.parsed.values()),
    )


def _plugin_dir(files: Files, scope: Scope) -> Path | None:
    section = files.single("pluginDir")
    if section is None:
        return None
    value = scope.render(section.value)
    if isinstance(value, str):
        return files.resolve_path(value) if value else None
    if not isinstance(value, Unknown):
        message = f'key "pluginDir" must be the path of a directory, not {describe_kind(value)}'
        files.report.add(section.place.at(), message)
    return None


class _StateReader(msgspec.Struct, frozen=True):
    """A reader of the value of `state:`. Its methods return None after reporting a problem."""

    place: FilePlace
    report: Report
    state_url: Callable[[str], StateSettings]
    backends: Catalog | None

    def read(self, value: Value) -> StateSettings | None:
        """Read the rendered value, which is a map or a URL."""
        if referenced_addresses(value):
            self.report.add(
                self.place.at(),
                'key "state" cannot use ${{ }}: dtm opens the state before it reads any output',
                "write the value itself, or use a variable: [[ name ]] or [[ env NAME ]]",
            )
            return None
        if find_leaves(value, Unknown):
            return None
        # A URL with a password from the environment is a Secret.
        if isinstance(value, Secret):
            value = value.value
        if isinstance(value, str):
            return self._from_url(value)
        if not isinstance(value, dict):
            self.report.add(
                self.place.at(),
                f'key "state" must be a map or a URL, not {describe_kind(value)}',
                "write for example state: {backend: local} or state: s3://BUCKET/KEY",
            )
            return None
        found, faults = decode(value, file_schema.StateSection, env={}, noun="key")
        self.report.add_faults(self.place.at, faults, "state: ")
        return None if faults else self._from_map(found, value)

    def _from_url(self, url: str) -> StateSettings | None:
        if not url:
            return None
        try:
            return replace(self.state_url(url), source="config", where=self.place.where)
        except DtmError as error:
            self.report.add(self.place.at(), error.message, error.hint)
            return None

    def _from_map(self, state: Attributes, raw: dict[str, RawValue]) -> StateSettings | None:
        # StateSection has checked that lock and options are maps.
        lock = self._read_lock(cast("Attributes", state.get("lock") or {}))
        built = build({**state, "lock": None, "options": {}}, file_schema.StateSection)
        if self.backends is None:
            given = cast("Attributes", state.get("options") or {})
            backend = built.backend.lower()
            # Without the backend's Struct the canonical names are not known, but snake_case is
            # always an alias of camelCase.
            options: Attributes = {_to_camel_case(key): value for key, value in given.items()}
        else:
            schema = self._find_schema(built.backend, self.backends)
            if schema is None:
                return None
            written = cast("dict[str, RawValue]", get_by_spelling(raw, "options") or {})
            backend = schema.plugin
            options, faults = decode(written, schema.options, env={})
            self.report.add_faults(self.place.step("options").at, faults, "state: ")
        return StateSettings(
            backend, options, lock, built.log, built.history, "config", self.place.where
        )

    def _find_schema(self, name: str, backends: Catalog) -> PluginSchema | None:
        schema = backends.find(name.lower())
        if schema is None:
            message = f'unknown state backend "{name}"'
            hint = suggest(name, backends.names())
            if name.lower() in backends.unshipped():
                message = f'state backend "{name}" is not part of this version'
                hint = f"use one of: {', '.join(backends.names())}"
            self.report.add(self.place.at("backend"), message, hint)
        return schema

    def _read_lock(self, lock: Attributes) -> LockSettings:
        built, lease = build(lock, file_schema.LockSection), None
        if built.lease is not None:
            problem = f'must be more than 0s and at most 24h, not "{built.lease}"'
            try:
                lease = parse_lease(parse_duration(built.lease))
            except ValueError as error:
                problem = str(error)
            if lease is None:
                message = f'state: key "lock.lease": {problem}'
                self.report.add(self.place.at("lock", "lease"), message)
        return LockSettings(built.kind, built.url, lease)


def _to_camel_case(key: str) -> str:
    return re.sub("_([a-z])", lambda found: found[1].upper(), key)
