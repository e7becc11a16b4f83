"""Get, keep and give back a lock: waiting, leases, takeover, and requests without an answer.

The lock is courtesy: it saves wasted plans and names somebody to ask. What keeps the state safe is
the compare-and-swap of the log.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial

import msgspec
from msgspec.structs import replace

from engine.errors import (
    DtmError,
    LockError,
    LockHeldError,
    OutcomeUnknownError,
    StoreError,
    SupersededError,
)
from engine.events import LockAcquired, LockReleased, LockWaiting, Notice
from engine.lock import LockInfo, LockRecord
from engine.ports import Emit, Locker, ProcessLocker
from engine.runtime.environment import Environment

MAX_ATTEMPTS = 5
"""RetryReporter to find out what became of a request without an answer."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
WAITING_INTERVAL, COUNTDOWN_INTERVAL = 10.0, 1.0
"""Seconds between two events while waiting, and while counting down to a takeover."""


class LockOptions(msgspec.Struct, frozen=True):
    """How to take a lock: seconds to wait for it, takeover of a dead holder's, our own lease."""

    timeout: float = 0.0
    takeover: bool = True
    lease: float = 30.0


class RetryingLocker(msgspec.Struct, frozen=True):
    """The lock on one key, with lost and late answers recognised by the ID of our record.

    No other client writes a record with our ID.
    """

    locker: Locker
    key: str
    environment: Environment

    def put(self, info: LockInfo, expect: LockRecord | None, *, once: bool = False) -> LockRecord:
        """Write a record; raises as `Locker.put`. With `once` an unavailable store is an error."""
        lost: OutcomeUnknownError | None = None
        for _ in range(MAX_ATTEMPTS):
            try:
                write = partial(self.locker.put, self.key, info, expect=expect)
                return write() if once else self.environment.retry(write)
            except LockHeldError as error:
                if _lock_id(error.record) != info.id:
                    raise
                if error.record.info == info:
                    return error.record  # the answer was lost
                expect = error.record  # ours too, from a request that arrived late
            except OutcomeUnknownError as error:
                lost = error
        raise lost or OutcomeUnknownError(
            f"the lock on {self.key} keeps changing under our own ID {info.id}"
        )

    def put_or_abandon(self, info: LockInfo, expect: LockRecord | None) -> LockRecord:
        """Write a record, and leave none of ours behind if that is interrupted."""
        try:
            return self.put(info, expect)
        except LockError:
            raise
        except BaseException:
            with suppress(DtmError):
                if (there := self.locker.read(self.key)) and _lock_id(there) == info.id:
                    self.locker.remove(self.key, expect=there)
            raise

    def remove(self, record: LockRecord, leaving: LockInfo | None = None) -> None:
        """Remove our record, also where it changed under our ID; raises as `Locker.remove`.

        A record that is gone after an unclear answer was removed by it. `leaving` is a dead
        holder's record that a ProcessLocker leaves behind.
        """
        unclear = False
        for _ in range(MAX_ATTEMPTS):
            try:
                return self.environment.retry(partial(self._remove, record, leaving))
            except LockHeldError as error:
                if _lock_id(error.record) != _lock_id(record):
                    raise
                record, unclear = error.record, True
            except LockError:
                if unclear:
                    return None
                raise
            except OutcomeUnknownError:
                unclear = True
        raise OutcomeUnknownError(
            f"no answer to {MAX_ATTEMPTS} attempts to release the lock on {self.key}"
        )

    def _remove(self, record: LockRecord, leaving: LockInfo | None) -> None:
        if leaving and isinstance(self.locker, ProcessLocker):
            self.locker.remove(self.key, expect=record, dead_holder=leaving)
        else:
            self.locker.remove(self.key, expect=record)

    def dead_holder(self) -> LockInfo | None:
        """Return the holder whose death left us the lock, as far as the locker can tell."""
        return self.locker.dead_holder(self.key) if isinstance(self.locker, ProcessLocker) else None


