"""One run on a state: plan, apply, delete, destroy, drift, status."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from dtm.app import empty_state
from dtm.app.invocation import RunOptions
from dtm.app.secret_lookup import SecretLookup
from dtm.app.sessions import open_session_on, read_and_warn
from dtm.app.signals import handling_stop_requests
from dtm.app.workspace import Workspace
from engine.address import Address
from engine.config import Config, Settings
from engine.errors import PlanError, Problem
from engine.events import ApplySummary, InProgress, Notice, RefusalWarning
from engine.execution import refresh
from engine.execution.jobs import JobBuilder
from engine.execution.run_settings import RunControl, RunSettings
from engine.language.yaml import ParsedFile, locate
from engine.plan import Action, Change, Plan
from engine.planning import planner, safety
from engine.planning.decisions import Resolution, describe_pending
from engine.planning.drift import detect_drift, keep_change
from engine.planning.planner import LiveResources, Selection
from engine.plugins.calls import Operations, call_unobserved
from engine.plugins.recall import SecretRecall
from engine.session.reading import Reading
from engine.state import State, StateEntry
from engine.values import Value

ShowPlan: TypeAlias = Callable[[Plan], None]
Confirm: TypeAlias = Callable[[int], bool]
"""A function that asks whether to go on.

Its argument is 0 for a plain question. Otherwise it is the number of tools that will be deleted or
replaced, and the user must repeat that number.
"""


class DriftReport(msgspec.Struct, frozen=True):
    """The drift as a plan that is only shown, and the tools that could not be read."""

    plan: Plan
    unread: tuple[Problem, ...]


class Run:
    """The work of one command on a workspace.

    Raises DtmError of every kind. Secrets that are read on the way are added to the redactor.
    """

    def __init__(self, workspace: Workspace, options: RunOptions) -> None:
        self.workspace, self.options, self.emit = workspace, options, workspace.emit
        lookup = SecretLookup(workspace.request, workspace.config)
        self.operations = Operations(
            workspace.providers,
            workspace.base_dir,
            lookup,
            workspace.redactor,
            workspace.debug_log.observe if workspace.debug_log else call_unobserved,
        )
        self.resolutions = dict(map(Resolution.parse, options.resolve))
        self.approved = False

    def plan(self, *, destroy: bool = False) -> Plan:
        """Plan an apply, or a destroy. Warn of every reason for which that command would refuse."""
        operation = "destroy" if destroy else "apply"
        if self.options.lock:
            with open_session_on(self.workspace, self.options, "plan") as session:
                self._refuse_empty(operation, exists=_exists(session.state))
                return self._warn_of_refusals(
                    operation, session.state, self._make_plan(operation, session.state)
                )
        reading = read_and_warn(self.workspace)
        self._refuse_empty(operation, exists=reading.exists)
        plan = self._make_plan(operation, reading.state, reading.in_progress)
        return self._warn_of_refusals(
            operation, reading.state, self._keep_busy_tools(plan, reading)
        )

    def drift(self) -> DriftReport:
        """Compare the state with the live resources.

        Warn of tools whose operation was interrupted.
        """
        if not self.options.lock:
            return self._drift()
        with open_session_on(self.workspace, self.options, "drift"):
            return self._drift()

    def _drift(self) -> DriftReport:
        reading = read_and_warn(self.workspace)
        self._refuse_empty("drift", exists=reading.exists)
        state = reading.state
        live = self._read(self._empty_config(), state)
        # Another run is changing the busy resources, so an error of reading them means nothing.
        failed = {
            address: error
            for address, error in live.failed.items()
            if not reading.is_busy(state.entries[address])
        }
        for address, entry in sorted(state.entries.items()):
            if entry.pending and not reading.is_busy(entry):
                self.emit(Notice("warning", describe_pending(entry.pending), where=str(address)))
        plan = planner.plan_drift(
            state,
            replace(live, failed=failed),
            self.operations,
            in_progress=reading.in_progress,
        )
        self._log_decisions(plan)
        return DriftReport(
            self._keep_busy_tools(plan, reading),
            tuple(
                Problem(str(address), each.message, each.hint)
                for address, each in sorted(failed.items())
            ),
        )

    def status(self) -> dict[Address, dict[str, Value]]:
        """Return every recorded tool with its live resource, or with the error of reading it."""
        reading = read_and_warn(self.workspace)
        live = self._read(self._empty_config(), reading.state)
        return {
            address: self._status(entry, reading, live)
            for address, entry in sorted(reading.state.entries.items())
        }

    def execute(self, operation: str, *, show: ShowPlan, confirm: Confirm) -> ApplySummary | None:
        """Plan, show, ask and apply. Return None if nothing was to do or the user declined."""
        from engine.execution.executor import apply  # slow to import, and a plan does not need it

        with open_session_on(self.workspace, self.options, operation) as session:
            # Before the providers are asked: a copy is refused whatever the plan is.
            session.check_not_copy()
            exists = _exists(session.state)
            # Before the plan: with a wrong, empty state the plan would create every tool again.
            self._refuse_empty(operation, exists=exists)
            if exists:
                # Before the plan: if the state disappears, that is noticed even if this run fails.
                empty_state.record_last_state(self.workspace)
            plan = self._make_plan(operation, session.state)
            self._log_decisions(plan)
            show(plan)
            if plan.is_empty or not self._approve(plan, confirm):
                return None
            control = RunControl(self.options.parallelism, self.workspace.place.state.environment)
            # Until here Ctrl-C ends the command at once, because nothing was changed yet.
            with handling_stop_requests(control.stop.request):
                summary = apply(
                    plan,
                    self._config(operation),
                    session,
                    self.operations,
                    emit=self.emit,
                    control=control,
                )
        if not exists:
            empty_state.record_last_state(self.workspace)
        return summary

    def _log_decisions(self, plan: Plan) -> None:
        # Logged here, because the planner is pure.
        if self.workspace.debug_log:
            self.workspace.debug_log.plan(plan)

    def _approve(self, plan: Plan, confirm: Confirm) -> bool:
        self.approved = confirm(safety.check(plan, force=self.options.force))
        return self.approved

    def _warn_of_refusals(self, operation: str, state: State, plan: Plan) -> Plan:
        """Return the plan. Warn of every reason for which the command would refuse it."""
        self._log_decisions(plan)
        if refused := safety.protection_error(plan):
            self.emit(RefusalWarning(operation, refused.message, refused.hint))
        config = self._config(operation)
        for problem in JobBuilder(plan, config, state, self.operations).missing():
            self.emit(RefusalWarning(operation, problem.message, problem.hint, problem.where))
        return plan

    def _make_plan(self, operation: str, state: State, in_progress: str = "") -> Plan:
        operations, resolutions = self.operations, self.resolutions
        config = self._config(operation)
        if operation == "apply":
            live = (
                self._read(config, state)
                if self.options.refresh
                else planner.recorded_resources(state)
            )
            with _locating_problems(config):
                return planner.make_plan(
                    config,
                    state,
                    live,
                    operations,
                    resolutions=resolutions,
                    in_progress=in_progress,
                )
        # Tools that are not in the state are looked up only if --force may delete them.
        live = self._read(config, state, new=self.options.force)
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
                self.options.with_dependents,
                unrecorded=operation == "delete" and self.options.force,
            ),
            resolutions=resolutions,
        )

    def _read(self, config: Config, state: State, *, new: bool = True) -> LiveResources:
        return refresh.read(
            config,
            state,
            self.operations,
            resolutions=self.resolutions,
            new=new,
            settings=RunSettings(self.options.parallelism),
        )

    def _empty_config(self) -> Config:
        return Config(Settings(self.workspace.base_dir), ())

    def _config(self, operation: str) -> Config:
        return self._empty_config() if operation == "destroy" else self.workspace.required_config

    def _refuse_empty(self, operation: str, *, exists: bool) -> None:
        if exists:
            return
        if not self.options.new_state:
            empty_state.refuse_empty(self.workspace)
        if operation == "apply":
            empty_state.announce_new_state(self.workspace)

    def _keep_busy_tools(self, plan: Plan, reading: Reading) -> Plan:
        """Return the plan without changes to tools that another run is working on.

        Report those tools.

        Their entries are about to change, so any difference would be misleading.
        """
        changes: list[Change] = []
        for change in plan.changes:
            entry = reading.state.entries.get(change.address)
            if entry is not None and entry.pending is not None and reading.is_busy(entry):
                self.emit(InProgress(change.address, entry.pending.action, reading.in_progress))
                change = keep_change(entry)
            changes.append(change)
        return replace(plan, changes=tuple(changes))

    def _status(self, entry: StateEntry, reading: Reading, live: LiveResources) -> dict[str, Value]:
        recorded: Value = None if entry.resource is None else dict(entry.resource.attributes)
        note: dict[str, Value]
        status: Value = recorded
        if entry.pending and reading.is_busy(entry):
            note = {"InProgress": f"{entry.pending.action} by {reading.in_progress}"}
        elif failure := live.failed.get(entry.address):
            note = {"Error": failure.message}
        elif entry.pending:
            note = {"Unfinished": describe_pending(entry.pending)}
        else:
            memory = SecretRecall.of(self.operations, reading.state)
            change = detect_drift(entry, live.resource_of(entry), memory)
            note = {"Drifted": change.action is not Action.KEEP}
            if change.action is not Action.KEEP:
                found: Value = None if change.live is None else dict(change.live.attributes)
                status = {"State": recorded, "Resource": found}
        return {
            "InstanceID": entry.address.instance,
            "Plugin": entry.address.name,
            **note,
            "Options": dict(entry.options),
            "Status": status,
        }


def _exists(state: State) -> bool:
    """Return whether a state was ever written here."""
    return bool(state.id.lineage or state.entries)


@contextmanager
def _locating_problems(config: Config) -> Generator[None]:
    """Add to each problem of a tool its line in the config. The planner does not know the lines."""
    try:
        yield
    except PlanError as error:
        wheres, files = (
            {str(tool.address): tool.where for tool in config.tools},
            dict[str, ParsedFile](),
        )
        placed = [
            Problem(locate(wheres[each.where], files), f"{each.where}: {each.message}", each.hint)
            if each.where in wheres
            else each
            for each in error.problems
        ]
        raise PlanError(tuple(placed)) from error
