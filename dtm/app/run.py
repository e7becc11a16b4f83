"""One run over a state: plan, apply, delete, destroy, drift, status."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from dtm.app import moved
from dtm.app.choices import Choices
from dtm.app.recall import Recall
from dtm.app.sessions import look, opened
from dtm.app.signals import stopping
from dtm.app.workspace import Workspace
from engine.address import Address
from engine.config import Config, Settings
from engine.errors import PlanError, Problem
from engine.events import ApplySummary, InProgress, Notice, WillRefuse
from engine.execution import refresh
from engine.execution.jobs import Preparation
from engine.execution.pace import Control, Pace
from engine.language.yaml import Text, locate
from engine.plan import Action, Change, Plan
from engine.planning import planner, safety
from engine.planning.decisions import Resolution, unfinished
from engine.planning.drift import drift_of, unchanged
from engine.planning.planner import Live, Selection
from engine.plugins.calls import Operations, sealer_of
from engine.ports import Emit
from engine.secrets.redaction import Redactor
from engine.session.reading import Reading
from engine.state import State, StateEntry
from engine.values import Value

Show: TypeAlias = Callable[[Plan], None]
Agree: TypeAlias = Callable[[int], bool]
"""Ask whether to go on.

The number is how many tools will be lost and must be named in the answer, 0 for a plain yes.
"""


class Status(msgspec.Struct, frozen=True):
    """One tool as recorded and as found."""

    address: Address
    document: Mapping[str, Value]


class Drift(msgspec.Struct, frozen=True):
    """The differences, as a plan that is only shown; and the tools that could not be read."""

    plan: Plan
    unread: tuple[Problem, ...]


class Run:
    """The work of one command on a workspace.

    Raises DtmError of every kind; secrets become known to `redactor`.
    """

    def __init__(
        self, workspace: Workspace, choices: Choices, emit: Emit, redactor: Redactor
    ) -> None:
        self.workspace, self.choices, self.emit, self.redactor = workspace, choices, emit, redactor
        recall = Recall(workspace.request, workspace.config)
        self.operations = Operations(workspace.providers, workspace.base_dir, recall, redactor)
        self.resolutions = dict(map(Resolution.parse, choices.resolve))
        self.approved = False

    def plan(self, *, destroy: bool = False, lock: bool = False) -> Plan:
        """Plan what apply, or destroy, would do; warn of what it would refuse."""
        operation = "destroy" if destroy else "apply"
        if lock:
            with opened(self.workspace, self.choices, "plan", self.emit, self.redactor) as session:
                self._refuse_empty(operation, exists=_exists(session.state))
                return self._foreseen(
                    operation, session.state, self._planned(operation, session.state)
                )
        reading = look(self.workspace, self.emit)
        self._refuse_empty(operation, exists=reading.exists)
        plan = self._planned(operation, reading.state, reading.in_progress)
        return self._foreseen(operation, reading.state, self._left_alone(plan, reading))

    def drift(self, *, lock: bool = False) -> Drift:
        """Compare the state with live resources; warn of unfinished tools."""
        if lock:
            with opened(self.workspace, self.choices, "drift", self.emit, self.redactor):
                return self.drift()
        reading = look(self.workspace, self.emit)
        self._refuse_empty("drift", exists=reading.exists)
        state = reading.state
        live = self._read(self._nothing(), state)
        failed = {
            address: error
            for address, error in live.failed.items()
            if not reading.busy(state.entries[address])
        }
        for address, entry in sorted(state.entries.items()):
            if entry.pending and not reading.busy(entry):
                self.emit(Notice("warning", unfinished(entry.pending), where=str(address)))
        plan = planner.plan_drift(
            state,
            replace(live, failed=failed),
            self.operations,
            in_progress=reading.in_progress,
        )
        return Drift(
            self._left_alone(plan, reading),
            tuple(
                Problem(str(address), each.message, each.hint)
                for address, each in sorted(failed.items())
            ),
        )

    def status(self) -> list[Status]:
        """Every recorded tool beside what was found; one that could not be read says why."""
        reading = look(self.workspace, self.emit)
        state = reading.state
        live = self._read(self._nothing(), state)
        return [
            Status(
                address,
                self._under_way(entry, reading)
                if reading.busy(entry)
                else self._status(address, state, live),
            )
            for address, entry in sorted(state.entries.items())
        ]

    def execute(self, operation: str, *, show: Show, agree: Agree) -> ApplySummary | None:
        """Plan, show, ask and do; None if there was nothing to do or the answer was no."""
        from engine.execution.executor import apply  # plans do without it

        place = self.workspace.place
        with opened(self.workspace, self.choices, operation, self.emit, self.redactor) as session:
            session.refuse_copy()
            exists = _exists(session.state)
            self._refuse_empty(operation, exists=exists)
            if exists:
                moved.remember(place, self.workspace.base_dir)
            plan = self._planned(operation, session.state)
            show(plan)
            if plan.empty or not self._agreed(plan, agree):
                return None
            control = Control(self.choices.parallelism)
            with stopping(control.stop.request):
                config = (
                    self._nothing() if operation == "destroy" else self.workspace.required_config
                )
                summary = apply(
                    plan, config, session, self.operations, emit=self.emit, control=control
                )
        moved.remember(place, self.workspace.base_dir)
        return summary

    def _agreed(self, plan: Plan, agree: Agree) -> bool:
        self.approved = agree(safety.check(plan, force=self.choices.force))
        return self.approved

    def _foreseen(self, operation: str, state: State, plan: Plan) -> Plan:
        """The plan as it is; everything for which it would be refused is told."""
        if refused := safety.protected(plan):
            self.emit(WillRefuse(operation, refused.message, refused.hint))
        config = self._nothing() if operation == "destroy" else self.workspace.required_config
        for problem in Preparation(plan, config, state, self.operations).missing():
            self.emit(WillRefuse(operation, problem.message, problem.hint, problem.where))
        return plan

    def _planned(self, operation: str, state: State, in_progress: str = "") -> Plan:
        operations, resolutions = self.operations, self.resolutions
        config = self._nothing() if operation == "destroy" else self.workspace.required_config
        if operation == "apply":
            live = self._read(config, state) if self.choices.refresh else planner.recorded(state)
            with _placed(config):
                return planner.make_plan(
                    config,
                    state,
                    live,
                    operations,
                    resolutions=resolutions,
                    in_progress=in_progress,
                )
        live = self._read(config, state, new=self.choices.force)
        targets = (
            None
            if operation == "destroy"
            else [tool.address for tool in config.tools if tool.address in state.entries]
        )
        return planner.plan_removal(
            config,
            state,
            live,
            operations,
            Selection(
                targets,
                self.choices.with_dependents,
                unrecorded=operation == "delete" and self.choices.force,
            ),
            resolutions=resolutions,
        )

    def _read(self, config: Config, state: State, *, new: bool = True) -> Live:
        return refresh.read(
            config,
            state,
            self.operations,
            resolutions=self.resolutions,
            new=new,
            pace=Pace(self.choices.parallelism),
        )

    def _nothing(self) -> Config:
        return Config(Settings(self.workspace.base_dir), ())

    def _refuse_empty(self, operation: str, *, exists: bool) -> None:
        workspace = self.workspace
        if exists:
            return
        if not self.choices.new_state:
            moved.refuse_empty(workspace.place, workspace.config, workspace.request.cwd, self.emit)
        if operation == "apply":
            moved.tell_new(workspace.place, workspace.base_dir, self.emit)

    def _left_alone(self, plan: Plan, reading: Reading) -> Plan:
        """The plan without what another run is doing right now, of which people are told."""
        changes: list[Change] = []
        for change in plan.changes:
            entry = reading.state.entries.get(change.address)
            if entry is not None and entry.pending is not None and reading.busy(entry):
                self.emit(InProgress(change.address, entry.pending.action, reading.in_progress))
                change = unchanged(entry)
            changes.append(change)
        return replace(plan, changes=tuple(changes))

    def _under_way(self, entry: StateEntry, reading: Reading) -> dict[str, Value]:
        assert entry.pending is not None
        recorded: Value = None if entry.resource is None else dict(entry.resource.attributes)
        return {
            "InstanceID": entry.address.instance,
            "Plugin": entry.address.name,
            "InProgress": f"{entry.pending.action} by {reading.in_progress}",
            "Options": dict(entry.options),
            "Status": recorded,
        }

    def _status(self, address: Address, state: State, live: Live) -> dict[str, Value]:
        entry = state.entries[address]
        shown: dict[str, Value] = {"InstanceID": address.instance, "Plugin": address.name}
        recorded: Value = None if entry.resource is None else dict(entry.resource.attributes)
        if failure := live.failed.get(address):
            return {
                **shown,
                "Error": failure.message,
                "Options": dict(entry.options),
                "Status": recorded,
            }
        if entry.pending:
            return {
                **shown,
                "Unfinished": unfinished(entry.pending),
                "Options": dict(entry.options),
                "Status": recorded,
            }
        change = drift_of(entry, live.of(entry), self.operations, sealer_of(state))
        shown |= {"Drifted": change.action is not Action.KEEP, "Options": dict(entry.options)}
        if change.action is Action.KEEP:
            return {**shown, "Status": recorded}
        found: Value = None if change.live is None else dict(change.live.attributes)
        return {**shown, "Status": {"State": recorded, "Resource": found}}


def _exists(state: State) -> bool:
    """Tell whether anything was ever written there."""
    return bool(state.id.lineage or state.entries)


@contextmanager
def _placed(config: Config) -> Generator[None]:
    """Add the places in the config to problems with its tools: the planner does not know them."""
    try:
        yield
    except PlanError as error:
        wheres, files = {str(tool.address): tool.where for tool in config.tools}, dict[str, Text]()
        placed = [
            Problem(locate(wheres[each.where], files), f"{each.where}: {each.message}", each.hint)
            if each.where in wheres
            else each
            for each in error.problems
        ]
        raise PlanError(tuple(placed)) from error
