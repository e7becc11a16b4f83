"""The renderer for log files and pipes.

It writes dated lines as DevStream does to stderr, and plain data to stdout.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from dtm.render.human import HumanRenderer, Message
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

    _second: tuple[datetime | None, str] = (None, "")

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen, dated=True)

    def _print(self, lines: Iterable[Line]) -> None:
        self.screen.out.write(self.screen.clean("".join([f"{each.text}\n" for each in lines])))
        self.screen.out.flush()  # what cannot be written is known before more is done

    def _log(self, *messages: Message) -> None:
        date, text = self._date(), list[str]()
        for level, (first, *rest) in messages:
            text += (f"{date} {MARKS[level]}  {first.text}\n", *(f"{each.text}\n" for each in rest))
        if text:
            # If both streams go to one file, the order of the calls is kept.
            self.screen.out.flush()
            self.screen.err.write(self.screen.clean("".join(text)))

    def _date(self) -> str:
        """Return the date of a log line.

        It is formatted once a second: formatting costs a fifth of a line.
        """
        now = self.screen.clock().replace(microsecond=0)
        if now != self._second[0]:
            self._second = now, now.strftime("%Y-%m-%d %H:%M:%S")
        return self._second[1]
