"""The promises of every provider, one check each; `dtm.testing.provider` runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from dtm.testing.conformance import BrokenError, Case, Untried, require
from engine.errors import ProviderError
from engine.ports import AnyProvider, Call
from engine.state import Resource
from engine.values import UNKNOWN, UnknownValueError, Value, holds_unknown

Act: TypeAlias = Callable[[], object]


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a provider can make, and other means to change it.

    `options`: of a thing that is not there yet. `changes`: options that it can be updated to in
    place. `drifts`: attribute -> what changes it in the world without the provider. `fixed`:
    attributes that cannot drift, since the thing would be another one. `vanish` removes the thing
    without the provider, `foreign` makes somebody else's in its place. `unseen`: it lives only in
    the state, so that nothing can be read of it.
    """

    options: Any
    call: Call
    changes: Sequence[Any] = ()
    drifts: Mapping[str, Act] = msgspec.field(default_factory=dict[str, Act])
    fixed: frozenset[str] = frozenset()
    vanish: Act | None = None
    foreign: Act | None = None
    unseen: bool = False


class Bench(msgspec.Struct, frozen=True):
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
        raise BrokenError(f"{what} finds nothing")
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


def identity_is_pure(bench: Bench) -> None:
    """Compare the identity before and after, whatever is live: it is the same.

    With an unknown option it is an identity or UnknownValueError.
    """
    identity, options = bench.provider.identity, bench.trial.options
    before = identity(options)
    require(before is None or before != "", "the identity is empty")
    resource = bench.create()
    require(identity(options) == before, "the identity changes when the thing is made")
    bench.delete(resource)
    require(identity(options) == before, "the identity changes when the thing is removed")
    for partly in _with_unknowns(options):
        try:
            identity(partly)
        except UnknownValueError:
            continue


def absent_before_create(bench: Bench) -> None:
    """Reading finds nothing where nothing is."""
    _need_identity(bench)
    require(bench.read(None) is None, "read finds something before anything was made")


def create_is_read_back(bench: Bench) -> None:
    """A second plan is empty: `read` tells exactly what `create` told, each time."""
    made = bench.create()
    _require_same(made, bench.read(made), "read after create")
    _require_same(made, bench.read(made), "a second read")


def resource_fits_the_state(bench: Bench) -> None:
    """Plain JSON, an id, no reserved attribute, and outputs as declared."""
    made = bench.create()
    require(bool(made.id), "the id is empty")
    plain = {"attributes": dict(made.attributes), "outputs": dict(made.outputs)}
    require(
        msgspec.json.decode(msgspec.json.encode(plain)) == plain,
        "attributes and outputs are not plain JSON",
    )
    require(
        not made.attributes.keys() & {"id", "outputs"}, "id and outputs are no names for attributes"
    )
    if bench.provider.outputs is None:
        return
    fields = msgspec.structs.fields(bench.provider.outputs)
    undeclared = made.outputs.keys() - {item.encode_name for item in fields}
    require(not undeclared, f"outputs {', '.join(sorted(undeclared))} are not declared")
    missing = {item.encode_name for item in fields if item.required} - made.outputs.keys()
    require(not missing, f"declared outputs {', '.join(sorted(missing))} are missing")


def prediction_is_true(bench: Bench) -> None:
    """Compare predicted outputs with real ones, of create and update.

    Unknown options never raise anything but UnknownValueError.
    """
    predict, options = bench.provider.predict, bench.trial.options
    for partly in _with_unknowns(options):
        try:
            predict(partly, None)
        except UnknownValueError:
            continue
    predicted = predict(options, None)
    made = bench.create()
    _require_true(predicted, made, "create")
    for change in bench.trial.changes:
        predicted = predict(change, made)
        made = bench.update(made, change)
        _require_true(predicted, made, "update")


