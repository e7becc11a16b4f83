"""The locker contract: rules for a lock, and for the lease on it.

    locker_contract(lambda: LockerPlace(lambda: MyLocker(fresh_directory)))

The cases about time are in `dtm.testing.leases`.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from msgspec.structs import replace

from dtm.testing.conformance import (
    Case,
    CaseResult,
    CaseSkipped,
    expect_error,
    require,
    require_all_passed,
    run_cases,
)
from dtm.testing.leases import LEASE_CASES
from dtm.testing.lock_clients import (
    KEY,
    LEASE,
    LockerPlace,
    SimulatedClient,
    lock_info,
    run_in_threads,
    two_clients,
)
from engine.errors import DtmError, LockError, LockHeldError, StoreUnavailableError
from engine.events import LockWaiting
from engine.lock import format_timestamp
from engine.ports import Locker
from engine.session.locking import break_lock

__all__ = ["LOCKER_CASES", "LockerPlace", "locker_contract"]

FIRST_HOLD = 0.05
"""Seconds that the first holders keep the lock, so that all other clients try meanwhile.

Otherwise each thread might finish its short holds before the next thread starts.
"""


def held_lock_is_refused(place: LockerPlace) -> None:
    """Acquire a held lock: refused, with all fields of the holder and the command to break it."""
    alice, bob, clock = two_clients(place)
    held = alice.acquire()
    error = expect_error(bob.acquire, LockHeldError, "acquiring a held lock")
    expected = replace(lock_info("alice"), lease=LEASE, renewed=format_timestamp(clock.now()))
    require(
        error.record.info == expected,
        f"the LockHeldError must name the holder {expected}, but names {error.record.info}",
    )
    require(
        "dtm force-unlock alice" in error.hint,
        "the hint must contain the command that breaks the lock, but does not",
    )
    require(
        bob.locker.read(KEY) == error.record,
        "read must return the record of the LockHeldError, but returned another one",
    )
    held.release()


def released_lock_is_free(place: LockerPlace) -> None:
    """Release a lock: no record is left, and another client acquires it without waiting."""
    alice, bob, _ = two_clients(place)
    alice.acquire().release()
    require(
        alice.locker.read(KEY) is None and bob.locker.read(KEY) is None,
        "a release must leave no record, but did",
    )
    held = bob.acquire()
    require(
        not bob.events or not isinstance(bob.events[0], LockWaiting),
        "a released lock must be free, but the next client had to wait",
    )
    held.release()


def keys_are_independent(place: LockerPlace) -> None:
    """Lock two keys, and release one of them."""
    a, b = place.connect_two()
    one = a.put("k1", lock_info("alice"), expect=None)
    two = b.put("k2", lock_info("bob"), expect=None)
    a.remove("k1", expect=one)
    require(a.read("k2") == two, "a release must not change the lock on another key, but did")
    b.remove("k2", expect=two)


def wrong_id_is_refused(place: LockerPlace) -> None:
    """Break a lock by another ID: refused with the holder, and the lock is kept."""
    alice, bob, _ = two_clients(place)
    held = alice.acquire()
    error = expect_error(
        lambda: break_lock(bob.locker, KEY, "carol"),
        LockHeldError,
        "breaking a lock by a wrong ID",
    )
    require(
        error.record.info == held.info,
        f"the LockHeldError must name the holder, but names {error.record.info}",
    )
    held.release()


def second_release_is_an_error(place: LockerPlace) -> None:
    """Release twice: an error, also if another client has acquired the lock since."""
    alice, bob, _ = two_clients(place)
    held = alice.acquire()
    held.release()
    expect_error(held.release, LockError, "a second release")
    bobs = bob.acquire()
    expect_error(held.release, LockHeldError, "a release of another client's lock")
    bobs.release()


def reported_id_breaks_lock(place: LockerPlace) -> None:
    """Break a lock by the ID of the LockHeldError, although it was renewed since.

    Another client then acquires it, and the old holder notices.
    """
    alice, bob, clock = two_clients(place)
    held = alice.acquire()
    error = expect_error(bob.acquire, LockHeldError, "acquiring a held lock")
    clock.sleep(LEASE / 3)
    # The renewal changes the version, but the ID stays the same, and the user has only the ID.
    held.renew()
    assert error.record.info
    break_lock(bob.locker, KEY, error.record.info.id)
    bobs = bob.acquire()
    require(
        not held.renew() and held.lost is not None,
        "the renewal of a broken lock must fail, but succeeded",
    )
    bobs.release()


def breaking_free_lock_is_an_error(place: LockerPlace) -> None:
    """Break a lock that is not held: an error that says so."""
    _, bob, _ = two_clients(place)
    error = expect_error(
        lambda: break_lock(bob.locker, KEY, "alice"), LockError, "breaking a free lock"
    )
    require("not locked" in str(error), f'the error must contain "not locked", but is: {error}')


def unreadable_record_counts_as_held(place: LockerPlace) -> None:
    """Make the record unreadable: held, never taken over, but breakable."""
    if place.corrupt is None:
        raise CaseSkipped("this place has no function that makes a record unreadable")
    alice, bob, _ = two_clients(place)
    held = alice.acquire()
    # A lock that cannot be read may belong to a running session, so it must never look free.
    place.corrupt(KEY)
    error = expect_error(
        lambda: bob.acquire(10 * LEASE), LockHeldError, "acquiring a lock with an unreadable record"
    )
    require(
        error.record.info is None,
        f"an unreadable record must name no holder, but names {error.record.info}",
    )
    require(
        "--corrupt" in error.hint,
        "the hint must contain the flag that breaks the lock, but does not",
    )
    break_lock(bob.locker, KEY, "")
    bobs = bob.acquire()
    expect_error(held.release, LockError, "a release of another client's lock")
    bobs.release()


def late_release_is_refused(place: LockerPlace) -> None:
    """Release a lock that was broken and acquired by another client: refused."""
    alice, bob, _ = two_clients(place)
    held = alice.acquire()
    break_lock(bob.locker, KEY, "alice")
    bobs = bob.acquire()
    expect_error(held.release, LockHeldError, "a release of another client's lock")
    require(
        bob.locker.read(KEY) is not None and bobs.renew(),
        "a refused release must keep the other client's lock, but removed it",
    )
    bobs.release()


def holder_notices_removed_lock(place: LockerPlace) -> None:
    """Renew and release a lock that another client has removed: both report it."""
    alice, bob, _ = two_clients(place)
    held = alice.acquire()
    break_lock(bob.locker, KEY, "alice")
    require(
        not held.renew() and held.lost is not None,
        "the renewal of a removed lock must fail, but succeeded",
    )
    expect_error(held.release, LockError, "a release of a removed lock")
    bob.acquire().release()


class _Exclusion:
    """Checks that only one client at a time holds the lock."""

    def __init__(self) -> None:
        self.inside, self.acquired = threading.Semaphore(1), threading.Semaphore(0)
        self.problems: list[str] = []

    def attempt(self, locker: Locker, lock_id: str, hold: float) -> None:
        """Try to acquire the lock once, and hold it for `hold` seconds."""
        try:
            record = locker.put(KEY, lock_info(lock_id), expect=None)
        except (LockHeldError, StoreUnavailableError):
            return
        # Not blocking: if another client is inside, two clients hold the lock.
        if not self.inside.acquire(blocking=False):
            self.problems.append(f"{lock_id} acquired the lock while another client held it")
            return
        threading.Event().wait(hold)
        # Before the release: after it another client may acquire the lock at any moment.
        self.inside.release()
        self.acquired.release()
        locker.remove(KEY, expect=record)


def one_holder_at_a_time(place: LockerPlace) -> None:
    """Let many clients try many times: one holder at a time, and no errors but refusals."""
    exclusion = _Exclusion()
    holds = random.Random(38)  # noqa: S311 - durations of the holds
    start = threading.Barrier(place.clients)
    lockers = [place.connect() for _ in range(place.clients)]

    def work(number: int) -> None:
        start.wait()
        try:
            for turn in range(place.attempts):
                hold = holds.random() * 1e-5 if turn else FIRST_HOLD
                exclusion.attempt(lockers[number], f"{number}-{turn}", hold)
        except DtmError as error:
            exclusion.problems.append(f"{type(error).__name__}: {error}")

    run_in_threads(work, place.clients)
    require(
        not exclusion.problems,
        f"one client at a time must hold the lock, but: {'; '.join(exclusion.problems[:3])}",
    )
    require(
        exclusion.acquired.acquire(blocking=False),
        "some client must acquire the lock, but none did",
    )


def second_acquisition_is_refused(place: LockerPlace) -> None:
    """Acquire a lock twice with the same client: the second time refused, the first lock kept."""
    alice, _, _ = two_clients(place)
    held = alice.acquire()
    again = SimulatedClient(alice.locker, alice.clock, "alice-again")
    expect_error(again.acquire, LockHeldError, "a second acquisition by the same client")
    require(
        held.renew() and not held.lost,
        "a refused acquisition must keep the first lock, but it is lost",
    )
    held.release()


def renewal_changes_version(place: LockerPlace) -> None:
    """Renew several times: each renewal has a new version, and old versions are refused.

    Waiting clients see by the version that the holder is alive.
    """
    a, b = place.connect_two()
    records = [a.put(KEY, replace(lock_info("alice"), renewed="0"), expect=None)]
    for number in range(1, 4):
        records.append(
            a.put(KEY, replace(lock_info("alice"), renewed=str(number)), expect=records[-1])
        )
    require(
        len({record.version for record in records}) == 4,
        "each renewal must change the version, but some did not",
    )
    require(
        b.read(KEY) == records[-1],
        "another client must read the last renewal, but read another record",
    )
    expect_error(
        lambda: b.put(KEY, lock_info("bob"), expect=records[0]),
        LockHeldError,
        "a takeover with an outdated version",
    )
    expect_error(
        lambda: b.remove(KEY, expect=records[0]),
        LockHeldError,
        "a release with an outdated version",
    )
    a.remove(KEY, expect=records[-1])
    expect_error(
        lambda: a.put(KEY, lock_info("alice"), expect=records[-1]),
        LockError,
        "a renewal of a released lock",
    )
    require(
        a.read(KEY) is None, "a refused renewal must have no effect, but created the lock again"
    )


def reading_free_lock_changes_nothing(place: LockerPlace) -> None:
    """Read a free lock: None. It can still be acquired, and needs no release."""
    a, b = place.connect_two()
    require(
        a.read(KEY) is None and b.read(KEY) is None,
        "a free lock must read as None, but a record was returned",
    )
    b.remove(KEY, expect=b.put(KEY, lock_info("bob"), expect=None))


LOCKER_CASES: tuple[Case[LockerPlace], ...] = (
    Case(
        ("C24", "G48"),
        "a held lock is refused, and its holder is reported",
        held_lock_is_refused,
    ),
    Case(("C25", "C28"), "a released lock is free and leaves no record", released_lock_is_free),
    Case(("C27",), "locks on different keys are independent", keys_are_independent),
    Case(("C29", "G55"), "breaking a lock by a wrong ID is refused", wrong_id_is_refused),
    Case(("C30",), "releasing a lock twice is an error", second_release_is_an_error),
    Case(("C31",), "the reported ID breaks the lock", reported_id_breaks_lock),
    Case(("C32",), "breaking a free lock is an error", breaking_free_lock_is_an_error),
    Case(
        ("C34",),
        "an unreadable record counts as held and can be broken",
        unreadable_record_counts_as_held,
    ),
    Case(("C35",), "a late release does not remove another client's lock", late_release_is_refused),
    Case(("C37",), "a holder notices that its lock was removed", holder_notices_removed_lock),
    Case(("C38",), "there are never two holders", one_holder_at_a_time),
    Case(("C42",), "reading a free lock changes nothing", reading_free_lock_changes_nothing),
    Case(("C50",), "a client cannot acquire the same lock twice", second_acquisition_is_refused),
    Case(("C35", "C47"), "a renewal changes the version", renewal_changes_version),
    *LEASE_CASES,
)


def locker_contract(make_place: Callable[[], LockerPlace]) -> list[CaseResult]:
    """Run all cases, each in a new place.

    Raises CaseFailedError that lists all failed cases.
    """
    return require_all_passed(list(run_cases(LOCKER_CASES, make_place)))
