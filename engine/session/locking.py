"""Getting, keeping and giving back a lock: waiting, leases, take-over, and what became of a lost answer.

The lock is courtesy: it saves wasted plans and says whom to ask. What keeps the state safe is the log's compare-and-swap.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Protocol, TypeVar

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
from engine.lock import LockInfo, LockRecord, timestamp
from engine.ports import Emit, Locker, ProcessLocker
from engine.runtime.retry import store_retry

T = TypeVar("T")


class Ask(Protocol):
    """Makes a call, again where `engine.runtime.retry` says so."""

    def __call__(self, call: Callable[[], T], /) -> T:
        """The call's result."""
        ...


def _once(call: Callable[[], T], /) -> T:
    return call()


ANSWERS = 5
"""Tries to find out what became of a request without an answer."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
TELL_EVERY, COUNT_EVERY = 10.0, 1.0
"""Seconds between two events while waiting, and while counting down to a take-over."""

_chance = random.Random()  # noqa: S311 - jitter, nothing secret


def _utc() -> datetime:
    return datetime.now(UTC)


class HeldLock:
    """A lock that is ours until `release`, renewed in the background every third of its lease.

    `lost` is set once somebody else's record, or none, was found in place of ours; an unreachable store is only warned of.
    """

    def __init__(
        self,
        locker: Locker,
        key: str,
        record: LockRecord,
        *,
        emit: Emit,
        now: Callable[[], datetime],
        background: bool,
        ask: Ask = store_retry,
    ) -> None:
        assert record.info is not None and record.info.lease is not None  # `acquire` wrote it
        self._locker, self._key, self._record, self._emit, self._now = (
            locker,
            key,
            record,
            emit,
            now,
        )
        self.info, self.lease, self._ask = record.info, record.info.lease, ask
        self.lost: SupersededError | None = None
        self._mutex, self._stop, self._warned = threading.Lock(), threading.Event(), False
        self._thread = (
            threading.Thread(target=self._renewals, name="lock-renewal", daemon=True)
            if background
            else None
        )
        if self._thread:
            self._thread.start()

    def renew(self) -> bool:
        """One renewal; False if it did not come through, which is no loss yet."""
        with self._mutex:
            if self.lost or self._stop.is_set():
                return False
            try:
                info = replace(self.info, renewed=timestamp(self._now()))
                self._record = _put(self._locker, self._key, info, self._record, _once)
            except LockError as error:
                self.lost = _superseded(error)
            except (StoreError, OutcomeUnknownError) as error:
                self._warn(error)
                return False
            self._warned = False
            return not self.lost

    def release(self) -> None:
        """Give it back. Raises LockHeldError if somebody else has it, LockError if nobody has, store errors."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        _remove(self._locker, self._key, self._record, self._ask)
        self._emit(LockReleased(self.info))

    def _renewals(self) -> None:
        pause = self.lease / 3
        while not self._stop.wait(pause) and not self.lost:
            pause = self.lease / (3 if self.renew() else 12)

    def _warn(self, error: DtmError) -> None:
        if not self._warned:
            self._emit(
                Notice("warning", f"the lock could not be renewed: {error.message}", error.hint)
            )
        self._warned = True


