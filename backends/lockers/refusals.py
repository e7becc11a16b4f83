"""Errors of every locker for a caller whose expected record is not the current one."""

from __future__ import annotations

from collections.abc import Callable

from engine.errors import LockError, LockHeldError, StoreUnavailableError
from engine.lock import LockRecord

MAX_ATTEMPTS = 3
"""Attempts to take a lock that other clients release just when an attempt is refused."""


class RecordMismatchError(Exception):
    """The current record is not the expected one; `holder` is the current one, None if gone."""

    def __init__(self, holder: LockRecord | None) -> None:
        super().__init__()
        self.holder = holder


def put_record(
    key: str, expect: LockRecord | None, attempt: Callable[[], LockRecord]
) -> LockRecord:
    """Run `attempt`, and raise the errors of `engine.ports.Locker.put`.

    `attempt` writes the record, or raises RecordMismatchError.
    """
    # A holder may release its lock after our write was refused and before we read its record. There
    # is then no holder to report, and the next attempt can succeed.
    for _ in range(MAX_ATTEMPTS):
        try:
            return attempt()
        except RecordMismatchError as mismatch:
            if mismatch.holder is not None:
                raise LockHeldError(mismatch.holder) from mismatch
            if expect is not None:
                # A renewal or a takeover must not create the lock again: another session may have
                # broken it on purpose.
                raise LockError(
                    f"the lock on {key} is gone: another client removed it"
                ) from mismatch
    raise StoreUnavailableError(
        f"could not acquire the lock on {key}: other clients keep taking it"
    )


def release_error(key: str, holder: LockRecord | None) -> LockError:
    """Return the error of `engine.ports.Locker.remove` if the current record is `holder`."""
    return LockHeldError(holder) if holder else LockError(f"{key} is not locked")
