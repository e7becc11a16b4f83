"""A single client on a store whose requests fail and whose answers get lost.

There is no other client. So every run must succeed, never take its own write for that of another
session, record everything, and release the lock.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from backends.lockers.object import ObjectLocker
from backends.memory import AppendingMemoryStore, MemoryStore
from dtm.testing.clock import FakeClock
from dtm.testing.lock_clients import fake_environment, lock_info
from dtm.testing.session_support import KEY, create_tool
from engine.errors import ConflictError, DtmError, OutcomeUnknownError, StoreUnavailableError
from engine.events import Event, Notice
from engine.log.history import read_history
from engine.log.state_store import AUTO, INLINE, SEPARATE, StateStore
from engine.ports import Store, StoredObject, Version
from engine.runtime.environment import Environment, LogLimits
from engine.runtime.retry import STORE_POLICY
from engine.session.locking import LockOptions, acquire, break_lock
from engine.session.opening import open_session
from engine.session.reading import read_state
from engine.session.session import Session, SessionOptions

T = TypeVar("T")
SEEDS = int(os.environ.get("DTM_FAULTS", "40"))
RATE, STREAK, CALM = 0.25, 4, 8
"""The probability of a fault; after STREAK faults there is none for CALM calls.

STREAK is smaller than the number of attempts of any retry policy.
"""


@dataclass
class FaultInjector:
    """Chooses the faults and counts them."""

    rng: random.Random
    seen: Counter[str] = field(default_factory=Counter[str])
    late: list[tuple[int, Callable[[], object]]] = field(
        default_factory=list[tuple[int, Callable[[], object]]]
    )
    calls: int = 0
    streak: int = 0
    calm: int = 0

    def next_fault(self, *kinds: str) -> str:
        self.calls += 1
        due = [call for at, call in self.late if at <= self.calls]
        self.late = [(at, call) for at, call in self.late if at > self.calls]
        for call in due:
            try:
                call()
            except DtmError:
                self.seen["late and refused"] += 1
        self.calm -= 1
        if self.calm > 0 or self.rng.random() >= RATE:
            return ""
        self.streak += 1
        if self.streak == STREAK:
            self.streak, self.calm = 0, CALM
        kind = self.rng.choice(kinds)
        self.seen[kind] += 1
        return kind

    def read(self, call: Callable[[], T]) -> T:
        if self.next_fault("unavailable"):
            raise StoreUnavailableError("503")
        return call()

    def write_once(self, call: Callable[[], T], *more: str) -> T:
        match self.next_fault("unavailable", "lost before", "lost after", *more):
            case "unavailable":
                raise StoreUnavailableError("503")
            case "lost before":
                raise OutcomeUnknownError("no answer")
            case "lost after":
                call()
                raise OutcomeUnknownError("no answer")
            case "late":
                self.late.append((self.calls + self.rng.randrange(1, 4), call))
                raise OutcomeUnknownError("no answer")
            case "conflict with itself":  # as from an SDK that retried on its own
                call()
                raise ConflictError("it", "old", "new")
            case _:
                return call()


class FaultyStore:
    """A store whose calls fail as the injector chooses."""

    def __init__(self, store: MemoryStore, faults: FaultInjector) -> None:
        self.store, self.faults = store, faults

    @property
    def location(self) -> str:
        return self.store.location

    def read(self, key: str) -> StoredObject | None:
        return self.faults.read(lambda: self.store.read(key))

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        return self.faults.write_once(
            lambda: self.store.write(key, data, expect=expect), "late", "conflict with itself"
        )

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        self.faults.write_once(lambda: self.store.delete(key, expect=expect))

    def list(self, prefix: str) -> Iterator[str]:
        return self.faults.read(lambda: self.store.list(prefix))


class FaultyAppendingStore(FaultyStore):
    """A FaultyStore that can append."""

    def append(self, key: str, data: bytes, *, expect: Version) -> Version:
        store = self.store
        assert isinstance(store, AppendingMemoryStore)
        return self.faults.write_once(
            lambda: store.append(key, data, expect=expect), "late", "conflict with itself"
        )


def create_store(seed: int, appending: bool) -> tuple[MemoryStore, FaultyStore]:
    faults = FaultInjector(random.Random(seed))
    if appending:
        store: MemoryStore = AppendingMemoryStore("m")
        return store, FaultyAppendingStore(store, faults)
    store = MemoryStore("m")
    return store, FaultyStore(store, faults)


def environment(seed: int, clock: FakeClock) -> Environment:
    return Environment(
        clock=clock,
        sleep=clock.sleep,
        rng=random.Random(seed),
        date=lambda: clock.now(),
        limits=LogLimits(chunk_after=300, compact_after=900),
        background=False,
    )


def run_sessions(seed: int, log: str, appending: bool) -> Counter[str]:
    """Run three sessions; return the faults that occurred."""
    store, faulty = create_store(seed, appending)
    clock, events, created = FakeClock(), list[Event](), set[str]()
    for number in range(3):
        with open_session(
            StateStore(faulty, KEY, environment(seed + number, clock), log=log),
            ObjectLocker(faulty),
            SessionOptions("apply", "me", "0", lock=LockOptions(lease=1000), history=1),
            events.append,
        ) as session:
            session.claim()
            for name in ("a", "b", "c"):
                create_tool(session, f"{name}{number}", "x" * 100)
                created.add(f"{name}{number}")
    messages = [event.message for event in events if isinstance(event, Notice)]
    assert not [text for text in messages if "not deleted" not in text], messages
    state = read_state(StateStore(store, KEY)).state
    assert {address.instance for address in state.entries} == created
    assert not [entry for entry in state.entries.values() if entry.pending]
    assert ObjectLocker(store).read(KEY) is None and state.id.serial >= 3
    return faulty.faults.seen


@pytest.mark.parametrize("log", [AUTO, SEPARATE, INLINE])
@pytest.mark.parametrize("appending", [False, True], ids=["swapping", "appending"])
def test_single_client_survives_network_faults(log: str, appending: bool) -> None:
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        try:
            seen += run_sessions(seed, log, appending)
        except (AssertionError, DtmError) as failure:
            raise AssertionError(f"seed {seed}: {failure!r}") from failure
    for kind in (
        "unavailable",
        "lost before",
        "lost after",
        "late",
        "late and refused",
        "conflict with itself",
    ):
        assert seen[kind] >= 5, (kind, seen)


def test_locking_survives_network_faults() -> None:
    for seed in range(SEEDS * 5):
        store, faulty = create_store(seed, appending=False)
        clock, locker = FakeClock(), ObjectLocker(faulty)
        for breaking in (False, True):
            held = acquire(
                locker,
                KEY,
                lock_info(f"me{seed}{breaking}"),
                LockOptions(timeout=0, lease=1000),
                lambda _event: None,
                fake_environment(clock),
            )
            for _ in range(3):
                held.renew()
            assert held.lost is None, f"seed {seed}: {held.lost}"
            if breaking:
                broken = break_lock(locker, KEY, held.info.id, fake_environment(clock))
                assert broken.info is not None and broken.info.id == held.info.id
            else:
                held.release()
            assert ObjectLocker(store).read(KEY) is None, f"seed {seed}"


def test_an_unreachable_store_is_given_up_within_30_seconds() -> None:
    class UnreachableStore(MemoryStore):
        def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
            raise OutcomeUnknownError("no answer")

    clock, store = FakeClock(), UnreachableStore("m")
    with pytest.raises(OutcomeUnknownError), open_unreachable(store, clock) as session:
        session.claim()
    assert clock() <= STORE_POLICY.total
    assert not read_history(StateStore(store, KEY))


def open_unreachable(store: Store, clock: FakeClock) -> AbstractContextManager[Session]:
    return open_session(
        StateStore(store, KEY, environment(0, clock)),
        None,
        SessionOptions("apply", "me", "0"),
        lambda _: None,
    )
