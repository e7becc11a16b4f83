"""Next steps that can be pasted.

The commands in a hint get the flags that lead to the state that this command worked on.
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
"""A command that works on a state and does not say yet on which."""


def location_flags(given: Mapping[str, Any], env: Mapping[str, str]) -> str:
    """Repeat the flags that chose config and state, as they were given.

    DTM_STATE becomes a flag, since the next shell may not have it.
    """
    named = {
        "--chdir": given.get("chdir"),
        "-f": given.get("config_file"),
        "--state": given.get("state_url") or env.get("DTM_STATE"),
    }
    return shlex.join(word for flag, value in named.items() if value for word in (flag, str(value)))


def add_flags(hint: str, flags: str) -> str:
    """The hint with the flags behind each of its commands."""
    return COMMAND.sub(lambda found: f"{found[0]} {flags}", hint) if flags else hint


class HintFlagsRenderer:
    """Another renderer, given hints that are complete."""

    def __init__(self, renderer: Renderer, flags: str) -> None:
        self._renderer, self._flags = renderer, flags

    def __getattr__(self, name: str) -> Any:
        return getattr(self._renderer, name)

    def event(self, event: Event) -> None:
        """As `Renderer.event`."""
        if isinstance(event, ApplyErrored | Notice | RefusalWarning):
            event = replace(event, hint=add_flags(event.hint, self._flags))
        self._renderer.event(event)

    def error(self, error: BaseException, *, debug: bool = False) -> None:
        """As `Renderer.error`."""
        if isinstance(error, DtmError):
            error.hint = add_flags(error.hint, self._flags)
        if isinstance(error, ConfigError | PlanError):
            error.problems = tuple(
                replace(each, hint=add_flags(each.hint, self._flags)) for each in error.problems
            )
        self._renderer.error(error, debug=debug)

    def notice(self, level: Level, message: str, *, hint: str = "") -> None:
        """As `Renderer.notice`."""
        self._renderer.notice(level, message, hint=add_flags(hint, self._flags))


def with_hint_flags(renderer: Renderer, flags: str) -> Renderer:
    """Make a renderer whose hints lead to the same place.

    It is the given one where a bare command leads there anyway.
    """
    if not flags:
        return renderer
    # What it does not define itself, __getattr__ finds.
    return cast("Renderer", HintFlagsRenderer(renderer, flags))
