"""How a plugin describes its options and outputs: one Struct is the check, the JSON Schema, the sample and the page."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import msgspec

ALIASES = "x-aliases"
"""Where a field's JSON Schema lists its old spellings."""


class Options(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename="camel",
    omit_defaults=True,
):
    """Base of every options Struct, nested ones too: unknown keys refused, camelCase outside, snake_case accepted."""


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

    secret: the value never reaches state, plan, log or screen. replace: a change forces replacement.
    env: the environment variable used when the option is absent. aliases: old spellings, accepted and canonicalised.
    constraints: msgspec's own (`ge`, `pattern`, `min_length`...).
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
    """What a configuration needs to know of one plugin name.

    `name` is as a user writes it, `plugin` the canonical name that all its aliases share; `outputs` None means open
    outputs: keys unknown before the first run.
    """

    name: str
    plugin: str
    options: type[msgspec.Struct]
    outputs: type[msgspec.Struct] | None = None


class Catalog(Protocol):
    """Every plugin name that a configuration may use; import-light: looking at it loads no provider but the one found."""

    def find(self, name: str) -> PluginSchema | None:
        """The schema of a plugin name or alias, None if there is none (unknown, or not shipped yet)."""
        ...

    def names(self) -> Sequence[str]:
        """All names that `find` knows, for near-miss suggestions."""
        ...

    def unshipped(self) -> Collection[str]:
        """DevStream's plugin names that this version does not ship yet: an error of their own."""
        ...
