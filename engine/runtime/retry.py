"""Retries of failed calls: how often a call is made again, and the pauses between the calls.

The first call is made without tenacity, which is imported only after a failure. Importing it, and
configuring it for each call, would make a plan of two tools 7 % slower. Most runs never need it.

    retry_store_call(call, sleep=sleep, clock=clock, rng=rng, policy=STORE_POLICY)
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
"""Callback before each pause: number of calls so far, seconds until the next one, the error."""


class RetryPolicy(msgspec.Struct, frozen=True):
    """The number of calls and the pauses between them.

    `tries` includes the first call. Pauses double from `first` to at most `longest` seconds, with
    jitter. No call starts later than `total` seconds after the first one.
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
    """Return the result of a call; retry only after StoreUnavailableError (it had no effect)."""
    schedule = _Schedule(policy, clock() + policy.total, clock, rng)
    return _retry(call, lambda error: isinstance(error, StoreUnavailableError), schedule, sleep)


def retry_provider_call(
    call: Callable[[], T],
    *,
    sleep: Callable[[float], None],
    clock: Callable[[], float],
    rng: random.Random,
    deadline: float = float("inf"),
    on_retry: OnRetry | None = None,
) -> T:
    """Return the result of a call; retry only after a ProviderError with `retryable`.

    No call starts after `deadline`, which is a time of `clock`. A pause lasts at least
    `retry_after` seconds of the error.
    """
    return _retry(
        call, _is_retryable, _Schedule(PROVIDER_POLICY, deadline, clock, rng, on_retry), sleep
    )


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, ProviderError) and error.retryable


class _Schedule(msgspec.Struct, frozen=True):
    """The callbacks by which tenacity decides when to call again.

    tenacity's own wait and stop classes use the real clock and the global random generator.
    """

    policy: RetryPolicy
    until: float
    clock: Callable[[], float]
    rng: random.Random
    on_retry: OnRetry | None = None

    def pause(self, tried: RetryCallState) -> float:
        """Return the seconds until the next call."""
        step = min(self.policy.longest, self.policy.first * 2.0 ** (tried.attempt_number - 1))
        error = _get_error(tried)
        asked = (error.retry_after or 0.0) if isinstance(error, ProviderError) else 0.0
        # Jitter keeps clients that failed together from calling again together.
        return max(step * self.rng.uniform(0.5, 1.0), asked)

    def is_over(self, tried: RetryCallState) -> bool:
        """Return whether no further call may be made."""
        too_late = self.clock() + tried.upcoming_sleep > self.until
        return too_late or tried.attempt_number >= self.policy.tries

    def announce(self, tried: RetryCallState) -> None:
        """Report a failure before the pause that follows."""
        if self.on_retry:
            self.on_retry(tried.attempt_number, tried.upcoming_sleep, _get_error(tried))


def _get_error(tried: RetryCallState) -> BaseException:
    error = tried.outcome.exception() if tried.outcome else None
    assert error is not None  # tenacity calls this only after a failure
    return error


def _retry(
    call: Callable[[], T],
    is_retried: Callable[[BaseException], bool],
    schedule: _Schedule,
    sleep: Callable[[float], None],
) -> T:
    # Only Exception: KeyboardInterrupt and SystemExit must end the run at once.
    try:
        return call()
    except Exception as error:
        if not is_retried(error):
            raise
        failures = [error]
    from tenacity import Retrying, retry_if_exception

    def attempt() -> T:
        # The call above counts as the first try of the policy.
        if failures:
            raise failures.pop()
        return call()

    retrying = Retrying(
        sleep=sleep,
        stop=schedule.is_over,
        wait=schedule.pause,
        retry=retry_if_exception(is_retried),
        before_sleep=schedule.announce,
        reraise=True,
    )
    return retrying(attempt)
