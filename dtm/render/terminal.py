"""The renderer for a terminal: colors, wrapping, and a live table.

Only this module and `live` import rich.
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
from dtm.render.human import HumanRenderer, StyledMessage
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
"""The seconds between two updates of the live table."""


class TerminalRenderer(HumanRenderer):
    """A renderer with a table of the running changes below the lines of the finished ones.

    Lines are written in batches, one per update of the table.
    """

    def __init__(self, screen: Screen, refresh: float = REFRESH) -> None:
        super().__init__(screen)
        self.out = _console(screen.out, screen)
        self.err = _console(screen.err, screen)
        self._refresh = refresh
        self._progress = RunProgress(screen.clock, screen.clean)
        # One item per message. Threads add items while they hold the lock of this renderer. The
        # thread of rich holds the lock of rich and removes items without the lock of this renderer:
        # if it waited for that lock while the thread with that lock waited for the lock of rich,
        # both would wait forever.
        self._waiting: deque[list[Segment]] = deque()
        self._live: LiveTable | None = None

    def event(self, event: Event) -> None:
        """Update the live table. Print the lines of finished changes above it."""
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
        """Remove the live table, then show the error."""
        self._stop_live()
        super().error(error, debug=debug)

    def close(self) -> None:
        """Remove the live table."""
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

    def _log(self, *messages: StyledMessage) -> None:
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
        """Print the waiting lines at once. Return whether there were any."""
        waiting = self._waiting
        # Print only what waits now: other threads may add lines forever.
        batch = [segment for _ in range(len(waiting)) for segment in waiting.popleft()]
        if batch:
            self.err.print(Segments(batch), end="")
        return bool(batch)

    def _stop_live(self) -> None:
        """Remove the live table. The lines above it stay."""
        with self._lock:
            # Cleared first, so that a second call does not stop the table again.
            live, self._live = self._live, None
            if live is not None:
                live.stop()
            self._flush()
            self._progress.waiting = ""


def _console(stream: TextIO, screen: Screen) -> Console:
    return Console(
        file=stream,
        # With None, rich asks for the width each time, so the table follows a resized window.
        width=None if stream.isatty() else screen.width,
        theme=THEME,
        force_terminal=True,
        color_system="auto" if screen.color else None,
        no_color=not screen.color,
        highlight=False,
        # Texts come from users and plugins, so `[red]` in them must not become markup.
        markup=False,
        emoji=False,
        # Lines are wrapped already. Rich would break long words that users want to copy.
        soft_wrap=True,
    )
