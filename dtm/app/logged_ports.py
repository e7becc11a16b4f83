"""Stores, lockers and provisioners that log each request.

A wrapper has exactly the methods of the object inside it, because the engine works differently with
an `AppendStore` or a `ProcessLocker`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dtm.app.debug_log import DebugLog
from engine.lock import LockInfo, LockRecord
from engine.ports import (
    AppendStore,
    Locker,
    ProcessLocker,
    Provisioner,
    Store,
    StoredObject,
    Version,
)


def logged_store(store: Store, log: DebugLog) -> Store:
    """Return the store with its requests logged."""
    if isinstance(store, AppendStore):
        return LoggedAppendStore(store, log)
    return LoggedStore(store, log)


def logged_locker(make: Callable[[], Locker], log: DebugLog) -> Callable[[], Locker]:
    """Return a function that makes the locker with its requests logged."""

    def make_logged() -> Locker:
        locker = make()
        if isinstance(locker, ProcessLocker):
            return LoggedProcessLocker(locker, log)
        return LoggedLocker(locker, log)

    return make_logged


class LoggedStore:
    """`engine.ports.Store` that logs each request to the store inside it."""

    def __init__(self, store: Store, log: DebugLog) -> None:
        self._store, self._log = store, log

    @property
    def location(self) -> str:
        """See `engine.ports.Store.location`."""
        return self._store.location

    def read(self, key: str) -> StoredObject | None:
        """See `engine.ports.Store.read`."""

        def outcome(found: StoredObject | None) -> str:
            return f"version={found.version} bytes={len(found.data)}" if found else "absent"

        return self._log.timed(("store", "read", key), lambda: self._store.read(key), outcome)

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        """See `engine.ports.Store.write`."""
        return self._log.timed(
            ("store", "write", key),
            lambda: self._store.write(key, data, expect=expect),
            lambda version: f"version={version} bytes={len(data)} expected={expect}",
        )

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        """See `engine.ports.Store.delete`."""
        self._log.timed(
            ("store", "delete", key), lambda: self._store.delete(key, expect=expect), _done
        )

    def list(self, prefix: str) -> Iterator[str]:
        """See `engine.ports.Store.list`; all keys are read before the first one is returned."""
        keys = self._log.timed(
            ("store", "list", prefix),
            lambda: list(self._store.list(prefix)),
            lambda found: f"ok keys={len(found)}",
        )
        return iter(keys)


class LoggedAppendStore(LoggedStore):
    """`engine.ports.AppendStore` that logs each request to the store inside it."""

    def __init__(self, store: AppendStore, log: DebugLog) -> None:
        super().__init__(store, log)
        self._append = store.append

    def append(self, key: str, data: bytes, *, expect: Version) -> Version:
        """See `engine.ports.AppendStore.append`."""
        return self._log.timed(
            ("store", "append", key),
            lambda: self._append(key, data, expect=expect),
            lambda version: f"version={version} bytes={len(data)} expected={expect}",
        )


class LoggedLocker:
    """`engine.ports.Locker` that logs each request to the locker inside it."""

    def __init__(self, locker: Locker, log: DebugLog) -> None:
        self._locker, self._log = locker, log

    def read(self, key: str) -> LockRecord | None:
        """See `engine.ports.Locker.read`."""
        return self._log.timed(("lock", "read", key), lambda: self._locker.read(key), _record)

    def put(self, key: str, info: LockInfo, *, expect: LockRecord | None) -> LockRecord:
        """See `engine.ports.Locker.put`."""
        return self._log.timed(
            ("lock", "put", key), lambda: self._locker.put(key, info, expect=expect), _record
        )

    def remove(self, key: str, *, expect: LockRecord) -> None:
        """See `engine.ports.Locker.remove`."""
        self._log.timed(
            ("lock", "remove", key), lambda: self._locker.remove(key, expect=expect), _done
        )


class LoggedProcessLocker(LoggedLocker):
    """`engine.ports.ProcessLocker` that logs each request to the locker inside it."""

    def __init__(self, locker: ProcessLocker, log: DebugLog) -> None:
        super().__init__(locker, log)
        self._process_locker = locker

    def dead_holder(self, key: str) -> LockInfo | None:
        """See `engine.ports.ProcessLocker.dead_holder`; it sends no request to log."""
        return self._process_locker.dead_holder(key)

    def remove(self, key: str, *, expect: LockRecord, dead_holder: LockInfo | None = None) -> None:
        """See `engine.ports.ProcessLocker.remove`."""
        self._log.timed(
            ("lock", "remove", key),
            lambda: self._process_locker.remove(key, expect=expect, dead_holder=dead_holder),
            _done,
        )


class LoggedProvisioner:
    """`engine.ports.Provisioner` that logs each request to the one inside it."""

    def __init__(self, provisioner: Provisioner, location: str, log: DebugLog) -> None:
        self._provisioner, self._location, self._log = provisioner, location, log

    def missing(self) -> Sequence[str]:
        """See `engine.ports.Provisioner.missing`."""
        return self._log.timed(
            ("place", "missing", self._location), self._provisioner.missing, _count
        )

    def create(self) -> Sequence[str]:
        """See `engine.ports.Provisioner.create`."""
        return self._log.timed(
            ("place", "create", self._location), self._provisioner.create, _count
        )

    def policy(self) -> str:
        """See `engine.ports.Provisioner.policy`; it sends no request to log."""
        return self._provisioner.policy()


def _done(_result: None) -> str:
    return "ok"


def _count(found: Sequence[str]) -> str:
    return f"ok things={len(found)}"


def _record(record: LockRecord | None) -> str:
    if record is None:
        return "absent"
    lock_id = record.info.id if record.info else "unreadable"
    return f"version={record.version} id={lock_id} by={record.holder}"