def acquire(
    locker: Locker,
    key: str,
    info: LockInfo,
    *,
    timeout: float,
    takeover: bool,
    lease: float,
    emit: Emit,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    rng: random.Random = _chance,
    now: Callable[[], datetime] = _utc,
    background: bool = True,
) -> HeldLock:
    """Have the lock within `timeout` seconds (0: one try), or take it over from a holder that is silent for a whole lease.

    `lease` is what we promise, in seconds. A holder's record must stay unchanged for its own lease by our `clock` before
    it may be taken over; wall clocks only hint whether that is worth watching for beyond the timeout. `background` False:
    the caller renews. Raises LockHeldError, store errors.
    """
    wait = _Wait(timeout, takeover, emit, clock, rng, now)

    def ask(call: Callable[[], T]) -> T:
        return store_retry(call, sleep=sleep, clock=clock, rng=rng)

    while True:
        mine, silent = replace(info, lease=lease, renewed=timestamp(now())), wait.silent()
        try:
            record = _put_or_abandon(locker, key, mine, silent, ask)
        except LockHeldError as error:
            sleep(wait.pause(error.record, tried=silent is not None))
        except LockError:  # who was silent is gone
            wait.forget()
        else:
            died = locker.died(key) if isinstance(locker, ProcessLocker) and not silent else None
            held = HeldLock(locker, key, record, emit=emit, now=now, background=background, ask=ask)
            with _released_on_error(held):
                emit(
                    LockAcquired(
                        mine, wait.waited(), silent.info if silent else died, ended=died is not None
                    )
                )
            return held


@contextmanager
def _released_on_error(held: HeldLock) -> Generator[None]:
    """Nobody else can release what nobody was given yet."""
    try:
        yield
    except BaseException:
        held.release()
        raise


def break_lock(locker: Locker, key: str, lock_id: str, *, ask: Ask = store_retry) -> LockRecord:
    """Remove the lock of exactly that ID, "" = one whose record is unreadable, whoever holds it; returns what was there.

    Raises LockHeldError if another lock is there, LockError if none is, store errors.
    """
    broken: LockRecord | None = None
    for _ in range(ANSWERS):
        holder = ask(lambda: locker.read(key))
        if holder is None and broken is not None:
            return broken  # by a request whose answer was lost
        if holder is None:
            raise LockError(f"{key} is not locked")
        if _id(holder) != lock_id:
            raise LockHeldError(holder, message="the lock has another ID", hint=_breaking(holder))
        try:
            ask(partial(locker.remove, key, expect=holder))
        except LockHeldError:
            continue  # renewed in between: the same lock still
        except OutcomeUnknownError:
            broken = holder
        else:
            return holder
    raise OutcomeUnknownError(f"no answer to {ANSWERS} attempts to break the lock on {key}")


def looks_dead(info: LockInfo, now: datetime) -> bool:
    """Whether a holder seems to have stopped renewing: a hint, since it compares the clocks of two machines."""
    if not info.lease:
        return False
    try:
        renewed = datetime.fromisoformat(info.renewed or info.created)
    except ValueError:
        return True
    renewed = renewed if renewed.tzinfo else renewed.replace(tzinfo=UTC)
    return abs((now - renewed).total_seconds()) > info.lease


class _Wait(msgspec.Struct):
    """How long to wait for whom: the holder's record as last seen, and since when it has not changed by our own clock.

    `alive`: it was renewed while we watched, which is proof where wall clocks are only a hint.
    """

    timeout: float
    takeover: bool
    emit: Emit
    clock: Callable[[], float]
    rng: random.Random
    now: Callable[[], datetime]
    started: float = 0.0
    seen: LockRecord | None = None
    since: float = 0.0
    alive: bool = False
    told: tuple[str, float] = ("", 0.0)

    def __post_init__(self) -> None:
        self.started = self.clock()

    def waited(self) -> float:
        """Seconds since the first try, 0 if nobody stood in the way."""
        return self.clock() - self.started if self.told[0] else 0.0

    def forget(self) -> None:
        """The holder that we watched is gone."""
        self.seen = None

    def silent(self) -> LockRecord | None:
        """The holder's record, if it may be taken over now."""
        return self.seen if self._overdue_in() == 0 else None

    def pause(self, holder: LockRecord, *, tried: bool) -> float:
        """Seconds until the next try; `tried`: the last one was a take-over. Raises LockHeldError when there is to be none."""
        if self.seen is None or self.seen.version != holder.version:
            self.alive = _id(self.seen) == _id(holder) != ""
            self.seen, self.since = holder, self.clock()
        waited, overdue = self.clock() - self.started, self._overdue_in()
        if overdue == 0 and not tried:
            return 0.0  # the lease ran out between the last try, which only asked, and now
        rest = self.timeout - waited
        counting = (
            holder.info is not None and not self.alive and looks_dead(holder.info, self.now())
        )
        if overdue is not None and counting:
            rest = max(rest, overdue)
        if rest <= 0:
            raise _refusal(holder, self.waited())  # a slow answer is no wait
        self._tell(holder, overdue, COUNT_EVERY if counting else TELL_EVERY)
        # a fifth of the time waited so far: however long the holder needs, we lose at most that share on top of it
        step = min(max(waited / 5, FIRST_PAUSE), LONGEST_PAUSE) * self.rng.uniform(0.5, 1.5)
        return min(step, rest, overdue or step)

    def _overdue_in(self) -> float | None:
        """Seconds until the watched record counts as dead, 0: now; None if it never does."""
        info = self.seen.info if self.seen else None
        if not self.takeover or info is None or not info.lease:
            return None
        return max(0.0, self.since + info.lease - self.clock())

    def _tell(self, holder: LockRecord, overdue: float | None, every: float) -> None:
        who, at = holder.info.id if holder.info else holder.version, self.clock()
        if who != self.told[0] or at - self.told[1] >= every:
            self.told = (who, at)
            self.emit(LockWaiting(holder, self.waited(), overdue))


