"""Config, state and world -> plan. Pure: nothing here or below asks anybody anything."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec
from msgspec.structs import replace

from engine.address import Address
from engine.config import Config, ToolSpec
from engine.errors import DtmError, PlanError, Problem, UnsafePlanError, UsageError
from engine.graph import order
from engine.language.references import resolve
from engine.plan import Action, Change, OutputChange, Plan, Reason
from engine.planning.decisions import (
    Resolution,
    Subject,
    absent,
    decide,
    predicted,
    removal,
    value_of,
)
from engine.plugins.calls import Operations, sealer_of
from engine.plugins.recall import Recollection
from engine.ports import BY_ADDRESS
from engine.secrets.sealing import OUTPUTS, Sealer
from engine.state import Resource, State, StateEntry
from engine.values import (
    UNKNOWN,
    Attributes,
    Unknown,
    Value,
    same,
)


class Live(msgspec.Struct, frozen=True):
    """What was read: resources by address (None = gone), the reads that failed, and how many calls that took.

    An address that is missing was not read. `before` is what the recorded options show where the config has others by now.
    """

    found: Mapping[Address, Resource | None]
    failed: Mapping[Address, DtmError] = msgspec.field(default_factory=dict[Address, DtmError])
    reads: int = 0
    before: Mapping[Address, Resource] = msgspec.field(default_factory=dict[Address, Resource])


def recorded(state: State) -> Live:
    """The world as the state remembers it, for `--no-refresh`. A plan made from it is for looking at, not for applying."""
    return Live({address: entry.resource for address, entry in state.entries.items()})


def make_plan(
    config: Config,
    state: State,
    live: Live,
    operations: Operations,
    *,
    resolutions: Mapping[Address, Resolution] | None = None,
    in_progress: str = "",
) -> Plan:
    """What an apply would do, dependencies first, deletes last and in reverse.

    Raises PlanError with every problem: reads that failed, things that exist and are not ours, two tools that are one
    thing, outputs that do not exist, options that do not fit once they are known.
    """
    _refuse_idle(resolutions or {}, state)
    planning = _Planning(config, state, live, operations, resolutions or {})
    wanted = planning.wanted()
    edges = {
        a: e.depends_on
        for a, e in state.entries.items()
        if a not in planning.specs and a not in planning.moved
    }
    unwanted = planning.removals(edges, Reason.REMOVED)
    outputs, output_changes = planning.outputs()
    planning.refuse()
    return Plan(state.id, config.digest, wanted + unwanted, outputs, output_changes, in_progress)


def plan_removal(
    config: Config,
    state: State,
    live: Live,
    operations: Operations,
    *,
    targets: Collection[Address] | None = None,
    with_dependents: bool = False,
    unrecorded: bool = False,
    resolutions: Mapping[Address, Resolution] | None = None,
) -> Plan:
    """The deletion of some recorded tools, or of everything where `targets` is None, dependents first.

    `config` may be empty. `unrecorded`: its tools that the state does not know, but that were found, are deleted too.
    Raises UnsafePlanError if a tool outside the targets depends on one inside and `with_dependents` is False, PlanError
    if reads failed.
    """
    _refuse_idle(resolutions or {}, state)
    planning = _Planning(config, state, live, operations, resolutions or {})
    edges = {
        address: state.entries[address].depends_on
        for address in _doomed(state, targets, with_dependents=with_dependents)
    }
    if unrecorded:
        foreign = [
            spec
            for address, spec in planning.specs.items()
            if address not in state.entries and live.found.get(address)
        ]
        edges.update((spec.address, spec.depends_on) for spec in foreign)
    changes = planning.removals(edges, Reason.REQUESTED)
    planning.refuse()
    left = dict(state.outputs) if any(address not in edges for address in state.entries) else {}
    gone = tuple(
        OutputChange(name, value, None) for name, value in state.outputs.items() if name not in left
    )
    return Plan(state.id, config.digest, changes, left, gone, destroy=True)


def _refuse_idle(resolutions: Mapping[Address, Resolution], state: State) -> None:
    """Raise UsageError for a person's word on what waits for none."""
    unfinished = {address: None for address, entry in state.entries.items() if entry.pending}
    for address in resolutions:
        if address not in unfinished:
            why = "has nothing unfinished" if address in state.entries else "is not in the state"
            raise UsageError(
                f"--resolve {address.dotted}: {address} {why}",
                hint=f"unfinished: {', '.join(map(str, unfinished))}"
                if unfinished
                else "nothing in this state is unfinished",
            )


