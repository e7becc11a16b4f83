"""The part of the locker contract that is about time.

Waiting, leases, take-over, and requests that go wrong.

Hours pass on a clock that only moves when somebody sleeps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from dtm.testing.conformance import Case, expect_error, require
from dtm.testing.faults import CallFault, FaultyLocker
from dtm.testing.lock_clients import KEY, LEASE, LockerPlace, lock_info, run_in_threads, two_clients
from engine.errors import (
    DtmError,
    LockHeldError,
    OutcomeUnknownError,
    StoreAccessError,
    StoreUnavailableError,
)
from engine.events import LockAcquired, LockWaiting
from engine.session.locking import LockOptions, acquire, break_lock

HOUR = 3600.0
TEN_SECONDS = 4.0
"""Ten clients that need 0.2 s each are through in this time."""


def ten_waiters(place: LockerPlace) -> None:
    """Let ten clients need 0.2 s each: all are through within 4 s, by the real clock.

    The time counts from the first acquisition.

    The best of three tries counts: a busy machine slows down whoever is on it.
    """
    tries: list[float] = []
    while not tries or (min(tries) >= TEN_SECONDS and len(tries) < 3):
        tries.append(_ten_through(place))
    require(
        min(tries) < TEN_SECONDS,
        f"the last of ten clients ended {min(tries):.1f} s after the first one began",
    )


def _ten_through(place: LockerPlace) -> float:
    """Seconds from the first acquisition to the last release."""
    had: list[tuple[float, float]] = []
    problems: list[str] = []

    def work(number: int) -> None:
        try:
            held = acquire(
                place.connect(),
                KEY,
                lock_info(str(number)),
                LockOptions(timeout=20, lease=LEASE),
                lambda _event: None,
            )
            start = time.monotonic()
            time.sleep(0.2)
            held.release()
            had.append((start, time.monotonic()))
        except DtmError as error:
            problems.append(f"{type(error).__name__}: {error}")

    run_in_threads(work, 10)
    require(not problems, "; ".join(problems[:3]))
    return max(end for _, end in had) - min(start for start, _ in had)


def timeout_is_kept(place: LockerPlace) -> None:
    """Time out after 3.0 to 3.5 s where 3 s are asked for, and show the holder.

    A lock released after 1 s is had within 0.5 s.
    """
    alice, bob, clock = two_clients(place)
    held = alice.acquire()
    error = expect_error(lambda: bob.acquire(3.0), LockHeldError, "a lock that stays held")
    require(3.0 <= clock() <= 3.5, f"a timeout of 3 s took {clock():.2f} s")
    require(
        error.record.info == held.info,
        "the refusal does not show the holder",
    )
    started = clock()
    clock.call_later(1.0, held.release)
    theirs = bob.acquire(10.0)
    require(
        clock() - started <= 1.5,
        f"a lock released after 1 s was had after {clock() - started:.2f} s",
    )
    theirs.release()


def interrupted_waiting(place: LockerPlace) -> None:
    """Ctrl-C while waiting, or in the middle of a request, leaves no lock of ours behind."""
    alice, bob, clock = two_clients(place)
    held = alice.acquire()

    def interrupt() -> None:
        raise KeyboardInterrupt

    clock.call_later(0.5, interrupt)
    _interrupted(lambda: bob.acquire(10.0))
    require(
        bob.locker.read(KEY) == alice.locker.read(KEY), "an interrupted waiter changed the lock"
    )
    held.release()
    bob.locker = FaultyLocker(bob.locker, put=[CallFault(_Stop(), after_effect=True)])
    with suppress(_Stop):
        bob.acquire()
    require(alice.locker.read(KEY) is None, "an interrupted request left a lock behind")


class _Stop(Exception):  # noqa: N818 - stands for Ctrl-C
    """Interrupts a request after its effect."""


def _interrupted(call: Callable[[], object]) -> None:
    try:
        call()
    except KeyboardInterrupt:
        return
    require(False, "Ctrl-C did not end the wait")


def lost_answers(place: LockerPlace) -> None:
    """A lock whose answer was lost is ours, while acquiring, renewing and releasing."""
    alice, bob, clock = two_clients(place)
    lost = CallFault(OutcomeUnknownError("no answer"), after_effect=True)
    never = CallFault(OutcomeUnknownError("no answer"))
    alice.locker = FaultyLocker(
        alice.locker, put=[never, lost, CallFault(), lost], remove=[never, lost]
    )
    held = alice.acquire()
    clock.sleep(1.0)
    require(held.renew() and not held.lost, "a renewal whose answer was lost counts as lost")
    expect_error(bob.acquire, LockHeldError, "a lock whose answer was lost")
    held.release()
    require(bob.locker.read(KEY) is None, "a release whose answer was lost left the lock")


def vanished_holder(place: LockerPlace) -> None:
    """Have a lock at once that goes away between the refusal and the next look.

    Also while it is being taken over.
    """
    alice, bob, clock = two_clients(place)
    held = alice.acquire()
    bob.locker = FaultyLocker(bob.locker, put=[CallFault(before_call=held.release)])
    bob.acquire().release()
    silent = alice.acquire()
    clock.sleep(10 * LEASE)
    overdue = clock() + LEASE

    def vanish() -> None:
        if clock() >= overdue and alice.locker.read(KEY) is not None:
            silent.release()

    bob.locker = FaultyLocker(bob.locker, put=(CallFault(before_call=vanish) for _ in count()))
    bob.acquire().release()


def denied_is_not_locked(place: LockerPlace) -> None:
    """Denied is an error of its own, never "locked", and is not tried again."""
    _, bob, clock = two_clients(place)
    bob.locker = faulty = FaultyLocker(bob.locker, put=[CallFault(StoreAccessError("denied"))])
    expect_error(lambda: bob.acquire(10.0), StoreAccessError, "a lock that may not be written")
    require(faulty.calls.count("put") == 1 and clock() == 0, "a denied request was tried again")


def unreachable_is_bounded(place: LockerPlace) -> None:
    """Try an unreachable store a few times within half a minute, and change nothing.

    Three failures are survived.
    """
    alice, bob, clock = two_clients(place)
    reachable = bob.locker
    down = CallFault(StoreUnavailableError("no connection"))
    bob.locker = FaultyLocker(reachable, put=[down] * 1000)
    expect_error(lambda: bob.acquire(HOUR), StoreUnavailableError, "a lock in an unreachable store")
    require(clock() <= 30, f"an unreachable store was tried for {clock():.0f} s")
    require(alice.locker.read(KEY) is None, "an unreachable store was changed")
    bob.locker = FaultyLocker(reachable, put=[down] * 3)
    bob.acquire().release()


def silent_holder_is_taken_over(place: LockerPlace) -> None:
    """Take over a holder whose record does not change for a whole lease.

    It notices, and a countdown announces it.
    """
    alice, bob, clock = two_clients(place)
    held = alice.acquire()
    clock.sleep(10 * LEASE)
    started = clock()
    theirs = bob.acquire()
    require(
        clock() - started >= LEASE, f"taken over after only {clock() - started:.1f} s of silence"
    )
    require(
        clock() - started <= LEASE + 2,
        f"taken over only after {clock() - started:.1f} s of silence",
    )
    told = [event for event in bob.events if isinstance(event, LockWaiting)]
    require(
        len(told) > LEASE / 4 and all(event.takeover_in is not None for event in told),
        "there is no countdown",
    )
    last = bob.events[-1]
    require(
        isinstance(last, LockAcquired) and last.taken_from == held.info,
        "it is not said whose lock was taken over",
    )
    require(
        isinstance(last, LockAcquired) and not last.ended,
        "a holder that was only silent is said to have ended",
    )
    require(
        not held.renew() and held.lost is not None,
        "a holder that slept through its lease does not notice",
    )
    require("bob" in str(held.lost), "the holder is not told who took over")
    expect_error(held.release, LockHeldError, "a release by a holder that was taken over from")
    require(theirs.renew(), "the new holder cannot renew")
    theirs.release()


def living_holder_is_not_taken_over(place: LockerPlace) -> None:
    """Leave a holder that renews its lock, however long others wait.

    Without takeover a silent one keeps it, too.
    """
    alice, bob, clock = two_clients(place)
    held = alice.acquire()
    alice.renew_for(held, 20 * LEASE)
    expect_error(lambda: bob.acquire(10 * LEASE), LockHeldError, "the lock of a living holder")
    clock.sleep(20 * LEASE - clock())
    require(not held.lost, "a living holder lost its lock")
    expect_error(
        lambda: bob.acquire(10 * LEASE, takeover=False),
        LockHeldError,
        "a silent lock without takeover",
    )
    held.release()


def fresh_lock_is_refused_at_once(place: LockerPlace) -> None:
    """Without a timeout a lock that looks fresh is refused at the first try."""
    alice, bob, clock = two_clients(place)
    held = alice.acquire()
    clock.sleep(LEASE / 2)
    started = clock()
    expect_error(bob.acquire, LockHeldError, "a fresh lock")
    require(clock() == started, "a fresh lock was waited for without a timeout")
    held.release()


def clocks_differ(place: LockerPlace) -> None:
    """Set wall clocks an hour apart, either way.

    A living holder is never taken over, a dead one always.
    """
    for skew in (-HOUR, HOUR):
        alice, bob, clock = two_clients(place)
        alice.skew = skew
        held = alice.acquire()
        alice.renew_for(held, 4 * LEASE)
        expect_error(bob.acquire, LockHeldError, "the lock of a living holder whose clock differs")
        require(not held.lost and held.renew(), "a living holder whose clock differs lost its lock")
        clock.sleep(5 * LEASE)
        bob.acquire().release()
        require(not held.renew(), "a dead holder whose clock differs was not taken over")


def holder_without_lease(place: LockerPlace) -> None:
    """A record without a lease, as Terraform writes it, is never taken over; its ID breaks it."""
    alice, bob, _ = two_clients(place)
    alice.locker.put(KEY, lock_info("terraform"), expect=None)
    expect_error(
        lambda: bob.acquire(10 * LEASE), LockHeldError, "the lock of a holder that never renews"
    )
    break_lock(bob.locker, KEY, "terraform")
    bob.acquire().release()


LEASE_CASES: tuple[Case[LockerPlace], ...] = (
    Case(("C39",), "ten waiters are through in time", ten_waiters),
    Case(("C40",), "a timeout is kept", timeout_is_kept),
    Case(("C41",), "an interrupted wait leaves no lock", interrupted_waiting),
    Case(("C43",), "lost answers are recognised", lost_answers),
    Case(("C44",), "a holder that vanishes is no error", vanished_holder),
    Case(("C45",), "denied is not locked", denied_is_not_locked),
    Case(("C46", "G32"), "an unreachable store is tried a bounded time", unreachable_is_bounded),
    Case(
        ("C47", "G53", "G54"),
        "a silent holder is taken over and notices",
        silent_holder_is_taken_over,
    ),
    Case(("C47",), "a living holder is not taken over", living_holder_is_not_taken_over),
    Case(("C47",), "a fresh lock is refused at once", fresh_lock_is_refused_at_once),
    Case(("C48",), "clocks may differ", clocks_differ),
    Case(("C52",), "a holder without a lease is only broken by ID", holder_without_lease),
)
