"""The provider contract: all cases for one provider, each in an empty directory.

    def test_provider_contract(tmp_path: Path) -> None:
        provider_contract(MyProvider(), make_trial, tmp_path)

`make_trial(directory)` writes what the provider needs into the empty directory, and returns a
`Trial`.
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
"""A function that prepares a trial in an empty directory. It is called for each case."""


@runtime_checkable
class HasTrial(Protocol):
    """A provider that has a trial of its own, which `dtm develop validate-plugin` uses."""

    def trial(self, directory: Path) -> Trial:
        """Prepare a trial in an empty directory."""
        ...


def trial_call(plugin: str, directory: Path) -> Call:
    """Return a call for the tool `plugin.trial` of a configuration in `directory`."""
    return Call(Address(plugin, "trial"), directory, token="trial", lineage="trial")  # noqa: S106 - no credential


def provider_contract(
    provider: AnyProvider, make_trial: MakeTrial, directory: Path
) -> list[CaseResult]:
    """Run all cases and return their results, which include the skipped ones.

    Raises CaseFailedError that lists all failed cases.
    """
    results = list(run_provider_cases(provider, make_trial, directory))
    failed = [f"{result.name}: {result.problem}" for result in results if result.problem]
    if failed:
        raise CaseFailedError(
            f"{provider.plugin} fails {len(failed)} of {len(results)} cases:\n" + "\n".join(failed)
        )
    return results


def run_provider_cases(
    provider: AnyProvider, make_trial: MakeTrial, directory: Path
) -> Iterator[CaseResult]:
    """Run the cases one after the other, each in a new subdirectory; yield their results."""
    numbers = count()

    def prepare() -> TrialRun:
        folder = directory / f"{next(numbers):02}"
        folder.mkdir(parents=True)
        return TrialRun(provider, make_trial(folder))

    return run_cases(PROVIDER_CASES, prepare)
