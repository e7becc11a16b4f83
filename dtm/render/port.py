"""The protocol of a renderer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from dtm.render.text import Level
from engine.events import Event
from engine.lock import LockRecord
from engine.plan import Plan
from engine.values import Attributes, Value

if TYPE_CHECKING:
    from dtm.app.comparison import Difference

Clock: TypeAlias = Callable[[], datetime]
"""The time in the time zone that dates are shown in."""

Operation: TypeAlias = Literal["plan", "drift", "verify"]
"""The purpose of a plan: to be carried out, or to be looked at."""


class Renderer(Protocol):
    """The methods of every renderer: data goes to stdout, all else to stderr.

    No method raises for what it is given; secrets never leave.
    """

    def plan(self, plan: Plan, *, operation: Operation = "plan", nothing: str = "") -> None:
        """Show a plan in the words of that operation.

        `nothing` is what an empty one says instead of the default.
        """
        ...

    def event(self, event: Event) -> None:
        """Show that something happened: the engine's `emit`.

        May be called from several threads.
        """
        ...

    def error(self, error: BaseException, *, debug: bool = False) -> None:
        """Show why a command failed and the next step; `debug` adds the traceback."""
        ...

    def notice(self, level: Level, message: str, *, hint: str = "") -> None:
        """Show one log line."""
        ...

    def outputs(self, outputs: Mapping[str, Value]) -> None:
        """Show root outputs."""
        ...

    def value(self, value: Value) -> None:
        """Print one value for a script: a text as it is, all else as JSON."""
        ...

    def table(self, rows: Sequence[Mapping[str, Value]]) -> None:
        """Show rows that share their keys, which head the columns."""
        ...

    def data(self, text: str, value: Value = None) -> None:
        """Print a command's text as it is; programs get `value` instead where there is one."""
        ...

    def document(self, value: Attributes, *, title: str = "") -> None:
        """Show one nested value."""
        ...

    def differences(self, differences: Sequence[Difference]) -> None:
        """Show how two states differ."""
        ...

    def lock(self, record: LockRecord | None) -> None:
        """Show who holds the lock, None if nobody does."""
        ...

    def version(self, version: str) -> None:
        """Show the version of dtm."""
        ...

    def close(self) -> None:
        """Leave the screen in order; nothing may be shown afterwards. Twice is harmless."""
        ...
