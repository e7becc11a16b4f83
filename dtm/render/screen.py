"""The output streams of a renderer and their settings."""

from __future__ import annotations

from datetime import UTC, datetime
from io import TextIOWrapper
from typing import TextIO

import msgspec

from dtm.render.port import Clock
from dtm.render.text import Clean, Level


def local_time() -> datetime:
    """Return the current time in the local time zone."""
    return datetime.now(UTC).astimezone()


def _columns() -> int:
    import shutil  # 1.4 ms, and only a terminal has columns

    return shutil.get_terminal_size((100, 24)).columns


class Screen(msgspec.Struct, frozen=True):
    """The streams and settings of a renderer.

    Data goes to `out`, everything else to `err`. `clean` redacts known secrets in every text.
    `width` is in cells, by default the width of the terminal. `verbose` shows long texts whole and
    log lines of level debug. `quiet` hides everything but data, warnings and errors.
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
        """Return whether a line of this level is shown."""
        if level == "debug":
            return self.verbose and not self.quiet
        return not self.quiet or level in {"warning", "error"}

    def use_utf_8(self) -> None:
        """Write UTF-8 whatever the locale is. Escape lone surrogates, which UTF-8 cannot encode."""
        for stream in (self.out, self.err):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")
