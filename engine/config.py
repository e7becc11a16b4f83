"""The configuration as values: rendered and checked, references to outputs still symbolic."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.address import Address
from engine.values import Attributes, Secret, Value, ValuePath


class SourceLocation(msgspec.Struct, frozen=True):
    """A place in a source file: `path` goes from the document's root to the value.

    Line and column are looked up when a message needs them.
    """

    file: str
    document: int = 0
    path: ValuePath = ()


class Lifecycle(msgspec.Struct, frozen=True):
    """Protections of a tool.

    `prevent_destroy` also holds once the tool has left the config: the state records it.
    """

    prevent_destroy: bool = False


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds per operation; None means the executor's default."""

    read: float | None = None
    create: float | None = None
    update: float | None = None
    delete: float | None = None


class ToolSpec(msgspec.Struct, frozen=True):
    """One desired tool.

    `depends_on` holds written and implied edges, direct ones only, in order and without repeats.
    `options` use canonical option names; leaves may be Secret or Deferred, never Unknown.
    """

    address: Address
    options: Attributes
    depends_on: tuple[Address, ...] = ()
    lifecycle: Lifecycle = Lifecycle()
    timeouts: Timeouts = Timeouts()
    where: SourceLocation = SourceLocation("")


class LockSettings(msgspec.Struct, frozen=True):
    """The lock that the config asks for.

    `kind` is auto, dynamodb, native, both or none; `lease` is in seconds, None for the store's
    default.
    """

    kind: str = "auto"
    url: str = ""
    lease: float | None = None


class StateSettings(msgspec.Struct, frozen=True):
    """The place of the state.

    `backend` is the canonical name, in lower case; `options` are the backend's, in camelCase.
    """

    backend: str = "local"
    options: Attributes = {}
    lock: LockSettings = LockSettings()
    log: str = "auto"
    history: int = 30
    source: str = "default"
    """The origin of these settings, for messages.

    `--state`, `DTM_STATE`, `config`, the name of a settings file, or `default`.
    """
    where: SourceLocation = SourceLocation("")
    """The map in a config, if it is one."""


class Settings(msgspec.Struct, frozen=True):
    """Everything that is not a tool.

    `base_dir` is absolute; `state` is None where the config names none.
    """

    base_dir: Path
    state: StateSettings | None = None
    plugin_dir: Path | None = None
    files: tuple[str, ...] = ()


class Config(msgspec.Struct, frozen=True):
    """All that a configuration asks for.

    `digest` is hex and covers everything that can influence a plan; it does not reveal secrets.
    `sensitive` holds the sensitive variables by name.
    """

    settings: Settings
    tools: tuple[ToolSpec, ...]
    outputs: Mapping[str, Value] = {}
    digest: str = ""
    warnings: tuple[str, ...] = ()
    sensitive: Mapping[str, Secret] = {}
