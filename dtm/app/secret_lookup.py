"""The lookup of a secret by the source that the state recorded for it."""

from __future__ import annotations

import msgspec

from dtm.app.invocation import Invocation
from engine.config import Config
from engine.language import scalars
from engine.loading import variable_sources
from engine.values import Value, reveal


class SecretLookup(msgspec.Struct, frozen=True):
    """A function from a recorded source (`env NAME`, `var name`) to the present value.

    The value is None if the source no longer has one. A variable has the value that the config
    gives it. If the config no longer declares it, often because its last tool was removed, the
    value comes from flags, variable files or the environment.
    """

    request: Invocation
    config: Config | None

    def __call__(self, source: str) -> Value:
        """Return the present value: a list or map unchanged, everything else as text."""
        kind, _, name = source.partition(" ")
        if kind == "env":
            # An empty variable counts as missing, as it does for `[[ env NAME ]]`.
            return self.request.env.get(name) or None
        return self._variable(*name.split(".")) if kind == "var" else None

    def _variable(self, name: str, *path: str) -> Value:
        request = self.request
        known = self.config.sensitive.get(name) if self.config else None
        if known is not None:
            value = reveal(known.value)
        else:
            value = variable_sources.look_up(
                name, request.env, request.var_files, request.variables, structured=bool(path)
            )
        for step in path:
            value = _entry(value, step)
        return (
            scalars.to_text(value)
            if isinstance(value, bool | int | float | scalars.Literal)
            else value
        )


def _entry(value: Value, step: str) -> Value:
    """Follow one step of a dotted name: a key of a map or an index of a list.

    Return None if the step does not exist.
    """
    if isinstance(value, list):
        return value[int(step)] if step.isdecimal() and int(step) < len(value) else None
    return value.get(step) if isinstance(value, dict) else None
