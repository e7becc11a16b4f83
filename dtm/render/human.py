"""The common part of the renderers for users: everything except how lines reach the screen."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from threading import RLock
from typing import TYPE_CHECKING, Final, TypeAlias

from dtm.render.differences import field_lines
from dtm.render.errors import ErrorText
from dtm.render.events import LogLine, RunLog
from dtm.render.locks import lock_lines
from dtm.render.plan import PlanView
from dtm.render.port import Operation
from dtm.render.screen import Screen
from dtm.render.tables import table_lines
from dtm.render.text import BLANK, Level, Line, Span, Style, line
from dtm.render.values import ValueText, key, printable
from engine.events import Event
from engine.lock import LockRecord
from engine.plan import Plan
from engine.values import Attributes, Value

if TYPE_CHECKING:
    from dtm.app.comparison import Difference


DIFFERENCE_MARKS: Final[dict[str, tuple[str, Style]]] = {
    "added": ("+", "added"),
    "removed": ("-", "removed"),
    "changed": ("~", "update"),
}

StyledMessage: TypeAlias = tuple[Level, Sequence[Line]]
"""A level, and the lines of the message. Lines after the first belong below it."""


class HumanRenderer(ABC):
    """A renderer that prints data as styled lines and logs all else as messages with a level."""

    def __init__(self, screen: Screen, *, dated: bool = False) -> None:
        self.screen = screen
        self.run_log = RunLog(everything=screen.verbose, dated=dated)
        self.show = ValueText(screen.clean, everything=screen.verbose)
        self._lock = RLock()  # events come from the threads of the executor and of the lease

    @abstractmethod
    def _print(self, lines: Iterable[Line]) -> None:
        """Print data to stdout."""

    @abstractmethod
    def _log(self, *messages: StyledMessage) -> None:
        """Write messages to stderr, in one call where possible."""

    def plan(self, plan: Plan, *, operation: Operation = "plan", nothing: str = "") -> None:
        """Print to stdout."""
        self._print(PlanView(self.show, self.screen.width, operation, nothing).lines(plan))

    def event(self, event: Event) -> None:
        """Log one line, several lines, or nothing."""
        with self._lock:
            self._say(*self.run_log.lines_for(event))

    def error(self, error: BaseException, *, debug: bool = False) -> None:
        """Log to stderr. Each problem is one message with the lines that belong to it."""
        group: list[Line] = []
        for each in ErrorText(self.screen.clean, self.screen.clock(), debug).lines(error):
            if each.indent == 0 and group:
                self._log(("error", group))
                group = []
            group.append(each)
        self._log(("error", group))

    def notice(self, level: Level, message: str, *, hint: str = "") -> None:
        """Log to stderr."""
        self._say(LogLine(level, message, hint))

    def outputs(self, outputs: Mapping[str, Value]) -> None:
        """Print to stdout."""
        width = self.screen.width
        self._print(
            each
            for name, value in outputs.items()
            for each in self.show.block(key(name), value, 0, width)
        )

    def value(self, value: Value) -> None:
        """Print to stdout."""
        shown = self.show.json(value)
        self.data(shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False))

    def table(self, rows: Sequence[Mapping[str, Value]]) -> None:
        """Print to stdout, with aligned columns."""
        self._print(table_lines(rows, self.show))

    def data(self, text: str, value: Value = None) -> None:
        """Print to stdout unchanged."""
        del value  # only the JSON renderer writes it
        self.screen.out.write(self.screen.clean(text if text.endswith("\n") else f"{text}\n"))
        self.screen.out.flush()

    def document(self, value: Attributes, *, title: str = "") -> None:
        """Print to stdout, one line per leaf."""
        head = [line(0, Span(self.screen.clean(title), "strong"))] if title else []
        self._print([*head, *self.show.children(dict(value), 2 if title else 0, self.screen.width)])

    def differences(self, differences: Sequence[Difference]) -> None:
        """Print to stdout."""
        lines: list[Line] = []
        for each in differences:
            sign, style = DIFFERENCE_MARKS[each.kind]
            lines.append(line(0, Span(sign, style), " ", Span(str(each.address), "name")))
            lines += [*field_lines(each.fields, self.show, 4, self.screen.width), BLANK]
        self._print(lines[:-1] or [line(0, "No differences.")])

    def lock(self, record: LockRecord | None) -> None:
        """Print to stdout."""
        if record is None:
            self._print([line(0, "The state is not locked.")])
            return
        lines = lock_lines(record, self.screen.clock(), self.screen.clean)
        self._print([line(0, "The state is locked."), *lines])

    def version(self, version: str) -> None:
        """Print only the version to stdout."""
        self._print([line(0, version)])

    def close(self) -> None:
        """Flush the streams."""
        self.screen.out.flush()
        self.screen.err.flush()

    def _say(self, *said: LogLine) -> None:
        messages: list[StyledMessage] = [
            (each.level, self._lines(each)) for each in said if self.screen.shows(each.level)
        ]
        self._log(*messages)

    def _lines(self, said: LogLine) -> list[Line]:
        first, *rest = [printable(each) for each in self.screen.clean(said.text).split("\n")]
        # The leading blanks become the indent, so that a wrapped line continues below its start.
        below = [line(2 + len(each) - len(each.lstrip(" ")), each.lstrip(" ")) for each in rest]
        if said.hint:
            below.append(line(2, Span("→ ", "info"), printable(self.screen.clean(said.hint))))
        return [line(0, first), *below]
