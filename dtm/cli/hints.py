"""Complete commands in hints.

A user can paste them, because they have the flags that chose the config and the state.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any, Final, cast

from msgspec.structs import replace

from dtm.render.port import Renderer
from dtm.render.text import Level
from engine.errors import ConfigError, DtmError, PlanError
from engine.events import ApplyErrored, Event, Notice, RefusalWarning

COMMAND: Final = re.compile(
    r"\bdtm (apply|delete|destroy|drift|force-unlock|init|lock|output|plan"
    r"|show status|state [a-z-]+|validate|verify)\b"
    r"(?! --(?:state|chdir)\b)"
)
"""A command that works on a state, unless a flag that chooses the state follows it."""


def location_flags(given: Mapping[str, Any], env: Mapping[str, str]) -> str:
    """Return the flags that chose config and state, as the user gave them.

    DTM_STATE becomes the flag `--state`, because another shell may not have the variable.
    """
    named = {
        "--chdir": given.get("chdir"),
        "-f": given.get("config_file"),
        "--state": given.get("state_url") or env.get("DTM_STATE"),
    }
    return shlex.join(word for flag, value in named.items() if value for word in (flag, str(value)))


def add_flags(hint: str, flags: str) -> str:
    """Return the hint with the flags added to each of its commands."""
    return COMMAND.sub(lambda found: f"{found[0]} {flags}", hint) if flags else hint


class HintFlagsRenderer:
    """A renderer that adds the flags to every hint and passes everything to another renderer."""

    def __init__(self, renderer: Renderer, flags: str) -> None:
        self._renderer, self._flags = renderer, flags

    def __getattr__(self, name: str) -> Any:
        return getattr(self._renderer, name)

    def event(self, event: Event) -> None:
        """See `Renderer.event`."""
        if isinstance(event, ApplyErrored | Notice | RefusalWarning):
            event = replace(event, hint=add_flags(event.hint, self._flags))
        self._renderer.event(event)

    def error(self, error: BaseException, *, debug: bool = False) -> None:
        """See `Renderer.error`."""
        # The error is changed in place, because its class decides how it is shown.
        if isinstance(error, DtmError):
            error.hint = add_flags(error.hint, self._flags)
        if isinstance(error, ConfigError | PlanError):
            error.problems = tuple(
                replace(each, hint=add_flags(each.hint, self._flags)) for each in error.problems
            )
        self._renderer.error(error, debug=debug)

    def notice(self, level: Level, message: str, *, hint: str = "") -> None:
        """See `Renderer.notice`."""
        self._renderer.notice(level, message, hint=add_flags(hint, self._flags))


def with_hint_flags(renderer: Renderer, flags: str) -> Renderer:
    """Return a renderer whose hints have the flags, or the given one if there are no flags."""
    if not flags:
        return renderer
    # __getattr__ provides the methods that the class does not define.
    return cast("Renderer", HintFlagsRenderer(renderer, flags))
