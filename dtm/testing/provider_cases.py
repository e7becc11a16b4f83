"""The promises of every provider, one check each; `dtm.testing.provider` runs them."""

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
    """A provider and the world it is tried in."""

    provider: AnyProvider
    trial: Trial

    def create(self) -> Resource:
        """Make the trial's thing."""
        return self.provider.create(self.trial.options, self.trial.call)

    def read(self, resource: Resource | None, options: Any = None) -> Resource | None:
        """Read what is live; by identity where there is no resource."""
        return self.provider.read(
            self.trial.options if options is None else options, resource, self.trial.call
        )

    def update(self, resource: Resource, options: Any = None) -> Resource:
        """Bring it to the trial's options, or to others."""
        return self.provider.update(
            self.trial.options if options is None else options, resource, self.trial.call
        )

    def delete(self, resource: Resource) -> None:
        """Remove it."""
        self.provider.delete(self.trial.options, resource, self.trial.call)


def differences(recorded: Resource, live: Resource) -> list[str]:
    """List what differs: `id`, names of attributes, `outputs.name`."""
    identity = ["id"] if recorded.id != live.id else []
    outputs = [f"outputs.{key}" for key in _keys(recorded.outputs, live.outputs)]
    return identity + _keys(recorded.attributes, live.attributes) + outputs


def _keys(one: Mapping[str, Value], other: Mapping[str, Value]) -> list[str]:
    return [
        key
        for key in sorted({*one, *other})
        if key not in one or key not in other or one[key] != other[key]
    ]


def _require_same(expected: Resource, found: Resource | None, what: str) -> None:
    if found is None:
        raise CaseFailedError(f"{what} finds nothing")
    differing = differences(expected, found)
    require(not differing, f"{what} differs in {', '.join(differing)}")


def _with_unknowns(options: Any) -> Iterator[Any]:
    """Yield the options with one field after the other unknown.

    One that cannot even be made is left out.
    """
    for name in options.__struct_fields__:
        try:
            yield msgspec.structs.replace(options, **{name: UNKNOWN})
        except ValueError:
            continue  # a Struct that checks its fields together may refuse this, or need it


def identity_is_pure(run: TrialRun) -> None:
    """Compare the identity before and after, whatever is live: it is the same.

    With an unknown option it is an identity or UnknownValueError.
    """
    identity, options = run.provider.identity, run.trial.options
    before = identity(options)
    require(before is None or before != "", "the identity is empty")
    resource = run.create()
    require(identity(options) == before, "the identity changes when the thing is made")
    run.delete(resource)
    require(identity(options) == before, "the identity changes when the thing is removed")
    for partly in _with_unknowns(options):
        try:
            identity(partly)
        except UnknownValueError:
            continue


def absent_before_create(run: TrialRun) -> None:
    """Reading finds nothing where nothing is."""
    _need_identity(run)
    require(run.read(None) is None, "read finds something before anything was made")


def create_is_read_back(run: TrialRun) -> None:
    """A second plan is empty: `read` tells exactly what `create` told, each time."""
    made = run.create()
    _require_same(made, run.read(made), "read after create")
    _require_same(made, run.read(made), "a second read")


def resource_fits_the_state(run: TrialRun) -> None:
    """Plain JSON, an id, no reserved attribute, and outputs as declared."""
    made = run.create()
    require(bool(made.id), "the id is empty")
    plain = {"attributes": dict(made.attributes), "outputs": dict(made.outputs)}
    require(
        msgspec.json.decode(msgspec.json.encode(plain)) == plain,
        "attributes and outputs are not plain JSON",
    )
    require(
        not made.attributes.keys() & {"id", "outputs"}, "id and outputs are no names for attributes"
    )
    if run.provider.outputs is None:
        return
    fields = msgspec.structs.fields(run.provider.outputs)
    undeclared = made.outputs.keys() - {item.encode_name for item in fields}
    require(not undeclared, f"outputs {', '.join(sorted(undeclared))} are not declared")
    missing = {item.encode_name for item in fields if item.required} - made.outputs.keys()
    require(not missing, f"declared outputs {', '.join(sorted(missing))} are missing")


def prediction_is_true(run: TrialRun) -> None:
    """Compare predicted outputs with real ones, of create and update.

    Unknown options never raise anything but UnknownValueError.
    """
    predict, options = run.provider.predict, run.trial.options
    for partly in _with_unknowns(options):
        try:
            predict(partly, None)
        except UnknownValueError:
            continue
    predicted = predict(options, None)
    made = run.create()
    _require_true(predicted, made, "create")
    for change in run.trial.changes:
        predicted = predict(change, made)
        made = run.update(made, change)
        _require_true(predicted, made, "update")


