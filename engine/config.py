"""The configuration as values: variables are replaced, references to outputs are still symbolic.

An example:

    config = load(ConfigSource("config.yaml"), catalog)
    config.tools[0].options  # {"path": "a.txt", "content": Reference(...)}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.address import Address
from engine.values import Attributes, Secret, Value, ValuePath


class SourceLocation(msgspec.Struct, frozen=True):
    """A place in a configuration file: `path` leads from the YAML document's root to the value.

    Line and column are computed only if a message needs them, see `engine.language.yaml.locate`.
    """

    file: str
    document: int = 0
    path: ValuePath = ()


class Lifecycle(msgspec.Struct, frozen=True):
    """The protections of a tool.

    `prevent_destroy` still protects a tool that was removed from the config, since the state
    records the protection, too.
    """

    prevent_destroy: bool = False


class Timeouts(msgspec.Struct, frozen=True):
    """Timeouts in seconds by operation; None means the default (`engine.execution`)."""

    read: float | None = None
    create: float | None = None
    update: float | None = None
    delete: float | None = None


class ToolSpec(msgspec.Struct, frozen=True):
    """One tool of the configuration.

    `depends_on`: the tools that it names in `dependsOn` or refers to; direct ones only, in order
    and without repeats.
    `options`: the options by canonical name. Leaves may be Secret or Deferred, never Unknown.
    """

    address: Address
    options: Attributes
    depends_on: tuple[Address, ...] = ()
    lifecycle: Lifecycle = Lifecycle()
    timeouts: Timeouts = Timeouts()
    where: SourceLocation = SourceLocation("")


class LockSettings(msgspec.Struct, frozen=True):
    """The lock that the settings ask for.

    `kind` is auto, dynamodb, native, both or none. `lease` is in seconds; None means the default of
    the store.
    """

    kind: str = "auto"
    url: str = ""
    lease: float | None = None


class StateSettings(msgspec.Struct, frozen=True):
    """The settings of the place where the state is stored.

    `backend` is the canonical name of the backend in lower case, `options` are its options in
    camelCase. `log` is auto, inline or beside (a separate log). `history` is the number of older
    snapshots to keep.
    """

    backend: str = "local"
    options: Attributes = {}
    lock: LockSettings = LockSettings()
    log: str = "auto"
    history: int = 30
    source: str = "default"
    """The origin of these settings, for messages.

    It is `--state`, `DTM_STATE`, `config`, the name of a settings file, or `default`.
    """
    where: SourceLocation = SourceLocation("")
    """The place of these settings in a configuration file, if they come from one."""


class Settings(msgspec.Struct, frozen=True):
    """The settings of a configuration, as opposed to its tools.

    `base_dir` is absolute: relative paths in options start there. `state` is None if the config has
    no section `state`.
    """

    base_dir: Path
    state: StateSettings | None = None
    plugin_dir: Path | None = None
    files: tuple[str, ...] = ()


class Config(msgspec.Struct, frozen=True):
    """Everything that a configuration asks for.

    `digest` is a hash, in hex, of everything that can influence a plan. It reveals no secret.
    `sensitive` has the sensitive variables by name.
    """

    settings: Settings
    tools: tuple[ToolSpec, ...]
    outputs: Mapping[str, Value] = {}
    digest: str = ""
    warnings: tuple[str, ...] = ()
    sensitive: Mapping[str, Secret] = {}
