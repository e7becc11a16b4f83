"""A lock made of any store: one small object beside the state, compared and swapped."""

from __future__ import annotations

from contextlib import suppress

from msgspec.structs import replace

from backends.lockers.refusals import RecordMismatchError, put, release_error
from engine.errors import ConflictError, LockHeldError
from engine.lock import LockInfo, LockRecord
from engine.ports import Store

RELEASED = "released"


class ObjectLocker:
    """`engine.ports.Locker` over `store`: the record of `key` is the object `key` + `suffix`.

    `exact_delete` False: the store may delete another version than the expected one. Then a
    release first overwrites the record with one that says so. That record counts as held, so no
    client can take the lock, and lose it to the delete, before the object is gone.
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

        return put(key, expect, attempt)

    def remove(self, key: str, *, expect: LockRecord) -> None:
        """See `engine.ports.Locker.remove`."""
        if not self._exact_delete:
            self._mark_and_delete(key, expect)
            return
        holder = self.read(key)
        if holder is None or holder.version != expect.version:
            raise release_error(key, holder)
        try:
            self._store.delete(key + self._suffix, expect=expect.version)
        except ConflictError:
            raise LockHeldError(self.read(key) or holder) from None

    def _mark_and_delete(self, key: str, expect: LockRecord) -> None:
        # An unreadable record has no fields to keep. `{}` is unreadable too, so it counts as held.
        word = replace(expect.info, info=RELEASED).to_json() if expect.info else b"{}"
        try:
            version = self._store.write(key + self._suffix, word, expect=expect.version)
        except ConflictError:
            raise release_error(key, self.read(key)) from None
        with suppress(ConflictError):  # taken over since then: our record is released all the same
            self._store.delete(key + self._suffix, expect=version)
