"""The description of a plugin's options and outputs.

One Struct is the check, the JSON Schema, the sample config and the reference page.

    class FileOptions(Options, frozen=True, kw_only=True):
        path: Annotated[str, Field("where the file is", example="out/a.txt", replace=True)]
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import msgspec

ALIASES = "x-aliases"
"""The key under which a field's JSON Schema lists its old spellings."""


class Options(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename="camel",
    omit_defaults=True,
):
    """Base of every options Struct, nested ones too.

    Unknown keys are refused; keys are camelCase outside, and snake_case is accepted.
    """


class Outputs(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of a closed outputs Struct: the keys that references may name."""


def Field(  # noqa: N802 - reads as the annotation that it is
    description: str,
    *,
    example: Any = None,
    secret: bool = False,
    replace: bool = False,
    env: str = "",
    aliases: tuple[str, ...] = (),
    **constraints: Any,
) -> msgspec.Meta:
    """Annotate a field: `path: Annotated[str, Field("where the file is", replace=True)]`.

    secret: the value never reaches state, plan, log or screen.
    replace: a change forces replacement.
    env: the environment variable used when the option is absent.
    aliases: old spellings, accepted and turned into the canonical name.
    constraints: msgspec's own (`ge`, `pattern`, `min_length`).
    """
    extra = {
        "secret": secret,
        "example": example,
        "replace": replace,
        "env": env,
        "aliases": aliases,
    }
    spellings = {ALIASES: list(aliases)} if aliases else None
    return msgspec.Meta(
        description=description, extra=extra, extra_json_schema=spellings, **constraints
    )


class PluginSchema(msgspec.Struct, frozen=True):
    """The part of a plugin that a configuration is checked against.

    `name` is as the user writes it, `plugin` the canonical name that all its aliases share.
    `outputs` None means open outputs: their keys are unknown before the first run.
    """

    name: str
    plugin: str
    options: type[msgspec.Struct]
    outputs: type[msgspec.Struct] | None = None


class Catalog(Protocol):
    """Every plugin name that a configuration may use.

    Light to import: a look-up loads no provider but the one found.
    """

    def find(self, name: str) -> PluginSchema | None:
        """Find the schema of a plugin name or alias.

        None if the name is unknown or not shipped yet. Raises PluginError if the plugin cannot be
        loaded, or if two packages offer one name.
        """
        ...

    def names(self) -> Sequence[str]:
        """List all names that `find` knows, for suggestions. Raises as `find`."""
        ...

    def unshipped(self) -> Collection[str]:
        """List DevStream's plugin names that this version does not ship, for an error of their own.

        A name that another package provides may be among them: ask `find` first. Raises as `find`.
        """
        ...