def _refusal(holder: LockRecord, waited: float) -> LockHeldError:
    message = f"the state is still locked by {holder.holder} after {waited:.1f} s" if waited else ""
    return LockHeldError(
        holder,
        message=message,
        hint=f"--lock-timeout 5m waits longer; if nobody works there any more: {_breaking(holder)}",
    )


def _breaking(record: LockRecord) -> str:
    return f"dtm force-unlock {record.info.id}" if record.info else "dtm force-unlock --corrupt"


def _superseded(error: LockError) -> SupersededError:
    if isinstance(error, LockHeldError):
        return SupersededError(f"{error.record.holder} took over the lock on this state")
    return SupersededError("the lock on this state was removed")


def _id(record: LockRecord | None) -> str:
    return record.info.id if record and record.info else ""


def _put(
    locker: Locker, key: str, info: LockInfo, expect: LockRecord | None, ask: Ask
) -> LockRecord:
    """`Locker.put`, with lost and late answers recognised by our ID, which nobody else writes."""
    lost: OutcomeUnknownError | None = None
    for _ in range(ANSWERS):
        try:
            return ask(lambda: locker.put(key, info, expect=expect))  # noqa: B023 - called at once
        except LockHeldError as error:
            if _id(error.record) != info.id:
                raise
            if error.record.info == info:
                return error.record  # the answer was lost
            expect = error.record  # ours too, from a request that arrived late
        except OutcomeUnknownError as error:
            lost = error
    raise lost or OutcomeUnknownError(
        f"the lock on {key} keeps changing under our own ID {info.id}"
    )


def _put_or_abandon(
    locker: Locker, key: str, info: LockInfo, expect: LockRecord | None, ask: Ask
) -> LockRecord:
    """`_put` that leaves no lock of ours behind if it is interrupted."""
    try:
        return _put(locker, key, info, expect, ask)
    except LockError:
        raise
    except BaseException:
        with suppress(DtmError):
            if (there := locker.read(key)) and _id(there) == info.id:
                locker.remove(key, expect=there)
        raise


def _remove(locker: Locker, key: str, record: LockRecord, ask: Ask) -> None:
    """`Locker.remove` of whatever record of ours is there; one that is gone after an unclear answer was released by it."""
    unclear = False
    for _ in range(ANSWERS):
        try:
            return ask(lambda: locker.remove(key, expect=record))  # noqa: B023 - called at once
        except LockHeldError as error:
            if _id(error.record) != _id(record):
                raise
            record, unclear = error.record, True
        except LockError:
            if unclear:
                return None
            raise
        except OutcomeUnknownError:
            unclear = True
    raise OutcomeUnknownError(f"no answer to {ANSWERS} attempts to release the lock on {key}")
