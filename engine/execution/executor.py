"""The executor: carries out a plan. It is the only part of dtm that changes live systems.

One thread decides, records and emits; workers only call providers.
"""

from __future__ import annotations

from datetime import timedelta
from queue import Empty, SimpleQueue

from engine.config import Config
from engine.errors import DtmError, StalePlanError
from engine.events import ActionDowngraded, ApplySummary, Event, Notice
from engine.execution.call_monitor import CallMonitor
from engine.execution.jobs import Job, JobBuilder, record_moves, record_outputs
from engine.execution.result_counter import ResultCounter
from engine.execution.run_settings import RunControl
from engine.execution.step_window import StepWindow
from engine.execution.steps import Phase, Step, plan_steps
from engine.execution.worker import (
    JobStatus,
    Outcome,
    Started,
    WorkerContext,
    WorkerPool,
    prediction_error,
)
from engine.lock import format_timestamp
from engine.plan import Action, Change, Plan
from engine.planning.planner import already_exists
from engine.plugins.calls import Operations
from engine.ports import Emit
from engine.secrets.sealing import Sealer
from engine.session.session import Session
from engine.state import Resource


def apply(
    plan: Plan,
    config: Config,
    session: Session,
    operations: Operations,
    *,
    emit: Emit,
    control: RunControl | None = None,
) -> ApplySummary:
    """Claim the session and carry out a plan; return the summary, which is emitted too.

    Failed tools are in the summary; they raise nothing. Raises StalePlanError if the plan was made
    for another state, and PlanError if a call needs something that is missing; both before anything
    is written. Raises StateError or SupersededError if the state cannot be claimed,
    SupersededError or StoreError if outcomes could not be recorded.

        summary = apply(plan, config, session, operations, emit=print)
    """
    state = session.state
    # Another session has written since: the plan could undo its work or create a tool twice.
    if plan.base.serial != state.id.serial:
        raise StalePlanError(
            f"the plan was made for serial {plan.base.serial} of the state, "
            f"which now has serial {state.id.serial}",
            hint="run the command again to make a new plan",
        )
    # Before the claim: an apply that is refused for something missing leaves no record behind.
    JobBuilder(plan, config, state, operations).check()
    session.claim(plan.config_digest)
    # The claim gives a new state its salt and lineage: everything from here on needs the new ones.
    jobs = JobBuilder(plan, config, session.state, operations, session.entry)
    # Before the first step: steps begin and end entries under their new addresses.
    record_moves(plan, session)
    return _Run(jobs, session, operations, emit, control or RunControl()).run()


