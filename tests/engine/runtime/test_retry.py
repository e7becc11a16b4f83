"""Retries: which calls are made again, how often, and after which pauses."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from dtm.testing.clock import FakeClock
from engine.errors import (
    AuthError,
    ConflictError,
    OutcomeUnknownError,
    ProviderError,
    StoreAccessError,
    StoreError,
    StoreUnavailableError,
)
from engine.runtime.retry import STORE_POLICY, retry_provider_call, retry_store_call


class Flaky:
    """A call that raises each error in turn and then answers. Each call takes `takes` seconds."""

    def __init__(self, errors: list[Exception], clock: FakeClock, takes: float = 0.0) -> None:
        self.errors, self.clock, self.takes = list(errors), clock, takes
        self.at: list[float] = []

    def __call__(self) -> str:
        self.at.append(self.clock())
        self.clock.sleep(self.takes)
        if self.errors:
            raise self.errors.pop(0)
        return "answer"

    def pauses(self) -> list[float]:
        return [
            later - earlier - self.takes
            for earlier, later in zip(self.at, self.at[1:], strict=False)
        ]


def call_store(call: Callable[[], str], clock: FakeClock) -> str:
    return retry_store_call(
        call, sleep=clock.sleep, clock=clock, rng=random.Random(1), policy=STORE_POLICY
    )


DOWN = StoreUnavailableError("down")
BUSY = ProviderError("busy", retryable=True)


@pytest.mark.parametrize("failures", range(5))
def test_unavailable_store_is_called_up_to_five_times(failures: int) -> None:
    clock = FakeClock()
    flaky = Flaky([DOWN] * failures, clock)
    assert call_store(flaky, clock) == "answer"
    for number, pause in enumerate(flaky.pauses()):
        assert 0.1 * 2**number <= pause <= 0.2 * 2**number


def test_last_failure_is_raised_unchanged() -> None:
    clock = FakeClock()
    flaky = Flaky([DOWN] * 9, clock)
    with pytest.raises(StoreUnavailableError, match="down"):
        call_store(flaky, clock)
    assert len(flaky.at) == 5


def test_store_retries_end_after_half_a_minute() -> None:
    clock = FakeClock()
    flaky = Flaky([DOWN] * 9, clock, takes=12.0)
    with pytest.raises(StoreUnavailableError):
        call_store(flaky, clock)
    assert len(flaky.at) == 3
    assert clock() <= 37


@pytest.mark.parametrize(
    "error",
    [
        StoreAccessError("denied"),
        ConflictError("k", "1", "2"),
        OutcomeUnknownError("?"),
        StoreError("disk full"),
        ValueError("a bug"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_store_call_is_not_retried_after_other_errors(error: Exception) -> None:
    clock = FakeClock()
    flaky = Flaky([error] * 2, clock)
    with pytest.raises(type(error)):
        call_store(flaky, clock)
    assert len(flaky.at) == 1


@pytest.mark.parametrize("first", [StoreAccessError("denied"), ConflictError("k", "1", "2")])
def test_retry_ends_at_first_failure_of_another_kind(first: Exception) -> None:
    clock = FakeClock()
    flaky = Flaky([DOWN, first, DOWN], clock)
    with pytest.raises(type(first)):
        call_store(flaky, clock)
    assert len(flaky.at) == 2


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (BUSY, 4),
        (ProviderError("no"), 1),
        (AuthError("who?"), 1),
        (OutcomeUnknownError("?"), 1),
        (DOWN, 1),
        (ValueError("a bug"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_provider_is_called_again_only_after_retryable_error(error: Exception, calls: int) -> None:
    clock = FakeClock()
    flaky = Flaky([error] * 9, clock)
    with pytest.raises(type(error)):
        retry_provider_call(flaky, sleep=clock.sleep, clock=clock, rng=random.Random(1))
    assert len(flaky.at) == calls


def test_retry_after_extends_pause_and_pauses_are_reported() -> None:
    clock, reported = FakeClock(), list[tuple[int, float, str]]()
    flaky = Flaky([BUSY, ProviderError("slow down", retryable=True, retry_after=45.0)], clock)
    answer = retry_provider_call(
        flaky,
        sleep=clock.sleep,
        clock=clock,
        rng=random.Random(1),
        on_retry=lambda tries, delay, error: reported.append((tries, delay, str(error))),
    )
    assert answer == "answer"
    assert [(tries, message) for tries, _, message in reported] == [(1, "busy"), (2, "slow down")]
    assert [delay for _, delay, _ in reported] == pytest.approx(flaky.pauses())
    assert flaky.pauses()[1] == 45.0


def test_no_pause_exceeds_the_deadline() -> None:
    clock = FakeClock()
    flaky = Flaky([ProviderError("slow down", retryable=True, retry_after=45.0)] * 2, clock)
    with pytest.raises(ProviderError, match="slow down"):
        retry_provider_call(
            flaky, sleep=clock.sleep, clock=clock, rng=random.Random(1), deadline=40.0
        )
    assert clock() == 0
