"""The executor: carries out a plan, and is the only part of dtm that changes a live system.

One thread decides, records and emits; workers only call.
"""

from __future__ import annotations

from datetime import timedelta
from queue import Empty, SimpleQueue

from engine.config import Config
from engine.errors import DtmError, StalePlanError
from engine.events import ApplyMilder, ApplySummary, Event, Notice
from engine.execution.jobs import Job, Preparation, record_moves, record_outputs
from engine.execution.pace import Control
from engine.execution.steps import Phase, Step, steps
from engine.execution.tally import Tally
from engine.execution.watch import Watch
from engine.execution.window import Window
from engine.execution.worker import Crew, Ending, Execution, Outcome, Started, broken_prediction
from engine.lock import timestamp
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
    control: Control | None = None,
) -> ApplySummary:
    """Claim the session and carry out a plan; return the summary, which is emitted too.

    Tools that fail are in the summary; they raise nothing. Nothing is written before it is sure
    that nothing is missing. Raises StalePlanError if the plan was made for another state,
    PlanError if something is missing that can be known before the first change, StateError or
    SupersededError if the state cannot be claimed, SupersededError or StoreError if outcomes could
    not be recorded.
    """
    state = session.state
    # Another session has written since: the plan could undo its work or make a tool twice.
    if plan.base.serial != state.id.serial:
        raise StalePlanError(
            f"the plan was made for serial {plan.base.serial}, the state is at {state.id.serial}"
        )
    # Before the claim: an apply that is refused for something missing leaves no record behind.
    Preparation(plan, config, state, operations).check()
    session.claim(plan.config_digest)
    # The claim gives a new state its salt and lineage: everything from here on needs the new ones.
    preparation = Preparation(plan, config, session.state, operations, session.entry)
    # Before the first step: steps begin and end entries under their new addresses.
    record_moves(plan, session)
    return _Run(preparation, session, operations, emit, control or Control()).run()