class _Run:
    """One apply. Only the main thread uses it, except for `_inbox`."""

    def __init__(
        self,
        jobs: JobBuilder,
        session: Session,
        operations: Operations,
        emit: Emit,
        control: RunControl,
    ) -> None:
        self._jobs, self._session, self._emit = jobs, session, emit
        # A SimpleQueue, since its `put` is reentrant: a signal handler posts the request to stop.
        self._inbox: SimpleQueue[Started | Outcome | Event | None] = SimpleQueue()
        state, post, self._environment = session.state, self._inbox.put, control.environment
        self._context = WorkerContext(
            operations,
            post,
            control.stop,
            # A function, since the claim may be lost at any time: it is asked before each call.
            lambda: session.lost,
            state.id.lineage,
            Sealer(state.salt),
            control.environment,
        )
        self._pool = WorkerPool(control.parallelism, self._context.perform, post)
        self._results = ResultCounter(jobs.plan, emit, operations.redactor)
        self._monitor = CallMonitor(control.environment.clock, emit)
        self._window = StepWindow(plan_steps(jobs.plan, session.state), control.parallelism)
        # The empty message wakes `_receive`, which may be waiting for a call that takes minutes.
        control.stop.on_request(lambda: post(None))

    def run(self) -> ApplySummary:
        """Run until no call is running and no step may start."""
        began = self._environment.clock()
        self._dispatch()
        while self._window.has_running_jobs:
            self._receive()
            self._dispatch()
        # Last: a worker takes no further job after this.
        self._pool.shut_down()
        # Left over after a stop or a lost claim: these steps were never started.
        for step in self._window.waiting_steps:
            self._results.skip(self._jobs.changes[step.address], None)
        return self._end(began)

    def _end(self, began: float) -> ApplySummary:
        session, tally = self._session, self._results
        # A session that lost its claim records nothing; the root outputs belong to the next one.
        problems = {} if session.lost else record_outputs(self._jobs, session)
        for name, problem in problems.items():
            self._emit(Notice("error", f"output {name}: {problem.message}", problem.hint))
        summary = ApplySummary(
            tally.done,
            tuple(tally.failed),
            tuple(tally.skipped),
            self._environment.clock() - began,
            session.location,
            bool(self._context.stop.level),
            session.command,
            tuple(tally.cancelled),
            tuple(problems),
        )
        try:
            # The summary comes even if this fails: the user must see what was done to live systems.
            session.flush()
        finally:
            self._emit(summary)
        return summary

    # Starting

    def _dispatch(self) -> None:
        """Start everything that may start now."""
        while not self._context.is_halted:
            match self._window.next():
                case Job() as job:
                    self._launch(job)
                case Step() as step:
                    self._start(step)
                case None:
                    return

    def _start(self, step: Step) -> None:
        # If the creation of a replace cannot follow, its removal must not run: it would leave the
        # user without the resource.
        if self._results.has_failed_or_skipped(step.address):
            self._abandon(step)
            return
        try:
            job = self._prepare(step)
        except DtmError as error:
            self._fail(step, error)
            return
        if job is not None and self._window.admit(job):
            self._launch(job)

    def _prepare(self, step: Step) -> Job | None:
        """Return the job, None if the step needs no call and is done. Raises DtmError."""
        planned = self._jobs.changes[step.address]
        change = self._jobs.resolve_change(planned)
        if change.action is not planned.action:
            self._emit(ActionDowngraded(change.address, planned.action, change.action))
        # Stored before the call: which outputs dependents see depends on the action stored here.
        self._jobs.changes[step.address] = change
        match change.action, step.phase:
            case ((Action.DELETE | Action.REPLACE), Phase.REMOVE):
                return self._jobs.build_removal(step, change)
            case ((Action.CREATE | Action.UPDATE | Action.REPLACE), Phase.APPLY):
                return self._jobs.build_apply(step, change)
            case _:
                self._record_without_call(step, change)
                return None

    def _record_without_call(self, step: Step, change: Change) -> None:
        """Record a step that needs no call."""
        stays = step.phase is Phase.APPLY
        # The removal of a replace that became milder is not recorded: the tool stays.
        if stays or change.action is Action.FORGET:
            # The live resource first: it holds what was read now, the record may be older.
            resource = (change.live or change.before) if stays else None
            entry = self._jobs.entry(change, resource) if stays else None
            self._session.done(step.address, entry)
            if change.action is not Action.KEEP:
                self._results.start(change)
                self._complete(change, resource, 0.0)
        self._window.finish(step)

    def _launch(self, job: Job) -> None:
        self._window.launched()
        if not job.lookup_only:  # a lookup changes nothing, so nothing is recorded
            try:
                self._begin(job)
            except DtmError as error:
                # The window has counted the job as launched. Only an outcome undoes that; without
                # it the run would wait for this job forever.
                self._inbox.put(Outcome(job, JobStatus.NOT_CALLED, error=error))
                return
        self._pool.submit(job)

    def _begin(self, job: Job) -> None:
        # The record names the call, not the planned action: the second step of a replace is a
        # create, since after a crash the old resource is gone and only the new one is unfinished.
        creating = job.call is Action.CREATE
        entry = self._jobs.entry(job.change, None) if creating else None
        job.begin_ticket = self._session.begin(
            job.address,
            Action.CREATE if creating else job.action,
            entry=entry,
            deadline=format_timestamp(self._environment.date() + timedelta(seconds=job.timeout)),
        )
        entry = self._session.entry(job.address)
        assert entry is not None and entry.pending is not None
        job.token = entry.pending.token

    # Receiving

    def _receive(self) -> None:
        """Handle one message of the workers; wait for it if there is none yet."""
        try:
            # Deadlines are checked only if no message is waiting: otherwise a call whose outcome
            # has arrived already could be given up.
            message = self._inbox.get_nowait()
        except Empty:
            self._give_up_overdue()
            self._monitor.report_progress()
            try:
                message = self._inbox.get(timeout=self._monitor.seconds_to_wait())
            except Empty:
                return
        match message:
            case Outcome():
                self._handle_outcome(message)
            case Started():
                self._monitor.started(message)
                self._results.start(message.job.change)
            case None:
                self._monitor.stop_requested(self._context.stop.level)
            case _:
                self._emit(message)

    def _give_up_overdue(self) -> None:
        for outcome in self._monitor.overdue():
            self._handle_outcome(outcome)
            # Its thread still hangs in the call. Without a replacement every such call would cost a
            # worker.
            self._pool.add_worker()

    # Ending

    def _handle_outcome(self, outcome: Outcome) -> None:
        job, status = outcome.job, outcome.status
        called = status not in (JobStatus.LOOKED_UP, JobStatus.NOT_CALLED)
        # A call that was given up has an outcome already. Counting it twice would corrupt the
        # window, and the run would end while other calls are still running.
        if called and not self._monitor.ended(job):
            self._handle_late_outcome(outcome)
            return
        # First: `_handle_lookup` launches the same job again and needs its room in the window.
        self._window.ended()
        if status is JobStatus.LOOKED_UP:
            self._handle_lookup(outcome)
        elif status is JobStatus.DONE:
            self._handle_success(outcome)
        elif called:
            self._handle_failure(outcome)
        elif job.begin_ticket is not None:
            # Nothing was called, so the begin record must be undone: the next run would examine a
            # resource that does not exist.
            self._session.cancelled(job.address)

    def _handle_lookup(self, outcome: Outcome) -> None:
        job = outcome.job
        if outcome.error is not None:
            self._fail(job.step, outcome.error)
        elif outcome.resource is not None:
            # The planner refuses such a tool, but it did not know the identity yet.
            self._fail(job.step, already_exists(None))
        # A halted run leaves the step waiting, and `run` counts it as skipped.
        elif not self._context.is_halted:
            job.lookup_only = False
            self._launch(job)

    def _handle_late_outcome(self, outcome: Outcome) -> None:
        """Record the result of a call that ended after it was given up."""
        # Any other status adds nothing: the operation stays recorded as begun, and the next run
        # examines it.
        if outcome.status is JobStatus.DONE:
            self._record_outcome(outcome)
            address = str(outcome.job.address)
            self._emit(
                Notice(
                    "info",
                    f"{address} ended after dtm had given it up, and was recorded",
                    where=address,
                )
            )

    def _record_outcome(self, outcome: Outcome) -> None:
        job = outcome.job
        exists = job.step.phase is Phase.APPLY
        entry = self._jobs.entry(job.change, outcome.resource) if exists else None
        self._session.done(job.address, entry)

    def _handle_success(self, outcome: Outcome) -> None:
        job, resource = outcome.job, outcome.resource
        # Recorded first: even if the plugin predicted wrong outputs, the resource exists.
        self._record_outcome(outcome)
        if job.step.phase is Phase.APPLY:
            assert resource is not None
            plugin = self._context.operations.provider(job.address).plugin
            if error := prediction_error(job, resource, plugin):
                self._fail(job.step, error, outcome)
                return
        if job.action is not Action.REPLACE or job.step.phase is Phase.APPLY:
            self._complete(job.change, resource, outcome.elapsed)
        self._window.finish(job.step)

    def _handle_failure(self, outcome: Outcome) -> None:
        job, error, found = outcome.job, outcome.error, outcome.resource
        assert error is not None
        if outcome.status is JobStatus.FAILED:
            # Recorded, so that the next run completes this resource instead of creating a second
            # one.
            partly_created = job.call is Action.CREATE and found is not None
            entry = self._jobs.entry(job.change, found) if partly_created else None
            self._session.failed(job.address, error.message, entry)
        elif self._context.stop.level > 1:
            self._results.cancel(job.address)
        self._fail(job.step, error, outcome)

    def _fail(self, step: Step, error: DtmError, outcome: Outcome | None = None) -> None:
        self._results.fail(self._jobs.changes[step.address], error, outcome)
        self._abandon(step)

    def _abandon(self, step: Step) -> None:
        for other in self._window.abandon(step):
            self._results.skip(self._jobs.changes[other.address], step.address)

    def _complete(self, change: Change, resource: Resource | None, elapsed: float) -> None:
        self._results.complete(change, resource, elapsed)
        if resource is not None:
            self._jobs.outputs[change.address] = resource.outputs
