"""Two locks taken together, for a state shared with clients that know only one of them."""

from __future__ import annotations

import json
from contextlib import suppress

from engine.errors import (
    DtmError,
    LockError,
    LockHeldError,
    OutcomeUnknownError,
    StoreUnavailableError,
)
from engine.lock import LockInfo, LockRecord
from engine.ports import Locker


class BothLockers:
    """`engine.ports.Locker` that holds `first` and `second`, taken in that order.

    If the second is refused, the first is given back. A record of both counts as one. If only one
    is held, or each by another client, the one that is there (the first of two) is shown, and can
    be broken by its ID.
    """

    def __init__(self, first: Locker, second: Locker) -> None:
        self._first, self._second = first, second

    def read(self, key: str) -> LockRecord | None:
        """See `engine.ports.Locker.read`."""
        return _joined(self._first.read(key), self._second.read(key))

    def put(self, key: str, info: LockInfo, *, expect: LockRecord | None) -> LockRecord:
        """See `engine.ports.Locker.put`."""
        seen = _parts(expect)
        try:
            first = _put(self._first, key, info, seen[0])
        except LockHeldError as error:
            # Read again: the refusal shows one lock only, but the same client may hold both.
            raise LockHeldError(self.read(key) or _half(error.record, None)) from error
        try:
            second = _put(self._second, key, info, seen[1])
        except DtmError as error:
            # After a refused takeover too. A renewal keeps the first lock, and so does a takeover
            # of which only the answer is missing: the next try goes on from there.
            if seen[0] is None or (isinstance(error, LockError) and _id(seen[0]) != info.id):
                self._give_back(key, first)
            if isinstance(error, LockHeldError):
                ours = _id(first) == _id(error.record)
                raise LockHeldError(
                    _whole(first, error.record) if ours else _half(None, error.record)
                ) from error
            if isinstance(error, StoreUnavailableError) and seen[0] is not None:
                raise OutcomeUnknownError(
                    f"only one of two locks was renewed: {error.message}", hint=error.hint
                ) from error
            raise
        return _whole(first, second)

    def remove(self, key: str, *, expect: LockRecord) -> None:
        """See `engine.ports.Locker.remove`. If one cannot be removed, the other still is."""
        problems: list[DtmError] = []
        for locker, record in zip((self._first, self._second), _parts(expect), strict=True):
            if record is not None:
                try:
                    locker.remove(key, expect=record)
                except DtmError as error:
                    problems.append(error)
        if not problems:
            return
        # A lock that is not held any more matters less than one that could not be released.
        worst = next((error for error in problems if not isinstance(error, LockError)), problems[0])
        # The other lock is released: "unavailable" would promise that nothing has happened.
        if isinstance(worst, StoreUnavailableError) and len(problems) < 2:
            raise OutcomeUnknownError(
                f"one of two locks is not released: {worst.message}", hint=worst.hint
            ) from worst
        if isinstance(worst, LockHeldError):
            raise LockHeldError(self.read(key) or _half(worst.record, None)) from worst
        raise worst

    def _give_back(self, key: str, record: LockRecord) -> None:
        # If this fails the lock ends with its lease; the caller needs the refusal of the other one.
        with suppress(DtmError):
            self._first.remove(key, expect=record)


def _put(locker: Locker, key: str, info: LockInfo, expect: LockRecord | None) -> LockRecord:
    """Put a record; an equal one that is already there was written by a try without an answer."""
    try:
        return locker.put(key, info, expect=expect)
    except LockHeldError as error:
        if error.record.info != info:
            raise
        return error.record


def _whole(first: LockRecord, second: LockRecord) -> LockRecord:
    return LockRecord(first.info, json.dumps([first.version, second.version]))


def _half(first: LockRecord | None, second: LockRecord | None) -> LockRecord:
    found = first or second
    assert found  # exactly one of them is given
    return LockRecord(found.info, json.dumps([first and first.version, second and second.version]))


def _joined(first: LockRecord | None, second: LockRecord | None) -> LockRecord | None:
    if first and second and _id(first) == _id(second):
        return _whole(first, second)
    return _half(first, None if first else second) if first or second else None


def _parts(record: LockRecord | None) -> tuple[LockRecord | None, LockRecord | None]:
    if record is None:
        return None, None
    first, second = json.loads(record.version)
    return (
        None if first is None else LockRecord(record.info, first),
        None if second is None else LockRecord(record.info, second),
    )


def _id(record: LockRecord) -> str:
    return record.info.id if record.info else ""
