"""The provider contract: every promise tried for real, each in a world of its own.

    def test_the_contract(tmp_path: Path) -> None:
        provider_contract(MyProvider(), trial, tmp_path)

where `trial(directory)` prepares a world in an empty directory and returns a `Trial`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

from dtm.testing.conformance import BrokenError
from dtm.testing.promises import PROMISES, Bench, Promise, Trial
from engine.address import Address
from engine.ports import AnyProvider, Call

__all__ = [
    "MakeTrial",
    "Trial",
    "Trying",
    "Verdict",
    "provider_contract",
    "trial_call",
    "verdicts",
]

MakeTrial: TypeAlias = Callable[[Path], Trial]
"""Prepares a world in an empty directory; called anew for each promise."""


@runtime_checkable
class Trying(Protocol):
    """The method by which a provider offers a trial of its own.

    With it `dtm develop validate-plugin` can try everything.
    """

    def trial(self, directory: Path) -> Trial:
        """Prepare a world in an empty directory."""
        ...


def trial_call(plugin: str, directory: Path) -> Call:
    """A call for the tool `plugin.trial` of a configuration that stands in the directory."""
    return Call(Address(plugin, "trial"), directory, token="trial", lineage="trial")  # noqa: S106 - no credential


class Verdict(msgspec.Struct, frozen=True):
    """The result of one promise.

    `problem` says how it is broken, `untried` why it could not be tried.
    """

    promise: str
    problem: str = ""
    untried: str = ""

    @property
    def result(self) -> Literal["kept", "broken", "untried"]:
        """Name what became of it."""
        return "broken" if self.problem else "untried" if self.untried else "kept"

    @property
    def reason(self) -> str:
        """Say why it is broken or untried, "" if it is kept."""
        return self.problem or self.untried

    def __str__(self) -> str:
        return f"{self.result:8}{self.promise}{': ' if self.reason else ''}{self.reason}"


def provider_contract(
    provider: AnyProvider, make_trial: MakeTrial, directory: Path
) -> list[Verdict]:
    """Try every promise.

    Raises BrokenError that lists all broken ones; the verdicts tell which could not be tried.
    """
    found = list(verdicts(provider, make_trial, directory))
    broken = [f"{verdict.promise}: {verdict.problem}" for verdict in found if verdict.problem]
    if broken:
        raise BrokenError(
            f"{provider.plugin} breaks {len(broken)} of {len(found)} promises:\n"
            + "\n".join(broken)
        )
    return found


def verdicts(provider: AnyProvider, make_trial: MakeTrial, directory: Path) -> Iterator[Verdict]:
    """Try one promise after the other, each in a new subdirectory, and say what became of it."""
    for number, promise in enumerate(PROMISES):
        world = directory / f"{number:02}"
        world.mkdir(parents=True)
        yield _try(promise, provider, make_trial, world)


def _try(promise: Promise, provider: AnyProvider, make_trial: MakeTrial, world: Path) -> Verdict:
    try:
        bench = Bench(provider, make_trial(world))
        untried = promise.needs(bench)
        if not untried:
            promise.check(bench)
    except BrokenError as broken:
        return Verdict(promise.text, problem=str(broken))
    except Exception as error:  # noqa: BLE001 - a provider may raise anything, and every promise gets its verdict
        return Verdict(promise.text, problem=f"{type(error).__name__}: {error}")
    return Verdict(promise.text, untried=untried)
