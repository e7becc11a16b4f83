"""Clock, sleep, chance and patience as parameters: tests give their own."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol, TypeVar

import msgspec

from engine.lock import timestamp
from engine.runtime.fallback_file import keep
from engine.runtime.retry import store_retry

T = TypeVar("T")


class Retry(Protocol):
    """Calls until it succeeds or gives up; retries StoreUnavailableError only (`engine.runtime.retry`)."""

    def __call__(self, call: Callable[[], T], /) -> T:
        """The call's result."""
        ...


def utc_now() -> str:
    """RFC 3339 now."""
    return timestamp(datetime.now(UTC))


def new_id() -> str:
    """32 random hex digits."""
    return uuid.uuid4().hex


class Limits(msgspec.Struct, frozen=True):
    """Bytes: of records that a head carries before they move to a chunk; of log that bring on a compaction.

    A log may also grow as long as its snapshot, so that compacting costs the same per record however large the state.
    """

    spill: int = 64 * 1024
    compact: int = 1024 * 1024


class Environment(msgspec.Struct, frozen=True):
    """What a session takes from its surroundings.

    `clock` is monotonic seconds, `now` RFC 3339, `token` random hex ids, `retry` how often a store is asked again,
    `keep(name, data)` where a rescue file goes.
    `background` False: nothing is written but in the calls that wait.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    rng: random.Random = msgspec.field(default_factory=random.Random)
    now: Callable[[], str] = utc_now
    token: Callable[[], str] = new_id
    retry: Retry = store_retry
    keep: Callable[[str, bytes], str] = keep
    limits: Limits = Limits()
    background: bool = True

    def date(self) -> datetime:
        """`now` as a date."""
        return datetime.fromisoformat(self.now())
