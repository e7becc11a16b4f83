"""A disk that fails after some bytes, before or after a chosen call, or by a power cut."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from backends.local.disk import Disk


class Died(BaseException):
    """Raised at the end of the process: no `except OSError` of the tested code may catch it."""


class FaultyDisk(Disk):
    """A disk that raises `error` at a chosen call or after a chosen number of bytes.

    `before` and `after` are the number of a call: the error comes before or after its effect.
    `bytes_left` is the number of bytes. The disk remembers what is not synced yet, so that
    `cut_power` can undo it.
    """

    def __init__(
        self,
        *,
        before: int = -1,
        after: int = -1,
        bytes_left: int = -1,
        error: Callable[[], BaseException] = Died,
    ) -> None:
        self.calls: list[str] = []
        self._before, self._after, self._left, self._error = before, after, bytes_left, error
        self._unsynced: dict[int, int] = {}  # inode -> synced bytes
        self._names: list[tuple[Path, bytes | None]] = []  # renamed paths, and their content before

    def _call(self, name: str, effect: Callable[[], None]) -> None:
        number = len(self.calls)
        self.calls.append(name)
        if number == self._before:
            raise self._error()
        effect()
        if number == self._after:
            raise self._error()

    def write(self, descriptor: int, data: memoryview) -> int:
        self._unsynced.setdefault(os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size)
        if 0 <= self._left <= len(data):
            os.write(descriptor, data[: self._left])
            raise self._error()
        written = super().write(descriptor, data)
        if self._left >= 0:
            self._left -= written
        return written

    def sync(self, descriptor: int) -> None:
        def effect() -> None:
            Disk.sync(self, descriptor)
            self._unsynced.pop(os.fstat(descriptor).st_ino, None)
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                self._names.clear()

        self._call("fsync", effect)

    def sync_data(self, descriptor: int) -> None:
        def effect() -> None:
            Disk.sync_data(self, descriptor)
            self._unsynced.pop(os.fstat(descriptor).st_ino, None)

        self._call("fdatasync", effect)

    def rename(self, source: Path, target: Path) -> None:
        held = target.read_bytes() if target.exists() else None

        def effect() -> None:
            Disk.rename(self, source, target)
            self._names.append((target, held))

        self._call("rename", effect)

    def cut_power(self, directory: Path, *, names_too: bool) -> None:
        """Undo all writes that are not synced; with `names_too` also the renames."""
        for path in directory.rglob("*"):
            if path.is_file() and (size := self._unsynced.get(path.stat().st_ino)) is not None:
                os.truncate(path, size)
        for path, held in reversed(self._names if names_too else []):
            with suppress(FileNotFoundError):
                path.unlink()
            if held is not None:
                path.write_bytes(held)
