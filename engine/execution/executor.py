"""Plan and session -> changed world and events: the only writer of the world.

One thread decides, records and emits; workers only call. A change's begin is durable before its call is made, and begins
run ahead of the calls, so that the log's round trips are not waited for.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue

from msgspec.structs import replace

from engine.address import Address
from engine.config import Config
from engine.errors import DtmError, OutcomeUnknownError, PluginError, StalePlanError
from engine.events import (
    ApplyComplete,
    ApplyErrored,
    ApplyMilder,
    ApplyProgress,
    ApplySkipped,
    ApplyStart,
    ApplySummary,
    Event,
    Notice,
    Stopping,
)
from engine.execution.bookkeeping import record_moves, record_outputs
from engine.execution.jobs import Preparation, preflight
from engine.execution.refresh import GRACE, PARALLELISM, POLL
from engine.execution.steps import Phase, Step, steps
from engine.execution.worker import Crew, Ending, Execution, Job, Outcome, Started, Stop, untrue
from engine.graph import Readiness
from engine.lock import timestamp
from engine.plan import Action, Change, Plan
from engine.planning.planner import exists
from engine.plugins.calls import Operations
from engine.ports import Emit
from engine.secrets.sealing import Sealer
from engine.session.session import Session
from engine.state import Resource

HEARTBEAT = 10.0
"""Seconds between two signs of life of a running operation."""

WINDOW = 8
"""Begins that may run ahead of the calls, per worker."""

WIDEST = 200


def apply(
    plan: Plan,
    config: Config,
    session: Session,
    operations: Operations,
    *,
    emit: Emit,
    parallelism: int = PARALLELISM,
    stop: Stop | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> ApplySummary:
    """Claim the session and carry out a plan; the summary is emitted too. Failures of tools are in it, not raised.

    Nothing is written before it is sure that nothing is missing. Raises StalePlanError if the plan is not of this state,
    PlanError if something is missing that can be known before the first change, StateError or SupersededError if the state
    cannot be claimed, SupersededError or StoreError if outcomes could not be recorded any more.
    """
    if plan.base.serial != session.state.id.serial:
        raise StalePlanError(
            f"the plan was made for serial {plan.base.serial}, the state is at {session.state.id.serial}"
        )
    preflight(Preparation(plan, config, session.state, operations))
    session.claim(plan.config_digest)
    preparation = Preparation(plan, config, session.state, operations, session.entry)
    run = _Run(
        plan, session, preparation, operations, emit, stop or Stop(), parallelism, clock, sleep
    )
    return run.run(config)


class _Run:
    """One apply. Everything but `inbox` is touched by one thread only."""

    def __init__(
        self,
        plan: Plan,
        session: Session,
        preparation: Preparation,
        operations: Operations,
        emit: Emit,
        stop: Stop,
        parallelism: int,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.plan, self.session, self.preparation, self.stop = plan, session, preparation, stop
        self.inbox: SimpleQueue[Started | Outcome | Event | None] = SimpleQueue()
        lineage, sealer = session.state.id.lineage, Sealer(session.state.salt)
        self.execution = Execution(
            operations, self.inbox.put, stop, lambda: session.lost, lineage, sealer, clock, sleep
        )
        self._crew = Crew(parallelism, self.execution.perform, self.inbox.put)
        self._emit, self._clock, self._parallelism = emit, clock, parallelism
        self._outstanding = 0
        self._running: dict[Job, Started] = {}
        self._ready: deque[Step] = deque()
        self._blind: deque[Job] = deque()
        self._done = dict.fromkeys(Action, 0)
        self._started: set[Address] = set()
        self._failed: dict[Address, None] = {}
        self._skipped: dict[Address, None] = {}
        self._total = sum(1 for _ in plan)
        self._beat = clock() + HEARTBEAT
        self._giving_up = float("inf")
        self._cancelled: dict[Address, None] = {}
        self._stopping = 0
        stop.tell(lambda: self.inbox.put(None))

    def run(self, config: Config) -> ApplySummary:
        """Until nothing is running and nothing more may start."""
        began = self._clock()
        record_moves(self.plan, self.session)
        self._readiness = Readiness(steps(self.plan, self.session.state))
        self._ready.extend(self._readiness.start())
        self._dispatch()
        while self._outstanding:
            self._receive()
            self._dispatch()
        self._crew.dismiss()
        for step in self._readiness.waiting:
            self._skip(step.address, None)
        return self._end(config, began)

    def _end(self, config: Config, began: float) -> ApplySummary:
        problems = (
            {}
            if self.session.lost
            else record_outputs(self.plan, config, self.session, self.preparation)
        )
        for name, problem in problems.items():
            self._emit(Notice("error", f"output {name}: {problem.message}", problem.hint))
        summary = ApplySummary(
            {action: count for action, count in self._done.items() if count},
            tuple(self._failed),
            tuple(self._skipped),
            self._clock() - began,
            self.session.location,
            bool(self.stop.level),
            self.session.command,
            tuple(self._cancelled),
            tuple(problems),
        )
        try:
            self.session.flush()
        finally:
            self._emit(summary)
        return summary

    # Starting

    @property
    def _may_start(self) -> bool:
        return not self.stop.level and not self.session.lost

    def _dispatch(self) -> None:
        """Begin what may begin: run ahead of the calls, unless something must be begun right before its own."""
        while self._may_start:
            if self._blind and self._outstanding < self._parallelism:
                self._launch(self._blind.popleft())
            elif self._ready and self._outstanding < self._window:
                self._start(self._ready.popleft())
            else:
                return

    @property
    def _window(self) -> int:
        return self._parallelism if self._blind else min(WIDEST, WINDOW * self._parallelism)

    def _start(self, step: Step) -> None:
        change = self.preparation.changes[step.address]
        if step.address in self._failed or step.address in self._skipped:
            self._abandon(step)
            return
        try:
            job = self._prepared(step, change)
        except DtmError as error:
            self._fail(step, error)
            return
        if job is None:
            return
        if job.findable or self._outstanding < self._parallelism:
            self._launch(job)
        else:
            self._blind.append(job)

    def _prepared(self, step: Step, planned: Change) -> Job | None:
        """The call to make, None if there is none and the step is done. Raises DtmError."""
        change = self.preparation.decided(planned)
        if change.action is not planned.action:
            self._emit(ApplyMilder(change.address, planned.action, change.action))
        self.preparation.changes[step.address] = change
        match change.action, step.phase:
            case ((Action.DELETE | Action.REPLACE), Phase.END):
                return self.preparation.end(step, change)
            case ((Action.CREATE | Action.UPDATE | Action.REPLACE), Phase.MAKE):
                return self.preparation.make(step, change)
            case _:
                self._record(step, change)
                return None

    def _record(self, step: Step, change: Change) -> None:
        """A step without a call: only the state learns of it."""
        if step.phase is Phase.MAKE or change.action is Action.FORGET:
            entry = None if change.action is Action.FORGET else self.preparation.entry(change)
            self.session.done(step.address, entry)
            resource = entry.resource if entry else None
            if change.action is not Action.KEEP:
                self._announce(change)
                self._complete(change, resource, 0.0)
        self._finish(step)

    def _launch(self, job: Job) -> None:
        self._outstanding += 1
        if not job.look:
            try:
                self._begin(job)
            except DtmError as error:
                self.inbox.put(Outcome(job, Ending.UNCALLED, error=error))
                return
        self._crew.give(job)

    def _begin(self, job: Job) -> None:
        making = job.step.phase is Phase.MAKE and job.action is not Action.UPDATE
        entry = replace(self.preparation.entry(job.change), resource=None) if making else None
        action = Action.CREATE if making else job.action
        deadline = timestamp(datetime.now(UTC) + timedelta(seconds=job.timeout))
        job.begun = self.session.begin(job.address, action, entry=entry, deadline=deadline)
        begun = self.session.entry(job.address)
        assert begun is not None and begun.pending is not None
        job.token = begun.pending.token

    # Hearing

    def _receive(self) -> None:
        """Handle what workers have to say; wait for it if there is nothing yet."""
        try:
            message = self.inbox.get_nowait()
        except Empty:
            self._watch()
            try:
                message = self.inbox.get(timeout=self._patience())
            except Empty:
                return
        match message:
            case Outcome():
                self._ended(message)
            case Started():
                self._running[message.job] = message
                self._announce(message.job.change)
            case None:
                self._asked_to_stop()
            case _:
                self._emit(message)

    def _asked_to_stop(self) -> None:
        level = min(self.stop.level, 2)
        if level > self._stopping:
            self._stopping = level
            self._emit(Stopping(tuple(job.address for job in self._running), cancelling=level > 1))
        if level > 1 and self._giving_up == float("inf"):
            self._giving_up = self._clock() + GRACE

    def _patience(self) -> float:
        ends = [started.deadline + GRACE for started in self._running.values()]
        return min(POLL, max(0.01, min([*ends, self._beat, self._giving_up]) - self._clock()))

    def _watch(self) -> None:
        """Give up calls that overran, and tell of those that are still running."""
        now = self._clock()
        for started in list(self._running.values()):
            if now >= min(started.deadline + GRACE, self._giving_up):
                self._give_up(started)
        if now >= self._beat:
            self._beat = now + HEARTBEAT
            for job, started in self._running.items():
                self._emit(ApplyProgress(job.address, job.action, "", None, now - started.at))

    def _give_up(self, started: Started) -> None:
        """Its thread is lost and may yet do something: the begin stands, and the next run looks what became of it."""
        job, elapsed = started.job, self._clock() - started.at
        error = OutcomeUnknownError(
            f"no answer within {job.timeout:g} s",
            hint="the next apply looks what became of it; timeouts may be raised",
        )
        if self._giving_up < float("inf"):
            error = OutcomeUnknownError(
                "it did not stop when asked", hint="the next apply looks what became of it"
            )
        self._ended(Outcome(job, Ending.UNKNOWN, error=error, attempts=1, elapsed=elapsed))
        self._crew.replace_one()

    # Ending

    def _ended(self, outcome: Outcome) -> None:
        job = outcome.job
        if outcome.ending is Ending.LOOKED:
            self._looked(outcome)
            return
        called = outcome.ending is not Ending.UNCALLED
        if called and self._running.pop(job, None) is None:
            self._late(outcome)
            return
        self._outstanding -= 1
        if outcome.ending is Ending.DONE:
            self._succeeded(outcome)
        elif called:
            self._fell_through(outcome)
        elif job.begun is not None:
            self.session.cancelled(job.address)

    def _looked(self, outcome: Outcome) -> None:
        job = outcome.job
        self._outstanding -= 1
        if outcome.error is not None:
            self._fail(job.step, outcome.error)
        elif outcome.resource is not None:
            self._fail(job.step, exists(None))
        elif self._may_start:
            job.look = False
            self._launch(job)

    def _late(self, outcome: Outcome) -> None:
        """A call that was given up ended after all: what it did is not forgotten."""
        if outcome.ending is Ending.DONE:
            self._store(outcome)
            self._emit(
                Notice(
                    "info",
                    f"{outcome.job.address} ended after it was given up",
                    where=str(outcome.job.address),
                )
            )

    def _store(self, outcome: Outcome) -> None:
        job = outcome.job
        ended = job.step.phase is Phase.END
        entry = (
            None
            if ended
            else replace(self.preparation.entry(job.change), resource=outcome.resource)
        )
        self.session.done(job.address, entry)

    def _succeeded(self, outcome: Outcome) -> None:
        job, resource = outcome.job, outcome.resource
        self._store(outcome)
        if job.step.phase is Phase.MAKE:
            assert resource is not None
            if wrong := untrue({**job.change.outputs, **job.predicted}, resource):
                self._fail(job.step, self._broken(job, wrong), outcome)
                return
        if job.action is not Action.REPLACE or job.step.phase is Phase.MAKE:
            self._complete(job.change, resource, outcome.elapsed)
        self._finish(job.step)

    def _broken(self, job: Job, wrong: list[str]) -> PluginError:
        plugin = self.execution.operations.provider(job.address).plugin
        return PluginError(
            f'plugin "{plugin}" predicted other outputs than it delivered: {", ".join(wrong)}',
            hint="the tool was made and recorded; report this to the plugin's author",
        )

    def _fell_through(self, outcome: Outcome) -> None:
        job, error = outcome.job, outcome.error
        assert error is not None
        if outcome.ending is Ending.FAILED:
            found, making = (
                outcome.resource,
                job.step.phase is Phase.MAKE and job.action is not Action.UPDATE,
            )
            entry = (
                replace(self.preparation.entry(job.change), resource=found)
                if making and found
                else None
            )
            self.session.failed(job.address, error.message, entry)
        elif self.stop.level > 1:
            self._cancelled[job.address] = None
        self._fail(job.step, error, outcome)

    def _fail(self, step: Step, error: DtmError, outcome: Outcome | None = None) -> None:
        clean = self.execution.operations.redactor.clean
        elapsed, attempts = (outcome.elapsed, outcome.attempts) if outcome else (0.0, 0)
        action = self.preparation.changes[step.address].action
        self._failed[step.address] = None
        self._emit(
            ApplyErrored(
                step.address, action, clean(error.message), clean(error.hint), elapsed, attempts
            )
        )
        self._abandon(step)

    def _abandon(self, step: Step) -> None:
        for other in self._readiness.abandon(step):
            self._skip(other.address, step.address)

    def _skip(self, address: Address, because: Address | None) -> None:
        if address in self._failed or address in self._skipped:
            return
        change = self.preparation.changes[address]
        if change.action is not Action.KEEP:
            self._skipped[address] = None
            self._emit(ApplySkipped(address, change.action, because))

    def _announce(self, change: Change) -> None:
        if change.address not in self._started:
            self._started.add(change.address)
            self._emit(ApplyStart(change.address, change.action, len(self._started), self._total))

    def _complete(self, change: Change, resource: Resource | None, elapsed: float) -> None:
        self._done[change.action] += 1
        self._emit(
            ApplyComplete(change.address, change.action, resource.id if resource else "", elapsed)
        )
        if resource is not None:
            self.preparation.outputs[change.address] = resource.outputs

    def _finish(self, step: Step) -> None:
        self._ready.extend(self._readiness.finish(step))
