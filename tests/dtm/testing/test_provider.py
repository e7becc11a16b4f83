"""The provider contract can fail: for each check, a broken provider fails exactly that check."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from dtm.testing.conformance import CaseFailedError, CaseResult
from dtm.testing.provider import Trial, provider_contract, run_provider_cases
from dtm.trials.validation import TRIALS
from engine.errors import ProviderError
from engine.ports import Call
from engine.state import Resource
from engine.values import UNKNOWN, Value
from providers.file import FileOptions, FileOutputs, FileProvider


class LeakyIdentity(FileProvider):
    """Looks at the world."""

    def identity(self, options: FileOptions) -> str | None:
        return f"{super().identity(options)} {sorted(path.name for path in seen.glob('out/*'))}"


class Conjuring(FileProvider):
    """Reads what is not there."""

    def read(self, options: FileOptions, resource: Resource | None, call: Call) -> Resource | None:
        return super().read(options, resource, call) or Resource("ghost")


class Restless(FileProvider):
    """Tells something else each time."""

    count = 0

    def read(self, options: FileOptions, resource: Resource | None, call: Call) -> Resource | None:
        self.count += 1
        found = super().read(options, resource, call)
        return found and replace(found, attributes={**found.attributes, "read": self.count})


class Undeclared(FileProvider):
    """Has an output more than it declares."""

    def read(self, options: FileOptions, resource: Resource | None, call: Call) -> Resource | None:
        found = super().read(options, resource, call)
        return found and replace(found, outputs={**found.outputs, "extra": 1})


class Incomplete(FileProvider):
    """Declares an output more than it has."""

    class Wider(FileOutputs, frozen=True, kw_only=True):
        more: str

    outputs: type[FileOutputs] = Wider


class Unstorable(FileProvider):
    """Tells what no JSON can hold."""

    def read(self, options: FileOptions, resource: Resource | None, call: Call) -> Resource | None:
        found = super().read(options, resource, call)
        strange: Any = (1, 2)
        return found and replace(found, attributes={**found.attributes, "pair": strange})


class Boastful(FileProvider):
    """Predicts what does not come true."""

    def predict(self, options: FileOptions, resource: Resource | None) -> Mapping[str, Value]:
        return {**super().predict(options, resource), "sha256": "0" * 64}


class Hopeful(FileProvider):
    """Predicts an output that it has not."""

    def predict(self, options: FileOptions, resource: Resource | None) -> Mapping[str, Value]:
        return {"revision": UNKNOWN}


class Blind(FileProvider):
    """Does not look at the mode."""

    def read(self, options: FileOptions, resource: Resource | None, call: Call) -> Resource | None:
        found = super().read(options, resource, call)
        return found and replace(found, attributes={**found.attributes, "mode": "0644"})


class Lazy(FileProvider):
    """Updates nothing."""

    def update(self, options: FileOptions, resource: Resource, call: Call) -> Resource:
        return resource


class Strict(FileProvider):
    """Takes what is gone for an error."""

    def read(self, options: FileOptions, resource: Resource | None, call: Call) -> Resource | None:
        found = super().read(options, resource, call)
        if found is None and resource is not None:
            raise ProviderError("it is not there")
        return found


class Forgetful(FileProvider):
    """Finds nothing without a record."""

    def read(self, options: FileOptions, resource: Resource | None, call: Call) -> Resource | None:
        return resource and super().read(options, resource, call)

    def create(self, options: FileOptions, call: Call) -> Resource:
        return FileProvider().create(options, call)

    def update(self, options: FileOptions, resource: Resource, call: Call) -> Resource:
        return FileProvider().update(options, resource, call)


class Moving(FileProvider):
    """Gives the thing another id with each update."""

    def update(self, options: FileOptions, resource: Resource, call: Call) -> Resource:
        return replace(super().update(options, resource, call), id=resource.id + "'")


class Hoarding(FileProvider):
    """Deletes nothing."""

    def delete(self, options: FileOptions, resource: Resource, call: Call) -> None:
        return None


class Touchy(FileProvider):
    """Cannot delete twice."""

    def delete(self, options: FileOptions, resource: Resource, call: Call) -> None:
        if self.read(options, resource, call) is None:
            raise ProviderError("it is gone already")
        super().delete(options, resource, call)


class Greedy(FileProvider):
    """Overwrites what others made."""

    def create(self, options: FileOptions, call: Call) -> Resource:
        (call.base_dir / options.path).unlink(missing_ok=True)
        return super().create(options, call)


seen = Path("/nowhere")


def file_trial(world: Path) -> Trial:
    global seen
    seen = world
    return TRIALS["file"](world)


BROKEN = [
    (LeakyIdentity, "its identity is pure", "the identity changes when the thing is made"),
    (
        Conjuring,
        "nothing is found before it is made",
        "read finds something before anything was made",
    ),
    (
        Restless,
        "what create made is read back, so a second plan is empty",
        "read after create differs in read",
    ),
    (Undeclared, "its attributes and outputs fit the state", "outputs extra are not declared"),
    (Incomplete, "its attributes and outputs fit the state", "declared outputs more are missing"),
    (
        Unstorable,
        "its attributes and outputs fit the state",
        "attributes and outputs are not plain JSON",
    ),
    (Boastful, "predicted outputs come true", "create was predicted to give sha256 = "),
    (
        Hopeful,
        "predicted outputs come true",
        "create was predicted to give output revision, and did not",
    ),
    (
        Blind,
        "drift of each attribute is found and repaired",
        "a drift of mode is not seen; what differs: nothing",
    ),
    (Lazy, "drift of each attribute is found and repaired", "a drift of sha256 is not repaired"),
    (Strict, "what vanished is read as gone and made again", "ProviderError: it is not there"),
    (Forgetful, "what a crash left is found again", "read without a record finds nothing"),
    (Moving, "changed options are applied in place", "change 1 gives it another id"),
    (Lazy, "changed options are applied in place", "change 1 changes nothing"),
    (Hoarding, "deleting is final, deleting twice is harmless", "read still finds it"),
    (Touchy, "deleting is final, deleting twice is harmless", "ProviderError: it is gone already"),
    (Greedy, "what others made is refused", "create takes it over"),
]


@pytest.mark.parametrize(("provider", "promise", "problem"), BROKEN)
def test_broken_provider_fails_its_check(
    provider: type[FileProvider], promise: str, problem: str, tmp_path: Path
) -> None:
    found = {
        result.name: result.problem
        for result in run_provider_cases(provider(), file_trial, tmp_path)
    }
    assert found[promise].startswith(problem)


def test_every_check_can_fail(tmp_path: Path) -> None:
    assert {promise for _, promise, _ in BROKEN} == {
        result.name for result in run_provider_cases(FileProvider(), file_trial, tmp_path)
    }


def test_contract_reports_every_failed_check(tmp_path: Path) -> None:
    with pytest.raises(CaseFailedError) as error:
        provider_contract(Touchy(), file_trial, tmp_path)
    assert str(error.value).splitlines() == [
        "file breaks 2 of 11 promises:",
        "what vanished is read as gone and made again: ProviderError: it is gone already",
        "deleting is final, deleting twice is harmless: ProviderError: it is gone already",
    ]


def test_attribute_without_a_drift_is_named(tmp_path: Path) -> None:
    def trial(world: Path) -> Trial:
        whole = file_trial(world)
        return replace(whole, drifts={"mode": whole.drifts["mode"]})

    with pytest.raises(CaseFailedError, match="no drift changes sha256, size, source"):
        provider_contract(FileProvider(), trial, tmp_path)


def lines(world: Path, **without: None) -> Iterator[str]:
    found = run_provider_cases(
        FileProvider(), lambda directory: replace(file_trial(directory), **without), world
    )
    return map(str, found)


def test_missing_part_of_a_trial_is_named(tmp_path: Path) -> None:
    assert list(lines(tmp_path, create_outside=None))[-2:] == [
        "passed  deleting is final, deleting twice is harmless",
        "skipped what others made is refused: its trial has no create_outside",
    ]
    assert str(CaseResult((), "p", problem="why")) == "failed  p: why"
