"""How often what is tried again, and after what pauses."""

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
    """Fails with each error in turn, then answers; `takes` seconds for each call."""

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


def store(call: Callable[[], str], clock: FakeClock) -> str:
    return retry_store_call(
        call, sleep=clock.sleep, clock=clock, rng=random.Random(1), policy=STORE_POLICY
    )


DOWN = StoreUnavailableError("down")
BUSY = ProviderError("busy", retryable=True)


@pytest.mark.parametrize("failures", range(5))
def test_an_unavailable_store_is_asked_five_times_with_growing_pauses(failures: int) -> None:
    clock = FakeClock()
    flaky = Flaky([DOWN] * failures, clock)
    assert store(flaky, clock) == "answer"
    for number, pause in enumerate(flaky.pauses()):
        assert 0.1 * 2**number <= pause <= 0.2 * 2**number


def test_the_last_failure_is_raised_as_it_came() -> None:
    clock = FakeClock()
    flaky = Flaky([DOWN] * 9, clock)
    with pytest.raises(StoreUnavailableError, match="down"):
        store(flaky, clock)
    assert len(flaky.at) == 5


def test_half_a_minute_is_enough_for_all_tries() -> None:
    clock = FakeClock()
    flaky = Flaky([DOWN] * 9, clock, takes=12.0)
    with pytest.raises(StoreUnavailableError):
        store(flaky, clock)
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
def test_what_does_not_pass_is_not_tried_again(error: Exception) -> None:
    clock = FakeClock()
    flaky = Flaky([error] * 2, clock)
    with pytest.raises(type(error)):
        store(flaky, clock)
    assert len(flaky.at) == 1


@pytest.mark.parametrize("first", [StoreAccessError("denied"), ConflictError("k", "1", "2")])
def test_a_retry_ends_at_the_first_failure_of_another_kind(first: Exception) -> None:
    clock = FakeClock()
    flaky = Flaky([DOWN, first, DOWN], clock)
    with pytest.raises(type(first)):
        store(flaky, clock)
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
def test_a_provider_is_called_again_only_if_it_says_so(error: Exception, calls: int) -> None:
    clock = FakeClock()
    flaky = Flaky([error] * 9, clock)
    with pytest.raises(type(error)):
        retry_provider_call(flaky, sleep=clock.sleep, clock=clock, rng=random.Random(1))
    assert len(flaky.at) == calls


def test_a_provider_may_ask_for_a_longer_pause_and_every_pause_is_told() -> None:
    clock, told = FakeClock(), list[tuple[int, float, str]]()
    flaky = Flaky([BUSY, ProviderError("slow down", retryable=True, retry_after=45.0)], clock)
    answer = retry_provider_call(
        flaky,
        sleep=clock.sleep,
        clock=clock,
        rng=random.Random(1),
        on_retry=lambda tries, delay, error: told.append((tries, delay, str(error))),
    )
    assert answer == "answer"
    assert [(tries, message) for tries, _, message in told] == [(1, "busy"), (2, "slow down")]
    assert [delay for _, delay, _ in told] == pytest.approx(flaky.pauses())
    assert flaky.pauses()[1] == 45.0


def test_no_pause_goes_beyond_the_deadline() -> None:
    clock = FakeClock()
    flaky = Flaky([ProviderError("slow down", retryable=True, retry_after=45.0)] * 2, clock)
    with pytest.raises(ProviderError, match="slow down"):
        retry_provider_call(
            flaky, sleep=clock.sleep, clock=clock, rng=random.Random(1), deadline=40.0
        )
    assert clock() == 0
