"""Preparation of calls: from a step to a job with real option values, secrets included.

Besides jobs this holds what an apply records without a job: new names and root outputs.
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
"""Seconds that a create, update or delete may take where the config says nothing."""

_CALLS = frozenset({Action.CREATE, Action.UPDATE, Action.REPLACE, Action.DELETE})


class PendingCommit(Protocol):
    """A record on its way into the log."""

    def wait(self) -> None:
        """Block until it is durable. Raises the error that made that impossible.

        A worker does so before it calls a provider: `job.begin_ticket.wait()`.
        """
        ...


# eq=False: the watch keeps jobs as keys of a dict, and options have no hash.
class Job(msgspec.Struct, eq=False):
    """One call to be made: `change` decided with real values, `built` the Struct of `options`.

    `resource` is what there is to change or delete. `has_identity`: the resource can be found again
    without its id. `lookup_only`: the job only calls `read`, to see whether a new resource
    exists already. Otherwise `begin_ticket` and `token` are set before a worker gets the job.
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
        """The tool."""
        return self.step.address

    @property
    def action(self) -> Action:
        """The action that is shown to the user."""
        return self.change.action

    @property
    def call(self) -> Action:
        """The provider's method: CREATE, UPDATE or DELETE."""
        if self.step.phase is Phase.REMOVE:
            return Action.DELETE
        return Action.UPDATE if self.action is Action.UPDATE else Action.CREATE


class JobBuilder:
    """A plan on its way to jobs: it knows the real outputs of every tool that is done.

    `state` is the one that the plan was made for; `recorded` returns an entry as it is by now. For
    one thread.
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
        """Return a tool's real outputs: UNKNOWN while it is still to be done, None without any."""
        if address not in self.outputs:
            change = self.changes.get(address)
            if change is None:
                return None
            # What no call changes has its outputs now; the executor enters all others as they are
            # done.
            untouched = change.action in (Action.KEEP, Action.MOVE, Action.RECOVER)
            self.outputs[address] = predict_outputs(change, self._memory) if untouched else UNKNOWN
        return self.outputs[address]

    def resolve_change(self, change: Change) -> Change:
        """Return the change with real values where the plan had to leave some open.

        Raises DtmError if it is worse than planned by now, or if its options do not fit.
        """
        # Planned with real values: the decision cannot come out differently.
        if change.after is None or not has_unknown(change.after):
            return change
        spec = self.specs[change.address]
        options = self._operations.resolve_options(spec, self.lookup)
        if has_unknown(options):
            return change
        # The plan could not check this name, because it was not known yet.
        self._operations.refuse_secret_identity(change.address, options)
        entry = self._recorded(change.address)
        if change.action is Action.CREATE or entry is None or entry.resource is None:
            return replace(change, after=options)
        again = decide(spec, options, RecordedTool(entry, change.live), self._memory)
        # The user approved the action that was shown; nothing worse may be done in its name.
        if severity(again.action) > severity(change.action):
            raise DtmError(
                f"was planned as {change.action.value}, and would now be {again.action.value}",
                hint="plan again",
            )
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
        """Return the job that creates or updates.

        Raises DtmError if its options do not fit or are not known after all.
        """
        options = change.after
        assert options is not None
        if has_unknown(options):
            raise DtmError(
                "an option waits for a tool that was not applied", where=str(step.address)
            )
        job = self._job(step, change, options)
        predicted = self._operations.predict(step.address, options, job.resource)
        # Predicted with real values: the plan's prediction may hold UNKNOWN, which proves nothing.
        job.predicted, job.lookup_only = known_outputs(predicted), self._was_not_looked_up(change)
        return job

    def _job(self, step: Step, change: Change, options: Attributes) -> Job:
        operations, spec = self._operations, self.specs.get(step.address)
        built = operations.build(step.address, options)
        has_identity = operations.identity(step.address, options) is not None
        job = Job(step, change, options, built, has_identity=has_identity)
        # A create gets no resource: one that is there is completed by its identity.
        job.resource = None if job.call is Action.CREATE else change.live or change.before
        timeout: float | None = getattr(spec.timeouts, job.call.value) if spec else None
        job.timeout = TIMEOUT if timeout is None else timeout
        return job

    def _was_not_looked_up(self, change: Change) -> bool:
        """Return whether the plan could not look up a new tool, its identity being unknown."""
        planned = self._planned[change.address].after
        if change.reason is not Reason.NEW or planned is None or not has_unknown(planned):
            return False
        return isinstance(self._operations.identity(change.address, planned), Unknown)

    def build_removal(self, step: Step, change: Change) -> Job:
        """Return the job that deletes. Raises DtmError if a secret that it needs is gone."""
        return self._job(step, change, self.ending_options(change))

    def ending_options(self, change: Change) -> Attributes:
        """Return the recorded options with secrets evaluated again, else the config's.

        Raises DtmError if a secret is gone.
        """
        spec = self.specs.get(change.address)
        # The check before the claim runs while a renamed tool is still recorded under its old name.
        entry = self._recorded(change.previous or change.address) or self._recorded(change.address)
        if entry is not None:
            return self._memory.recall_options(entry, "delete", spec.options if spec else None)
        assert spec is not None  # only a delete of config tools that are not recorded comes here
        return self._operations.resolve_options(spec, self.lookup)

    def _recall_secret(self, source: str) -> Value | None:
        """Return a secret by its source; an output of another tool is the one that was read."""
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
        """Return a tool's entry once the change is made."""
        assert change.after is not None
        return StateEntry(
            change.address, change.depends_on, change.after, resource, change.protected
        )

    def check(self) -> None:
        """Raise PlanError with all that is missing: what `--resolve` must say, and `missing`."""
        undecided = [
            change
            for change in self.changes.values()
            if change.action is Action.RECOVER and change.live is None
        ]
        problems = [Problem(str(change.address), change.note) for change in undecided]
        problems += self.missing()
        if problems:
            raise PlanError(tuple(problems))

    def missing(self) -> list[Problem]:
        """Return secrets that are gone, and what providers say they require."""
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
                # Ending a tool uses its recorded options, which may need another program or
                # credential.
                texts += self._operations.missing_requirements(
                    change.address, self.ending_options(change)
                )
        except DtmError as error:
            return [Problem(where, error.message, error.hint)]
        if absent and self._depends_on_call(change):
            absent = []  # a tool that it depends on may make these paths
        found = [Problem(where, text) for text in dict.fromkeys(texts)]
        return found + [
            Problem(where, text, "make it, or let this tool depend on the one that makes it")
            for text in absent
        ]

    def _depends_on_call(self, change: Change) -> bool:
        """Return whether anything that it directly or indirectly depends on is made or changed."""
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
    """Record renamed tools under their new names; their dependents depend on the new ones."""
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
                # A dependent that this loop has renamed already is found under its new name only.
                [recorded.get(each, each) for each in dependents[old]],
            )


def record_outputs(jobs: JobBuilder, session: Session) -> dict[str, DtmError]:
    """Record the root outputs with real values; return the errors of those that have none.

    An output that waits for a tool that was not applied stays as it was.
    """
    plan, config = jobs.plan, jobs.config
    recorded, problems = session.state.outputs, dict[str, DtmError]()
    # A delete or destroy resolves no outputs anew: its plan says which ones stay.
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
