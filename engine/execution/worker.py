"""Workers: threads that wait for a begin record, call the provider, and examine failures."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from queue import SimpleQueue
from threading import Thread

import msgspec
from msgspec.structs import replace

from engine.errors import DtmError, OutcomeUnknownError, PluginError
from engine.events import ApplyProgress, Event, Notice, Retrying
from engine.execution.jobs import Job
from engine.execution.refresh import READ_TIMEOUT
from engine.execution.run_settings import POLL, StopRequest
from engine.plan import Action
from engine.plugins.calls import Operations, call_plugin
from engine.plugins.lost_secrets import refuse_lost_secrets
from engine.ports import Call
from engine.runtime.environment import Environment
from engine.runtime.retry import retry_provider_call
from engine.secrets.marking import reveal_resource
from engine.secrets.sealing import Sealer
from engine.state import Resource
from engine.values import (
    Attributes,
    UnknownValueError,
    Value,
    has_unknown,
    is_equal,
    is_plain,
    reveal,
)


class JobStatus(Enum):
    """The status with which a job ended."""

    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The call may or may not have changed something; the operation stays recorded as begun."""
    NOT_CALLED = "uncalled"
    LOOKED_UP = "looked"
    """Only the lookup of an existing resource has ended, see `Job.lookup_only`."""


class Started(msgspec.Struct, frozen=True):
    """The message that a call is about to be made.

    `at` and `deadline` are times of the clock. The call is given up `GRACE` seconds after its
    deadline.
    """

    job: Job
    at: float
    deadline: float


class Outcome(msgspec.Struct, frozen=True):
    """The end of a job.

    `resource` is what is live now, None if nothing is or if that is unknown. `elapsed` is in
    seconds.
    """

    job: Job
    status: JobStatus
    resource: Resource | None = None
    error: DtmError | None = None
    attempts: int = 0
    elapsed: float = 0.0


class WorkerContext(msgspec.Struct, frozen=True):
    """The values that all workers share.

    `post` sends a message to the main thread. `lost` returns why nothing more can be recorded, a
    false value while all is well.
    """

    operations: Operations
    post: Callable[[Started | Event], None]
    stop: StopRequest
    lost: Callable[[], object]
    lineage: str
    sealer: Sealer
    environment: Environment

    @property
    def is_halted(self) -> bool:
        """True once no further call may start."""
        return bool(self.stop.level or self.lost())

    def perform(self, job: Job) -> Outcome:
        """Carry out a job. Raises nothing."""
        try:
            return self._perform(job)
        except Exception as error:  # noqa: BLE001 - the run would wait for a dead thread
            status = JobStatus.LOOKED_UP if job.lookup_only else JobStatus.UNKNOWN
            text = f"internal error at this step: {type(error).__name__}: {error}"
            return Outcome(job, status, error=DtmError(self.operations.redactor.redact(text)))

    def _perform(self, job: Job) -> Outcome:
        if job.lookup_only:
            return self._look_up(job)
        assert job.begin_ticket is not None
        # The record must be durable before the call: otherwise, after a crash, the next run would
        # not know of the resource.
        try:
            job.begin_ticket.wait()
        except DtmError as error:
            return Outcome(job, JobStatus.NOT_CALLED, error=error)
        if self.is_halted:  # checked here, since the wait may have been long
            return Outcome(job, JobStatus.NOT_CALLED)
        call = self._call(job, job.timeout)
        started = self.environment.clock()
        self.post(Started(job, started, call.deadline))
        # All attempts and the pauses between them count: the user waits for both.
        return replace(
            self._call_with_retries(job, call), elapsed=self.environment.clock() - started
        )

    def _look_up(self, job: Job) -> Outcome:
        try:
            found = self.operations.read(
                job.address, job.options, None, self._call(job, READ_TIMEOUT)
            )
        except DtmError as error:
            return Outcome(job, JobStatus.LOOKED_UP, error=error)
        return Outcome(job, JobStatus.LOOKED_UP, found)

    def _call(self, job: Job, timeout: float) -> Call:
        clock, clean = self.environment.clock, self.operations.redactor.redact
        started = clock()

        def report(text: str, fraction: float | None = None) -> None:
            elapsed = clock() - started
            self.post(ApplyProgress(job.address, job.action, clean(text), fraction, elapsed))

        def warn(text: str) -> None:
            self.post(Notice("warning", clean(text), where=str(job.address)))

        return Call(
            job.address,
            self.operations.base_dir,
            started + timeout,
            job.token,
            self.lineage,
            # A first request to stop lets running calls end. Only a second one, or a superseded
            # session, cancels them.
            lambda: self.stop.level > 1 or bool(self.lost()),
            report,
            warn,
        )

    def _call_with_retries(self, job: Job, call: Call) -> Outcome:
        retries = RetryReporter(self, job)

        def attempt() -> Resource | None:
            retries.attempts += 1
            return self._call_provider(job, call)

        try:
            found = retry_provider_call(
                attempt,
                deadline=call.deadline,
                on_retry=retries.failed,
                sleep=retries.sleep,
                clock=self.environment.clock,
                rng=self.environment.rng,
            )
        # Options were checked before, so this can only be a recorded secret without a source.
        except UnknownValueError:
            return Outcome(
                job, JobStatus.FAILED, error=self._unknown_option(job), attempts=retries.attempts
            )
        except DtmError as error:
            return replace(self._examine_failure(job, error), attempts=retries.attempts)
        return Outcome(job, JobStatus.DONE, found, attempts=retries.attempts)

    def _unknown_option(self, job: Job) -> DtmError:
        """Return the error for an option without a known value: which secret is missing."""
        try:
            refuse_lost_secrets(job.address, job.options, "delete")
        except DtmError as error:
            return error
        return PluginError(f'plugin "{job.address.name}" used an option whose value is not known')

    def _call_provider(self, job: Job, call: Call) -> Resource | None:
        provider = self.operations.provider(job.address)

        def call_method() -> Resource | None:
            if job.call is Action.CREATE:
                return provider.create(job.built, call)
            assert job.resource is not None  # no update or delete of an absent resource
            if job.call is Action.UPDATE:
                return provider.update(job.built, reveal_resource(job.resource), call)
            provider.delete(job.built, reveal_resource(job.resource), call)
            return None

        def call_and_mark() -> Resource | None:
            made = self.operations.observe(job.address, job.call.value, call_method)
            if made is None:
                return None
            found = self.operations.mark_secrets(job.address, job.options, made, job.resource)
            # Sealing a new secret takes long. Its digest is cached here, so that the main thread
            # does not have to wait for it.
            self.sealer.seal_resource(found, job.address)
            return found

        return call_plugin(provider.plugin, job.call.value, call_and_mark)

    def _examine_failure(self, job: Job, error: DtmError) -> Outcome:
        """Read once after a create that failed and after any call whose outcome is unknown."""
        unknown = isinstance(error, OutcomeUnknownError)
        # A `read` needs a resource or an identity.
        unreadable = job.resource is None and not job.has_identity
        # After a second request to stop nothing more is read: the next run does it.
        if self.stop.level > 1 or (unknown and unreadable):
            return Outcome(job, JobStatus.UNKNOWN, error=error)
        # A failed update or delete is not read either: its resource is recorded, so the next run
        # reads it.
        if unreadable or (job.resource is not None and not unknown):
            return Outcome(job, JobStatus.FAILED, error=error)
        try:
            # With a deadline of its own, since that of the failed call may have passed.
            found = self.operations.read(
                job.address, job.options, job.resource, self._call(job, READ_TIMEOUT)
            )
        except DtmError:
            # The user needs the first error, not the one of this read.
            return Outcome(job, JobStatus.FAILED, error=error)
        if unknown and self._has_taken_effect(job, found):
            return Outcome(job, JobStatus.DONE, found)
        return Outcome(job, JobStatus.FAILED, found, error)

    def _has_taken_effect(self, job: Job, found: Resource | None) -> bool:
        if job.call is Action.DELETE:
            return found is None
        # An update never counts: predicted outputs do not show that every option was applied.
        return (
            found is not None
            and job.call is Action.CREATE
            and not wrong_predictions(job.predicted, found)
        )


