"""Numbered cases and their results: the material of a conformance report.

No test runner is needed.

    for case in STORE_CASES:
        case.check(place)

or `run_cases(STORE_CASES, make_place)` for all of them with a verdict each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Literal, TypeVar

import msgspec

P = TypeVar("P")
E = TypeVar("E", bound=Exception)


class CaseSkipped(Exception):  # noqa: N818 - no error: a case says that this place cannot show it
    """The place offers no means to try the case; the text says which."""


class CaseFailedError(AssertionError):
    """A promise is broken; the text says how."""


def require(condition: bool, problem: str) -> None:
    """Raises BrokenError unless the promise was kept."""
    if not condition:
        raise CaseFailedError(problem)


def expect_error(call: Callable[[], object], kind: type[E], what: str = "the call") -> E:
    """The error of a call that must fail in that very way. Raises BrokenError if it succeeds."""
    try:
        call()
    except kind as error:
        return error
    raise CaseFailedError(f"{what} was not refused")


class Case(msgspec.Struct, Generic[P], frozen=True):
    """One promise; `ids` are the numbers under which it is known.

    `check` raises if it is broken, or Untried.
    """

    ids: tuple[str, ...]
    name: str
    check: Callable[[P], None]

    def __str__(self) -> str:
        return f"{'-'.join(self.ids)} {self.name}"


class CaseResult(msgspec.Struct, frozen=True):
    """The result of one case, which took `elapsed` seconds.

    `problem` says how it is broken, `skipped` why it could not be tried.
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
        """Say why it is broken or untried, "" if it is kept."""
        return self.problem or self.skipped

    def __str__(self) -> str:
        return f"{self.outcome:8}{self.name}{': ' if self.reason else ''}{self.reason}"


def run_cases(cases: Iterable[Case[P]], make_place: Callable[[], P]) -> Iterator[CaseResult]:
    """Try one case after the other, each in a new, empty place."""
    for case in cases:
        problem = skipped = ""
        started = time.monotonic()
        try:
            case.check(make_place())
        except CaseSkipped as reason:
            skipped = str(reason)
        except Exception as error:  # noqa: BLE001 - a backend may raise anything, and every case gets its verdict
            problem = (
                str(error)
                if isinstance(error, CaseFailedError)
                else f"{type(error).__name__}: {error}"
            )
        yield CaseResult(case.ids, case.name, problem, skipped, time.monotonic() - started)


def require_all_passed(found: list[CaseResult]) -> list[CaseResult]:
    """The results, if nothing is broken. Raises BrokenError that lists everything that is."""
    broken = [
        f"{'-'.join(result.ids)} {result.name}: {result.problem}"
        for result in found
        if result.problem
    ]
    require(not broken, "\n".join([f"{len(broken)} of {len(found)} cases fail:", *broken]))
    return found
