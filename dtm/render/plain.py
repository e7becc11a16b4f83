"""The renderer for log files and pipes.

Like DevStream, it writes log lines with a date to stderr. Data goes to stdout as plain text.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from dtm.render.human import HumanRenderer, StyledMessage
from dtm.render.screen import Screen
from dtm.render.text import Level, Line

MARKS: Final[dict[Level, str]] = {
    "debug": "λ [DEBUG]",
    "info": "ℹ [INFO]",
    "success": "✔ [SUCCESS]",
    "warning": "⚠ [WARN]",
    "error": "!! [ERROR]",
}


class PlainRenderer(HumanRenderer):
    """A renderer that never wraps lines, so that whole sentences can be searched for."""

    _last_date: tuple[datetime | None, str] = (None, "")

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen, dated=True)

    def _print(self, lines: Iterable[Line]) -> None:
        self.screen.out.write(self.screen.clean("".join([f"{each.text}\n" for each in lines])))
        self.screen.out.flush()  # so that a failed write stops the command now

    def _log(self, *messages: StyledMessage) -> None:
        date, text = self._date(), list[str]()
        for level, (first, *rest) in messages:
            text += (f"{date} {MARKS[level]}  {first.text}\n", *(f"{each.text}\n" for each in rest))
        if text:
            # If both streams go to one file, the order of the calls is kept.
            self.screen.out.flush()
            self.screen.err.write(self.screen.clean("".join(text)))

    def _date(self) -> str:
        """Return the date of a log line.

        It is formatted once a second, because that takes a fifth of the time of writing a line.
        """
        now = self.screen.clock().replace(microsecond=0)
        if now != self._last_date[0]:
            self._last_date = now, now.strftime("%Y-%m-%d %H:%M:%S")
        return self._last_date[1]
