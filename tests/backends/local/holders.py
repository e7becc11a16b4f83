"""Functions that the tests run in other processes, which import this module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from backends.local.store import LocalLocker, LocalStore
from backends.lockers.object import ObjectLocker
from dtm.testing.lock_clients import lock_info
from engine.errors import ConflictError, DtmError
from engine.ports import Locker
from engine.session.locking import HeldLock, LockOptions, acquire

KEY = "devstream.state"
LEASE = 1.2
LOCKERS = ("local", "object")


@contextmanager
def locker_of(kind: str, directory: Path) -> Iterator[Locker]:
    store, local = LocalStore(directory), LocalLocker(directory)
    yield local if kind == "local" else ObjectLocker(store)
    store.close()
    local.close()


def acquire_lock(locker: Locker, name: str, timeout: float = 0.0, lease: float = LEASE) -> HeldLock:
    return acquire(
        locker, KEY, lock_info(name), LockOptions(timeout=timeout, lease=lease), lambda _event: None
    )


def hold(kind: str, directory: Path, pipe: Connection) -> None:
    """Hold the lock, append to the log for each "go on" in the pipe, and send the result."""
    store = LocalStore(directory)
    with locker_of(kind, directory) as locker:
        held = acquire_lock(locker, "holder")
        version = store.append(KEY, b"1", expect=store.write(KEY, b"0", expect=None))
        pipe.send("holding")
        while pipe.recv() == "go on":
            try:
                version = store.append(KEY, b"2", expect=version)
                answer = "appended"
            except ConflictError:
                answer = "overtaken"
            pipe.send((answer, str(held.lost or "")))
        try:
            held.release()
            pipe.send("released")
        except DtmError as error:
            pipe.send(str(error))
    store.close()