class HeldLock:
    """A lock that is ours until `release`, renewed in the background every third of its lease.

    `lost` is set once another record, or none, was found in place of ours; for an unreachable store
    there is only a warning. `taken_from` is the dead holder that had the lock before.
    """

    def __init__(
        self,
        lock: RetryingLocker,
        record: LockRecord,
        emit: Emit,
        environment: Environment,
        taken_from: LockInfo | None = None,
    ) -> None:
        assert record.info is not None and record.info.lease is not None  # `acquire` wrote it
        self._lock, self._record, self._emit = lock, record, emit
        self._environment, self.info, self.taken_from = environment, record.info, taken_from
        self.lost: SupersededError | None = None
        self._record_to_leave: LockInfo | None = None
        self._mutex, self._stop, self._warned = threading.Lock(), threading.Event(), False
        renewals = partial(self._renewals, record.info.lease)
        thread = threading.Thread(target=renewals, name="lock-renewal", daemon=True)
        self._thread = thread if environment.background else None
        if self._thread:
            self._thread.start()

    def renew(self) -> bool:
        """Renew once; False if it did not come through, which is no loss yet."""
        with self._mutex:
            if self.lost or self._stop.is_set():
                return False
            try:
                info = replace(self.info, renewed=self._environment.now())
                self._record = self._lock.put(info, self._record, once=True)
            except LockError as error:
                self.lost = _lock_lost(error)
            except (StoreError, OutcomeUnknownError) as error:
                self._warn(error)
                return False
            except Exception as error:  # noqa: BLE001 - a dead thread would let the lock run out
                self._warn(DtmError(f"internal error: {type(error).__name__}: {error}"))
                return False
            self._warned = False
            return not self.lost

    def release(self) -> None:
        """Give it back.

        Raises LockHeldError if another client has it, LockError if none has, store errors.
        """
        self._stop.set()
        if self._thread:
            self._thread.join()
        self._lock.remove(self._record, self._record_to_leave)
        self._emit(LockReleased(self.info))

    def keep_dead_holder_record(self) -> None:
        """Have `release` leave the dead holder's record, so that the next run learns of it too."""
        self._record_to_leave = self.taken_from

    def _renewals(self, lease: float) -> None:
        pause = lease / 3
        while not self._stop.wait(pause) and not self.lost:
            pause = lease / (3 if self.renew() else 12)

    def _warn(self, error: DtmError) -> None:
        if not self._warned:
            message = f"the lock could not be renewed: {error.message}"
            self._emit(Notice("warning", message, error.hint))
        self._warned = True


def acquire(
    locker: Locker,
    key: str,
    info: LockInfo,
    options: LockOptions,
    emit: Emit,
    environment: Environment | None = None,
) -> HeldLock:
    """Take the lock within the timeout, or from a holder that is silent for a whole lease.

    A timeout of 0 is one try. A holder's record must stay unchanged for its own lease by our
    monotonic clock before it may be taken over; wall clocks only hint whether that is worth
    watching for beyond the timeout. Without `environment.background` the caller renews. Raises
    LockHeldError, store errors.
    """
    environment = environment or Environment()
    lock, wait = RetryingLocker(locker, key, environment), _LockWait(options, emit, environment)
    while True:
        own = replace(info, lease=options.lease, renewed=environment.now())
        expired = wait.expired()
        try:
            record = lock.put_or_abandon(own, expired)
        except LockHeldError as error:
            environment.sleep(wait.pause(error.record, tried=expired is not None))
        except LockError:
            wait.reset()  # the silent holder is gone
        else:
            dead_holder = None if expired else lock.dead_holder()
            taken_from = expired.info if expired else dead_holder
            held = HeldLock(lock, record, emit, environment, taken_from)
            with _release_on_error(held):
                emit(LockAcquired(own, wait.waited(), taken_from, ended=dead_holder is not None))
            return held


@contextmanager
def _release_on_error(held: HeldLock) -> Generator[None]:
    """Release a lock that no caller was given yet: nobody else can."""
    try:
        yield
    except BaseException:
        held.release()
        raise


