"""Acquire, renew, release and break a lock: waiting, leases, takeover, lost answers.

The lock prevents wasted work and names the user who is running dtm. It does not protect the state:
the commit log does.
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
"""Attempts to find out whether a request without an answer took effect."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two attempts to acquire a lock: at first, and at most."""
WAITING_INTERVAL, COUNTDOWN_INTERVAL = 10.0, 1.0
"""Seconds between two LockWaiting events: while waiting, and during the countdown to a takeover."""


class LockOptions(msgspec.Struct, frozen=True):
    """The options for acquiring a lock.

    `timeout` is how many seconds to wait for it. `takeover` allows to take the lock of a dead
    holder. `lease` is the lease of this session in seconds.
    """

    timeout: float = 0.0
    takeover: bool = True
    lease: float = 30.0


class RetryingLocker(msgspec.Struct, frozen=True):
    """A locker for one key that retries, and resolves answers that are lost or late.

    It does so by the ID of the lock record: no other client writes a record with this ID.
    """

    locker: Locker
    key: str
    environment: Environment

    def put(self, info: LockInfo, expect: LockRecord | None, *, once: bool = False) -> LockRecord:
        """Write a record; raises as `Locker.put`. `once` switches off retries."""
        lost: OutcomeUnknownError | None = None
        for _ in range(MAX_ATTEMPTS):
            try:
                write = partial(self.locker.put, self.key, info, expect=expect)
                return write() if once else self.environment.retry(write)
            except LockHeldError as error:
                if _lock_id(error.record) != info.id:
                    raise
                if error.record.info == info:
                    return error.record  # our write succeeded; its answer was lost
                # Also ours: an earlier request that arrived late. Replace it.
                expect = error.record
            except OutcomeUnknownError as error:
                lost = error
        raise lost or OutcomeUnknownError(
            f"the lock on {self.key} kept changing while dtm wrote it (ID {info.id})"
        )

    def put_or_abandon(self, info: LockInfo, expect: LockRecord | None) -> LockRecord:
        """Write a record, and remove it if an interruption hides whether it was written."""
        try:
            return self.put(info, expect)
        except LockError:
            raise
        except BaseException:
            # For example a Ctrl-C during the request: the record would block others for a lease.
            with suppress(DtmError):
                if (there := self.locker.read(self.key)) and _lock_id(there) == info.id:
                    self.locker.remove(self.key, expect=there)
            raise

    def remove(self, record: LockRecord, dead_holder: LockInfo | None = None) -> None:
        """Remove the record of this session; raises as `Locker.remove`.

        A ProcessLocker then writes the record `dead_holder`, if there is one.
        """
        unclear = False
        for _ in range(MAX_ATTEMPTS):
            try:
                return self.environment.retry(partial(self._remove, record, dead_holder))
            except LockHeldError as error:
                if _lock_id(error.record) != _lock_id(record):
                    raise
                # A renewal that arrived late has changed the record; remove that version.
                record, unclear = error.record, True
            except LockError:
                # The record is gone. After a request without an answer, that request removed it.
                if unclear:
                    return None
                raise
            except OutcomeUnknownError:
                unclear = True
        raise OutcomeUnknownError(
            f"no answer to {MAX_ATTEMPTS} attempts to release the lock on {self.key}"
        )

    def _remove(self, record: LockRecord, dead_holder: LockInfo | None) -> None:
        if dead_holder and isinstance(self.locker, ProcessLocker):
            self.locker.remove(self.key, expect=record, dead_holder=dead_holder)
        else:
            self.locker.remove(self.key, expect=record)

    def dead_holder(self) -> LockInfo | None:
        """Return the holder that died with the lock, if the locker knows of one."""
        return self.locker.dead_holder(self.key) if isinstance(self.locker, ProcessLocker) else None