def _doomed(
    state: State, targets: Collection[Address] | None, *, with_dependents: bool
) -> list[Address]:
    """The targets that are recorded, and whatever depends on them."""
    if targets is None:
        return list(state.entries)
    dependents: dict[Address, list[Address]] = {}
    for address, entry in state.entries.items():
        for other in entry.depends_on:
            dependents.setdefault(other, []).append(address)
    found = dict.fromkeys(address for address in targets if address in state.entries)
    outside: list[str] = []
    queue = list(found)
    while queue:
        address = queue.pop()
        for other in dependents.get(address, ()):
            if other not in found:
                outside.append(f"{other} depends on {address}")
                found[other] = None
                queue.append(other)
    if outside and not with_dependents:
        raise UnsafePlanError(
            "what stays depends on what would be deleted: " + ", ".join(sorted(outside)),
            hint="delete it too with --with-dependents, or take the dependency out of the config and apply first",
        )
    return list(found)


def renamed(config: Config, state: State, operations: Operations) -> dict[Address, Address]:
    """New address -> old one, where a tool that left the config and one that joined it are the same thing.

    They are if both are the same plugin with the same instance, under two of its names, or have one identity.
    """
    wanted = {spec.address for spec in config.tools}
    left = [entry for address, entry in state.entries.items() if address not in wanted]
    joined = [spec for spec in config.tools if spec.address not in state.entries]
    if not left or not joined:
        return {}
    known: dict[tuple[str, str], Address] = {}
    sealer = sealer_of(state)
    for entry in left:
        known.update(dict.fromkeys(_recorded_marks(entry, operations, sealer), entry.address))
    found: dict[Address, Address] = {}
    for spec in joined:
        old = next(
            (
                known[mark]
                for mark in _marks(spec.address, spec.options, operations)
                if mark in known
            ),
            None,
        )
        if old is not None and old not in found.values():
            found[spec.address] = old
    return found


def _recorded_marks(
    entry: StateEntry, operations: Operations, sealer: Sealer
) -> list[tuple[str, str]]:
    """`_marks` of what is recorded; none if a secret that names the thing is gone, which is told elsewhere."""
    try:
        return _marks(
            entry.address, Recollection(operations, sealer).recalled_if_possible(entry), operations
        )
    except DtmError:
        return []


def _marks(address: Address, options: Attributes, operations: Operations) -> list[tuple[str, str]]:
    """What makes a tool the same under another name; none if its plugin is gone, which is told elsewhere."""
    try:
        marks = [(operations.provider(address).plugin, address.instance)]
        identity = operations.identity(address, options)
    except DtmError:
        return []
    return (
        marks
        if identity in (None, BY_ADDRESS) or isinstance(identity, Unknown)
        else [*marks, ("", identity)]
    )


def subject_of(
    entry: StateEntry, live: Live, operations: Operations, resolutions: Mapping[Address, Resolution]
) -> Subject:
    """An entry with what is known of it; whether it can be found again matters only while it is unfinished."""
    findable = (
        entry.pending is None or operations.identity(entry.address, entry.options) is not None
    )
    resolution = resolutions.get(entry.address) if entry.pending else None
    return Subject(
        entry, live.found.get(entry.address), findable, resolution, live.before.get(entry.address)
    )


