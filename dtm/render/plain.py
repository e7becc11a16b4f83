"""For log files and pipes: DevStream's dated lines on stderr, undecorated data on stdout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from dtm.render.people import PeopleRenderer
from dtm.render.text import Level, Line

MARKS: Final[dict[Level, str]] = {
    "debug": "λ [DEBUG]",
    "info": "ℹ [INFO]",
    "success": "✔ [SUCCESS]",
    "warning": "⚠ [WARN]",
    "error": "!! [ERROR]",
}


class PlainRenderer(PeopleRenderer):
    """Lines are never wrapped, so that whole sentences can be searched for."""

    def _print(self, lines: Iterable[Line]) -> None:
        self.screen.out.write(self.screen.clean("".join([f"{each.text}\n" for each in lines])))

    def _log(self, level: Level, lines: Sequence[Line]) -> None:
        date = self.screen.clock().strftime("%Y-%m-%d %H:%M:%S")
        first, *rest = lines
        text = "".join([f"{date} {MARKS[level]}  {first.text}\n", *(f"{each.text}\n" for each in rest)])
        self.screen.out.flush()  # where both go to one file, they stand in it in the order in which they were said
        self.screen.err.write(self.screen.clean(text))
