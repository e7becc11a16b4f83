"""From config, state and live resources to a plan.

Pure: of a provider only what needs no I/O is called (identity, prediction).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from engine.address import Address
from engine.config import Config, ToolSpec
from engine.errors import DtmError, PlanError, Problem, UnsafePlanError, UsageError
from engine.graph import topological_order
from engine.language.references import resolve
from engine.plan import Action, Change, OutputChange, Plan, Reason
from engine.planning.decisions import (
    RecordedTool,
    Resolutions,
    create_change,
    decide,
    decide_removal,
    known_outputs,
    predict_outputs,
)
from engine.planning.drift import detect_drift
from engine.planning.identities import IdentityIndex, find_moves, find_owner, is_comparable
from engine.plugins.calls import Operations
from engine.plugins.recall import SecretRecall
from engine.secrets.sealing import OUTPUTS_ADDRESS, Sealer
from engine.state import Resource, State, StateEntry
from engine.values import UNKNOWN, Attributes, Unknown, Value, is_equal


class LiveResources(msgspec.Struct, frozen=True):
    """The resources that were read, by address; None for one that is gone.

    An address that is missing was not read. `failed` are the reads that failed. `before` is what
    the recorded options show, where the config has others by now.
    """

    resources: Mapping[Address, Resource | None]
    failed: Mapping[Address, DtmError] = {}
    as_recorded: Mapping[Address, Resource] = {}

    def resource_of(self, entry: StateEntry) -> Resource | None:
        """Find the live resource of a recorded tool; the recorded one where nothing was read."""
        return self.resources.get(entry.address, entry.resource)


class Selection(msgspec.Struct, frozen=True):
    """The tools to delete: `targets`, or every recorded tool where they are None.

    `with_dependents`: recorded tools that depend on a target are deleted too; else one that does is
    an error. `unrecorded`: tools of the config that the state does not know are deleted, too, if
    their resource was found.
    """

    targets: Collection[Address] | None = None
    with_dependents: bool = False
    unrecorded: bool = False


ALL_RECORDED: Final = Selection()
"""All recorded tools: a destroy."""


def recorded_resources(state: State) -> LiveResources:
    """Take the resources as recorded, for `--no-refresh`.

    A plan made from them is for looking at, not for applying: it knows of no drift.
    """
    return LiveResources({address: entry.resource for address, entry in state.entries.items()})


def make_plan(
    config: Config,
    state: State,
    live: LiveResources,
    operations: Operations,
    *,
    resolutions: Resolutions | None = None,
    in_progress: str = "",
) -> Plan:
    """Plan an apply: dependencies first, deletes last and in reverse.

    Raises PlanError with every problem: reads that failed, resources that exist and are not in this
    state, two tools that are one thing, outputs that do not exist, options that do not fit once
    they are known.
    """
    planning = _Planning(config, state, live, operations, resolutions or {})
    wanted = planning.wanted()
    edges = {
        # By recorded edges: the config no longer says what a removed tool depended on.
        a: e.depends_on
        for a, e in state.entries.items()
        # A renamed tool left the config under its old name only; it must not be deleted.
        if a not in planning.specs and a not in planning.moved
    }
    unwanted = planning.removals(edges, Reason.REMOVED)
    outputs, output_changes = planning.outputs()
    planning.refuse()
    return Plan(state.id, config.digest, wanted + unwanted, outputs, output_changes, in_progress)


def plan_removal(
    config: Config,
    state: State,
    live: LiveResources,
    operations: Operations,
    selection: Selection = ALL_RECORDED,
    *,
    resolutions: Resolutions | None = None,
) -> Plan:
    """Plan the deletion of the selected tools, dependents first. `config` may be empty.

    Raises UnsafePlanError if a tool that is not selected depends on one that is, PlanError if reads
    failed.
    """
    planning = _Planning(config, state, live, operations, resolutions or {})
    edges = {address: state.entries[address].depends_on for address in _doomed(state, selection)}
    if selection.unrecorded:
        edges |= {
            address: spec.depends_on
            for address, spec in planning.specs.items()
            if address not in state.entries and live.resources.get(address)
        }
    changes = planning.removals(edges, Reason.REQUESTED)
    planning.refuse()
    # The config may be empty, so which tools an output came from is not known here.
    left = dict(state.outputs) if any(address not in edges for address in state.entries) else {}
    gone = diff_outputs(state, left, planning.memory.sealer)
    return Plan(state.id, config.digest, changes, left, gone, destroy=True)


def plan_drift(
    state: State, live: LiveResources, operations: Operations, *, in_progress: str = ""
) -> Plan:
    """Show the drift of every tool that could be read, as a plan that is never applied."""
    memory = SecretRecall.of(operations, state)
    changes = tuple(
        detect_drift(entry, live.resource_of(entry), memory)
        for address, entry in sorted(state.entries.items())
        if address not in live.failed
    )
    return Plan(state.id, "", changes, in_progress=in_progress)


def _refuse_idle(resolutions: Resolutions, state: State) -> None:
    """Raise UsageError for a `--resolve` of a tool that has nothing unfinished."""
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


def _doomed(state: State, selection: Selection) -> list[Address]:
    """List the targets that are recorded, and all that depends on them."""
    if selection.targets is None:
        return list(state.entries)
    dependents: dict[Address, list[Address]] = {}
    for address, entry in state.entries.items():
        for other in entry.depends_on:
            dependents.setdefault(other, []).append(address)
    found = dict.fromkeys(address for address in selection.targets if address in state.entries)
    outside: list[str] = []
    queue = list(found)
    while queue:
        address = queue.pop()
        for other in dependents.get(address, ()):
            if other not in found:
                outside.append(f"{other} depends on {address}")
                found[other] = None
                queue.append(other)
    if outside and not selection.with_dependents:
        raise UnsafePlanError(
            "what stays depends on what would be deleted: " + ", ".join(sorted(outside)),
            hint="delete it too with --with-dependents, "
            "or take the dependency out of the config and apply first",
        )
    return list(found)


class _Planning:
    """One run of the planner.

    `outputs_of` is what references to a tool see, UNKNOWN where they wait for the apply.
    """

    def __init__(
        self,
        config: Config,
        state: State,
        live: LiveResources,
        operations: Operations,
        resolutions: Resolutions,
    ) -> None:
        _refuse_idle(resolutions, state)
        self.config, self.state, self.live, self.operations = config, state, live, operations
        self.resolutions = resolutions
        self.memory = SecretRecall.of(operations, state)
        self.specs = {spec.address: spec for spec in config.tools}
        self.outputs_of: dict[Address, Attributes | Unknown] = {}
        self.moves = find_moves(config, state, operations)
        self.moved = set(self.moves.values())
        self.identities = IdentityIndex(operations.base_dir)
        self.problems = [
            Problem(str(a), error.message, error.hint) for a, error in live.failed.items()
        ]

    def refuse(self) -> None:
        """Raise PlanError if there was any problem."""
        if self.problems:
            raise PlanError(tuple(self.problems))

    def wanted(self) -> tuple[Change, ...]:
        """Plan a change for every tool of the config, dependencies first."""
        # Dependencies first: a reference needs the outputs of the tool that it names.
        ordered = topological_order(
            {address: spec.depends_on for address, spec in self.specs.items()}
        )
        return tuple(
            change
            for address in ordered
            if (change := self._wanted(self.specs[address])) is not None
        )

    def _wanted(self, spec: ToolSpec) -> Change | None:
        # Stays so where planning this tool fails: its dependents are planned nevertheless, and
        # report their own problems instead of an output that does not exist.
        self.outputs_of[spec.address] = UNKNOWN
        try:
            options = self.operations.resolve_options(spec, self.outputs_of.get)
            self._check_identity(spec.address, options)
            known = self.moves.get(spec.address, spec.address)
            # The failed read is reported already; without its result the tool would seem to be
            # gone.
            if known in self.live.failed or spec.address in self.live.failed:
                return None
            change = self._decide(spec, options, self.state.entries.get(known))
            outputs = predict_outputs(change, self.memory)
        except DtmError as error:
            self.problems.append(Problem(str(spec.address), error.message, error.hint))
            return None
        self.outputs_of[spec.address] = outputs
        return (
            change
            if change.action is Action.KEEP
            else replace(change, outputs=known_outputs(outputs))
        )

    def _check_identity(self, address: Address, options: Attributes) -> None:
        identity = self.operations.identity(address, options)
        other = self.identities.add(identity, address) if is_comparable(identity) else None
        if other is not None:
            raise DtmError(
                f"is the same thing as {other}: both are {identity}", hint="keep one of the two"
            )
        self.operations.refuse_secret_identity(address, options)

    def _decide(self, spec: ToolSpec, options: Attributes, entry: StateEntry | None) -> Change:
        if entry is not None:
            return decide(spec, options, self._recorded_tool(entry), self.memory)
        if self.live.resources.get(spec.address) is not None:
            raise self._taken(self.operations.identity(spec.address, options))
        return create_change(spec, options, Reason.NEW)

    def _taken(self, identity: str | None | Unknown) -> DtmError:
        """Make the error of a new tool whose resource exists, perhaps as that of another tool."""
        other = find_owner(identity, self.state, self.memory)
        if other is None:
            return already_exists(identity)
        return DtmError(
            f"is still {other}: both are {identity}",
            hint=f"apply the change of {other} first, alone",
        )

    def removals(
        self, edges: Mapping[Address, Iterable[Address]], reason: Reason
    ) -> tuple[Change, ...]:
        """Plan deletions, each before what it depended on."""
        changes: list[Change] = []
        for address in reversed(topological_order(edges)):
            # Reported with the failed reads: without a live resource it could only be guessed at.
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
            spec, live = self.specs[address], self.live.resources.get(address)
            return Change(address, Action.DELETE, reason, live, live, depends_on=spec.depends_on)
        # Raises for an unknown plugin: the plan must not promise a delete that cannot be made.
        self.operations.provider(address)
        return decide_removal(self._recorded_tool(entry), reason)

    def _recorded_tool(self, entry: StateEntry) -> RecordedTool:
        """Put together what is known of a recorded tool."""
        address, live = entry.address, self.live
        if entry.pending is None:  # only of an unfinished one the rest matters, and asking costs
            return RecordedTool(
                entry, live.resources.get(address), before=live.as_recorded.get(address)
            )
        findable = self.operations.identity(address, entry.options) is not None
        resolution = self.resolutions.get(address)
        return RecordedTool(
            entry, live.resources.get(address), findable, resolution, live.as_recorded.get(address)
        )

    def outputs(self) -> tuple[dict[str, Value], tuple[OutputChange, ...]]:
        """Give the root outputs as they will be, and how they differ from the recorded ones."""
        values: dict[str, Value] = {}
        for name, value in self.config.outputs.items():
            try:
                values[name] = resolve(value, self.outputs_of.get)
            except DtmError as error:
                self.problems.append(Problem(f"outputs.{name}", error.message, error.hint))
        return values, diff_outputs(self.state, values, self.memory.sealer)


def diff_outputs(
    state: State, values: Mapping[str, Value], sealer: Sealer
) -> tuple[OutputChange, ...]:
    """List the root outputs that differ from the recorded ones; `new` None: it goes."""
    changes = [
        OutputChange(name, state.outputs.get(name), value)
        for name, value in values.items()
        if name not in state.outputs
        or not is_equal(state.outputs[name], sealer.seal(value, OUTPUTS_ADDRESS, (name,)))
    ]
    return (
        *changes,
        *(
            OutputChange(name, value, None)
            for name, value in state.outputs.items()
            if name not in values
        ),
    )


def already_exists(identity: str | None | Unknown) -> DtmError:
    """Make the error of a new tool whose resource exists already."""
    thing = f" ({identity})" if is_comparable(identity) else ""
    return DtmError(
        f"exists{thing}, but was not made by this state",
        hint="remove it, or give this tool another name or place",
    )
