"""Clock, sleep and randomness as one parameter, so that tests can pass their own.

An example:

    Environment(clock=clock, sleep=clock.sleep, rng=random.Random(1))
"""

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
    """Return the current time in UTC, with its time zone."""
    return datetime.now(UTC)


def new_id() -> str:
    """Return a random ID of 32 hex digits."""
    return os.urandom(16).hex()


class LogLimits(msgspec.Struct, frozen=True):
    """Sizes of the commit log in bytes.

    `chunk_after`: when the records in a log head exceed this size, they are moved into a chunk.
    `compact_after`: when the log exceeds this size, and also that of its snapshot, it is compacted.
    The second condition keeps the cost per record independent of the size of the state.
    """

    chunk_after: int = 64 * 1024
    compact_after: int = 1024 * 1024


class Environment(msgspec.Struct, frozen=True):
    """Everything that a run takes from its surroundings.

    `clock`: monotonic seconds.
    `date`: the time of day.
    `token`: random hex IDs.
    `store_policy`: how often a request to a store is made again.
    `save_fallback(name, data)`: saves a fallback file and returns its path.
    `background`: False makes each write happen in the call that waits for it, so that a test
    controls the order of writes.
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
        """Return the current time as RFC 3339."""
        return format_timestamp(self.date())

    def retry(self, call: Callable[[], T]) -> T:
        """Make a call to a store, with retries as in `engine.runtime.retry`; return its result."""
        return retry_store_call(
            call, sleep=self.sleep, clock=self.clock, rng=self.rng, policy=self.store_policy
        )
