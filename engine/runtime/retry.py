"""When a failed call is tried again, how often and after what pause: the one place for it.

tenacity is imported once something has failed, not before: most runs never need it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeAlias, TypeVar

import msgspec

from engine.errors import ProviderError, StoreUnavailableError

T = TypeVar("T")
Failed: TypeAlias = Callable[[int, float, BaseException], None]
"""Told before each pause: tries made so far, seconds until the next one, what went wrong."""


class Policy(msgspec.Struct, frozen=True):
    """`tries` in all; pauses double from `first` to at most `longest` seconds, each with jitter; `total` seconds in all."""

    tries: int
    first: float
    longest: float
    total: float


STORE = Policy(tries=5, first=0.2, longest=5.0, total=30.0)
PROVIDER = Policy(tries=4, first=1.0, longest=30.0, total=float("inf"))

_chance = random.Random()  # noqa: S311 - jitter, nothing secret


def store_retry(
    call: Callable[[], T],
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    rng: random.Random = _chance,
    policy: Policy = STORE,
) -> T:
    """The call's result; only StoreUnavailableError, which surely had no effect, is tried again."""
    return _retry(call, policy, _is_unavailable, sleep, clock, rng, _untold)


def provider_retry(
    call: Callable[[], T],
    *,
    deadline: float = float("inf"),
    failed: Failed | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    rng: random.Random = _chance,
    policy: Policy = PROVIDER,
) -> T:
    """The call's result; only a ProviderError that says `retryable` is tried again, never beyond `deadline` (of `clock`).

    A pause is at least the `after` that the error asks for.
    """
    limited = Policy(
        policy.tries, policy.first, policy.longest, min(policy.total, deadline - clock())
    )
    return _retry(call, limited, _is_retryable, sleep, clock, rng, failed or _untold)


def _is_unavailable(error: BaseException) -> bool:
    return isinstance(error, StoreUnavailableError)


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, ProviderError) and error.retryable


def _untold(_tries: int, _delay: float, _error: BaseException) -> None:
    return None


def _retry(
    call: Callable[[], T],
    policy: Policy,
    passes: Callable[[BaseException], bool],
    sleep: Callable[[float], None],
    clock: Callable[[], float],
    rng: random.Random,
    failed: Failed,
) -> T:
    started = clock()
    try:
        return call()
    except Exception as error:
        if not passes(error):
            raise
        first = [error]
    from tenacity import RetryCallState, Retrying, retry_if_exception

    def attempt() -> T:
        if first:  # the try above is the first one of the policy
            raise first.pop()
        return call()

    def pause(tried: RetryCallState) -> float:
        step = min(policy.longest, policy.first * 2.0 ** (tried.attempt_number - 1))
        return max(step * rng.uniform(0.5, 1.0), _asked(_error(tried)))

    def enough(tried: RetryCallState) -> bool:
        return (
            tried.attempt_number >= policy.tries
            or clock() - started + tried.upcoming_sleep > policy.total
        )

    def tell(tried: RetryCallState) -> None:
        failed(tried.attempt_number, tried.upcoming_sleep, _error(tried))

    def _error(tried: RetryCallState) -> BaseException:
        error = tried.outcome.exception() if tried.outcome else None
        assert error is not None  # only failures are waited for
        return error

    again = Retrying(
        sleep=sleep,
        stop=enough,
        wait=pause,
        retry=retry_if_exception(passes),
        before_sleep=tell,
        reraise=True,
    )
    return again(attempt)


def _asked(error: BaseException) -> float:
    """The pause that a provider's error asks for."""
    return (error.after or 0.0) if isinstance(error, ProviderError) else 0.0
