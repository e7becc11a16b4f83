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
"""A function that returns the current time in the time zone that dates are shown in."""

Operation: TypeAlias = Literal["plan", "drift", "verify"]
"""The words for a plan: what an apply would do (`plan`), or what was found (`drift`, `verify`)."""


class Renderer(Protocol):
    """The methods of every renderer. Data goes to stdout, everything else to stderr.

    A method raises only if a stream cannot be written. No method writes a known secret.
    """

    def plan(self, plan: Plan, *, operation: Operation = "plan", nothing: str = "") -> None:
        """Show a plan in the words of that operation.

        `nothing` replaces the default text for an empty plan.
        """
        ...

    def event(self, event: Event) -> None:
        """Show an event. The engine calls this method as its `emit`.

        Several threads may call it.
        """
        ...

    def error(self, error: BaseException, *, debug: bool = False) -> None:
        """Show why a command failed and the next step. `debug` adds the traceback."""
        ...

    def notice(self, level: Level, message: str, *, hint: str = "") -> None:
        """Show one log line."""
        ...

    def outputs(self, outputs: Mapping[str, Value]) -> None:
        """Show root outputs."""
        ...

    def value(self, value: Value) -> None:
        """Print one value for a script: a text unchanged, everything else as JSON."""
        ...

    def table(self, rows: Sequence[Mapping[str, Value]]) -> None:
        """Show rows. All rows have the same keys, which become the headings."""
        ...

    def data(self, text: str, value: Value = None) -> None:
        """Print the text of a command unchanged.

        The JSON renderer writes `value` instead if given.
        """
        ...

    def document(self, value: Attributes, *, title: str = "") -> None:
        """Show one nested value."""
        ...

    def differences(self, differences: Sequence[Difference]) -> None:
        """Show how two states differ."""
        ...

    def lock(self, record: LockRecord | None) -> None:
        """Show who holds the lock. None means that it is free."""
        ...

    def version(self, version: str) -> None:
        """Show the version of dtm."""
        ...

    def close(self) -> None:
        """Restore the screen. Nothing may be shown afterwards. Safe to call twice."""
        ...
