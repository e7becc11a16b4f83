"""The live table: the running changes, their durations, and the progress of the whole run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from dtm.render.port import Clock
from dtm.render.sentences import DOING
from dtm.render.text import Clean, count, duration
from dtm.render.values import printable
from engine.address import Address
from engine.events import (
    ApplyComplete,
    ApplyErrored,
    ApplyProgress,
    ApplySkipped,
    ApplyStart,
    Event,
    LockAcquired,
    LockWaiting,
)
from engine.plan import Action

BAR: Final = 16
ECHO: Final = 4
"""The number of cells that stay free for the ^C that a terminal writes behind the last row.

If it did not fit, the table would move by one row.
"""


class RunningChange(msgspec.Struct):
    """One running change."""

    action: Action
    since: datetime
    text: str = ""
    fraction: float | None = None


class RunProgress(msgspec.Struct):
    """The progress of a run, which rich draws. It is empty while no change is running."""

    clock: Clock
    clean: Clean
    running: dict[Address, RunningChange] = msgspec.field(
        default_factory=dict[Address, RunningChange]
    )
    since: datetime | None = None
    ended: int = 0
    total: int = 0
    waiting: str = ""
    spinner: Spinner = msgspec.field(default_factory=lambda: Spinner("dots"))

    def update(self, event: Event, sentence: str = "") -> None:
        """Update the progress from an event. `sentence` names the lock holder for a LockWaiting."""
        match event:
            case ApplyStart():
                self.since = self.since or self.clock()
                self.total = event.total
                self.running[event.address] = RunningChange(event.action, self.clock())
            case ApplyProgress() if event.address in self.running:
                operation = self.running[event.address]
                operation.text, operation.fraction = event.text or operation.text, event.fraction
            case ApplyComplete() | ApplyErrored() | ApplySkipped():
                self.running.pop(event.address, None)
                self.ended += 1
            case LockWaiting():
                self.waiting = sentence
            case LockAcquired():
                self.waiting = ""
            case _:
                pass

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the table, with no more rows than the screen has."""
        parts: list[RenderableType] = []
        frame = str(self.spinner.render(console.get_time()))
        if self.waiting:
            parts.append(Text.assemble(frame, " ", self.waiting, style="info"))
        if self.since:
            parts += [
                self._table(frame, max(1, (options.height or options.size.height) - 6)),
                self._total(self.since),
            ]
        yield from console.render(
            Group(*parts), options.update_width(max(1, options.max_width - ECHO))
        )

    def _table(self, frame: str, rows: int) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_column(no_wrap=True)
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column(width=BAR)
        table.add_column(no_wrap=True, justify="right")
        shown = list(self.running.items())[:rows]
        for address, operation in shown:
            table.add_row(*self._row(frame, address, operation))
        if hidden := len(self.running) - len(shown):
            table.add_row(Text(f"  and {hidden:,} more", "dim"))
        return table

    def _row(
        self, frame: str, address: Address, operation: RunningChange
    ) -> tuple[RenderableType, ...]:
        bar: RenderableType = ""
        if operation.fraction is not None:
            bar = ProgressBar(total=1.0, completed=operation.fraction, width=BAR)
        text = printable(self.clean(operation.text).partition("\n")[0])
        style = operation.action.value
        return (
            Text.assemble((f"{frame} ", style), (str(address), "name")),
            Text(DOING[operation.action], style),
            Text(text, "dim"),
            bar,
            Text(duration((self.clock() - operation.since).total_seconds()), "dim"),
        )

    def _total(self, since: datetime) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(ratio=1)
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True, justify="right")
        elapsed = duration((self.clock() - since).total_seconds())
        ended = f"{self.ended:,}/{count(self.total, 'change')}"
        table.add_row(
            ProgressBar(total=max(self.total, 1), completed=self.ended),
            Text(ended, "strong"),
            Text(elapsed, "dim"),
        )
        return table


class LiveTable(Live):
    """A live table, which rich redraws periodically.

    `flush` prints the lines that wait to appear above it, and returns whether there were any.
    """

    def __init__(
        self, progress: RunProgress, console: Console, flush: Callable[[], bool], refresh: float
    ) -> None:
        super().__init__(
            progress,
            console=console,
            refresh_per_second=1 / refresh,
            # The table disappears after the run. Finished changes stay as lines above it.
            transient=True,
            # Otherwise rich replaces sys.stdout, and wraps or styles the output for programs.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._flush = flush

    def refresh(self) -> None:
        """Draw the table. Lines that are printed above it redraw it too."""
        if not self._flush():
            super().refresh()