def _require_true(predicted: Mapping[str, Value], made: Resource, verb: str) -> None:
    for key, value in predicted.items():
        require(key in made.outputs, f"{verb} was predicted to give output {key}, and did not")
        untrue = not has_unknown(value) and made.outputs[key] != value
        require(
            not untrue,
            f"{verb} was predicted to give {key} = {value!r}, and gave {made.outputs[key]!r}",
        )


def drift_is_found_and_repaired(run: TrialRun) -> None:
    """Each attribute, changed by other means, is seen to differ, and an update brings it back."""
    _need(run, "drifts")
    made, seen = run.create(), set[str]()
    for name, drift in run.trial.drifts.items():
        drift()
        live = run.read(made)
        if live is None:
            raise CaseFailedError(f"after a drift of {name} read finds nothing")
        found = differences(made, live)
        require(
            name in found,
            f"a drift of {name} is not seen; what differs: {', '.join(found) or 'nothing'}",
        )
        seen |= set(found)
        made = run.update(live)
        require(bool(differences(live, made)), f"a drift of {name} is not repaired")
        _require_same(made, run.read(made), f"after repairing {name}, read")
    blind = made.attributes.keys() - seen - run.trial.cannot_drift
    require(not blind, f"no drift changes {', '.join(sorted(blind))}")


def vanished_is_made_again(run: TrialRun) -> None:
    """Removed by other means is read as gone, never as an error; then it can be made anew."""
    _need(run, "delete_outside")
    made = run.create()
    assert run.trial.delete_outside is not None
    run.trial.delete_outside()
    require(run.read(made) is None, "read does not see that it is gone")
    run.delete(made)
    again = run.create()
    _require_same(again, run.read(again), "read after making it again")


def adopted_after_a_crash(run: TrialRun) -> None:
    """Find by identity alone what was made but not recorded.

    The same operation makes it again without harm.
    """
    _need_identity(run)
    made = run.create()
    _require_same(made, run.read(None), "read without a record")
    _require_same(made, run.create(), "a repeated create")
    _require_same(made, run.read(made), "read after a repeated create")


def updated_in_place(run: TrialRun) -> None:
    """Change options: the resource changes, keeps its id, and is read back.

    Repeating the update changes nothing.
    """
    _need(run, "changes")
    made = run.create()
    for number, change in enumerate(run.trial.changes, 1):
        before, made = made, run.update(made, change)
        require(made.id == before.id, f"change {number} gives it another id")
        require(bool(differences(before, made)), f"change {number} changes nothing")
        _require_same(made, run.read(made, change), f"read after change {number}")
        _require_same(made, run.update(made, change), f"a repeated change {number}")


def deleted_twice(run: TrialRun) -> None:
    """Deleted is gone, and deleting what is gone is success."""
    made = run.create()
    run.delete(made)
    require(run.trial.state_only or run.read(made) is None, "read still finds it")
    run.delete(made)


def foreign_is_refused(run: TrialRun) -> None:
    """See somebody else's resource before anything is made.

    Creating over it is refused, with a hint, and harms nothing.
    """
    _need(run, "create_outside")
    assert run.trial.create_outside is not None
    run.trial.create_outside()
    before = run.read(None)
    if before is None:
        raise CaseFailedError("read without a record does not see it")
    try:
        run.create()
    except ProviderError as refusal:
        require(bool(refusal.hint), "the refusal has no hint")
    else:
        raise CaseFailedError("create takes it over")
    _require_same(before, run.read(None), "read after the refusal")


def _need(run: TrialRun, name: str) -> None:
    if not getattr(run.trial, name):
        raise CaseSkipped(f"its trial has no {name}")


def _need_identity(run: TrialRun) -> None:
    if run.trial.state_only:
        raise CaseSkipped("it lives only in the state")
    if run.provider.identity(run.trial.options) is None:
        raise CaseSkipped("it has no identity")


PROVIDER_CASES: Final[tuple[Case[TrialRun], ...]] = (
    Case((), "its identity is pure", identity_is_pure),
    Case((), "nothing is found before it is made", absent_before_create),
    Case((), "what create made is read back, so a second plan is empty", create_is_read_back),
    Case((), "its attributes and outputs fit the state", resource_fits_the_state),
    Case((), "predicted outputs come true", prediction_is_true),
    Case((), "drift of each attribute is found and repaired", drift_is_found_and_repaired),
    Case((), "what vanished is read as gone and made again", vanished_is_made_again),
    Case((), "what a crash left is found again", adopted_after_a_crash),
    Case((), "changed options are applied in place", updated_in_place),
    Case((), "deleting is final, deleting twice is harmless", deleted_twice),
    Case((), "what others made is refused", foreign_is_refused),
)
