"""Retries of failed calls: how often a call is made again, and after what pauses.

The first try is made without tenacity, which is imported on the first failure: importing it and
setting it up for each call makes a plan of two tools 7 % slower, and most runs never need it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec

from engine.errors import ProviderError, StoreUnavailableError

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")
OnRetry: TypeAlias = Callable[[int, float, BaseException], None]
"""Called before each pause: tries made so far, seconds until the next one, the error."""


class RetryPolicy(msgspec.Struct, frozen=True):
    """The number of tries, and the pauses between them.

    `tries` counts the first call. Pauses double from `first` to at most `longest` seconds, each
    with jitter. No call starts later than `total` seconds after the first one.
    """

    tries: int
    first: float
    longest: float
    total: float


STORE_POLICY = RetryPolicy(tries=5, first=0.2, longest=5.0, total=30.0)
PROVIDER_POLICY = RetryPolicy(tries=4, first=1.0, longest=30.0, total=float("inf"))


def retry_store_call(
    call: Callable[[], T],
    *,
    sleep: Callable[[float], None],
    clock: Callable[[], float],
    rng: random.Random,
    policy: RetryPolicy,
) -> T:
    """Return the call's result; retry only StoreUnavailableError, which surely had no effect."""
    schedule = _Schedule(policy, clock() + policy.total, clock, rng)
    return _retry(call, lambda error: isinstance(error, StoreUnavailableError), schedule, sleep)


def retry_provider_call(
    call: Callable[[], T],
    *,
    sleep: Callable[[float], None],
    clock: Callable[[], float],
    rng: random.Random,
    deadline: float = float("inf"),
    failed: OnRetry | None = None,
) -> T:
    """Return the call's result; retry only a ProviderError that says `retryable`.

    No call starts after `deadline` (of `clock`). A pause lasts at least the `after` seconds that
    the error asks for.
    """
    return _retry(
        call, _is_retryable, _Schedule(PROVIDER_POLICY, deadline, clock, rng, failed), sleep
    )


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, ProviderError) and error.retryable


class _Schedule(msgspec.Struct, frozen=True):
    """When to call again, as tenacity asks for it.

    tenacity's own waits and stops read the real clock and the global random generator.
    """

    policy: RetryPolicy
    until: float
    clock: Callable[[], float]
    rng: random.Random
    failed: OnRetry | None = None

    def pause(self, tried: RetryCallState) -> float:
        """Return the seconds to wait before the next call."""
        step = min(self.policy.longest, self.policy.first * 2.0 ** (tried.attempt_number - 1))
        error = _error(tried)
        asked = (error.retry_after or 0.0) if isinstance(error, ProviderError) else 0.0
        return max(step * self.rng.uniform(0.5, 1.0), asked)

    def is_over(self, tried: RetryCallState) -> bool:
        """Return whether no further call may be made."""
        too_late = self.clock() + tried.upcoming_sleep > self.until
        return too_late or tried.attempt_number >= self.policy.tries

    def announce(self, tried: RetryCallState) -> None:
        """Report a failure before the pause that follows it."""
        if self.failed:
            self.failed(tried.attempt_number, tried.upcoming_sleep, _error(tried))


def _error(tried: RetryCallState) -> BaseException:
    error = tried.outcome.exception() if tried.outcome else None
    assert error is not None  # only failures are waited for
    return error


def _retry(
    call: Callable[[], T],
    passes: Callable[[BaseException], bool],
    schedule: _Schedule,
    sleep: Callable[[float], None],
) -> T:
    try:
        return call()
    except Exception as error:
        if not passes(error):
            raise
        failures = [error]
    from tenacity import Retrying, retry_if_exception

    def attempt() -> T:
        if failures:  # the call above was the first try of the policy
            raise failures.pop()
        return call()

    retrying = Retrying(
        sleep=sleep,
        stop=schedule.is_over,
        wait=schedule.pause,
        retry=retry_if_exception(passes),
        before_sleep=schedule.announce,
        reraise=True,
    )
    return retrying(attempt)
