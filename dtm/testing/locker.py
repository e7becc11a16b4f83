"""The locker contract: what a lock and the lease on it must do, two clients always.

    locker_contract(lambda: LockerPlace(lambda: MyLocker(fresh_directory)))

`C` and `G` numbers as in `dtm.testing.store`; the cases about time are in `dtm.testing.leases`.
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
"""Seconds, so long that all others try meanwhile.

Where threads take turns, short holds may never meet.
"""


def holder_is_shown(place: LockerPlace) -> None:
    """The second client is refused and told every field of the holder."""
    alice, bob, clock = two_clients(place)
    held = alice.acquire()
    error = expect_error(bob.acquire, LockHeldError, "a lock that somebody holds")
    expected = replace(lock_info("alice"), lease=LEASE, renewed=format_timestamp(clock.now()))
    require(
        error.record.info == expected, f"the holder is shown as {error.record.info}, not {expected}"
    )
    require("dtm force-unlock alice" in error.hint, "the command that breaks the lock is not shown")
    require(
        bob.locker.read(KEY) == error.record,
        "reading the lock shows another record than the refusal",
    )
    held.release()


def released_is_free(place: LockerPlace) -> None:
    """After a release no record is left, and somebody else gets the lock."""
    alice, bob, _ = two_clients(place)
    alice.acquire().release()
    require(
        alice.locker.read(KEY) is None and bob.locker.read(KEY) is None,
        "a record is left after a release",
    )
    held = bob.acquire()
    require(
        not bob.events or not isinstance(bob.events[0], LockWaiting),
        "a released lock is waited for",
    )
    held.release()


def keys_are_independent(place: LockerPlace) -> None:
    """A lock on one key does not block another one."""
    a, b = place.connect_two()
    one = a.put("k1", lock_info("alice"), expect=None)
    two = b.put("k2", lock_info("bob"), expect=None)
    a.remove("k1", expect=one)
    require(a.read("k2") == two, "releasing one key touched another one")
    b.remove("k2", expect=two)


def wrong_id_is_refused(place: LockerPlace) -> None:
    """Breaking a lock under another ID is refused, shows the holder, and leaves the lock."""
    alice, bob, _ = two_clients(place)
    held = alice.acquire()
    error = expect_error(
        lambda: break_lock(bob.locker, KEY, "carol"), LockHeldError, "breaking a lock of another ID"
    )
    require(
        error.record.info == held.info,
        "the refusal does not show the holder",
    )
    held.release()


def released_twice(place: LockerPlace) -> None:
    """The second release is an error and removes nobody else's lock."""
    alice, bob, _ = two_clients(place)
    held = alice.acquire()
    held.release()
    expect_error(held.release, LockError, "a second release")
    theirs = bob.acquire()
    expect_error(held.release, LockHeldError, "a release of somebody else's lock")
    theirs.release()


def broken_by_id(place: LockerPlace) -> None:
    """Break a lock by the ID that the refusal shows, even one renewed meanwhile.

    Then it can be had.
    """
    alice, bob, clock = two_clients(place)
    held = alice.acquire()
    error = expect_error(bob.acquire, LockHeldError, "a lock that somebody holds")
    clock.sleep(LEASE / 3)
    held.renew()
    assert error.record.info
    break_lock(bob.locker, KEY, error.record.info.id)
    theirs = bob.acquire()
    require(
        not held.renew() and held.lost is not None, "a holder whose lock was broken does not notice"
    )
    theirs.release()


def break_without_lock(place: LockerPlace) -> None:
    """Breaking a lock where none is says so."""
    _, bob, _ = two_clients(place)
    error = expect_error(
        lambda: break_lock(bob.locker, KEY, "alice"), LockError, "breaking a lock that is not there"
    )
    require("not locked" in str(error), f'the refusal does not say "not locked" but: {error}')


def corrupt_record(place: LockerPlace) -> None:
    """An unreadable record is a lock that says so, is never taken over, and can be broken."""
    if place.corrupt is None:
        raise CaseSkipped("no means to spoil the record is at hand")
    alice, bob, _ = two_clients(place)
    held = alice.acquire()
    place.corrupt(KEY)
    error = expect_error(
        lambda: bob.acquire(10 * LEASE), LockHeldError, "a lock with an unreadable record"
    )
    require(
        error.record.info is None,
        "an unreadable record is shown as a holder",
    )
    require(
        "--corrupt" in error.hint,
        "the way to break it is not shown",
    )
    break_lock(bob.locker, KEY, "")
    theirs = bob.acquire()
    expect_error(held.release, LockError, "a release of somebody else's lock")
    theirs.release()


def late_release_is_refused(place: LockerPlace) -> None:
    """Refuse the release of a holder whose lock was broken and taken by another client."""
    alice, bob, _ = two_clients(place)
    held = alice.acquire()
    break_lock(bob.locker, KEY, "alice")
    theirs = bob.acquire()
    expect_error(held.release, LockHeldError, "a release of somebody else's lock")
    require(
        bob.locker.read(KEY) is not None and theirs.renew(), "a refused release removed the lock"
    )
    theirs.release()


