"""Clients of a lock that share a fake clock, for the cases of the locker contract."""

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
    """A place where nothing is locked.

    - `connect`: a function that returns a new client each time, the second one preferably in
      another process.
    - `corrupt`: a function that makes the current record of a key unreadable.
    - `clients`, `attempts`: the case with many clients starts `clients` threads, each of which
      tries to acquire the lock `attempts` times.
    """

    connect: Callable[[], Locker]
    corrupt: Callable[[str], object] | None = None
    clients: int = 100
    attempts: int = 100

    def connect_two(self) -> tuple[Locker, Locker]:
        """Connect two clients to the place."""
        return self.connect(), self.connect()


def lock_info(lock_id: str) -> LockInfo:
    """Return the data of a lock holder with all fields set."""
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
    """Return an environment that uses `clock`; its wall clock is `skew` seconds ahead."""
    return Environment(
        clock=clock,
        sleep=clock.sleep,
        rng=random.Random(1),  # noqa: S311 - jitter
        date=lambda: clock.now(skew),
        background=False,
    )


class SimulatedClient:
    """A client that wants the lock, and the events that it received.

    All clients share one clock. The wall clock of this one is `skew` seconds ahead.
    """

    def __init__(
        self, locker: Locker, clock: FakeClock, name: str = "me", skew: float = 0.0
    ) -> None:
        self.locker, self.clock, self.name, self.skew = locker, clock, name, skew
        self.events: list[Event] = []

    def acquire(self, timeout: float = 0.0, *, takeover: bool = True) -> HeldLock:
        """Acquire the lock. It is renewed only by the test, not in the background."""
        options = LockOptions(timeout, takeover, LEASE)
        environment = fake_environment(self.clock, self.skew)
        return acquire(
            self.locker, KEY, lock_info(self.name), options, self.events.append, environment
        )

    def renew_for(self, held: HeldLock, seconds: float) -> None:
        """Schedule renewals of `held` for the next `seconds`, as a running session does."""
        for number in range(1, int(seconds / (LEASE / 3)) + 1):
            self.clock.call_later(number * LEASE / 3, held.renew)


def two_clients(place: LockerPlace) -> tuple[SimulatedClient, SimulatedClient, FakeClock]:
    """Connect two clients, Alice and Bob, that share a clock; return them and the clock."""
    clock, (a, b) = FakeClock(), place.connect_two()
    return SimulatedClient(a, clock, "alice"), SimulatedClient(b, clock, "bob"), clock


def run_in_threads(work: Callable[[int], None], count: int) -> None:
    """Call `work` with 0, 1, ... `count` - 1, each in a thread of its own, and wait for all."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
