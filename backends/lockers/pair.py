"""Two locks held together, for a state shared with clients that know only one of the two."""

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
    """`engine.ports.Locker` that holds `first` and `second`, acquired in that order.

    If the second lock is refused, the first one is released. The records of both locks are joined
    into one, whose version is a JSON list of both versions. If another client holds only one of the
    two locks, `read` returns that record, with null in place of the other version. If two clients
    hold one lock each, `read` returns the record of the first lock. `dtm force-unlock` then breaks
    one lock after the other, by the IDs that are shown.
    """

    def __init__(self, first: Locker, second: Locker) -> None:
        self._first, self._second = first, second

    def read(self, key: str) -> LockRecord | None:
        """See `engine.ports.Locker.read`."""
        return _combine(self._first.read(key), self._second.read(key))

    def put(self, key: str, info: LockInfo, *, expect: LockRecord | None) -> LockRecord:
        """See `engine.ports.Locker.put`."""
        expect_first, expect_second = _split(expect)
        try:
            first = _put_or_confirm(self._first, key, info, expect_first)
        except LockHeldError as error:
            # Read again: the error carries the record of one lock, but the same client may hold
            # both, and its record must have both versions to be broken or taken over.
            raise LockHeldError(self.read(key) or _first_only(error.record)) from error
        try:
            second = _put_or_confirm(self._second, key, info, expect_second)
        except DtmError as error:
            # Release the first lock after a refused acquisition or takeover: otherwise it would
            # keep out all other clients, and its holder would not run. A renewal keeps the first
            # lock, and so does a takeover without an answer: the next attempt continues from there.
            is_takeover = _id(expect_first) != info.id
            if expect_first is None or (isinstance(error, LockError) and is_takeover):
                self._release_first(key, first)
            if isinstance(error, LockHeldError):
                same_holder = _id(first) == _id(error.record)
                raise LockHeldError(
                    _both(first, error.record) if same_holder else _second_only(error.record)
                ) from error
            # The first lock was written, so "unavailable" would wrongly promise no effect.
            if isinstance(error, StoreUnavailableError) and expect_first is not None:
                raise OutcomeUnknownError(
                    f"only one of two locks was renewed: {error.message}", hint=error.hint
                ) from error
            raise
        return _both(first, second)

    def remove(self, key: str, *, expect: LockRecord) -> None:
        """See `engine.ports.Locker.remove`. Release each lock, even if the other one fails."""
        problems: list[DtmError] = []
        for locker, record in zip((self._first, self._second), _split(expect), strict=True):
            if record is not None:
                try:
                    locker.remove(key, expect=record)
                except DtmError as error:
                    problems.append(error)
        if not problems:
            return
        # Report a lock that could not be released rather than one that is not held any more: the
        # user must act only on the former.
        worst = next((error for error in problems if not isinstance(error, LockError)), problems[0])
        # The other lock is released, so "unavailable" would wrongly promise no effect.
        if isinstance(worst, StoreUnavailableError) and len(problems) < 2:
            raise OutcomeUnknownError(
                f"only one of two locks was released: {worst.message}", hint=worst.hint
            ) from worst
        if isinstance(worst, LockHeldError):
            raise LockHeldError(self.read(key) or _first_only(worst.record)) from worst
        raise worst

    def _release_first(self, key: str, record: LockRecord) -> None:
        # If this fails, the first lock ends with its lease. The caller needs the error of the
        # second lock, which names its holder.
        with suppress(DtmError):
            self._first.remove(key, expect=record)


def _put_or_confirm(
    locker: Locker, key: str, info: LockInfo, expect: LockRecord | None
) -> LockRecord:
    """Write a record, or return the current one if it is equal.

    An equal record was written by an earlier attempt whose answer was lost.
    """
    try:
        return locker.put(key, info, expect=expect)
    except LockHeldError as error:
        if error.record.info != info:
            raise
        return error.record


def _both(first: LockRecord, second: LockRecord) -> LockRecord:
    """Return the record of a client that holds both locks."""
    return LockRecord(first.info, json.dumps([first.version, second.version]))


def _first_only(record: LockRecord) -> LockRecord:
    return LockRecord(record.info, json.dumps([record.version, None]))


def _second_only(record: LockRecord) -> LockRecord:
    return LockRecord(record.info, json.dumps([None, record.version]))


def _combine(first: LockRecord | None, second: LockRecord | None) -> LockRecord | None:
    """Return the record to show for both locks: of two different holders, the first lock's."""
    if first and second and _id(first) == _id(second):
        return _both(first, second)
    if first:
        return _first_only(first)
    return _second_only(second) if second else None


def _split(record: LockRecord | None) -> tuple[LockRecord | None, LockRecord | None]:
    """Split a record of this locker into the records of the first and the second lock."""
    if record is None:
        return None, None
    first, second = json.loads(record.version)
    return (
        None if first is None else LockRecord(record.info, first),
        None if second is None else LockRecord(record.info, second),
    )


def _id(record: LockRecord | None) -> str:
    return record.info.id if record and record.info else ""
