"""The planner: compare config, state and live resources, and return a plan.

Of a provider, only methods without I/O are called: `identity` and `predict`.
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
    """The live resources by address; None for one that is gone.

    An address that was not read is missing. `failed` holds the errors of failed reads.
    `as_recorded` holds resources that were read with the recorded options, for tools whose options
    have changed in the config.
    """

    resources: Mapping[Address, Resource | None]
    failed: Mapping[Address, DtmError] = {}
    as_recorded: Mapping[Address, Resource] = {}

    def resource_of(self, entry: StateEntry) -> Resource | None:
        """Return the live resource of a recorded tool, or the recorded one if it was not read."""
        return self.resources.get(entry.address, entry.resource)


class Selection(msgspec.Struct, frozen=True):
    """The tools to delete: `targets`, or every recorded tool if `targets` is None.

    `with_dependents`: recorded tools that depend on a target are deleted too; without it, such a
    tool is an error. `unrecorded`: tools of the config that are not in the state are deleted too,
    if their resource exists.
    """

    targets: Collection[Address] | None = None
    with_dependents: bool = False
    unrecorded: bool = False


ALL_RECORDED: Final = Selection()
"""The selection of a destroy: all recorded tools."""


def recorded_resources(state: State) -> LiveResources:
    """Return the recorded resources as if they were live, for `--no-refresh`.

    A plan from them is only for display, not for an apply: it cannot show drift.
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
    """Plan an apply: dependencies first, deletions last and in reverse order.

    Raises PlanError with every problem: failed reads, resources that exist but are not in this
    state, two tools with one identity, outputs that do not exist, and options that have the wrong
    type when their references are resolved. `in_progress` names another session that is working on
    this state, for the output.
    """
    planning = _Planning(config, state, live, operations, resolutions or {})
    changes = planning.plan_tools()
    edges = {
        # The recorded dependencies: the config no longer has those of a removed tool.
        a: e.depends_on
        for a, e in state.entries.items()
        # A renamed tool is in the config under its new name, and must not be deleted.
        if a not in planning.specs and a not in planning.moved
    }
    removed = planning.plan_removals(edges, Reason.REMOVED)
    outputs, output_changes = planning.outputs()
    planning.raise_problems()
    return Plan(state.id, config.digest, changes + removed, outputs, output_changes, in_progress)


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

    Raises UnsafePlanError if a tool that is not selected depends on a selected one, and PlanError
    if reads have failed.
    """
    planning = _Planning(config, state, live, operations, resolutions or {})
    edges = {address: state.entries[address].depends_on for address in _selected(state, selection)}
    if selection.unrecorded:
        edges |= {
            address: spec.depends_on
            for address, spec in planning.specs.items()
            if address not in state.entries and live.resources.get(address)
        }
    changes = planning.plan_removals(edges, Reason.REQUESTED)
    planning.raise_problems()
    # The root outputs stay until the last tool is deleted: the config may be empty, so it is not
    # known which tool an output came from.
    left = dict(state.outputs) if any(address not in edges for address in state.entries) else {}
    gone = diff_outputs(state, left, planning.memory.sealer)
    return Plan(state.id, config.digest, changes, left, gone, destroy=True)


def plan_drift(
    state: State, live: LiveResources, operations: Operations, *, in_progress: str = ""
) -> Plan:
    """Return the drift of every tool that could be read, as a plan that is never applied."""
    memory = SecretRecall.of(operations, state)
    changes = tuple(
        detect_drift(entry, live.resource_of(entry), memory)
        for address, entry in sorted(state.entries.items())
        if address not in live.failed
    )
    return Plan(state.id, "", changes, in_progress=in_progress)


def _refuse_idle_resolutions(resolutions: Resolutions, state: State) -> None:
    """Raise UsageError for a `--resolve` of a tool without an unfinished operation."""
    unfinished = {address: None for address, entry in state.entries.items() if entry.pending}
    for address in resolutions:
        if address not in unfinished:
            recorded = address in state.entries
            why = "has no unfinished operation" if recorded else "is not in the state"
            raise UsageError(
                f"--resolve {address.dotted}: {address} {why}",
                hint=f"name one of the unfinished tools: {', '.join(map(str, unfinished))}"
                if unfinished
                else "remove --resolve: no tool in this state has an unfinished operation",
            )


def _selected(state: State, selection: Selection) -> list[Address]:
    """List the recorded targets and all tools that depend on them.

    Raises UnsafePlanError if there are such tools and they are not to be deleted too.
    """
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
        targets = ", ".join(str(address) for address in sorted(selection.targets))
        raise UnsafePlanError(
            f"cannot delete {targets}: {', '.join(sorted(outside))}",
            hint="add --with-dependents to delete the dependents too, "
            "or remove the dependency from the config and run dtm apply first",
        )
    return list(found)


class _Planning:
    """One run of the planner.

    `outputs_of` holds the outputs that references to a tool see; UNKNOWN if only the apply will
    know them.
    """

    def __init__(
        self,
        config: Config,
        state: State,
        live: LiveResources,
        operations: Operations,
        resolutions: Resolutions,
    ) -> None:
        _refuse_idle_resolutions(resolutions, state)
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

    def raise_problems(self) -> None:
        """Raise PlanError with the problems, if there are any."""
        if self.problems:
            raise PlanError(tuple(self.problems))

    def plan_tools(self) -> tuple[Change, ...]:
        """Plan a change for every tool of the config, dependencies first."""
        # This order, because a reference needs the outputs of the tool that it names.
        ordered = topological_order(
            {address: spec.depends_on for address, spec in self.specs.items()}
        )
        return tuple(
            change
            for address in ordered
            if (change := self._plan_tool(self.specs[address])) is not None
        )

    def _plan_tool(self, spec: ToolSpec) -> Change | None:
        # Set before anything can fail: the dependents of a tool with a problem are planned too, and
        # must report their own problems instead of a missing output.
        self.outputs_of[spec.address] = UNKNOWN
        try:
            options = self.operations.resolve_options(spec, self.outputs_of.get)
            self._check_identity(spec.address, options)
            known = self.moves.get(spec.address, spec.address)
            # The failed read is reported already. Without its result, the tool would look gone and
            # would be created a second time.
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
                f"manages the same resource ({identity}) as {other}",
                hint="remove one of the two tools, or change the name or path of this one",
            )
        self.operations.refuse_secret_identity(address, options)

    def _decide(self, spec: ToolSpec, options: Attributes, entry: StateEntry | None) -> Change:
        if entry is not None:
            return decide(spec, options, self._recorded_tool(entry), self.memory)
        if self.live.resources.get(spec.address) is not None:
            raise self._taken_error(spec.address, self.operations.identity(spec.address, options))
        return create_change(spec, options, Reason.NEW)

    def _taken_error(self, address: Address, identity: str | None | Unknown) -> DtmError:
        """Return the error for a new tool whose resource exists and may belong to another tool."""
        other = find_owner(identity, self.state, self.memory)
        if other is None:
            return already_exists(identity)
        return DtmError(
            f"needs the resource {identity}, which still belongs to {other}",
            hint=f"remove {address} from the config, run dtm apply to change {other}, "
            f"then add {address} again",
        )

    def plan_removals(
        self, edges: Mapping[Address, Iterable[Address]], reason: Reason
    ) -> tuple[Change, ...]:
        """Plan the deletion of these tools, each before the tools that it depends on."""
        changes: list[Change] = []
        for address in reversed(topological_order(edges)):
            # The failed read is reported already. Whether the resource exists is not known.
            if address in self.live.failed:
                continue
            try:
                changes.append(self._plan_removal(address, reason))
            except DtmError as error:
                self.problems.append(Problem(str(address), error.message, error.hint))
        return tuple(changes)

    def _plan_removal(self, address: Address, reason: Reason) -> Change:
        entry = self.state.entries.get(address)
        if entry is None:
            spec, live = self.specs[address], self.live.resources.get(address)
            return Change(address, Action.DELETE, reason, live, live, depends_on=spec.depends_on)
        # Raises for an unknown plugin: a plan must not contain a deletion that cannot be done.
        self.operations.provider(address)
        return decide_removal(self._recorded_tool(entry), reason)

    def _recorded_tool(self, entry: StateEntry) -> RecordedTool:
        """Collect what is known about a recorded tool."""
        address, live = entry.address, self.live
        # The identity is slow to get, and only needed for a tool with an unfinished operation.
        if entry.pending is None:
            return RecordedTool(
                entry, live.resources.get(address), as_recorded=live.as_recorded.get(address)
            )
        findable = self.operations.identity(address, entry.options) is not None
        resolution = self.resolutions.get(address)
        return RecordedTool(
            entry, live.resources.get(address), findable, resolution, live.as_recorded.get(address)
        )

    def outputs(self) -> tuple[dict[str, Value], tuple[OutputChange, ...]]:
        """Return the root outputs after the apply, and their differences from the recorded ones."""
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
    """List the root outputs that differ from the recorded ones; `new` is None for a removed one."""
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
    """Return the error for a new tool whose resource already exists."""
    resource = f" {identity}" if is_comparable(identity) else ""
    return DtmError(
        f"the resource{resource} already exists and is not recorded in this state",
        hint="delete the resource yourself, or change the name or path of this tool",
    )
