"""The renderer for a person at a terminal: colours, wrapping, a live table.

Together with `live` the only module that imports rich.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, TextIO

from rich.console import Console
from rich.segment import Segment, Segments
from rich.theme import Theme

from dtm.render import sentences
from dtm.render.events import describe_event
from dtm.render.human import HumanRenderer, Message
from dtm.render.live import LiveTable, RunProgress
from dtm.render.screen import Screen
from dtm.render.text import Level, Line, Span, cells, duration, line, wrap
from dtm.render.values import printable
from engine.events import (
    ApplyComplete,
    ApplyProgress,
    ApplyStart,
    ApplySummary,
    Event,
    LockAcquired,
    LockWaiting,
)

THEME: Final = Theme(
    {
        "create": "green",
        "update": "yellow",
        "replace": "magenta",
        "delete": "red",
        "move": "cyan",
        "forget": "dim",
        "recover": "blue",
        "keep": "dim",
        "added": "green",
        "removed": "red",
        "key": "cyan",
        "name": "bold",
        "dim": "dim",
        "hidden": "dim italic",
        "unknown": "dim italic",
        "strong": "bold",
        "debug": "dim",
        "info": "blue",
        "success": "green",
        "warning": "yellow",
        "error": "bold red",
        "bar.back": "dim",
        "bar.complete": "green",
        "bar.finished": "green",
    },
    inherit=False,
)
MARKS: Final[dict[Level, str]] = {
    "debug": "λ",
    "info": "ℹ",
    "success": "✔",
    "warning": "⚠",
    "error": "✖",
}
REFRESH: Final = 0.1
"""Seconds between two pictures of the live table."""


class TerminalRenderer(HumanRenderer):
    """Finished changes scroll by above a table of the running ones.

    Lines are written in batches, one per picture.
    """

    def __init__(self, screen: Screen, refresh: float = REFRESH) -> None:
        super().__init__(screen)
        self.out = _console(screen.out, screen)
        self.err = _console(screen.err, screen)
        self._refresh = refresh
        self._progress = RunProgress(screen.clock, screen.clean)
        # One item a message. Filled under our lock, but emptied by rich's thread without it: that
        # thread holds rich's own lock, for which somebody who holds ours may be waiting.
        self._waiting: deque[list[Segment]] = deque()
        self._live: LiveTable | None = None

    def event(self, event: Event) -> None:
        """Feed the live table, and let what has ended scroll by above it."""
        with self._lock:
            self._progress.update(
                event, describe_event(event).message if isinstance(event, LockWaiting) else ""
            )
            match event:
                case ApplyStart() | ApplyProgress() | LockWaiting():
                    self._start_live()
                case ApplyComplete():
                    self._complete(event)
                case ApplySummary():
                    self._summary(event)
                case _:
                    super().event(event)
            if isinstance(event, ApplySummary | LockAcquired):
                self._stop_live()

    def error(self, error: BaseException, *, debug: bool = False) -> None:
        """Take the live table away first."""
        self._stop_live()
        super().error(error, debug=debug)

    def close(self) -> None:
        """Take the live table away."""
        self._stop_live()
        super().close()

    def _complete(self, event: ApplyComplete) -> None:
        if self.screen.shows("success"):
            tail = f"  {duration(event.elapsed)}" + (f"  {event.id}" if event.id else "")
            end = Span(printable(self.screen.clean(tail)), "dim")
            said = f"{event.address} {sentences.DONE[event.action]}"
            self._log(("success", [line(0, said, end)]))

    def _summary(self, event: ApplySummary) -> None:
        if not self.screen.quiet:
            self._waiting.append([Segment.line()])
        self._say(*self.run_log.lines_for(event))

    def _print(self, lines: Iterable[Line]) -> None:
        self.out.print(Segments(list(self._segments(self.out, lines))), end="")

    def _log(self, *messages: Message) -> None:
        with self._lock:
            for level, (first, *rest) in messages:
                marked = Line(0, (Span(f"{MARKS[level]} ", level), *first.spans), hang=2)
                self._waiting.append(list(self._segments(self.err, [marked, *rest])))
            if messages and self._live is None:
                self._flush()

    def _segments(self, console: Console, lines: Iterable[Line]) -> Iterator[Segment]:
        looks = THEME.styles
        for each in lines:
            fits = cells(each.text) <= console.width
            for row in (each,) if fits else wrap(each, console.width):
                yield Segment(" " * row.indent)
                yield from (
                    Segment(self.screen.clean(span.text), looks.get(span.style))
                    for span in row.spans
                )
                yield Segment.line()

    def _start_live(self) -> None:
        if self._live is None and not self.screen.quiet:
            self._live = LiveTable(self._progress, self.err, self._flush, self._refresh)
            self._live.start()

    def _flush(self) -> bool:
        """Print the lines that wait, in one piece; tells whether there were any."""
        waiting = self._waiting
        # Only what waits now: other threads add more while this runs.
        batch = [segment for _ in range(len(waiting)) for segment in waiting.popleft()]
        if batch:
            self.err.print(Segments(batch), end="")
        return bool(batch)

    def _stop_live(self) -> None:
        """Take the live table off the screen, everything said above it stays."""
        with self._lock:
            # Taken first, so that a second call finds no table to stop.
            live, self._live = self._live, None
            if live is not None:
                live.stop()
            self._flush()
            self._progress.waiting = ""


def _console(stream: TextIO, screen: Screen) -> Console:
    return Console(
        file=stream,
        # None: rich asks each time, so that the live table follows a window that is resized.
        width=None if stream.isatty() else screen.width,
        theme=THEME,
        force_terminal=True,
        color_system="auto" if screen.color else None,
        no_color=not screen.color,
        highlight=False,
        # Texts come from users and plugins: `[red]` in them is text.
        markup=False,
        emoji=False,
        # Lines are wrapped already; rich would break long words that users copy.
        soft_wrap=True,
    )