def removed_by_others(place: LockerPlace) -> None:
    """A holder whose lock was removed is told when it renews and when it releases."""
    alice, bob, _ = two_clients(place)
    held = alice.acquire()
    break_lock(bob.locker, KEY, "alice")
    require(
        not held.renew() and held.lost is not None,
        "a renewal does not notice that the lock is gone",
    )
    expect_error(held.release, LockError, "a release of a lock that is gone")
    bob.acquire().release()


class _Room:
    """A lock, and whether one client alone is inside at a time."""

    def __init__(self) -> None:
        self.inside, self.had = threading.Semaphore(1), threading.Semaphore(0)
        self.problems: list[str] = []

    def attempt(self, locker: Locker, lock_id: str, hold: float) -> None:
        """Try to lock, and hold for so many seconds."""
        try:
            record = locker.put(KEY, lock_info(lock_id), expect=None)
        except (LockHeldError, StoreUnavailableError):
            return
        if not self.inside.acquire(blocking=False):
            self.problems.append(f"{lock_id} was let in while somebody else held the lock")
            return
        threading.Event().wait(hold)
        self.inside.release()
        self.had.release()
        locker.remove(KEY, expect=record)


def one_holder_at_a_time(place: LockerPlace) -> None:
    """Let many clients try many times: never two holders, no error but refusals."""
    room = _Room()
    chance, gate = random.Random(38), threading.Barrier(place.clients)  # noqa: S311 - how long each one holds
    lockers = [place.connect() for _ in range(place.clients)]

    def work(number: int) -> None:
        gate.wait()
        try:
            for turn in range(place.attempts):
                hold = chance.random() * 1e-5 if turn else FIRST_HOLD
                room.attempt(lockers[number], f"{number}-{turn}", hold)
        except DtmError as error:
            room.problems.append(f"{type(error).__name__}: {error}")

    run_in_threads(work, place.clients)
    require(not room.problems, "; ".join(room.problems[:3]))
    require(room.had.acquire(blocking=False), "nobody ever had the lock")


def locked_twice(place: LockerPlace) -> None:
    """The same client cannot lock twice; its first lock stays."""
    alice, _, _ = two_clients(place)
    held = alice.acquire()
    twin = SimulatedClient(alice.locker, alice.clock, "alice-again")
    expect_error(twin.acquire, LockHeldError, "a second lock of the same client")
    require(held.renew() and not held.lost, "a refused second lock touched the first one")
    held.release()


def renewal_moves_the_version(place: LockerPlace) -> None:
    """Give the record another version by each renewal, so that a watcher sees a sign of life.

    An old version cannot be used.
    """
    a, b = place.connect_two()
    records = [a.put(KEY, replace(lock_info("alice"), renewed="0"), expect=None)]
    for number in range(1, 4):
        records.append(
            a.put(KEY, replace(lock_info("alice"), renewed=str(number)), expect=records[-1])
        )
    require(
        len({record.version for record in records}) == 4, "a renewal does not change the version"
    )
    require(b.read(KEY) == records[-1], "a renewal is not seen by others")
    expect_error(
        lambda: b.put(KEY, lock_info("bob"), expect=records[0]),
        LockHeldError,
        "taking over an old version",
    )
    expect_error(lambda: b.remove(KEY, expect=records[0]), LockHeldError, "removing an old version")
    a.remove(KEY, expect=records[-1])
    expect_error(
        lambda: a.put(KEY, lock_info("alice"), expect=records[-1]),
        LockError,
        "renewing a lock that is gone",
    )
    require(a.read(KEY) is None, "a refused renewal brought the lock back")


def no_lock_no_request(place: LockerPlace) -> None:
    """Looking at a lock that is free changes nothing and needs no release."""
    a, b = place.connect_two()
    require(a.read(KEY) is None and b.read(KEY) is None, "a free lock is shown as held")
    b.remove(KEY, expect=b.put(KEY, lock_info("bob"), expect=None))


LOCKER_CASES: tuple[Case[LockerPlace], ...] = (
    Case(("C24", "G48"), "a held lock is refused with every field", holder_is_shown),
    Case(("C25", "C28"), "a released lock is free and leaves no record", released_is_free),
    Case(("C27",), "keys are independent", keys_are_independent),
    Case(("C29", "G55"), "breaking under a wrong ID is refused", wrong_id_is_refused),
    Case(("C30",), "the second release is an error", released_twice),
    Case(("C31",), "the shown ID breaks the lock", broken_by_id),
    Case(("C32",), "breaking where no lock is says so", break_without_lock),
    Case(("C34",), "a corrupt record is a lock that can be broken", corrupt_record),
    Case(("C35",), "a late release is refused", late_release_is_refused),
    Case(("C37",), "a holder notices that its lock was removed", removed_by_others),
    Case(("C38",), "never two holders", one_holder_at_a_time),
    Case(("C42",), "looking changes nothing", no_lock_no_request),
    Case(("C50",), "the same client cannot lock twice", locked_twice),
    Case(("C35", "C47"), "a renewal moves the version", renewal_moves_the_version),
    *LEASE_CASES,
)


def locker_contract(make_place: Callable[[], LockerPlace]) -> list[CaseResult]:
    """Try every case, each in a new place. Raises BrokenError that lists all that fail."""
    return require_all_passed(list(run_cases(LOCKER_CASES, make_place)))
