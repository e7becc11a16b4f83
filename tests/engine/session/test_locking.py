"""The renewal of a lock, and the events about it; the locker contract has the other rules."""

from __future__ import annotations

import random
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from backends.lockers.object import ObjectLocker
from backends.memory import MemoryStore
from dtm.testing.clock import FakeClock
from dtm.testing.faults import CallFault, FaultyLocker
from dtm.testing.lock_clients import KEY, fake_environment, lock_info
from engine.errors import LockHeldError, StoreAccessError, StoreUnavailableError
from engine.events import Event, LockAcquired, LockReleased, LockWaiting, Notice
from engine.lock import LockInfo, LockRecord, format_timestamp
from engine.ports import Locker
from engine.runtime.environment import Environment, new_id
from engine.session.locking import HeldLock, LockOptions, acquire, break_lock

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def hold(
    locker: Locker, events: list[Event], *, lease: float = 30.0, background: bool = False
) -> HeldLock:
    return acquire(
        locker,
        KEY,
        lock_info("me"),
        LockOptions(timeout=0, lease=lease),
        events.append,
        Environment(background=background),
    )


@pytest.mark.parametrize(
    ("written", "lease"),
    [
        ("30", 30.0),
        ("0.5", 0.5),
        ("86400", 86400.0),
        ("1e400", None),
        ("-1e400", None),
        ("NaN", None),
        ("-5", None),
        ("0", None),
        ("86401", None),
        ("1" + "0" * 400, None),
        ("true", None),
        ('"30"', None),
        ("null", None),
    ],
)
def test_an_invalid_lease_counts_as_none(written: str, lease: float | None) -> None:
    found = LockInfo.from_json(b'{"ID": "z", "Lease": %s}' % written.encode())
    assert found is not None and found.lease == lease


def test_a_holder_with_an_invalid_lease_is_never_taken_over() -> None:
    store, clock = MemoryStore(), FakeClock()
    locker = ObjectLocker(store)
    locker.put(KEY, replace(lock_info("them"), lease=-1.0), expect=None)
    with pytest.raises(LockHeldError):
        acquire(
            locker,
            KEY,
            lock_info("me"),
            LockOptions(timeout=100, lease=30),
            lambda _: None,
            fake_environment(clock),
        )
    assert clock() >= 100


@pytest.mark.parametrize(
    ("record", "name", "run"),
    [
        (b'{"ID": "z", "Who": "a@b", "Operation": "apply"}', "a@b", "a@b (apply, z)"),
        (b'{"ID": "z", "Who": "a@b"}', "a@b", "a@b (z)"),
        (b'{"ID": "z"}', "an unnamed client (z)", "an unnamed client (z)"),
    ],
)
def test_a_holder_is_named_by_the_fields_that_it_has(record: bytes, name: str, run: str) -> None:
    info = LockInfo.from_json(record)
    assert info is not None and (info.holder, info.description) == (name, run)
    assert LockHeldError(LockRecord(info, "1")).message == f"the state is locked by {name}"


def test_the_thread_renews_the_lock_until_its_release() -> None:
    locker, events = ObjectLocker(MemoryStore()), list[Event]()
    held = hold(locker, events, lease=0.09, background=True)
    seen: set[str] = set()
    until = time.monotonic() + 5
    while len(seen) < 4:
        assert time.monotonic() < until
        found = locker.read(KEY)
        assert found is not None
        seen.add(found.version)
        time.sleep(0.005)
    held.release()
    assert locker.read(KEY) is None
    assert [type(event) for event in events] == [LockAcquired, LockReleased]
    assert not [thread for thread in threading.enumerate() if thread.name == "lock-renewal"]


def test_the_thread_ends_when_the_lock_is_lost() -> None:
    locker = ObjectLocker(MemoryStore())
    held = hold(locker, [], lease=0.09, background=True)
    break_lock(locker, KEY, "me")
    until = time.monotonic() + 5
    while held.lost is None:
        assert time.monotonic() < until
        time.sleep(0.005)
    assert str(held.lost) == "the lock on this state was removed"
    assert locker.read(KEY) is None


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StoreUnavailableError("no route", hint="plug it in"), "no route"),
        (StoreAccessError("expired"), "expired"),
        (RuntimeError("a bug"), "internal error: RuntimeError: a bug"),
    ],
)
def test_a_failed_renewal_warns_once_and_keeps_the_lock(error: Exception, told: str) -> None:
    events: list[Event] = []
    locker = FaultyLocker(
        ObjectLocker(MemoryStore()),
        put=[CallFault(), CallFault(error), CallFault(error), CallFault(), CallFault(error)],
    )
    held = hold(locker, events)
    assert [held.renew() for _ in range(4)] == [False, False, True, False]
    assert held.lost is None
    notices = [event.message for event in events if isinstance(event, Notice)]
    # One warning for each outage.
    assert notices == [f"the lock could not be renewed: {told}"] * 2
    held.release()


