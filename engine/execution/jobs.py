"""Building jobs: from a step to a call with real option values, secrets included.

This module also records what needs no job: moved tools and root outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from engine.address import Address
from engine.config import Config
from engine.errors import DtmError, PlanError, Problem
from engine.execution.steps import REMOVING, Phase, Step
from engine.language.references import parse, resolve
from engine.plan import Action, Change, Plan, Reason
from engine.planning.decisions import RecordedTool, decide, known_outputs, predict_outputs, severity
from engine.plugins.calls import Operations
from engine.plugins.recall import SecretRecall
from engine.session.session import Session
from engine.state import Resource, State, StateEntry
from engine.values import UNKNOWN, Attributes, Secret, Unknown, Value, has_unknown

TIMEOUT = 1800.0
"""Seconds that a create, update or delete may take by default."""

_CALLS = frozenset({Action.CREATE, Action.UPDATE, Action.REPLACE, Action.DELETE})


class PendingCommit(Protocol):
    """A record on its way to the log."""

    def wait(self) -> None:
        """Block until the record is durable. Raises the error that prevented it.

        A worker does so before it calls a provider: `job.begin_ticket.wait()`.
        """
        ...


# eq=False: the call monitor uses jobs as keys of a dict, and options have no hash.
class Job(msgspec.Struct, eq=False):
    """One call to be made: a change decided with real values.

    `built` is the Struct of `options`. `timeout` is in seconds. `resource` is what to update or
    delete. `predicted` are the outputs that the plugin expects. `has_identity` is true if the
    resource can be found without its ID. A job with `lookup_only` only reads, to find out whether a
    new resource exists already; every other job has its `begin_ticket` and `token` before a worker
    gets it.
    """

    step: Step
    change: Change
    options: Attributes
    built: Any
    timeout: float = TIMEOUT
    resource: Resource | None = None
    predicted: Attributes = {}
    has_identity: bool = True
    lookup_only: bool = False
    begin_ticket: PendingCommit | None = None
    token: str = ""

    @property
    def address(self) -> Address:
        """The address of the tool."""
        return self.step.address

    @property
    def action(self) -> Action:
        """The action that is shown to the user."""
        return self.change.action

    @property
    def call(self) -> Action:
        """The method of the provider: CREATE, UPDATE or DELETE."""
        if self.step.phase is Phase.REMOVE:
            return Action.DELETE
        return Action.UPDATE if self.action is Action.UPDATE else Action.CREATE


class JobBuilder:
    """The builder of jobs for a plan; it collects the real outputs of every tool that is done.

    `state` is the one that the plan was made for. `recorded` returns the current entry of a tool.
    For one thread.
    """

    def __init__(
        self,
        plan: Plan,
        config: Config,
        state: State,
        operations: Operations,
        recorded: Callable[[Address], StateEntry | None] | None = None,
    ) -> None:
        self.plan, self.config = plan, config
        self._planned = {change.address: change for change in plan.changes}
        # A copy, since resolved changes replace planned ones in it and `_was_not_looked_up` needs
        # the planned ones.
        self.changes = dict(self._planned)
        self.specs = {spec.address: spec for spec in config.tools}
        self.outputs: dict[Address, Attributes | Unknown] = {}
        self._recorded, self._recall = recorded or state.entries.get, operations.recall
        # During an apply a secret may also come from an output of another tool that was just read.
        self._operations = replace(operations, recall=self._recall_secret)
        self._memory = SecretRecall.of(self._operations, state)

    def lookup(self, address: Address) -> Attributes | Unknown | None:
        """Return the real outputs of a tool: UNKNOWN until it is done, None if not in the plan."""
        if address not in self.outputs:
            change = self.changes.get(address)
            if change is None:
                return None
            # A tool that no call changes has its outputs now. The executor adds the outputs of all
            # others when they are done.
            untouched = change.action in (Action.KEEP, Action.MOVE, Action.RECOVER)
            self.outputs[address] = predict_outputs(change, self._memory) if untouched else UNKNOWN
        return self.outputs[address]

    def resolve_change(self, change: Change) -> Change:
        """Return the change with real values in place of those that the plan did not know.

        Raises DtmError if the action would be worse than planned, or if the options do not fit.
        """
        # The plan knew all values, so deciding again would give the same result.
        if change.after is None or not has_unknown(change.after):
            return change
        spec = self.specs[change.address]
        options = self._operations.resolve_options(spec, self.lookup)
        if has_unknown(options):
            return change
        # The plan could not check the identity, because it was not known yet.
        self._operations.refuse_secret_identity(change.address, options)
        entry = self._recorded(change.address)
        if change.action is Action.CREATE or entry is None or entry.resource is None:
            return replace(change, after=options)
        again = decide(spec, options, RecordedTool(entry, change.live), self._memory)
        # The user approved the action that was shown. A worse one needs a new approval.
        if severity(again.action) > severity(change.action):
            raise DtmError(
                f"was planned as {change.action.value}, but with the real values it would be "
                f"{again.action.value}",
                hint="run the command again to make a new plan",
            )
        # An interrupted or failed operation is repeated even if the record now looks complete: it
        # does not show how far the operation got.
        if (
            change.reason in (Reason.INTERRUPTED, Reason.FAILED)
            and again.action is not change.action
        ):
            return replace(change, after=options)
        return replace(
            again,
            reason=change.reason,
            previous=change.previous,
            rewrite=again.action is Action.KEEP,
        )

    def build_apply(self, step: Step, change: Change) -> Job:
        """Return the job for a create or update.

        Raises DtmError if its options do not fit, or if one of them is still unknown.
        """
        options = change.after
        assert options is not None
        if has_unknown(options):
            raise DtmError(
                "an option needs an output of a tool that was not applied", where=str(step.address)
            )
        job = self._job(step, change, options)
        predicted = self._operations.predict(step.address, options, job.resource)
        # Predict again with real values: the prediction of the plan may be UNKNOWN, which cannot
        # show whether a call without an answer has taken effect.
        job.predicted, job.lookup_only = known_outputs(predicted), self._was_not_looked_up(change)
        return job

    def _job(self, step: Step, change: Change, options: Attributes) -> Job:
        operations, spec = self._operations, self.specs.get(step.address)
        built = operations.build(step.address, options)
        has_identity = operations.identity(step.address, options) is not None
        job = Job(step, change, options, built, has_identity=has_identity)
        # A create gets no resource: the provider finds a partly created one by its identity.
        job.resource = None if job.call is Action.CREATE else change.live or change.before
        timeout: float | None = getattr(spec.timeouts, job.call.value) if spec else None
        job.timeout = TIMEOUT if timeout is None else timeout
        return job

    def _was_not_looked_up(self, change: Change) -> bool:
        """Return whether the plan could not look up a new tool, with an unknown identity."""
        planned = self._planned[change.address].after
        if change.reason is not Reason.NEW or planned is None or not has_unknown(planned):
            return False
        return isinstance(self._operations.identity(change.address, planned), Unknown)

    def build_removal(self, step: Step, change: Change) -> Job:
        """Return the job for a delete. Raises DtmError if it needs a secret that is missing."""
        return self._job(step, change, self.removal_options(change))

    def removal_options(self, change: Change) -> Attributes:
        """Return the recorded options with real secrets; without an entry those of the config.

        Raises DtmError if a secret is missing.
        """
        spec = self.specs.get(change.address)
        # At the check before the claim a renamed tool is still recorded under its old name.
        entry = self._recorded(change.previous or change.address) or self._recorded(change.address)
        if entry is not None:
            return self._memory.recall_options(entry, "delete", spec.options if spec else None)
        assert spec is not None  # a delete of a tool that only the config names
        return self._operations.resolve_options(spec, self.lookup)

    def _recall_secret(self, source: str) -> Value | None:
        """Return a secret by its source; an output of another tool is taken from its last read."""
        kind, _, text = source.partition(" ")
        reference = parse(text) if kind == "output" else None
        if reference is None:
            return self._recall(source)
        change = self.changes.get(reference.address)
        if change is None or change.live is None:
            return None
        outputs = change.live.outputs
        with suppress(DtmError):
            found = resolve(reference, lambda _address: outputs)
            return found.value if isinstance(found, Secret) else None
        return None

    def entry(self, change: Change, resource: Resource | None) -> StateEntry:
        """Return the entry of a tool after a change."""
        assert change.after is not None
        return StateEntry(
            change.address, change.depends_on, change.after, resource, change.protected
        )

    def check(self) -> None:
        """Raise PlanError for missing `--resolve` decisions and for the problems of `missing`."""
        undecided = [
            change
            for change in self.changes.values()
            if change.action is Action.RECOVER and change.live is None
        ]
        problems = [_unresolved(change) for change in undecided]
        problems += self.missing()
        if problems:
            raise PlanError(tuple(problems))

    def missing(self) -> list[Problem]:
        """Return the problems of all calls: missing secrets and unmet requirements of providers."""
        calls = [change for change in self.changes.values() if change.action in _CALLS]
        return [problem for change in calls for problem in self._missing(change)]

    def _missing(self, change: Change) -> list[Problem]:
        where = str(change.address)
        try:
            texts, absent = list[str](), list[str]()
            if change.after is not None:
                texts += self._operations.missing_requirements(change.address, change.after)
                absent = self._operations.missing_inputs(change.address, change.after)
            if change.action in REMOVING:
                # A removal uses the recorded options, which may need another program or
                # credential.
                texts += self._operations.missing_requirements(
                    change.address, self.removal_options(change)
                )
        except DtmError as error:
            return [Problem(where, error.message, error.hint)]
        if absent and self._depends_on_call(change):
            absent = []  # a tool that it depends on may create these paths
        found = [Problem(where, text) for text in dict.fromkeys(texts)]
        return found + [
            Problem(where, text, "create it, or make this tool depend on the tool that creates it")
            for text in absent
        ]

    def _depends_on_call(self, change: Change) -> bool:
        """Return whether a tool that it depends on, directly or not, is created or changed."""
        found, queue = {change.address}, [*change.depends_on]
        while queue:
            address = queue.pop()
            needed = self.changes.get(address)
            if needed is None or address in found:
                continue
            if needed.action in _CALLS:
                return True
            found.add(address)
            queue += needed.depends_on
        return False


def record_moves(plan: Plan, session: Session) -> None:
    """Record renamed tools under their new names, also in the dependencies of other tools."""
    moves = {
        change.previous: change.address for change in plan.changes if change.previous is not None
    }
    dependents: dict[Address, list[Address]] = {old: [] for old in moves}
    # `session.state` copies all entries, so it is taken only if there are moves.
    for address, dependent in session.state.entries.items() if moves else ():
        for other in moves.keys() & set(dependent.depends_on):
            dependents[other].append(address)
    recorded: dict[Address, Address] = {}
    for old, new in moves.items():
        entry = session.entry(old)
        if entry is not None:
            recorded[old] = new
            session.moved(
                old,
                replace(entry, address=new),
                # A dependent that this loop has renamed already is recorded under its new name.
                [recorded.get(each, each) for each in dependents[old]],
            )


def record_outputs(jobs: JobBuilder, session: Session) -> dict[str, DtmError]:
    """Record the root outputs with real values; return the errors of those that do not resolve.

    An output that needs a tool that was not applied keeps its recorded value.
    """
    plan, config = jobs.plan, jobs.config
    recorded, problems = session.state.outputs, dict[str, DtmError]()
    # A delete or destroy does not resolve outputs: its plan says which ones stay.
    values: dict[str, Value] = dict(plan.outputs) if plan.destroy else {}
    for name, value in () if plan.destroy else config.outputs.items():
        try:
            found = resolve(value, jobs.lookup)
        except DtmError as error:
            problems[name] = error
            continue
        if not has_unknown(found):
            values[name] = found
        elif name in recorded:
            values[name] = recorded[name]
    session.set_outputs(values)
    return problems


def _unresolved(change: Change) -> Problem:
    """Return the problem of an operation with an unknown outcome; the plan explains the choices."""
    return Problem(
        str(change.address),
        "the outcome of an interrupted operation is unknown",
        f"add one of the --resolve {change.address.dotted}=... options that the plan lists",
    )
