"""Two clients who want one lock, and a clock that both live by."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import msgspec

from dtm.testing.clock import FakeClock
from engine.events import Event
from engine.lock import LockInfo
from engine.ports import Locker
from engine.runtime.environment import Environment
from engine.session.locking import HeldLock, LockOptions, acquire

KEY = "devstream.state"
LEASE = 30.0
HOUR = 3600.0


class LockerPlace(msgspec.Struct, frozen=True):
    """A place where nothing is locked, and how to get at it.

    `connect`: a new client each time, the second one best in another process. `corrupt(key)` spoils
    the record that is there. `clients` times `attempts`: how much contention is tried.
    """

    connect: Callable[[], Locker]
    corrupt: Callable[[str], object] | None = None
    clients: int = 100
    attempts: int = 100

    def connect_two(self) -> tuple[Locker, Locker]:
        """Two clients of the place."""
        return self.connect(), self.connect()


def lock_info(lock_id: str) -> LockInfo:
    """A holder with every field filled in."""
    return LockInfo(
        lock_id,
        "apply",
        f"{lock_id}@host",
        "0.1.0",
        "2026-01-01T00:00:00.000000Z",
        KEY,
        "dtm apply",
    )


def fake_environment(clock: FakeClock, skew: float = 0.0) -> Environment:
    """An environment that lives by this clock; its wall clock is `skew` seconds ahead."""
    return Environment(
        clock=clock,
        sleep=clock.sleep,
        rng=random.Random(1),  # noqa: S311 - jitter
        date=lambda: clock.now(skew),
        background=False,
    )


class SimulatedClient:
    """One of those who want the lock: a locker and the events it was told.

    All share a clock; the wall clock of this one is `skew` seconds ahead.
    """

    def __init__(
        self, locker: Locker, clock: FakeClock, name: str = "me", skew: float = 0.0
    ) -> None:
        self.locker, self.clock, self.name, self.skew = locker, clock, name, skew
        self.events: list[Event] = []

    def acquire(self, timeout: float = 0.0, *, takeover: bool = True) -> HeldLock:
        """Have the lock; nothing renews it but the test."""
        options = LockOptions(timeout, takeover, LEASE)
        environment = fake_environment(self.clock, self.skew)
        return acquire(
            self.locker, KEY, lock_info(self.name), options, self.events.append, environment
        )

    def renew_for(self, held: HeldLock, seconds: float) -> None:
        """Renew as the background would, from now on for so long."""
        for number in range(1, int(seconds / (LEASE / 3)) + 1):
            self.clock.call_later(number * LEASE / 3, held.renew)


def two_clients(place: LockerPlace) -> tuple[SimulatedClient, SimulatedClient, FakeClock]:
    """Alice and Bob, who share a clock."""
    clock, (a, b) = FakeClock(), place.connect_two()
    return SimulatedClient(a, clock, "alice"), SimulatedClient(b, clock, "bob"), clock


def run_in_threads(work: Callable[[int], None], count: int) -> None:
    """Do the numbered pieces of work in as many threads."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