def _require_true(predicted: Mapping[str, Value], made: Resource, verb: str) -> None:
    for key, value in predicted.items():
        require(key in made.outputs, f"{verb} was predicted to give output {key}, and did not")
        untrue = not holds_unknown(value) and made.outputs[key] != value
        require(
            not untrue,
            f"{verb} was predicted to give {key} = {value!r}, and gave {made.outputs[key]!r}",
        )


def drift_is_found_and_repaired(bench: Bench) -> None:
    """Each attribute, changed by other means, is seen to differ, and an update brings it back."""
    _need(bench, "drifts")
    made, seen = bench.create(), set[str]()
    for name, drift in bench.trial.drifts.items():
        drift()
        live = bench.read(made)
        if live is None:
            raise BrokenError(f"after a drift of {name} read finds nothing")
        found = differences(made, live)
        require(
            name in found,
            f"a drift of {name} is not seen; what differs: {', '.join(found) or 'nothing'}",
        )
        seen |= set(found)
        made = bench.update(live)
        require(bool(differences(live, made)), f"a drift of {name} is not repaired")
        _require_same(made, bench.read(made), f"after repairing {name}, read")
    blind = made.attributes.keys() - seen - bench.trial.fixed
    require(not blind, f"no drift changes {', '.join(sorted(blind))}")


def vanished_is_made_again(bench: Bench) -> None:
    """Removed by other means is read as gone, never as an error; then it can be made anew."""
    _need(bench, "vanish")
    made = bench.create()
    assert bench.trial.vanish is not None
    bench.trial.vanish()
    require(bench.read(made) is None, "read does not see that it is gone")
    bench.delete(made)
    again = bench.create()
    _require_same(again, bench.read(again), "read after making it again")


def adopted_after_a_crash(bench: Bench) -> None:
    """Find by identity alone what was made but not recorded.

    The same operation makes it again without harm.
    """
    _need_identity(bench)
    made = bench.create()
    _require_same(made, bench.read(None), "read without a record")
    _require_same(made, bench.create(), "a repeated create")
    _require_same(made, bench.read(made), "read after a repeated create")


def updated_in_place(bench: Bench) -> None:
    """Change options: the resource changes, keeps its id, and is read back.

    Repeating the update changes nothing.
    """
    _need(bench, "changes")
    made = bench.create()
    for number, change in enumerate(bench.trial.changes, 1):
        before, made = made, bench.update(made, change)
        require(made.id == before.id, f"change {number} gives it another id")
        require(bool(differences(before, made)), f"change {number} changes nothing")
        _require_same(made, bench.read(made, change), f"read after change {number}")
        _require_same(made, bench.update(made, change), f"a repeated change {number}")


def deleted_twice(bench: Bench) -> None:
    """Deleted is gone, and deleting what is gone is success."""
    made = bench.create()
    bench.delete(made)
    require(bench.trial.unseen or bench.read(made) is None, "read still finds it")
    bench.delete(made)


def foreign_is_refused(bench: Bench) -> None:
    """See somebody else's resource before anything is made.

    Creating over it is refused, with a hint, and harms nothing.
    """
    _need(bench, "foreign")
    assert bench.trial.foreign is not None
    bench.trial.foreign()
    before = bench.read(None)
    if before is None:
        raise BrokenError("read without a record does not see it")
    try:
        bench.create()
    except ProviderError as refusal:
        require(bool(refusal.hint), "the refusal has no hint")
    else:
        raise BrokenError("create takes it over")
    _require_same(before, bench.read(None), "read after the refusal")


def _need(bench: Bench, name: str) -> None:
    if not getattr(bench.trial, name):
        raise Untried(f"its trial has no {name}")


def _need_identity(bench: Bench) -> None:
    if bench.trial.unseen:
        raise Untried("it lives only in the state")
    if bench.provider.identity(bench.trial.options) is None:
        raise Untried("it has no identity")


PROMISES: Final[tuple[Case[Bench], ...]] = (
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
