"""A lock on any store: one small object next to the state file, replaced by compare-and-swap."""

from __future__ import annotations

from contextlib import suppress

from msgspec.structs import replace

from backends.lockers.refusals import RecordMismatchError, put_record, release_error
from engine.errors import ConflictError, LockHeldError
from engine.lock import LockInfo, LockRecord
from engine.ports import Store

RELEASED = "released"
"""The text in a record whose holder has released it, and whose object is about to be deleted."""


class ObjectLocker:
    """`engine.ports.Locker` on `store`: the record of `key` is the object `key` + `suffix`.

    `exact_delete` is False for a store whose delete ignores the expected version. A release then
    first overwrites the record with one that is marked as released. The marked record still counts
    as held: no other client can take the lock before the object is deleted, so the delete cannot
    remove another client's lock.
    """

    def __init__(self, store: Store, suffix: str = ".lock", *, exact_delete: bool = True) -> None:
        self._store, self._suffix, self._exact_delete = store, suffix, exact_delete

    def read(self, key: str) -> LockRecord | None:
        """See `engine.ports.Locker.read`."""
        found = self._store.read(key + self._suffix)
        return LockRecord(LockInfo.from_json(found.data), found.version) if found else None

    def put(self, key: str, info: LockInfo, *, expect: LockRecord | None) -> LockRecord:
        """See `engine.ports.Locker.put`."""
        data, version = info.to_json(), expect.version if expect else None

        def attempt() -> LockRecord:
            try:
                return LockRecord(info, self._store.write(key + self._suffix, data, expect=version))
            except ConflictError as error:
                raise RecordMismatchError(self.read(key)) from error

        return put_record(key, expect, attempt)

    def remove(self, key: str, *, expect: LockRecord) -> None:
        """See `engine.ports.Locker.remove`."""
        if not self._exact_delete:
            self._mark_and_delete(key, expect)
            return
        # Read first: a store's delete of a missing key succeeds, but a missing lock is an error.
        holder = self.read(key)
        if holder is None or holder.version != expect.version:
            raise release_error(key, holder)
        try:
            self._store.delete(key + self._suffix, expect=expect.version)
        except ConflictError:
            raise LockHeldError(self.read(key) or holder) from None

    def _mark_and_delete(self, key: str, expect: LockRecord) -> None:
        # An unreadable record has no fields to keep. `{}` is unreadable too, so it counts as held.
        marked = replace(expect.info, info=RELEASED).to_json() if expect.info else b"{}"
        try:
            version = self._store.write(key + self._suffix, marked, expect=expect.version)
        except ConflictError:
            raise release_error(key, self.read(key)) from None
        # A conflict means that another client took the lock over since we marked it. Our own record
        # is gone in that case too, which is all that the caller wants.
        with suppress(ConflictError):
            self._store.delete(key + self._suffix, expect=version)
