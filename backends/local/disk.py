"""Files that survive a crash: durable writes, made of system calls in a safe order."""

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

LOCK_TIMEOUT = 10.0
"""Seconds to wait for the short lock, which is normally held for milliseconds."""
POLL_INTERVAL = 0.001
"""Seconds between two attempts to take the short lock from another process."""

if sys.platform == "darwin":
    import fcntl

    def _flush(descriptor: int) -> None:
        # On macOS fsync leaves the data in the drive's cache, where a power cut destroys it. Some
        # file systems refuse F_FULLFSYNC, and then fsync is all there is.
        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        except OSError:
            os.fsync(descriptor)

    _flush_data = _flush
else:
    _flush = os.fsync
    # fdatasync skips the times and the owner, which an append does not need. Windows lacks it.
    _flush_data = getattr(os, "fdatasync", os.fsync)


class Disk:
    """The system calls whose order matters. Tests pass a subclass that fails at a chosen call.

    Every error is an OSError.
    """

    def open(self, path: Path, flags: int) -> int:
        """Open a descriptor that child processes do not inherit; a new file gets mode 0600."""
        return os.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o600)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write some of `data`, at least one byte, and return the number of bytes."""
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Flush the content and all metadata of the file or directory to the disk."""
        _flush(descriptor)

    def sync_data(self, descriptor: int) -> None:
        """Flush the file's content and length to the disk."""
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
        """Create one directory with mode 0700."""
        path.mkdir(mode=0o700)


class SyncError(OSError):
    """A failed sync after the new content became visible: it may not survive a power cut."""


def write_all(disk: Disk, descriptor: int, data: bytes) -> None:
    """Write all of `data`, with as many calls as necessary."""
    rest = memoryview(data)
    while rest:
        rest = rest[disk.write(descriptor, rest) :]


def sync_directory(disk: Disk, path: Path) -> None:
    """Flush the names in a directory to the disk, so that they survive a power cut."""
    descriptor = disk.open(path, os.O_RDONLY)
    try:
        disk.sync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(disk: Disk, path: Path) -> None:
    """Create a directory and its missing parents, each durable before it gets any content."""
    if path.is_dir():
        return
    make_directories(disk, path.parent)
    with suppress(FileExistsError):
        disk.make_directory(path)
    sync_directory(disk, path.parent)


def replace(disk: Disk, path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace a file: readers see the old content or the new content, also after a crash.

    The caller must exclude other writers of the path. Raises SyncError if only the last step
    failed: the new content is visible, but may not survive a power cut. Raises OSError for any
    other failure, with the old content intact.
    """
    # In the same directory, since a rename is atomic only within one file system. The name is
    # fixed, so that crashes leave at most one temporary file behind.
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
        # Only after the sync: otherwise a power cut could leave an empty file at the path.
        disk.rename(temporary, path)
    except OSError:
        with suppress(OSError):
            disk.unlink(temporary)
        raise
    # The rename is on the disk only once its directory is.
    if durable:
        try:
            sync_directory(disk, path.parent)
        except OSError as error:
            raise SyncError(error.errno, error.strerror, str(path)) from error


_mutexes: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
"""One mutex for each lock file in use in this process."""


class ShortLock:
    """A lock for the few milliseconds of one compare-and-swap; not re-entrant.

    It excludes threads and other processes. Its lock file stays open between uses, so that taking
    the lock costs microseconds. The kernel releases it when its holder dies. Threads of one process
    wait for a mutex; only other processes poll.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        # One mutex per path: the store and the locker of a process have a descriptor each, and
        # without a common mutex one of them would have to poll the kernel's lock.
        self._mutex = _mutexes.setdefault(str(path), threading.Lock())
        self._descriptor = -1

    @contextmanager
    def held(self) -> Generator[None]:
        """Hold the lock.

        Raises TimeoutError if it is not free within LOCK_TIMEOUT seconds, OSError if the lock file
        cannot be created.
        """
        from filelock import unlock_descriptor

        # One deadline for both waits: for threads (the mutex) and for processes (the lock file).
        deadline = self._clock() + LOCK_TIMEOUT
        if not self._mutex.acquire(timeout=LOCK_TIMEOUT):
            raise self._timeout_error()
        try:
            self._acquire(deadline)
            try:
                yield
            finally:
                unlock_descriptor(self._descriptor)
        finally:
            self._mutex.release()

    def _acquire(self, deadline: float) -> None:
        from filelock import lock_descriptor

        while True:
            self._open()
            locked = lock_descriptor(self._descriptor, blocking=False)
            # A lock on a deleted file excludes no other process: the next one creates a new file.
            if not is_file_at(self._descriptor, self._path):
                self.close()
            elif locked:
                return
            elif self._clock() >= deadline:
                raise self._timeout_error()
            else:
                time.sleep(POLL_INTERVAL)

    def _open(self) -> None:
        if self._descriptor < 0:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
            self._descriptor = os.open(self._path, flags, 0o600)

    def _timeout_error(self) -> TimeoutError:
        return TimeoutError(errno.ETIMEDOUT, f"locked for {LOCK_TIMEOUT:.0f} s", str(self._path))

    def close(self) -> None:
        """Close the lock file; the next use opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    __del__ = close


def is_file_at(descriptor: int, path: Path) -> bool:
    """Return whether the open file is the file at the path."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)
