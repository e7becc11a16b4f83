"""Recorded secrets again, from where the state says that they came from."""

from __future__ import annotations

import msgspec

from dtm.app.invocation import Invocation
from engine.config import Config
from engine.language import scalars
from engine.loading import variable_sources
from engine.values import Value, reveal


class SecretLookup(msgspec.Struct, frozen=True):
    """The value of a secret by its source (`env NAME`, `var name`), None if it is gone.

    A variable has the value that the config gives it. Where the config has none, most often because
    the tool has left it, the value comes from outside: flags, files, environment.
    """

    request: Invocation
    config: Config | None

    def __call__(self, source: str) -> Value:
        """The value: a list or map as such, everything else as text."""
        kind, _, name = source.partition(" ")
        if kind == "env":
            # Empty counts as gone, as for `[[ env NAME ]]`.
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
            scalars.written(value)
            if isinstance(value, bool | int | float | scalars.Literal)
            else value
        )


def _entry(value: Value, step: str) -> Value:
    """Take one step of a dotted name: a key of a map, a number of a list; None if it is absent."""
    if isinstance(value, list):
        return value[int(step)] if step.isdecimal() and int(step) < len(value) else None
    return value.get(step) if isinstance(value, dict) else None
