"""A lock made of any store that can compare and swap: one small object beside the state."""

from __future__ import annotations

from contextlib import suppress

from msgspec.structs import replace

from engine.errors import ConflictError, LockError, LockHeldError, StoreUnavailableError
from engine.lock import LockInfo, LockRecord
from engine.ports import Store

VANISHED_TRIES = 3
RELEASED = "released"


class ObjectLocker:
    """`engine.ports.Locker` over `store`: the record of `key` is the object `key` + `suffix`.

    `exact_delete` False: the store may delete another version than the expected one. Then a release first overwrites the
    record with a word that it is released; that counts as held, so nobody can have the lock before it is gone.
    """

    def __init__(self, store: Store, suffix: str = ".lock", *, exact_delete: bool = True) -> None:
        self._store, self._suffix, self._exact_delete = store, suffix, exact_delete

    def read(self, key: str) -> LockRecord | None:
        """See `engine.ports.Locker.read`."""
        found = self._store.read(key + self._suffix)
        return LockRecord(LockInfo.from_json(found.data), found.version) if found else None

    def put(self, key: str, info: LockInfo, *, expect: LockRecord | None) -> LockRecord:
        """See `engine.ports.Locker.put`."""
        for _ in range(VANISHED_TRIES):
            try:
                version = self._store.write(
                    key + self._suffix, info.to_json(), expect=expect.version if expect else None
                )
            except ConflictError:
                holder = self.read(key)
            else:
                return LockRecord(info, version)
            if holder is not None:
                raise LockHeldError(holder)
            if expect is not None:
                raise LockError(f"the lock on {key} is gone: somebody removed it")
        raise StoreUnavailableError(f"the lock on {key} comes and goes too fast to be had")

    def remove(self, key: str, *, expect: LockRecord) -> None:
        """See `engine.ports.Locker.remove`."""
        if not self._exact_delete:
            self._mark_and_delete(key, expect)
            return
        holder = self.read(key)
        if holder is None:
            raise LockError(f"{key} is not locked")
        if holder.version != expect.version:
            raise LockHeldError(holder)
        try:
            self._store.delete(key + self._suffix, expect=expect.version)
        except ConflictError:
            raise LockHeldError(self.read(key) or holder) from None

    def _mark_and_delete(self, key: str, expect: LockRecord) -> None:
        word = replace(expect.info, info=RELEASED).to_json() if expect.info else b"{}"
        try:
            version = self._store.write(key + self._suffix, word, expect=expect.version)
        except ConflictError:
            holder = self.read(key)
            if holder is None:
                raise LockError(f"{key} is not locked") from None
            raise LockHeldError(holder) from None
        with suppress(ConflictError):  # taken over since: what we had is released all the same
            self._store.delete(key + self._suffix, expect=version)