class HeldLock:
    """A lock that this session holds until `release`.

    With `environment.background` a thread renews it every third of the lease. `lost` is set once
    the record is replaced or gone; an unreachable store only causes a warning. `taken_from` is the
    dead holder that had the lock before, None if there was none.
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
        """Renew once; return whether that succeeded. After a failure the lock may still be held."""
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
            except Exception as error:  # noqa: BLE001 - without this thread the lease would expire
                self._warn(DtmError(f"internal error: {type(error).__name__}: {error}"))
                return False
            self._warned = False
            return not self.lost

    def release(self) -> None:
        """Release the lock.

        Raises LockHeldError if another session holds it, LockError if none does, store errors.
        """
        # Renewals end first. One that is under way could write the record again after its removal.
        self._stop.set()
        if self._thread:
            self._thread.join()
        self._lock.remove(self._record, self._record_to_leave)
        self._emit(LockReleased(self.info))

    def keep_dead_holder_record(self) -> None:
        """Make `release` restore the dead holder's record, so that the next run learns of it."""
        self._record_to_leave = self.taken_from

    def _renewals(self, lease: float) -> None:
        pause = lease / 3
        while not self._stop.wait(pause) and not self.lost:
            # The pause is shorter after a failure, so that several attempts fit into the lease.
            pause = lease / (3 if self.renew() else 12)

    def _warn(self, error: DtmError) -> None:
        # One warning for each outage, not one for each attempt.
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
    """Acquire the lock: wait for it up to the timeout, or take it over from a dead holder.

    A timeout of 0 means one attempt. A lock may be taken over once its record has not changed for
    its whole lease by the monotonic clock of this process. The wall-clock times in the record only
    decide whether to watch it beyond the timeout. Without `environment.background` the caller
    renews the lock. Raises LockHeldError, store errors.

        held = acquire(locker, key, info, LockOptions(timeout=60), emit)
        ...
        held.release()
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
            wait.reset()  # the record to take over is gone: try to create one
        else:
            dead_holder = None if expired else lock.dead_holder()
            taken_from = expired.info if expired else dead_holder
            held = HeldLock(lock, record, emit, environment, taken_from)
            with _release_on_error(held):
                emit(LockAcquired(own, wait.waited(), taken_from, ended=dead_holder is not None))
            return held


@contextmanager
def _release_on_error(held: HeldLock) -> Generator[None]:
    """Release a lock that `acquire` cannot return, since its caller will never see it."""
    try:
        yield
    except BaseException:
        held.release()
        raise


def break_lock(
    locker: Locker, key: str, lock_id: str, environment: Environment | None = None
) -> LockRecord:
    """Remove the lock with this ID, even while its holder is running; return its record.

    The ID "" is that of a lock whose record is unreadable. Raises LockHeldError if the lock has
    another ID, LockError if there is no lock, store errors.
    """
    environment = environment or Environment()
    broken: LockRecord | None = None
    for _ in range(MAX_ATTEMPTS):
        holder = environment.retry(lambda: locker.read(key))
        if holder is None and broken is not None:
            return broken  # the request without an answer removed it
        if holder is None:
            raise LockError(f"{key} is not locked")
        if _lock_id(holder) != lock_id:
            raise LockHeldError(
                holder, message="the lock has another ID", hint=_unlock_command(holder)
            )
        try:
            environment.retry(partial(locker.remove, key, expect=holder))
        except LockHeldError:
            continue  # its holder has just renewed it: it is the same lock
        except OutcomeUnknownError:
            broken = holder
        else:
            return holder
    raise OutcomeUnknownError(f"no answer to {MAX_ATTEMPTS} attempts to break the lock on {key}")


class _LockWait(msgspec.Struct):
    """The wait for a lock: the record that blocks it, and since when that record is unchanged.

    All times are those of the clock of this process. `alive` is true once the holder was seen to
    renew the record. `last_event` is the holder and the time of the last LockWaiting event.
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
        """Return the seconds since the first attempt, 0 if it did not have to wait."""
        return self.environment.clock() - self.started if self.last_event[0] else 0.0

    def reset(self) -> None:
        """Forget the record that blocked the lock: it is gone."""
        self.seen = None

    def expired(self) -> LockRecord | None:
        """Return the record of the holder, if it may be taken over now."""
        return self.seen if self._expires_in() == 0 else None

    def pause(self, holder: LockRecord, *, tried: bool) -> float:
        """Return the seconds until the next attempt; `tried`: the last one was a takeover.

        Raises LockHeldError if there is no time left for another attempt.
        """
        if self.seen is None or self.seen.version != holder.version:
            # The same ID with another version is a renewal, which proves that the holder is alive.
            # Times prove nothing: the clocks of two machines may differ by more than a lease.
            self.alive = _lock_id(self.seen) == _lock_id(holder) != ""
            self.seen, self.since = holder, self.environment.clock()
        waited, expires_in = self.environment.clock() - self.started, self._expires_in()
        if expires_in == 0 and not tried:
            return 0.0  # the lease has expired since the last attempt: take the lock over
        rest = self.options.timeout - waited
        looks_dead = (
            holder.info is not None
            and not self.alive
            and holder.info.has_expired_lease(self.environment.date())
        )
        # A holder that looks dead is watched for its whole lease, whatever the timeout is.
        if expires_in is not None and looks_dead:
            rest = max(rest, expires_in)
        if rest <= 0:
            raise _refusal(holder, self.waited())
        self._report(holder, expires_in, COUNTDOWN_INTERVAL if looks_dead else WAITING_INTERVAL)
        # A fifth of the time waited so far: a long wait then sends few requests and ends soon after
        # the lock is free. The random factor keeps many waiting clients from asking at the same
        # time.
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
