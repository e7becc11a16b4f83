"""The cases of the provider contract, which `dtm.testing.provider` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from dtm.testing.conformance import Case, CaseFailedError, CaseSkipped, require
from engine.errors import ProviderError
from engine.ports import AnyProvider, Call
from engine.state import Resource
from engine.values import UNKNOWN, UnknownValueError, Value, has_unknown

Act: TypeAlias = Callable[[], object]
"""A function that changes something without the provider."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One resource to test a provider with, and ways to change it without the provider.

    - `options`: the options of a resource that does not exist yet.
    - `changes`: options that the resource can be updated to in place, applied one after the other.
    - `drifts`: for each attribute, a function that changes it without the provider.
    - `cannot_drift`: attributes that cannot drift, because a resource with another value would be
      another resource.
    - `delete_outside`: a function that deletes the resource without the provider.
    - `create_outside`: a function that creates, in its place, a resource that dtm did not create.
    - `state_only`: True for a resource that exists only in the state, such as `data`. There is then
      nothing to read.
    """

    options: Any
    call: Call
    changes: Sequence[Any] = ()
    drifts: Mapping[str, Act] = msgspec.field(default_factory=dict[str, Act])
    cannot_drift: frozenset[str] = frozenset()
    delete_outside: Act | None = None
    create_outside: Act | None = None
    state_only: bool = False


class TrialRun(msgspec.Struct, frozen=True):
    """A provider, and the trial that it is tested with."""

    provider: AnyProvider
    trial: Trial

    def create(self) -> Resource:
        """Create the resource of the trial."""
        return self.provider.create(self.trial.options, self.trial.call)

    def read(self, resource: Resource | None, options: Any = None) -> Resource | None:
        """Read the live resource, by identity if `resource` is None."""
        return self.provider.read(
            self.trial.options if options is None else options, resource, self.trial.call
        )

    def update(self, resource: Resource, options: Any = None) -> Resource:
        """Update the resource to the options of the trial, or to others."""
        return self.provider.update(
            self.trial.options if options is None else options, resource, self.trial.call
        )

    def delete(self, resource: Resource) -> None:
        """Delete the resource."""
        self.provider.delete(self.trial.options, resource, self.trial.call)


def differences(recorded: Resource, live: Resource) -> list[str]:
    """Return what differs: `id`, names of attributes, and `outputs.NAME`."""
    identity = ["id"] if recorded.id != live.id else []
    outputs = [f"outputs.{key}" for key in _keys(recorded.outputs, live.outputs)]
    return identity + _keys(recorded.attributes, live.attributes) + outputs


def _keys(one: Mapping[str, Value], other: Mapping[str, Value]) -> list[str]:
    return [
        key
        for key in sorted({*one, *other})
        if key not in one or key not in other or one[key] != other[key]
    ]


def _require_same(expected: Resource, actual: Resource | None, what: str) -> None:
    """Require that `what`, the description of a call, has returned the expected resource."""
    if actual is None:
        raise CaseFailedError(f"{what} must return the resource, but returned None")
    differing = differences(expected, actual)
    require(
        not differing,
        f"{what} must return the same resource, but it differs in {', '.join(differing)}",
    )


def _with_unknowns(options: Any) -> Iterator[Any]:
    """Yield copies of the options, each with another field unknown."""
    for name in options.__struct_fields__:
        try:
            yield msgspec.structs.replace(options, **{name: UNKNOWN})
        except ValueError:
            # A Struct that checks its fields in combination may refuse an unknown one.
            continue


def identity_is_pure(run: TrialRun) -> None:
    """Compute the identity before and after a create and a delete: always the same.

    With an unknown option, `identity` returns an identity or raises UnknownValueError.
    """
    identity, options = run.provider.identity, run.trial.options
    before = identity(options)
    require(before is None or before != "", "the identity must not be empty, but is")
    resource = run.create()
    require(
        identity(options) == before,
        "the identity must not change, but changed when the resource was created",
    )
    run.delete(resource)
    require(
        identity(options) == before,
        "the identity must not change, but changed when the resource was deleted",
    )
    for partly in _with_unknowns(options):
        try:
            identity(partly)
        except UnknownValueError:
            continue


def absent_before_create(run: TrialRun) -> None:
    """Read by identity before anything is created: None."""
    _need_identity(run)
    require(run.read(None) is None, "read must return None before create, but returned a resource")


def create_is_read_back(run: TrialRun) -> None:
    """Create, and read twice: `read` returns what `create` returned, so a second plan is empty."""
    made = run.create()
    _require_same(made, run.read(made), "read after create")
    # A value that differs in each read would show a drift in every plan.
    _require_same(made, run.read(made), "a second read")


def resource_can_be_stored(run: TrialRun) -> None:
    """Create: the resource has an id, plain JSON, no reserved names, and the declared outputs."""
    made = run.create()
    require(bool(made.id), "the id must not be empty, but is")
    plain = {"attributes": dict(made.attributes), "outputs": dict(made.outputs)}
    require(
        msgspec.json.decode(msgspec.json.encode(plain)) == plain,
        "attributes and outputs must be plain JSON, but are not",
    )
    require(
        not made.attributes.keys() & {"id", "outputs"},
        "attributes must not be named id or outputs, but one is",
    )
    if run.provider.outputs is None:
        return
    fields = msgspec.structs.fields(run.provider.outputs)
    undeclared = made.outputs.keys() - {item.encode_name for item in fields}
    require(
        not undeclared, f"outputs must be declared, but {', '.join(sorted(undeclared))} are not"
    )
    missing = {item.encode_name for item in fields if item.required} - made.outputs.keys()
    require(
        not missing,
        f"create must return all declared outputs, but {', '.join(sorted(missing))} are missing",
    )


def prediction_is_correct(run: TrialRun) -> None:
    """Compare the predicted outputs with the real ones, for create and update.

    With an unknown option, `predict` raises nothing but UnknownValueError.
    """
    predict, options = run.provider.predict, run.trial.options
    for partly in _with_unknowns(options):
        try:
            predict(partly, None)
        except UnknownValueError:
            continue
    predicted = predict(options, None)
    made = run.create()
    _require_predicted(predicted, made, "create")
    for change in run.trial.changes:
        predicted = predict(change, made)
        made = run.update(made, change)
        _require_predicted(predicted, made, "update")


def _require_predicted(predicted: Mapping[str, Value], made: Resource, verb: str) -> None:
    for key, value in predicted.items():
        require(key in made.outputs, f"{verb} must return the predicted output {key}, but did not")
        untrue = not has_unknown(value) and made.outputs[key] != value
        require(
            not untrue,
            f"{verb} must return the predicted {key} = {value!r}, "
            f"but returned {made.outputs[key]!r}",
        )


def drift_is_detected_and_repaired(run: TrialRun) -> None:
    """Change each attribute outside dtm: `read` shows the drift, and `update` repairs it."""
    _need(run, "drifts")
    made, seen = run.create(), set[str]()
    for name, drift in run.trial.drifts.items():
        drift()
        live = run.read(made)
        if live is None:
            raise CaseFailedError(
                f"read must return the resource after a drift of {name}, but returned None"
            )
        found = differences(made, live)
        require(
            name in found,
            f"read must show the drift of {name}, but shows a difference in "
            f"{', '.join(found) or 'nothing'}",
        )
        seen |= set(found)
        made = run.update(live)
        require(
            bool(differences(live, made)),
            f"update must repair the drift of {name}, but changed nothing",
        )
        _require_same(made, run.read(made), f"read after the repair of {name}")
    # An attribute that no drift changes would never be tested.
    untested = made.attributes.keys() - seen - run.trial.cannot_drift
    require(
        not untested,
        "the trial must have a drift for each attribute, "
        f"but has none for {', '.join(sorted(untested))}",
    )


def deleted_resource_is_created_again(run: TrialRun) -> None:
    """Delete the resource outside dtm: `read` returns None, and `create` creates it again."""
    _need(run, "delete_outside")
    made = run.create()
    assert run.trial.delete_outside is not None
    run.trial.delete_outside()
    require(
        run.read(made) is None,
        "read must return None for a missing resource, but returned a resource",
    )
    run.delete(made)
    again = run.create()
    _require_same(again, run.read(again), "read after the second create")


def found_again_after_a_crash(run: TrialRun) -> None:
    """Find a resource by its identity alone, and create it once again.

    dtm does so after a crash between `create` and the record of its result.
    """
    _need_identity(run)
    made = run.create()
    _require_same(made, run.read(None), "read by identity")
    # After a crash the same create runs again, and must not create a second resource.
    _require_same(made, run.create(), "a repeated create")
    _require_same(made, run.read(made), "read after a repeated create")


def updated_in_place(run: TrialRun) -> None:
    """Update to other options: the resource changes and keeps its id.

    Another update to the same options changes nothing.
    """
    _need(run, "changes")
    made = run.create()
    for number, change in enumerate(run.trial.changes, 1):
        before, made = made, run.update(made, change)
        require(made.id == before.id, f"update {number} must keep the id, but changed it")
        require(
            bool(differences(before, made)),
            f"update {number} must change the resource, but changed nothing",
        )
        _require_same(made, run.read(made, change), f"read after update {number}")
        _require_same(made, run.update(made, change), f"a repeated update {number}")


def deleted_twice(run: TrialRun) -> None:
    """Delete twice: the resource is gone, and the second delete succeeds."""
    made = run.create()
    run.delete(made)
    require(
        run.trial.state_only or run.read(made) is None,
        "read must return None after delete, but returned a resource",
    )
    run.delete(made)


def foreign_resource_is_refused(run: TrialRun) -> None:
    """Create over a resource that dtm did not create: refused with a hint, and not changed."""
    _need(run, "create_outside")
    assert run.trial.create_outside is not None
    run.trial.create_outside()
    before = run.read(None)
    if before is None:
        raise CaseFailedError(
            "read by identity must return a resource that dtm did not create, but returned None"
        )
    try:
        run.create()
    except ProviderError as refusal:
        require(bool(refusal.hint), "the error of create must have a hint, but has none")
    else:
        raise CaseFailedError(
            "create must refuse a resource that dtm did not create, but changed it"
        )
    _require_same(before, run.read(None), "read after the refusal")


def _need(run: TrialRun, name: str) -> None:
    if not getattr(run.trial, name):
        raise CaseSkipped(f"the trial does not define {name}")


def _need_identity(run: TrialRun) -> None:
    if run.trial.state_only:
        raise CaseSkipped("the resource exists only in the state")
    if run.provider.identity(run.trial.options) is None:
        raise CaseSkipped("the resource has no identity")


PROVIDER_CASES: Final[tuple[Case[TrialRun], ...]] = (
    Case((), "the identity depends only on the options", identity_is_pure),
    Case((), "read returns nothing before create", absent_before_create),
    Case((), "read returns what create returned", create_is_read_back),
    Case((), "attributes and outputs can be stored in the state", resource_can_be_stored),
    Case((), "predicted outputs are correct", prediction_is_correct),
    Case((), "drift of each attribute is detected and repaired", drift_is_detected_and_repaired),
    Case(
        (),
        "a resource deleted outside dtm is created again",
        deleted_resource_is_created_again,
    ),
    Case((), "a resource left by a crash is found again", found_again_after_a_crash),
    Case((), "changed options are applied in place", updated_in_place),
    Case((), "delete removes the resource and can be repeated", deleted_twice),
    Case((), "a resource that dtm did not create is refused", foreign_resource_is_refused),
)