def test_a_lock_renewed_meanwhile_is_still_broken() -> None:
    plain = ObjectLocker(MemoryStore())
    held = hold(plain, [])
    broken = break_lock(FaultyLocker(plain, remove=[CallFault(before_call=held.renew)]), KEY, "me")
    assert broken.info is not None
    assert plain.read(KEY) is None


@pytest.mark.parametrize("seed", range(40))
def test_a_dead_holder_is_taken_over_even_on_a_slow_store(seed: int) -> None:
    locker, clock = ObjectLocker(MemoryStore()), FakeClock()
    dead = replace(lock_info("dead"), lease=1.0, renewed=format_timestamp(clock.now(-60)))
    locker.put(KEY, dead, expect=None)
    slow = FaultyLocker(
        locker, put=[CallFault(before_call=lambda: clock.sleep(0.7)) for _ in range(20)]
    )
    held = acquire(
        slow,
        KEY,
        lock_info("me"),
        LockOptions(timeout=0, lease=1.0),
        lambda _event: None,
        replace(fake_environment(clock), rng=random.Random(seed)),
    )
    assert clock() <= 4
    held.release()


def test_waiting_events_are_rare_unless_counting_down() -> None:
    locker, events, clock = ObjectLocker(MemoryStore()), list[Event](), FakeClock()
    alive = acquire(
        locker,
        KEY,
        lock_info("other"),
        LockOptions(timeout=0, lease=30),
        lambda _event: None,
        fake_environment(clock),
    )
    for turn in range(6):
        clock.call_later(10.0 * turn, alive.renew)
    clock.call_later(60.0, alive.release)
    mine = acquire(
        locker,
        KEY,
        lock_info("me"),
        LockOptions(timeout=100, lease=30),
        events.append,
        fake_environment(clock),
    )
    waits = [event for event in events if isinstance(event, LockWaiting)]
    assert waits[0].waited == 0
    assert 4 <= len(waits) <= 7
    assert all(event.takeover_in is not None and event.takeover_in > 10 for event in waits)
    mine.release()


@pytest.mark.parametrize(
    ("lease", "renewed", "dead"),
    [
        (30.0, NOON - timedelta(seconds=29), False),
        (30.0, NOON - timedelta(seconds=31), True),
        (30.0, NOON + timedelta(seconds=29), False),
        # A clock that is an hour ahead proves nothing, so the lock looks dead and is watched.
        (
            30.0,
            NOON + timedelta(hours=1),
            True,
        ),
        (None, NOON - timedelta(days=1), False),
    ],
)
def test_a_holder_without_renewals_looks_dead(
    lease: float | None, renewed: datetime, dead: bool
) -> None:
    from msgspec.structs import replace

    from engine.lock import format_timestamp

    info = replace(lock_info("other"), lease=lease, renewed=format_timestamp(renewed))
    assert info.has_expired_lease(NOON) is dead


def test_an_unreadable_time_looks_dead_but_nanoseconds_are_read() -> None:
    from msgspec.structs import replace

    info = replace(lock_info("other"), lease=30.0)
    assert replace(info, renewed="soon").has_expired_lease(NOON)
    assert not replace(info, created="2026-01-01T11:59:50.151200792Z").has_expired_lease(NOON)


@pytest.mark.parametrize("background", [True, False])
def test_the_refusal_of_an_unreadable_lock_names_the_command(background: bool) -> None:
    store = MemoryStore()
    store.write(f"{KEY}.lock", b"rubbish", expect=None)
    locker = ObjectLocker(store)
    with pytest.raises(LockHeldError, match="an unreadable record") as caught:
        hold(locker, [], background=background)
    assert caught.value.hint.endswith("dtm force-unlock --corrupt")
    assert isinstance(break_lock(locker, KEY, ""), LockRecord)
    hold(locker, [], background=background).release()


def test_lock_ids_are_unique() -> None:
    assert len({new_id() for _ in range(100_000)}) == 100_000
