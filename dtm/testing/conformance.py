"""Cases of the contract suites, their results, and how to run them without a test runner.

    for case in STORE_CASES:
        case.check(place)

`run_cases(STORE_CASES, make_place)` runs all cases and yields a result for each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Literal, TypeVar

import msgspec

P = TypeVar("P")
E = TypeVar("E", bound=Exception)


class CaseSkipped(Exception):  # noqa: N818 - not an error: the case cannot be checked in this place
    """Raised by a case that cannot be checked; the message says what is missing."""


class CaseFailedError(AssertionError):
    """A case failed; the message says what should have happened, and what happened instead."""


def require(condition: bool, problem: str) -> None:
    """Raise CaseFailedError with `problem` unless the condition holds."""
    if not condition:
        raise CaseFailedError(problem)


def expect_error(call: Callable[[], object], kind: type[E], what: str = "the call") -> E:
    """Run `call` and return its error of type `kind`.

    `what` describes the call, for example "a write with an outdated version". Raises
    CaseFailedError if the call succeeds; errors of other types pass.
    """
    try:
        call()
    except kind as error:
        return error
    raise CaseFailedError(f"{what} must raise {kind.__name__}, but succeeded")


class Case(msgspec.Struct, Generic[P], frozen=True):
    """One rule that an implementation must keep.

    `name` states the rule. `ids` are its stable numbers. `check(place)` raises CaseFailedError if
    the rule is broken, and CaseSkipped if it cannot be checked.
    """

    ids: tuple[str, ...]
    name: str
    check: Callable[[P], None]

    def __str__(self) -> str:
        return f"{'-'.join(self.ids)} {self.name}"


class CaseResult(msgspec.Struct, frozen=True):
    """The result of one case, which took `elapsed` seconds.

    `problem` says why the case failed, `skipped` why it was skipped.
    """

    ids: tuple[str, ...]
    name: str
    problem: str = ""
    skipped: str = ""
    elapsed: float = 0.0

    @property
    def outcome(self) -> Literal["passed", "failed", "skipped"]:
        """The outcome in one word."""
        return "failed" if self.problem else "skipped" if self.skipped else "passed"

    @property
    def reason(self) -> str:
        """Why the case failed or was skipped; "" if it passed."""
        return self.problem or self.skipped

    def __str__(self) -> str:
        return f"{self.outcome:8}{self.name}{': ' if self.reason else ''}{self.reason}"


def run_cases(cases: Iterable[Case[P]], make_place: Callable[[], P]) -> Iterator[CaseResult]:
    """Run the cases one after the other, each in a new, empty place; yield their results."""
    for case in cases:
        problem = skipped = ""
        started = time.monotonic()
        try:
            case.check(make_place())
        except CaseSkipped as reason:
            skipped = str(reason)
        except CaseFailedError as error:
            problem = str(error)
        # An implementation may raise anything, and every case must get a result.
        except Exception as error:  # noqa: BLE001
            problem = f"{type(error).__name__}: {error}"
        yield CaseResult(case.ids, case.name, problem, skipped, time.monotonic() - started)


def require_all_passed(results: list[CaseResult]) -> list[CaseResult]:
    """Return the results. Raises CaseFailedError that lists all failed cases."""
    failed = [
        f"{'-'.join(result.ids)} {result.name}: {result.problem}"
        for result in results
        if result.problem
    ]
    require(not failed, "\n".join([f"{len(failed)} of {len(results)} cases fail:", *failed]))
    return results
