"""Files that survive a crash: the system calls behind durability, in an order that is safe."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from weakref import WeakValueDictionary

BUSY_AFTER = 10.0
"""Seconds after which the short lock counts as stuck: it is normally held for milliseconds."""
POLL = 0.001

if sys.platform == "darwin":
    import fcntl

    def _flush(descriptor: int) -> None:
        # fsync on macOS leaves data in the drive's cache; some file systems have nothing better.
        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        except OSError:
            os.fsync(descriptor)

    _flush_data = _flush
else:
    _flush = os.fsync
    # fdatasync leaves out times and owner, which an append does not need. Windows has none.
    _flush_data = getattr(os, "fdatasync", os.fsync)


class Disk:
    """The system calls whose order matters; a test passes one that fails at a chosen call.

    Paths are given as text or Path; every error is an OSError.
    """

    def open(self, path: Path, flags: int) -> int:
        """Open a descriptor that children do not inherit; only the owner may use a new file."""
        return os.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o600)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write some of `data`, at least one byte, and return how many."""
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Bring everything about the file or directory to the medium."""
        _flush(descriptor)

    def sync_data(self, descriptor: int) -> None:
        """Bring the file's content and length to the medium."""
        _flush_data(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file, atomically for every reader."""
        source.replace(target)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file to `size` bytes."""
        os.ftruncate(descriptor, size)

    def unlink(self, path: Path) -> None:
        """Remove a file. Raises FileNotFoundError if it is gone."""
        path.unlink()

    def make_directory(self, path: Path) -> None:
        """Make one directory, for its owner only."""
        path.mkdir(mode=0o700)


class SyncError(OSError):
    """The name already points at the new content, yet it is not known to survive a power cut."""


def write_all(disk: Disk, descriptor: int, data: bytes) -> None:
    """Write all of `data`, in as many calls as it takes."""
    rest = memoryview(data)
    while rest:
        rest = rest[disk.write(descriptor, rest) :]


def sync_directory(disk: Disk, path: Path) -> None:
    """Make the names in a directory survive a power cut."""
    descriptor = disk.open(path, os.O_RDONLY)
    try:
        disk.sync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(disk: Disk, path: Path) -> None:
    """Make a directory and its missing parents, each durable before anything is put into it."""
    if path.is_dir():
        return
    make_directories(disk, path.parent)
    with suppress(FileExistsError):
        disk.make_directory(path)
    sync_directory(disk, path.parent)


def replace(disk: Disk, path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace the content of a file: readers see all of the old or all of the new.

    That holds after a crash too. The caller excludes other writers of the path: the name of the
    temporary file is fixed, so that a crash leaves at most one. Raises SyncError if only the last
    step failed, else OSError with the old content intact.
    """
    # In the same directory: a rename is atomic only within one file system.
    temporary = path.with_name(f".{path.name}.tmp")
    with suppress(FileNotFoundError):
        disk.unlink(temporary)
    try:
        descriptor = disk.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            write_all(disk, descriptor, data)
            if durable:
                disk.sync(descriptor)
        finally:
            os.close(descriptor)
        # After the sync: otherwise a crash could leave the name with an empty file behind it.
        disk.rename(temporary, path)
    except OSError:
        with suppress(OSError):
            disk.unlink(temporary)
        raise
    # The rename is on the medium only once its directory is.
    if durable:
        try:
            sync_directory(disk, path.parent)
        except OSError as error:
            raise SyncError(error.errno, error.strerror, str(path)) from error


_mutexes: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
"""One mutex for each lock file in use in this process."""


class ShortLock:
    """Excludes other threads and processes for the few milliseconds of a swap; not re-entrant.

    Its lock file is kept open and used again, so that taking it costs microseconds. The kernel
    frees it when its holder dies. Threads of one process queue at a mutex: only processes poll.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        # Shared by path: two locks of one process have two descriptors, and the kernel's lock would
        # let the second one wait by polling.
        self._mutex = _mutexes.setdefault(str(path), threading.Lock())
        self._descriptor = -1

    @contextmanager
    def held(self) -> Generator[None]:
        """Hold the lock.

        Raises TimeoutError if another process keeps it for BUSY_AFTER seconds, OSError if the lock
        file cannot be made.
        """
        from filelock import unlock_descriptor

        # Counted from here, so that the wait for threads and for processes has one limit.
        give_up = self._clock() + BUSY_AFTER
        if not self._mutex.acquire(timeout=BUSY_AFTER):
            raise self._busy()
        try:
            self._take(give_up)
            try:
                yield
            finally:
                unlock_descriptor(self._descriptor)
        finally:
            self._mutex.release()

    def _take(self, give_up: float) -> None:
        from filelock import lock_descriptor

        while True:
            self._open()
            locked = lock_descriptor(self._descriptor, blocking=False)
            # A lock on a deleted lock file excludes nobody: the next process makes a new file.
            if not is_file_at(self._descriptor, self._path):
                self.close()
            elif locked:
                return
            elif self._clock() >= give_up:
                raise self._busy()
            else:
                time.sleep(POLL)

    def _open(self) -> None:
        if self._descriptor < 0:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
            self._descriptor = os.open(self._path, flags, 0o600)

    def _busy(self) -> TimeoutError:
        return TimeoutError(errno.ETIMEDOUT, f"busy for {BUSY_AFTER:.0f} s", str(self._path))

    def close(self) -> None:
        """Close the descriptor; the next use opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    __del__ = close


def is_file_at(descriptor: int, path: Path) -> bool:
    """Return whether the open file is the one at the path."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)
