"""The lock files that git holds for moments while it moves a branch, and that a git which is killed leaves for ever."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from engine.errors import ProviderError

STALE: Final = 10.0
"""Seconds that a lock stands there untouched before it is a dead git's: a living one holds it for some milliseconds."""


class BranchLocks:
    """Those of one branch of a repository, as seen by one commit that has to wait for them.

    `directory`: the git directory; None: on another machine, whose own matter it is. A lock's age is measured by watching
    it: no clock but this process's own is believed.
    """

    def __init__(self, directory: Path | None, branch: str) -> None:
        names = (f"refs/heads/{branch}.lock", "HEAD.lock")  # the latter where HEAD is that branch
        self._files = [directory / name for name in names] if directory else []
        self._seen: dict[Path, tuple[tuple[int, int], float]] = {}

    def clear(self) -> list[Path]:
        """Remove what was the same for STALE seconds; which it was. Raises ProviderError if it may not be removed."""
        return [file for file in self._files if self._stale(file) and _removed(file)]

    def _stale(self, file: Path) -> bool:
        try:
            found = file.stat()
        except (FileNotFoundError, NotADirectoryError):
            self._seen.pop(file, None)
            return False
        now, mark = time.monotonic(), (found.st_ino, found.st_mtime_ns)
        if file not in self._seen or self._seen[file][0] != mark:
            self._seen[file] = mark, now
        return now - self._seen[file][1] >= STALE


def _removed(file: Path) -> bool:
    try:
        with suppress(FileNotFoundError):
            file.unlink()
    except OSError as error:
        raise ProviderError(f"a git that was killed left {file}: it cannot be removed: {error.strerror}") from error
    return True
