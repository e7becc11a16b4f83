"""The provider contract: every promise tried for real, each in a world of its own.

    def test_the_contract(tmp_path: Path) -> None:
        provider_contract(MyProvider(), trial, tmp_path)

where `trial(directory)` prepares a world in an empty directory and returns a `Trial`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from dtm.testing.conformance import CaseFailedError, CaseResult, run_cases
from dtm.testing.provider_cases import PROVIDER_CASES, Trial, TrialRun
from engine.address import Address
from engine.ports import AnyProvider, Call

__all__ = [
    "HasTrial",
    "MakeTrial",
    "Trial",
    "provider_contract",
    "run_provider_cases",
    "trial_call",
]

MakeTrial: TypeAlias = Callable[[Path], Trial]
"""Prepares a world in an empty directory; called anew for each promise."""


@runtime_checkable
class HasTrial(Protocol):
    """The method by which a provider offers a trial of its own.

    With it `dtm develop validate-plugin` can try everything.
    """

    def trial(self, directory: Path) -> Trial:
        """Prepare a world in an empty directory."""
        ...


def trial_call(plugin: str, directory: Path) -> Call:
    """A call for the tool `plugin.trial` of a configuration that stands in the directory."""
    return Call(Address(plugin, "trial"), directory, token="trial", lineage="trial")  # noqa: S106 - no credential


def provider_contract(
    provider: AnyProvider, make_trial: MakeTrial, directory: Path
) -> list[CaseResult]:
    """Try every promise.

    Raises BrokenError that lists all broken ones; the verdicts tell which could not be tried.
    """
    found = list(run_provider_cases(provider, make_trial, directory))
    broken = [f"{result.name}: {result.problem}" for result in found if result.problem]
    if broken:
        raise CaseFailedError(
            f"{provider.plugin} breaks {len(broken)} of {len(found)} promises:\n"
            + "\n".join(broken)
        )
    return found


def run_provider_cases(
    provider: AnyProvider, make_trial: MakeTrial, directory: Path
) -> Iterator[CaseResult]:
    """Try one promise after the other, each in a new subdirectory, and say what became of it."""
    numbers = count()

    def run() -> TrialRun:
        world = directory / f"{next(numbers):02}"
        world.mkdir(parents=True)
        return TrialRun(provider, make_trial(world))

    return run_cases(PROVIDER_CASES, run)
