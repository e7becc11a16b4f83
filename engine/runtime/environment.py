"""Clock, sleep and randomness as one parameter: tests give their own."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from engine.lock import format_timestamp
from engine.runtime.fallback_file import save_fallback_file
from engine.runtime.retry import STORE_POLICY, RetryPolicy, retry_store_call

T = TypeVar("T")


def utc_now() -> datetime:
    """Return the present time, which knows its zone."""
    return datetime.now(UTC)


def new_id() -> str:
    """Return 32 random hex digits."""
    return os.urandom(16).hex()


class LogLimits(msgspec.Struct, frozen=True):
    """Sizes of a log in bytes.

    `spill`: records that a log head carries before they move to a chunk. `compact`: log that brings
    on a compaction. A log may also grow as long as its snapshot, so that compacting costs the same
    per record however large the state.
    """

    chunk_after: int = 64 * 1024
    compact_after: int = 1024 * 1024


class Environment(msgspec.Struct, frozen=True):
    """Values that a run takes from its surroundings.

    `clock` is monotonic seconds, `date` the time of day, `token` random hex ids, `patience` how
    often a store is asked again, `keep(name, data)` where a rescue file goes. `background` False:
    nothing is written but in the calls that wait.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    rng: random.Random = msgspec.field(default_factory=random.Random)
    date: Callable[[], datetime] = utc_now
    token: Callable[[], str] = new_id
    store_policy: RetryPolicy = STORE_POLICY
    save_fallback: Callable[[str, bytes], str] = save_fallback_file
    limits: LogLimits = LogLimits()
    background: bool = True

    def now(self) -> str:
        """Return the time of day as RFC 3339."""
        return format_timestamp(self.date())

    def retry(self, call: Callable[[], T]) -> T:
        """Return the result of a store's call, made again as `engine.runtime.retry` says."""
        return retry_store_call(
            call, sleep=self.sleep, clock=self.clock, rng=self.rng, policy=self.store_policy
        )