class _Run:
    """One apply. Everything but `_inbox` is touched by one thread only."""

    def __init__(
        self,
        preparation: Preparation,
        session: Session,
        operations: Operations,
        emit: Emit,
        control: Control,
    ) -> None:
        self._preparation, self._session, self._emit = preparation, session, emit
        # A SimpleQueue, since its `put` is reentrant: a signal handler posts the request to stop.
        self._inbox: SimpleQueue[Started | Outcome | Event | None] = SimpleQueue()
        state, post, self._environment = session.state, self._inbox.put, control.environment
        self._execution = Execution(
            operations,
            post,
            control.stop,
            # A function, since the claim may be lost at any time: it is asked before each call.
            lambda: session.lost,
            state.id.lineage,
            Sealer(state.salt),
            control.environment,
        )
        self._crew = Crew(control.parallelism, self._execution.perform, post)
        self._tally = Tally(preparation.plan, emit, operations.redactor)
        self._watch = Watch(control.environment.clock, emit)
        self._window = Window(steps(preparation.plan, session.state), control.parallelism)
        # The empty message wakes `_receive`, which may be waiting for a call that takes minutes.
        control.stop.tell(lambda: post(None))

    def run(self) -> ApplySummary:
        """Carry on until nothing is running and nothing more may start."""
        began = self._environment.clock()
        self._dispatch()
        while self._window.busy:
            self._receive()
            self._dispatch()
        # Last: a thread that was dismissed takes no further job.
        self._crew.dismiss()
        # Left over after a stop or a lost claim: these steps were never started.
        for step in self._window.waiting:
            self._tally.skip(self._preparation.changes[step.address], None)
        return self._end(began)

    def _end(self, began: float) -> ApplySummary:
        session, tally = self._session, self._tally
        # A session that lost its claim records nothing; the root outputs belong to the next one.
        problems = {} if session.lost else record_outputs(self._preparation, session)
        for name, problem in problems.items():
            self._emit(Notice("error", f"output {name}: {problem.message}", problem.hint))
        summary = ApplySummary(
            tally.done,
            tuple(tally.failed),
            tuple(tally.skipped),
            self._environment.clock() - began,
            session.location,
            bool(self._execution.stop.level),
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
        while not self._execution.halted:
            match self._window.next():
                case Job() as job:
                    self._launch(job)
                case Step() as step:
                    self._start(step)
                case None:
                    return

    def _start(self, step: Step) -> None:
        # The end of a replace must not run once its make was given up: the tool would just be gone.
        if self._tally.dropped(step.address):
            self._abandon(step)
            return
        try:
            job = self._prepared(step)
        except DtmError as error:
            self._fail(step, error)
            return
        if job is not None and self._window.admits(job):
            self._launch(job)

    def _prepared(self, step: Step) -> Job | None:
        """Return the job, None if the step needs no call and is done. Raises DtmError."""
        planned = self._preparation.changes[step.address]
        change = self._preparation.decided(planned)
        if change.action is not planned.action:
            self._emit(ApplyMilder(change.address, planned.action, change.action))
        # Stored before the call: dependents look up outputs by the action that stands here.
        self._preparation.changes[step.address] = change
        match change.action, step.phase:
            case ((Action.DELETE | Action.REPLACE), Phase.END):
                return self._preparation.end(step, change)
            case ((Action.CREATE | Action.UPDATE | Action.REPLACE), Phase.MAKE):
                return self._preparation.make(step, change)
            case _:
                self._record(step, change)
                return None

    def _record(self, step: Step, change: Change) -> None:
        """Record a step that needs no call."""
        stays = step.phase is Phase.MAKE
        # The end of a replace that turned out milder is not recorded: the tool stays as it is.
        if stays or change.action is Action.FORGET:
            # The live resource first: it holds what was read now, the record may be older.
            resource = (change.live or change.before) if stays else None
            entry = self._preparation.entry(change, resource) if stays else None
            self._session.done(step.address, entry)
            if change.action is not Action.KEEP:
                self._tally.start(change)
                self._complete(change, resource, 0.0)
        self._window.finish(step)

    def _launch(self, job: Job) -> None:
        self._window.launched()
        if not job.look:  # a look changes nothing, so nothing of it is recorded
            try:
                self._begin(job)
            except DtmError as error:
                # The window counts the job as launched: only an outcome takes it out of the count
                # again.
                self._inbox.put(Outcome(job, Ending.UNCALLED, error=error))
                return
        self._crew.give(job)

    def _begin(self, job: Job) -> None:
        # By the call, not by the plan: the make of a replace is recorded as a create, because after
        # a crash the old resource is gone already and only the new one is open.
        creating = job.call is Action.CREATE
        entry = self._preparation.entry(job.change, None) if creating else None
        job.begun = self._session.begin(
            job.address,
            Action.CREATE if creating else job.action,
            entry=entry,
            deadline=timestamp(self._environment.date() + timedelta(seconds=job.timeout)),
        )
        begun = self._session.entry(job.address)
        assert begun is not None and begun.pending is not None
        job.token = begun.pending.token

    # Receiving

    def _receive(self) -> None:
        """Handle one message of the workers; wait for it if there is none yet."""
        try:
            # Deadlines are checked only when no message waits, or a call whose outcome is already
            # here would be given up.
            message = self._inbox.get_nowait()
        except Empty:
            self._give_up()
            self._watch.beat()
            try:
                message = self._inbox.get(timeout=self._watch.patience())
            except Empty:
                return
        match message:
            case Outcome():
                self._ended(message)
            case Started():
                self._watch.started(message)
                self._tally.start(message.job.change)
            case None:
                self._watch.asked_to_stop(self._execution.stop.level)
            case _:
                self._emit(message)

    def _give_up(self) -> None:
        for outcome in self._watch.overdue():
            self._ended(outcome)
            # The thread still hangs in its call: without another one each late call would cost a
            # worker.
            self._crew.replace_one()

    # Ending

    def _ended(self, outcome: Outcome) -> None:
        job, ending = outcome.job, outcome.ending
        called = ending not in (Ending.LOOKED, Ending.UNCALLED)
        # A call that was given up has an outcome already; counting it twice would corrupt the
        # window and let the run end while calls are still out.
        if called and not self._watch.ended(job):
            self._late(outcome)
            return
        # Before what follows: `_looked` launches the same job again and needs its room.
        self._window.ended()
        if ending is Ending.LOOKED:
            self._looked(outcome)
        elif ending is Ending.DONE:
            self._succeeded(outcome)
        elif called:
            self._failed(outcome)
        elif job.begun is not None:
            # Nothing was called, so the begin record must go: the next run would examine it for
            # nothing.
            self._session.cancelled(job.address)

    def _looked(self, outcome: Outcome) -> None:
        job = outcome.job
        if outcome.error is not None:
            self._fail(job.step, outcome.error)
        elif outcome.resource is not None:
            # The plan would have refused this tool if its identity had been known then.
            self._fail(job.step, already_exists(None))
        # A halted run leaves the step waiting, and `run` counts it as skipped.
        elif not self._execution.halted:
            job.look = False
            self._launch(job)

    def _late(self, outcome: Outcome) -> None:
        """Record what a call did that ended after it was given up."""
        # Any other ending adds nothing: the begin record stands, and the next run examines it.
        if outcome.ending is Ending.DONE:
            self._store(outcome)
            address = str(outcome.job.address)
            self._emit(Notice("info", f"{address} ended after it was given up", where=address))

    def _store(self, outcome: Outcome) -> None:
        job = outcome.job
        made = job.step.phase is Phase.MAKE
        entry = self._preparation.entry(job.change, outcome.resource) if made else None
        self._session.done(job.address, entry)

    def _succeeded(self, outcome: Outcome) -> None:
        job, resource = outcome.job, outcome.resource
        # Recorded first: a broken prediction is the plugin's fault, but the resource exists.
        self._store(outcome)
        if job.step.phase is Phase.MAKE:
            assert resource is not None
            plugin = self._execution.operations.provider(job.address).plugin
            if error := broken_prediction(job, resource, plugin):
                self._fail(job.step, error, outcome)
                return
        if job.action is not Action.REPLACE or job.step.phase is Phase.MAKE:
            self._complete(job.change, resource, outcome.elapsed)
        self._window.finish(job.step)

    def _failed(self, outcome: Outcome) -> None:
        job, error, found = outcome.job, outcome.error, outcome.resource
        assert error is not None
        if outcome.ending is Ending.FAILED:
            # Recorded, so that the next run completes this resource instead of making a second one.
            half_made = job.call is Action.CREATE and found is not None
            entry = self._preparation.entry(job.change, found) if half_made else None
            self._session.failed(job.address, error.message, entry)
        elif self._execution.stop.level > 1:
            self._tally.cancel(job.address)
        self._fail(job.step, error, outcome)

    def _fail(self, step: Step, error: DtmError, outcome: Outcome | None = None) -> None:
        self._tally.fail(self._preparation.changes[step.address], error, outcome)
        self._abandon(step)

    def _abandon(self, step: Step) -> None:
        for other in self._window.abandon(step):
            self._tally.skip(self._preparation.changes[other.address], step.address)

    def _complete(self, change: Change, resource: Resource | None, elapsed: float) -> None:
        self._tally.complete(change, resource, elapsed)
        if resource is not None:
            self._preparation.outputs[change.address] = resource.outputs
