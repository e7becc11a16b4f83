"""Answers of every locker to a caller whose expected record is not the one that is there."""

from __future__ import annotations

from collections.abc import Callable

from engine.errors import LockError, LockHeldError, StoreUnavailableError
from engine.lock import LockRecord

VANISHED_TRIES = 3
"""Attempts to take a lock that others release just when the attempt is refused."""


class RecordMismatchError(Exception):
    """The record was not the expected one; `holder` is the record there, None if there is none."""

    def __init__(self, holder: LockRecord | None) -> None:
        super().__init__()
        self.holder = holder


def put(key: str, expect: LockRecord | None, attempt: Callable[[], LockRecord]) -> LockRecord:
    """Carry out `engine.ports.Locker.put` with an `attempt` that writes or raises RefusedError."""
    # If the holder released its lock between refusal and read, the next attempt may succeed.
    for _ in range(VANISHED_TRIES):
        try:
            return attempt()
        except RecordMismatchError as refused:
            if refused.holder is not None:
                raise LockHeldError(refused.holder) from refused
            if expect is not None:
                raise LockError(f"the lock on {key} is gone: somebody removed it") from refused
    raise StoreUnavailableError(f"the lock on {key} comes and goes too fast to be had")


def release_error(key: str, holder: LockRecord | None) -> LockError:
    """Return the error of `engine.ports.Locker.remove` where `holder` is there instead."""
    return LockHeldError(holder) if holder else LockError(f"{key} is not locked")
