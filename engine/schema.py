"""The description of a plugin's options and outputs.

A plugin declares its options once, as a Struct. dtm derives from it the checks of a configuration,
the JSON Schema, the sample configuration and the reference page.

    class FileOptions(Options, frozen=True, kw_only=True):
        path: Annotated[str, Field("where the file is", example="out/a.txt", replace=True)]
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import msgspec

ALIASES = "x-aliases"
"""The key of a field's JSON Schema that lists its old spellings."""


class Options(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename="camel",
    omit_defaults=True,
):
    """Base of every options Struct, also of nested ones.

    Users write the fields in camelCase; snake_case is accepted. Unknown keys are refused.
    """


class Outputs(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of an outputs Struct. References may only name its fields."""


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

    example: the value in the sample configuration and the reference page.
    secret: the value never appears in the state, a plan, a log or on the screen.
    replace: a change of this option replaces the resource.
    env: the environment variable that is used if the option is absent.
    aliases: old spellings, which are accepted in place of the canonical name.
    constraints: those of `msgspec.Meta`, such as `ge`, `pattern` and `min_length`.
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

    `name` is the name that the user wrote, `plugin` the canonical name that its aliases share.
    `outputs` is None if the keys of the outputs are not known before the first run.
    """

    name: str
    plugin: str
    options: type[msgspec.Struct]
    outputs: type[msgspec.Struct] | None = None


class Catalog(Protocol):
    """All plugin names that a configuration may use.

    A look-up imports only the provider of that name, so that start-up stays fast.

        schema = catalog.find("file")
        options, faults = decode(raw, schema.options, env=os.environ)
    """

    def find(self, name: str) -> PluginSchema | None:
        """Return the schema of a plugin name or alias, None if dtm does not have this plugin.

        Raises PluginError if the plugin cannot be loaded, or if two packages offer the name.

            catalog.find("file").plugin  # "file"
        """
        ...

    def names(self) -> Sequence[str]:
        """Return all names that `find` knows, for suggestions. Raises the same errors as `find`.

        An example:

            catalog.names()  # ["argocdapp", "command", "data", ...]
        """
        ...

    def unshipped(self) -> Collection[str]:
        """Return the plugin names of DevStream that this version does not ship.

        They get an error message of their own. Call `find` first: another package may provide one
        of them. Raises the same errors as `find`.

            "zentao" in catalog.unshipped()  # True
        """
        ...