class _Planning:
    """One run of the planner. `outputs_of` is what references to a tool see, UNKNOWN where it waits for the apply."""

    def __init__(
        self,
        config: Config,
        state: State,
        live: Live,
        operations: Operations,
        resolutions: Mapping[Address, Resolution],
    ) -> None:
        self.config, self.state, self.live, self.operations = config, state, live, operations
        self.resolutions = resolutions
        self.sealer = sealer_of(state)
        self.specs = {spec.address: spec for spec in config.tools}
        self.outputs_of: dict[Address, Attributes | Unknown] = {}
        self.moves = renamed(config, state, operations)
        self.moved = set(self.moves.values())
        self.identities: dict[str, Address] = {}
        self.problems = [
            Problem(str(a), error.message, error.hint) for a, error in live.failed.items()
        ]

    def refuse(self) -> None:
        """Raise PlanError if there was any problem."""
        if self.problems:
            raise PlanError(tuple(self.problems))

    def wanted(self) -> tuple[Change, ...]:
        """A change for every tool of the config, dependencies first."""
        ordered = order({address: spec.depends_on for address, spec in self.specs.items()})
        return tuple(
            change
            for address in ordered
            if (change := self._wanted(self.specs[address])) is not None
        )

    def _wanted(self, spec: ToolSpec) -> Change | None:
        self.outputs_of[spec.address] = UNKNOWN
        try:
            options = self.operations.resolved(spec, self.outputs_of.get)
            self._check_identity(spec.address, options)
            self.operations.refuse_secret_name(spec.address, options)
            known = self.moves.get(spec.address, spec.address)
            if known in self.live.failed or spec.address in self.live.failed:
                return None
            change = self._decide(spec, options, self.state.entries.get(known))
            outputs = predicted(change, self.operations, self.sealer)
        except DtmError as error:
            self.problems.append(Problem(str(spec.address), error.message, error.hint))
            return None
        self.outputs_of[spec.address] = outputs
        return (
            change if change.action is Action.KEEP else replace(change, outputs=value_of(outputs))
        )

    def _check_identity(self, address: Address, options: Attributes) -> None:
        identity = self.operations.identity(address, options)
        if identity in (None, BY_ADDRESS) or isinstance(identity, Unknown):
            return
        other = self.identities.setdefault(identity, address)
        if other != address:
            raise DtmError(
                f"is the same thing as {other}: both are {identity}", hint="keep one of the two"
            )

    def _decide(self, spec: ToolSpec, options: Attributes, entry: StateEntry | None) -> Change:
        if entry is not None:
            subject = subject_of(entry, self.live, self.operations, self.resolutions)
            return decide(spec, options, subject, self.operations, self.sealer)
        if self.live.found.get(spec.address) is not None:
            raise self._taken(self.operations.identity(spec.address, options))
        return absent(spec, options, Reason.NEW)

    def _taken(self, identity: str | None | Unknown) -> DtmError:
        """Why a new tool cannot be made: its thing is there already, perhaps as another tool's."""
        for other, entry in self.state.entries.items():
            if identity != BY_ADDRESS and ("", identity) in _recorded_marks(
                entry, self.operations, self.sealer
            ):
                return DtmError(
                    f"is still {other}: both are {identity}",
                    hint=f"apply the change of {other} first, alone",
                )
        return exists(identity)

    def removals(
        self, edges: Mapping[Address, Iterable[Address]], reason: Reason
    ) -> tuple[Change, ...]:
        """Deletions, each before what it depended on."""
        changes: list[Change] = []
        for address in reversed(order(edges)):
            if address in self.live.failed:
                continue
            try:
                changes.append(self._removal(address, reason))
            except DtmError as error:
                self.problems.append(Problem(str(address), error.message, error.hint))
        return tuple(changes)

    def _removal(self, address: Address, reason: Reason) -> Change:
        entry = self.state.entries.get(address)
        if entry is None:
            spec, live = self.specs[address], self.live.found.get(address)
            return Change(address, Action.DELETE, reason, live, live, depends_on=spec.depends_on)
        self.operations.provider(address)
        return removal(subject_of(entry, self.live, self.operations, self.resolutions), reason)

    def outputs(self) -> tuple[dict[str, Value], tuple[OutputChange, ...]]:
        """Root outputs as they will be, and how they differ from the recorded ones."""
        values: dict[str, Value] = {}
        for name, value in self.config.outputs.items():
            try:
                values[name] = resolve(value, self.outputs_of.get)
            except DtmError as error:
                self.problems.append(Problem(f"outputs.{name}", error.message, error.hint))
        return values, output_changes(self.state, values, self.sealer)


def output_changes(
    state: State, values: Mapping[str, Value], sealer: Sealer
) -> tuple[OutputChange, ...]:
    """Root outputs that differ from the recorded ones; `new` is None for one that goes."""
    changes = [
        OutputChange(name, state.outputs.get(name), value)
        for name, value in values.items()
        if name not in state.outputs
        or not same(state.outputs[name], sealer.seal(value, OUTPUTS, (name,)))
    ]
    return (
        *changes,
        *(
            OutputChange(name, value, None)
            for name, value in state.outputs.items()
            if name not in values
        ),
    )


def exists(identity: str | None | Unknown) -> DtmError:
    """The error of a new tool that is already there."""
    thing = "" if not isinstance(identity, str) or identity == BY_ADDRESS else f" ({identity})"
    return DtmError(
        f"exists{thing}, but was not made by this state",
        hint="remove it, or give this tool another name or place",
    )