def break_lock(
    locker: Locker, key: str, lock_id: str, environment: Environment | None = None
) -> LockRecord:
    """Remove the lock of exactly that ID, whoever holds it, and return its record.

    The ID "" stands for a lock whose record is unreadable. Raises LockHeldError if another lock is
    there, LockError if none is, store errors.
    """
    environment = environment or Environment()
    broken: LockRecord | None = None
    for _ in range(MAX_ATTEMPTS):
        holder = environment.retry(lambda: locker.read(key))
        if holder is None and broken is not None:
            return broken  # by a request whose answer was lost
        if holder is None:
            raise LockError(f"{key} is not locked")
        if _lock_id(holder) != lock_id:
            raise LockHeldError(
                holder, message="the lock has another ID", hint=_unlock_command(holder)
            )
        try:
            environment.retry(partial(locker.remove, key, expect=holder))
        except LockHeldError:
            continue  # renewed in between: the same lock still
        except OutcomeUnknownError:
            broken = holder
        else:
            return holder
    raise OutcomeUnknownError(f"no answer to {MAX_ATTEMPTS} attempts to break the lock on {key}")


class _LockWait(msgspec.Struct):
    """The wait for one holder: its record as last seen, and since when it is unchanged.

    Times are of our own clock. `alive`: the record was renewed while we watched, which is proof
    where wall clocks are only a hint.
    """

    options: LockOptions
    emit: Emit
    environment: Environment
    started: float = 0.0
    seen: LockRecord | None = None
    since: float = 0.0
    alive: bool = False
    last_event: tuple[str, float] = ("", 0.0)

    def __post_init__(self) -> None:
        self.started = self.environment.clock()

    def waited(self) -> float:
        """Return the seconds since the first try, 0 if no holder stood in the way."""
        return self.environment.clock() - self.started if self.last_event[0] else 0.0

    def reset(self) -> None:
        """Stop watching: that holder is gone."""
        self.seen = None

    def expired(self) -> LockRecord | None:
        """Return the holder's record, if it may be taken over now."""
        return self.seen if self._expires_in() == 0 else None

    def pause(self, holder: LockRecord, *, tried: bool) -> float:
        """Return the seconds until the next try; `tried`: the last one was a takeover.

        Raises LockHeldError when there is to be none.
        """
        if self.seen is None or self.seen.version != holder.version:
            self.alive = _lock_id(self.seen) == _lock_id(holder) != ""
            self.seen, self.since = holder, self.environment.clock()
        waited, expires_in = self.environment.clock() - self.started, self._expires_in()
        if expires_in == 0 and not tried:
            return 0.0  # the lease ran out between the last try, which only asked, and now
        rest = self.options.timeout - waited
        counting = (
            holder.info is not None
            and not self.alive
            and holder.info.has_expired_lease(self.environment.date())
        )
        if expires_in is not None and counting:
            rest = max(rest, expires_in)
        if rest <= 0:
            raise _refusal(holder, self.waited())  # a slow answer is no wait
        self._report(holder, expires_in, COUNTDOWN_INTERVAL if counting else WAITING_INTERVAL)
        # A fifth of the time waited so far: however long the holder needs, we lose at most that
        # share on top of it.
        step = min(max(waited / 5, FIRST_PAUSE), LONGEST_PAUSE)
        step *= self.environment.rng.uniform(0.5, 1.5)
        return min(step, rest, expires_in or step)

    def _expires_in(self) -> float | None:
        """Return the seconds until the watched record counts as dead; None if it never does."""
        info = self.seen.info if self.seen else None
        if not self.options.takeover or info is None or not info.lease:
            return None
        return max(0.0, self.since + info.lease - self.environment.clock())

    def _report(self, holder: LockRecord, expires_in: float | None, every: float) -> None:
        who, at = holder.info.id if holder.info else holder.version, self.environment.clock()
        if who != self.last_event[0] or at - self.last_event[1] >= every:
            self.last_event = (who, at)
            self.emit(LockWaiting(holder, self.waited(), expires_in))


def _refusal(holder: LockRecord, waited: float) -> LockHeldError:
    message = f"the state is still locked by {holder.holder} after {waited:.1f} s" if waited else ""
    return LockHeldError(
        holder,
        message=message,
        hint="wait for the lock with --lock-timeout 5m; "
        f"if the holder is no longer running: {_unlock_command(holder)}",
    )


def _unlock_command(record: LockRecord) -> str:
    return f"dtm force-unlock {record.info.id}" if record.info else "dtm force-unlock --corrupt"


def _lock_lost(error: LockError) -> SupersededError:
    if isinstance(error, LockHeldError):
        return SupersededError(f"{error.record.holder} took over the lock on this state")
    return SupersededError("the lock on this state was removed")


def _lock_id(record: LockRecord | None) -> str:
    return record.info.id if record and record.info else ""
