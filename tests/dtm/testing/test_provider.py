"""Each case of the provider contract fails for a provider that breaks its rule."""

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
    """Has an identity that depends on existing files."""

    def identity(self, options: FileOptions) -> str | None:
        return f"{super().identity(options)} {sorted(path.name for path in seen.glob('out/*'))}"


class Conjuring(FileProvider):
    """Reads a resource that does not exist."""

    def read(self, options: FileOptions, resource: Resource | None, call: Call) -> Resource | None:
        return super().read(options, resource, call) or Resource("ghost")


class Restless(FileProvider):
    """Reads another attribute value each time."""

    count = 0

    def read(self, options: FileOptions, resource: Resource | None, call: Call) -> Resource | None:
        self.count += 1
        found = super().read(options, resource, call)
        return found and replace(found, attributes={**found.attributes, "read": self.count})


class Undeclared(FileProvider):
    """Returns an output that it does not declare."""

    def read(self, options: FileOptions, resource: Resource | None, call: Call) -> Resource | None:
        found = super().read(options, resource, call)
        return found and replace(found, outputs={**found.outputs, "extra": 1})


class Incomplete(FileProvider):
    """Declares an output that it does not return."""

    class Wider(FileOutputs, frozen=True, kw_only=True):
        more: str

    outputs: type[FileOutputs] = Wider


class Unstorable(FileProvider):
    """Returns an attribute that is not plain JSON."""

    def read(self, options: FileOptions, resource: Resource | None, call: Call) -> Resource | None:
        found = super().read(options, resource, call)
        strange: Any = (1, 2)
        return found and replace(found, attributes={**found.attributes, "pair": strange})


class Boastful(FileProvider):
    """Predicts a wrong output value."""

    def predict(self, options: FileOptions, resource: Resource | None) -> Mapping[str, Value]:
        return {**super().predict(options, resource), "sha256": "0" * 64}


class Hopeful(FileProvider):
    """Predicts an output that it does not return."""

    def predict(self, options: FileOptions, resource: Resource | None) -> Mapping[str, Value]:
        return {"revision": UNKNOWN}


class Blind(FileProvider):
    """Does not read the mode of the file."""

    def read(self, options: FileOptions, resource: Resource | None, call: Call) -> Resource | None:
        found = super().read(options, resource, call)
        return found and replace(found, attributes={**found.attributes, "mode": "0644"})


class Lazy(FileProvider):
    """Updates nothing."""

    def update(self, options: FileOptions, resource: Resource, call: Call) -> Resource:
        return resource


class Strict(FileProvider):
    """Raises an error for a missing resource."""

    def read(self, options: FileOptions, resource: Resource | None, call: Call) -> Resource | None:
        found = super().read(options, resource, call)
        if found is None and resource is not None:
            raise ProviderError("it is not there")
        return found


class Forgetful(FileProvider):
    """Reads nothing by identity alone."""

    def read(self, options: FileOptions, resource: Resource | None, call: Call) -> Resource | None:
        return resource and super().read(options, resource, call)

    def create(self, options: FileOptions, call: Call) -> Resource:
        return FileProvider().create(options, call)

    def update(self, options: FileOptions, resource: Resource, call: Call) -> Resource:
        return FileProvider().update(options, resource, call)


class Moving(FileProvider):
    """Changes the id with each update."""

    def update(self, options: FileOptions, resource: Resource, call: Call) -> Resource:
        return replace(super().update(options, resource, call), id=resource.id + "'")


class Hoarding(FileProvider):
    """Deletes nothing."""

    def delete(self, options: FileOptions, resource: Resource, call: Call) -> None:
        return None


class Touchy(FileProvider):
    """Fails to delete a missing resource."""

    def delete(self, options: FileOptions, resource: Resource, call: Call) -> None:
        if self.read(options, resource, call) is None:
            raise ProviderError("it is gone already")
        super().delete(options, resource, call)


class Greedy(FileProvider):
    """Overwrites a file that dtm did not create."""

    def create(self, options: FileOptions, call: Call) -> Resource:
        (call.base_dir / options.path).unlink(missing_ok=True)
        return super().create(options, call)


seen = Path("/nowhere")