class WorkerPool:
    """Worker threads that share a queue of jobs. They start when there are jobs for them."""

    def __init__(
        self, size: int, perform: Callable[[Job], Outcome], post: Callable[[Outcome], None]
    ) -> None:
        self._size, self._perform, self._post = size, perform, post
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads = 0
        self._submitted = 0

    def submit(self, job: Job) -> None:
        """Queue a job for the next free thread."""
        self._submitted += 1
        # One thread for each job up to the limit: a plan with one change needs one thread.
        if self._threads < min(self._size, self._submitted):
            self.add_worker()
        self._jobs.put(job)

    def add_worker(self) -> None:
        """Start one more thread, for example in place of one that hangs in a call."""
        self._threads += 1
        # A daemon: a provider that never returns must not keep the process from ending.
        Thread(target=self._work, name="dtm-apply", daemon=True).start()

    def shut_down(self) -> None:
        """Make every thread end once it is free."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._post(self._perform(job))


class RetryReporter:
    """The counter of attempts of one job, which also reports each retry."""

    def __init__(self, execution: WorkerContext, job: Job) -> None:
        self.attempts = 0
        self._execution, self._job = execution, job
        self._last: BaseException | None = None

    def failed(self, tries: int, delay: float, error: BaseException) -> None:
        """Report a failed attempt that is followed by another one."""
        self._last = error
        text = self._execution.operations.redactor.redact(str(error))
        self._execution.post(Retrying(self._job.address, self._job.action, tries, delay, text))

    def sleep(self, seconds: float) -> None:
        """Pause before the next attempt. Raises the last error if the run is stopped."""
        while seconds > 0:
            if self._last and self._execution.is_halted:
                raise self._last
            # In short pieces, so that a stop does not have to wait for the end of a long pause.
            self._execution.environment.sleep(min(seconds, POLL))
            seconds -= POLL


def prediction_error(job: Job, resource: Resource, plugin: str) -> PluginError | None:
    """Return an error if outputs differ from those that the plugin predicted."""
    wrong = wrong_predictions({**job.change.outputs, **job.predicted}, resource)
    if not wrong:
        return None
    return PluginError(
        f'plugin "{plugin}" predicted other outputs than it delivered: {", ".join(wrong)}',
        hint="the resource was applied and recorded; report this to the author of the plugin",
    )


def wrong_predictions(predicted: Attributes, found: Resource) -> list[str]:
    """Return the keys of outputs that differ from their predictions."""
    return [key for key, value in predicted.items() if not _matches(value, found.outputs.get(key))]


def _matches(predicted: Value, found: Value) -> bool:
    if is_plain(predicted) and is_equal(predicted, found):
        return True
    # Compare the revealed values: a value may be marked as secret on one side only.
    return has_unknown(predicted) or is_equal(reveal(predicted), reveal(found))
