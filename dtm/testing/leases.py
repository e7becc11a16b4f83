"""The cases of the locker contract about time: waiting, leases, takeover, failing requests.

Hours pass on a fake clock that moves only in `sleep`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from dtm.testing.conformance import Case, expect_error, require
from dtm.testing.faults import CallFault, FaultyLocker
from dtm.testing.lock_clients import (
    KEY,
    LEASE,
    LockerPlace,
    lock_info,
    run_in_threads,
    two_clients,
)
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
TEN_CLIENTS_LIMIT = 4.0
"""Seconds within which ten clients that hold the lock for 0.2 s each must finish."""


def ten_clients_finish_in_time(place: LockerPlace) -> None:
    """Let ten clients hold the lock for 0.2 s each, by the real clock.

    All must finish within 4 s after the first acquisition. The best of three attempts counts, since
    the machine may be busy with other work.
    """
    durations: list[float] = []
    while not durations or (min(durations) >= TEN_CLIENTS_LIMIT and len(durations) < 3):
        durations.append(_run_ten_clients(place))
    require(
        min(durations) < TEN_CLIENTS_LIMIT,
        f"ten clients must finish within {TEN_CLIENTS_LIMIT:.0f} s after the first acquisition, "
        f"but took {min(durations):.1f} s",
    )


def _run_ten_clients(place: LockerPlace) -> float:
    """Return the seconds from the first acquisition to the last release."""
    holds: list[tuple[float, float]] = []
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
            holds.append((start, time.monotonic()))
        except DtmError as error:
            problems.append(f"{type(error).__name__}: {error}")

    run_in_threads(work, 10)
    require(
        not problems, f"each client must get the lock, but some failed: {'; '.join(problems[:3])}"
    )
    return max(end for _, end in holds) - min(start for start, _ in holds)


def timeout_is_kept(place: LockerPlace) -> None:
    """Wait for a held lock with a timeout of 3 s; then for one that is released after 1 s."""
    alice, bob, clock = two_clients(place)
    held = alice.acquire()
    error = expect_error(lambda: bob.acquire(3.0), LockHeldError, "waiting for a held lock")
    require(
        3.0 <= clock() <= 3.5,
        f"a timeout of 3 s must end after 3.0 to 3.5 s, but ended after {clock():.2f} s",
    )
    require(
        error.record.info == held.info,
        f"the LockHeldError must name the holder, but names {error.record.info}",
    )
    started = clock()
    clock.call_later(1.0, held.release)
    bobs = bob.acquire(10.0)
    require(
        clock() - started <= 1.5,
        "a lock that is released after 1 s must be acquired within 1.5 s, "
        f"but was acquired after {clock() - started:.2f} s",
    )
    bobs.release()


def interrupted_wait_leaves_no_lock(place: LockerPlace) -> None:
    """Interrupt a client while it waits, and in the middle of a request."""
    alice, bob, clock = two_clients(place)
    held = alice.acquire()

    def interrupt() -> None:
        raise KeyboardInterrupt

    clock.call_later(0.5, interrupt)
    _expect_interrupt(lambda: bob.acquire(10.0))
    require(
        bob.locker.read(KEY) == alice.locker.read(KEY),
        "an interrupted wait must not change the lock, but did",
    )
    held.release()
    # The lock is written, but the client does not learn that: it must still clean up.
    bob.locker = FaultyLocker(bob.locker, put=[CallFault(_Interrupt(), after_effect=True)])
    with suppress(_Interrupt):
        bob.acquire()
    require(
        alice.locker.read(KEY) is None,
        "an interrupted acquisition must release the lock, but left it behind",
    )


class _Interrupt(Exception):  # noqa: N818 - acts like Ctrl-C
    """Interrupts a request after its effect."""


def _expect_interrupt(call: Callable[[], object]) -> None:
    try:
        call()
    except KeyboardInterrupt:
        return
    require(False, "Ctrl-C must end the wait, but the wait went on")


def lost_answers_are_recognized(place: LockerPlace) -> None:
    """Lose the request or the answer of an acquisition, a renewal and a release.

    The client must find out whether its request had an effect, and repeat it if not.
    """
    alice, bob, clock = two_clients(place)
    answer_lost = CallFault(OutcomeUnknownError("no answer"), after_effect=True)
    request_lost = CallFault(OutcomeUnknownError("no answer"))
    alice.locker = FaultyLocker(
        alice.locker,
        put=[request_lost, answer_lost, CallFault(), answer_lost],
        remove=[request_lost, answer_lost],
    )
    held = alice.acquire()
    clock.sleep(1.0)
    require(
        held.renew() and not held.lost,
        "a renewal whose answer is lost must keep the lock, but the lock counts as lost",
    )
    expect_error(bob.acquire, LockHeldError, "acquiring a lock whose holder got no answer")
    held.release()
    require(
        bob.locker.read(KEY) is None,
        "a release whose answer is lost must free the lock, but it is still held",
    )


def released_lock_is_acquired(place: LockerPlace) -> None:
    """Release a lock just before another client's attempt: that client acquires it.

    The same holds for a takeover.
    """
    alice, bob, clock = two_clients(place)
    held = alice.acquire()
    bob.locker = FaultyLocker(bob.locker, put=[CallFault(before_call=held.release)])
    bob.acquire().release()
    silent = alice.acquire()
    clock.sleep(10 * LEASE)
    overdue = clock() + LEASE

    def release_when_overdue() -> None:
        if clock() >= overdue and alice.locker.read(KEY) is not None:
            silent.release()

    faults = (CallFault(before_call=release_when_overdue) for _ in count())
    bob.locker = FaultyLocker(bob.locker, put=faults)
    bob.acquire().release()


def denied_access_is_not_a_held_lock(place: LockerPlace) -> None:
    """Deny the access to the lock: its own error, and no second attempt."""
    _, bob, clock = two_clients(place)
    bob.locker = faulty = FaultyLocker(bob.locker, put=[CallFault(StoreAccessError("denied"))])
    expect_error(lambda: bob.acquire(10.0), StoreAccessError, "acquiring a lock without permission")
    require(
        faulty.calls.count("put") == 1 and clock() == 0,
        "a denied request must not be repeated, but was",
    )


def unreachable_store_is_retried_briefly(place: LockerPlace) -> None:
    """Use an unreachable store: an error within half a minute. Three failures are survived."""
    alice, bob, clock = two_clients(place)
    reachable = bob.locker
    down = CallFault(StoreUnavailableError("no connection"))
    bob.locker = FaultyLocker(reachable, put=[down] * 1000)
    expect_error(
        lambda: bob.acquire(HOUR), StoreUnavailableError, "acquiring a lock in an unreachable store"
    )
    require(
        clock() <= 30,
        f"an unreachable store must be retried for at most 30 s, but was for {clock():.0f} s",
    )
    require(
        alice.locker.read(KEY) is None,
        "requests that fail without effect must leave the lock free, but it is held",
    )
    bob.locker = FaultyLocker(reachable, put=[down] * 3)
    bob.acquire().release()


def silent_holder_loses_lock(place: LockerPlace) -> None:
    """Take over from a holder whose record does not change for a whole lease.

    A countdown announces the takeover, and the old holder notices it.
    """
    alice, bob, clock = two_clients(place)
    held = alice.acquire()
    # However old the record is, a new client must watch it for a whole lease: by the time in the
    # record alone, a holder with a slow clock would lose its lock.
    clock.sleep(10 * LEASE)
    started = clock()
    bobs = bob.acquire()
    waited = clock() - started
    require(
        LEASE <= waited <= LEASE + 2,
        f"a silent holder must lose its lock after {LEASE:.0f} s, but lost it after {waited:.1f} s",
    )
    waits = [event for event in bob.events if isinstance(event, LockWaiting)]
    require(
        len(waits) > LEASE / 4 and all(event.takeover_in is not None for event in waits),
        "the wait must report a countdown to the takeover, but does not",
    )
    last = bob.events[-1]
    require(
        isinstance(last, LockAcquired) and last.taken_from == held.info,
        "the acquisition must report the previous holder, but does not",
    )
    require(
        isinstance(last, LockAcquired) and not last.ended,
        "a silent holder may still run, but is reported as ended",
    )
    require(
        not held.renew() and held.lost is not None,
        "the old holder's renewal must fail, but succeeded",
    )
    require(
        "bob" in str(held.lost),
        f"the old holder must learn who took over, but got: {held.lost}",
    )
    expect_error(held.release, LockHeldError, "a release by the old holder")
    require(bobs.renew(), "the new holder must be able to renew, but could not")
    bobs.release()


def renewing_holder_keeps_lock(place: LockerPlace) -> None:
    """Wait for a holder that renews its lock; then for a silent one, without takeover."""
    alice, bob, clock = two_clients(place)
    held = alice.acquire()
    alice.renew_for(held, 20 * LEASE)
    expect_error(
        lambda: bob.acquire(10 * LEASE), LockHeldError, "waiting for a holder that renews its lock"
    )
    clock.sleep(20 * LEASE - clock())
    require(not held.lost, "a holder that renews its lock must keep it, but lost it")
    expect_error(
        lambda: bob.acquire(10 * LEASE, takeover=False),
        LockHeldError,
        "waiting for a silent holder without takeover",
    )
    held.release()


def fresh_lock_is_refused_immediately(place: LockerPlace) -> None:
    """Try a lock within its lease and without a timeout: refused at the first attempt."""
    alice, bob, clock = two_clients(place)
    held = alice.acquire()
    clock.sleep(LEASE / 2)
    started = clock()
    expect_error(bob.acquire, LockHeldError, "acquiring a lock within its lease")
    require(
        clock() == started, "without a timeout a client must not wait for a fresh lock, but it did"
    )
    held.release()


def clocks_may_differ(place: LockerPlace) -> None:
    """Set the wall clocks of holder and waiter one hour apart, in both directions."""
    for skew in (-HOUR, HOUR):
        alice, bob, clock = two_clients(place)
        alice.skew = skew
        held = alice.acquire()
        alice.renew_for(held, 4 * LEASE)
        expect_error(
            bob.acquire, LockHeldError, "acquiring the lock of a holder with another clock"
        )
        require(
            not held.lost and held.renew(),
            "a holder with another clock must keep its lock, but lost it",
        )
        clock.sleep(5 * LEASE)
        bob.acquire().release()
        require(
            not held.renew(),
            "a silent holder with another clock must lose its lock, but could renew it",
        )


def lock_without_lease_is_not_taken_over(place: LockerPlace) -> None:
    """Wait for a record without a lease, as Terraform writes it; then break it by its ID."""
    alice, bob, _ = two_clients(place)
    # Terraform never renews its record, so its silence does not mean that it has ended.
    alice.locker.put(KEY, lock_info("terraform"), expect=None)
    expect_error(
        lambda: bob.acquire(10 * LEASE), LockHeldError, "waiting for a lock without a lease"
    )
    break_lock(bob.locker, KEY, "terraform")
    bob.acquire().release()


LEASE_CASES: tuple[Case[LockerPlace], ...] = (
    Case(("C39",), "ten waiting clients finish in time", ten_clients_finish_in_time),
    Case(("C40",), "a timeout is kept", timeout_is_kept),
    Case(("C41",), "an interrupted wait leaves no lock behind", interrupted_wait_leaves_no_lock),
    Case(("C43",), "a lost answer is recognized", lost_answers_are_recognized),
    Case(
        ("C44",), "a lock that is released during an attempt is acquired", released_lock_is_acquired
    ),
    Case(
        ("C45",),
        "denied access is not reported as a held lock",
        denied_access_is_not_a_held_lock,
    ),
    Case(
        ("C46", "G32"),
        "an unreachable store is retried for a limited time",
        unreachable_store_is_retried_briefly,
    ),
    Case(
        ("C47", "G53", "G54"),
        "a silent holder loses its lock and notices it",
        silent_holder_loses_lock,
    ),
    Case(("C47",), "a holder that renews its lock keeps it", renewing_holder_keeps_lock),
    Case(("C47",), "a fresh lock is refused immediately", fresh_lock_is_refused_immediately),
    Case(("C48",), "leases work when the clocks of clients differ", clocks_may_differ),
    Case(
        ("C52",),
        "a lock without a lease is never taken over",
        lock_without_lease_is_not_taken_over,
    ),
)
