"""Where and how text leaves."""

from __future__ import annotations

from datetime import UTC, datetime
from io import TextIOWrapper
from typing import TextIO

import msgspec

from dtm.render.port import Clock
from dtm.render.text import Clean, Level


def local_time() -> datetime:
    """Read the time in the local time zone."""
    return datetime.now(UTC).astimezone()


def _columns() -> int:
    import shutil  # 1.4 ms, and only a terminal has columns

    return shutil.get_terminal_size((100, 24)).columns


class Screen(msgspec.Struct, frozen=True):
    """Data goes to `out`, everything else to `err`; `clean` goes over every text that leaves.

    `width` in cells, the terminal's unless given. `verbose` shows long texts whole and log lines of
    level debug; `quiet` keeps only data, warnings and errors.
    """

    out: TextIO
    err: TextIO
    clean: Clean
    clock: Clock = local_time
    width: int = msgspec.field(default_factory=_columns)
    color: bool = False
    verbose: bool = False
    quiet: bool = False

    def shows(self, level: Level) -> bool:
        """Tell whether a line of this level is shown."""
        if level == "debug":
            return self.verbose and not self.quiet
        return not self.quiet or level in {"warning", "error"}

    def use_utf_8(self) -> None:
        """Write UTF-8 whatever the locale says; a lone surrogate must not raise."""
        for stream in (self.out, self.err):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")
