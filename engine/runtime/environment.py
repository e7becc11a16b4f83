"""Clock, sleep and randomness as one parameter: tests give their own."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from engine.lock import timestamp
from engine.runtime.fallback_file import keep
from engine.runtime.retry import STORE, Policy, store_retry

T = TypeVar("T")


def utc() -> datetime:
    """Return the present time, which knows its zone."""
    return datetime.now(UTC)


def new_id() -> str:
    """Return 32 random hex digits."""
    return os.urandom(16).hex()


class Limits(msgspec.Struct, frozen=True):
    """Sizes of a log in bytes.

    `spill`: records that a log head carries before they move to a chunk. `compact`: log that brings
    on a compaction. A log may also grow as long as its snapshot, so that compacting costs the same
    per record however large the state.
    """

    spill: int = 64 * 1024
    compact: int = 1024 * 1024


class Environment(msgspec.Struct, frozen=True):
    """Values that a run takes from its surroundings.

    `clock` is monotonic seconds, `date` the time of day, `token` random hex ids, `patience` how
    often a store is asked again, `keep(name, data)` where a rescue file goes. `background` False:
    nothing is written but in the calls that wait.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    rng: random.Random = msgspec.field(default_factory=random.Random)
    date: Callable[[], datetime] = utc
    token: Callable[[], str] = new_id
    patience: Policy = STORE
    keep: Callable[[str, bytes], str] = keep
    limits: Limits = Limits()
    background: bool = True

    def now(self) -> str:
        """Return the time of day as RFC 3339."""
        return timestamp(self.date())

    def retry(self, call: Callable[[], T]) -> T:
        """Return the result of a store's call, made again as `engine.runtime.retry` says."""
        return store_retry(
            call, sleep=self.sleep, clock=self.clock, rng=self.rng, policy=self.patience
        )