def file_trial(world: Path) -> Trial:
    global seen
    seen = world
    return TRIALS["file"](world)


FLAWED = [
    (
        LeakyIdentity,
        "the identity depends only on the options",
        "the identity must not change, but changed when the resource was created",
    ),
    (
        Conjuring,
        "read returns nothing before create",
        "read must return None before create, but returned a resource",
    ),
    (
        Restless,
        "read returns what create returned",
        "read after create must return the same resource, but it differs in read",
    ),
    (
        Undeclared,
        "attributes and outputs can be stored in the state",
        "outputs must be declared, but extra are not",
    ),
    (
        Incomplete,
        "attributes and outputs can be stored in the state",
        "create must return all declared outputs, but more are missing",
    ),
    (
        Unstorable,
        "attributes and outputs can be stored in the state",
        "attributes and outputs must be plain JSON, but are not",
    ),
    (
        Boastful,
        "predicted outputs are correct",
        "create must return the predicted sha256 = ",
    ),
    (
        Hopeful,
        "predicted outputs are correct",
        "create must return the predicted output revision, but did not",
    ),
    (
        Blind,
        "drift of each attribute is detected and repaired",
        "read must show the drift of mode, but shows a difference in nothing",
    ),
    (
        Lazy,
        "drift of each attribute is detected and repaired",
        "update must repair the drift of sha256, but changed nothing",
    ),
    (
        Strict,
        "a resource deleted outside dtm is created again",
        "ProviderError: it is not there",
    ),
    (
        Forgetful,
        "a resource left by a crash is found again",
        "read by identity must return the resource, but returned None",
    ),
    (
        Moving,
        "changed options are applied in place",
        "update 1 must keep the id, but changed it",
    ),
    (
        Lazy,
        "changed options are applied in place",
        "update 1 must change the resource, but changed nothing",
    ),
    (
        Hoarding,
        "delete removes the resource and can be repeated",
        "read must return None after delete, but returned a resource",
    ),
    (
        Touchy,
        "delete removes the resource and can be repeated",
        "ProviderError: it is gone already",
    ),
    (
        Greedy,
        "a resource that dtm did not create is refused",
        "create must refuse a resource that dtm did not create, but changed it",
    ),
]


@pytest.mark.parametrize(("provider", "case", "problem"), FLAWED)
def test_flawed_provider_fails_its_case(
    provider: type[FileProvider], case: str, problem: str, tmp_path: Path
) -> None:
    found = {
        result.name: result.problem
        for result in run_provider_cases(provider(), file_trial, tmp_path)
    }
    assert found[case].startswith(problem)


def test_every_case_can_fail(tmp_path: Path) -> None:
    assert {case for _, case, _ in FLAWED} == {
        result.name for result in run_provider_cases(FileProvider(), file_trial, tmp_path)
    }


def test_contract_lists_all_failed_cases(tmp_path: Path) -> None:
    with pytest.raises(CaseFailedError) as error:
        provider_contract(Touchy(), file_trial, tmp_path)
    assert str(error.value).splitlines() == [
        "file fails 2 of 11 cases:",
        "a resource deleted outside dtm is created again: ProviderError: it is gone already",
        "delete removes the resource and can be repeated: ProviderError: it is gone already",
    ]


def test_attribute_without_drift_is_named(tmp_path: Path) -> None:
    def trial(world: Path) -> Trial:
        complete = file_trial(world)
        return replace(complete, drifts={"mode": complete.drifts["mode"]})

    with pytest.raises(CaseFailedError, match="has none for sha256, size, source"):
        provider_contract(FileProvider(), trial, tmp_path)


def lines(world: Path, **without: None) -> Iterator[str]:
    found = run_provider_cases(
        FileProvider(), lambda directory: replace(file_trial(directory), **without), world
    )
    return map(str, found)


def test_missing_part_of_a_trial_is_named(tmp_path: Path) -> None:
    assert list(lines(tmp_path, create_outside=None))[-2:] == [
        "passed  delete removes the resource and can be repeated",
        "skipped a resource that dtm did not create is refused: "
        "the trial does not define create_outside",
    ]
    assert str(CaseResult((), "p", problem="why")) == "failed  p: why"
