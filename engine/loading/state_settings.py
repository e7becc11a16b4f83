"""The settings of a configuration: where the state and the plugins are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec
from msgspec.structs import replace

from engine.config import LockSettings, Settings, StateSettings
from engine.errors import DtmError
from engine.language.duration import seconds
from engine.language.expressions import Raw
from engine.language.references import addresses
from engine.language.yaml import FilePlace
from engine.loading import file_schema
from engine.loading.files import Files
from engine.loading.problems import Report
from engine.loading.variables import Scope
from engine.lock import lease_of
from engine.options.decode import build, decode
from engine.options.fields import spelled
from engine.schema import Catalog, PluginSchema
from engine.suggestions import nearest
from engine.values import Attributes, Secret, Unknown, Value, leaves_of


def plain_url(url: str) -> StateSettings:
    """Keep the URL as it was written, for a caller that reads URLs itself."""
    return StateSettings("url", {"url": url}, source="config")


def settings(
    files: Files,
    scope: Scope,
    state_url: Callable[[str], StateSettings],
    backends: Catalog | None = None,
) -> Settings:
    """Read everything that is not a tool. Problems go to the report.

    A backend's options are checked where `backends` are given.
    """
    for key in ("varFile", "toolFile"):
        files.single(key)  # read already; here only to find it given twice
    section = files.single("state")
    state = None
    if section is not None:
        reader = _StateReader(section.place, files.report, state_url, backends)
        state = reader.read(scope.render(section.value))
    return Settings(
        files.base,
        state,
        _plugin_dir(files, scope),
        tuple(text.source.name for text in files.texts.values()),
    )


def _plugin_dir(files: Files, scope: Scope) -> Path | None:
    section = files.single("pluginDir")
    if section is None:
        return None
    value = scope.render(section.value)
    if isinstance(value, str):
        return files.resolve_path(value) if value else None
    if not isinstance(value, Unknown):
        files.report.add(section.place.at(), 'key "pluginDir" must be the path of a directory')
    return None


class _StateReader(msgspec.Struct, frozen=True):
    """Reads what stands under `state:`; every method gives None after reporting why."""

    place: FilePlace
    report: Report
    state_url: Callable[[str], StateSettings]
    backends: Catalog | None

    def read(self, value: Value) -> StateSettings | None:
        """Read the rendered value: a map, or a URL."""
        # The state is opened before any output is known.
        if addresses(value):
            message = "the state must be known before any tool is: no ${{ }} here"
            self.report.add(self.place.at(), message)
            return None
        if leaves_of(value, Unknown):
            return None
        # A URL that holds a password is still a URL.
        if isinstance(value, Secret):
            value = value.value
        if isinstance(value, str):
            return self._from_url(value)
        if not isinstance(value, dict):
            message = 'key "state" must be a map, or the URL of the state'
            self.report.add(self.place.at(), message)
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

    def _from_map(self, state: Attributes, raw: dict[str, Raw]) -> StateSettings | None:
        # StateSection says that lock and options, where given, are maps.
        lock = self._lock(cast("Attributes", state.get("lock") or {}))
        built = build({**state, "lock": None, "options": {}}, file_schema.StateSection)
        if self.backends is None:
            given = cast("Attributes", state.get("options") or {})
            backend = built.backend.lower()
            # There is no Struct to give canonical names: only snake_case is known to be an alias.
            options: Attributes = {_camel(key): value for key, value in given.items()}
        else:
            schema = self._schema(built.backend, self.backends)
            if schema is None:
                return None
            written = cast("dict[str, Raw]", spelled(raw, "options") or {})
            backend = schema.plugin
            options, faults = decode(written, schema.options, env={})
            self.report.add_faults(self.place.step("options").at, faults, "state: ")
        return StateSettings(
            backend, options, lock, built.log, built.history, "config", self.place.where
        )

    def _schema(self, name: str, backends: Catalog) -> PluginSchema | None:
        schema = backends.find(name.lower())
        if schema is None:
            message = f'there is no state backend "{name}"'
            hint = nearest(name, backends.names())
            if name.lower() in backends.unshipped():
                message = f"state backend {name} is not part of this version"
                hint = f"there are: {', '.join(backends.names())}"
            self.report.add(self.place.at("backend"), message, hint)
        return schema

    def _lock(self, lock: Attributes) -> LockSettings:
        built, lease = build(lock, file_schema.LockSection), None
        if built.lease is not None:
            problem = f'"{built.lease}" is no lease: more than 0s, at most 24h'
            try:
                lease = lease_of(seconds(built.lease))
            except ValueError as error:
                problem = str(error)
            if lease is None:
                self.report.add(self.place.at("lock", "lease"), problem)
        return LockSettings(built.kind, built.url, lease)


def _camel(key: str) -> str:
    return re.sub("_([a-z])", lambda found: found[1].upper(), key)
