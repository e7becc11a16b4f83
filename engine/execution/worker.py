"""One operation in a worker thread: wait for its begin, call the provider, and find out what became of a failure."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from enum import Enum
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from engine.address import Address
from engine.errors import DtmError, OutcomeUnknownError, PluginError
from engine.events import ApplyProgress, Event, Notice, Retrying
from engine.execution.refresh import POLL, READ_TIMEOUT
from engine.execution.steps import Phase, Step
from engine.plan import Action, Change
from engine.plugins.calls import Operations, guarded
from engine.plugins.lost_secrets import refuse_lost
from engine.ports import Call
from engine.runtime.retry import PROVIDER, Policy, provider_retry
from engine.secrets.marking import revealed
from engine.secrets.sealing import Sealer
from engine.state import Resource
from engine.values import (
    Attributes,
    UnknownValueError,
    Value,
    holds_unknown,
    is_plain,
    reveal,
    same,
)


class Stop:
    """How often a person asked to stop. Once: start nothing new. Twice: cancel what can be cancelled."""

    def __init__(self) -> None:
        self.level = 0
        self._wake: Callable[[], object] = lambda: None

    def request(self) -> None:
        """Ask once more; may be called from a signal handler, even while it is running already."""
        self.level += 1
        self._wake()

    def tell(self, wake: Callable[[], object]) -> None:
        """Call this, too, at each request; it must be safe in a signal handler."""
        self._wake = wake


class Commit(Protocol):
    """A record on its way into the log."""

    def wait(self) -> None:
        """Block until it is durable. Raises what made that impossible."""
        ...


class Job(msgspec.Struct, eq=False):
    """One call to be made. `change` is as decided with real values, `built` the Struct of `options`.

    `look`: nothing is called but `read`, to see whether a new thing is there already. Otherwise `begun` and `token` are
    set before a worker gets it.
    """

    step: Step
    change: Change
    options: Attributes
    built: Any
    timeout: float
    resource: Resource | None = None
    predicted: Attributes = msgspec.field(default_factory=dict[str, Any])
    findable: bool = True
    look: bool = False
    begun: Commit | None = None
    token: str = ""

    @property
    def address(self) -> Address:
        """The tool."""
        return self.step.address

    @property
    def action(self) -> Action:
        """What people are told is being done."""
        return self.change.action


class Ending(Enum):
    """How a job ended: well; badly, and that much is known; nobody knows; it was never called; the look before it."""

    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    UNCALLED = "uncalled"
    LOOKED = "looked"


class Started(msgspec.Struct, frozen=True):
    """A worker is about to call; it is given up `GRACE` after `deadline`."""

    job: Job
    at: float
    deadline: float


class Outcome(msgspec.Struct, frozen=True):
    """How a job ended. `resource` is what is there now as far as known."""

    job: Job
    ending: Ending
    resource: Resource | None = None
    error: DtmError | None = None
    attempts: int = 0
    elapsed: float = 0.0


class Execution(msgspec.Struct, frozen=True):
    """What workers share.

    `post` takes their messages to the one thread that records and emits; `halted` says why nothing may be called any more.
    """

    operations: Operations
    post: Callable[[Started | Event], None]
    stop: Stop
    halted: Callable[[], object]
    lineage: str
    sealer: Sealer
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    rng: random.Random = msgspec.field(default_factory=random.Random)
    policy: Policy = PROVIDER

    def perform(self, job: Job) -> Outcome:
        """Do it; raises nothing."""
        if job.look:
            return self._look(job)
        assert job.begun is not None
        try:
            job.begun.wait()
        except DtmError as error:
            return Outcome(job, Ending.UNCALLED, error=error)
        if self.stop.level or self.halted():
            return Outcome(job, Ending.UNCALLED)
        call = self._call(job, job.timeout)
        started = self.clock()
        self.post(Started(job, started, call.deadline))
        return replace(self._made(job, call), elapsed=self.clock() - started)

    def _look(self, job: Job) -> Outcome:
        try:
            found = self.operations.read(
                job.address, job.options, None, self._call(job, READ_TIMEOUT)
            )
        except DtmError as error:
            return Outcome(job, Ending.LOOKED, error=error)
        return Outcome(job, Ending.LOOKED, found)

    def _call(self, job: Job, timeout: float) -> Call:
        started = self.clock()

        def report(text: str, fraction: float | None = None) -> None:
            clean = self.operations.redactor.clean(text)
            self.post(
                ApplyProgress(job.address, job.action, clean, fraction, self.clock() - started)
            )

        def warn(text: str) -> None:
            self.post(
                Notice("warning", self.operations.redactor.clean(text), where=str(job.address))
            )

        return Call(
            job.address,
            self.operations.base_dir,
            started + timeout,
            job.token,
            self.lineage,
            lambda: self.stop.level > 1 or bool(self.halted()),
            report,
            warn,
        )

    def _made(self, job: Job, call: Call) -> Outcome:
        tries = Tries(self, job)
        try:
            found = provider_retry(
                lambda: tries.count(lambda: self._operate(job, call)),
                deadline=call.deadline,
                failed=tries.failed,
                sleep=tries.sleep,
                clock=self.clock,
                rng=self.rng,
                policy=self.policy,
            )
        except UnknownValueError:
            return Outcome(job, Ending.FAILED, error=self._lost(job), attempts=tries.made)
        except DtmError as error:
            return replace(self._aftermath(job, error), attempts=tries.made)
        return Outcome(job, Ending.DONE, found, attempts=tries.made)

    def _lost(self, job: Job) -> DtmError:
        """Why a provider met an option that is not known: a recorded secret that could not be evaluated again."""
        try:
            refuse_lost(job.address, job.options, "delete")
        except DtmError as error:
            return error
        return PluginError(f'plugin "{job.address.name}" used an option that is not known')

    def _operate(self, job: Job, call: Call) -> Resource | None:
        provider = self.operations.provider(job.address)
        method = (
            "delete"
            if job.step.phase is Phase.END
            else "update"
            if job.action is Action.UPDATE
            else "create"
        )

        def operating() -> Resource | None:
            if method == "create":
                made = provider.create(job.built, call)
            else:
                assert job.resource is not None  # nothing is changed or ended that is not there
                if method == "delete":
                    provider.delete(job.built, revealed(job.resource), call)
                    return None
                made = provider.update(job.built, revealed(job.resource), call)
            return self._sealed(
                job, self.operations.mark_secrets(job.address, job.options, made, job.resource)
            )

        return guarded(provider.plugin, method, operating)

    def _sealed(self, job: Job, found: Resource) -> Resource:
        """The resource; sealing a new secret takes long, and is better paid here than in the one thread that records."""
        self.sealer.seal_resource(found, job.address)
        return found

    def _aftermath(self, job: Job, error: DtmError) -> Outcome:
        """One `read` tells what became of a create that failed and of anything whose outcome is unknown."""
        unknown = isinstance(error, OutcomeUnknownError)
        if self.stop.level > 1:
            return Outcome(job, Ending.UNKNOWN, error=error)
        if job.resource is None and not job.findable:
            return Outcome(job, Ending.UNKNOWN if unknown else Ending.FAILED, error=error)
        if job.resource is not None and not unknown:
            return Outcome(job, Ending.FAILED, error=error)
        try:
            found = self.operations.read(
                job.address, job.options, job.resource, self._call(job, READ_TIMEOUT)
            )
        except DtmError:
            return Outcome(
                job, Ending.FAILED, error=error
            )  # the error that matters is the first one
        if unknown and self._came_true(job, found):
            return Outcome(job, Ending.DONE, found)
        return Outcome(job, Ending.FAILED, found, error)

    def _came_true(self, job: Job, found: Resource | None) -> bool:
        if job.step.phase is Phase.END:
            return found is None
        return (
            found is not None
            and job.action is not Action.UPDATE
            and not untrue(job.predicted, found)
        )


class Crew:
    """Worker threads that share a queue of jobs; started when there is something to do."""

    def __init__(
        self, size: int, perform: Callable[[Job], Outcome], post: Callable[[Outcome], None]
    ) -> None:
        self._size, self._perform, self._post = size, perform, post
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads = 0
        self._given = 0

    def give(self, job: Job) -> None:
        """Queue a job for the next free thread."""
        self._given += 1
        if self._threads < min(self._size, self._given):
            self.replace_one()
        self._jobs.put(job)

    def replace_one(self) -> None:
        """One more thread: for one that hangs in a call."""
        self._threads += 1
        Thread(target=self._work, name="dtm-apply", daemon=True).start()

    def dismiss(self) -> None:
        """Let every thread end once it is free."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._post(self._perform(job))


class Tries:
    """Counts the calls of one job and tells of each that is made again."""

    def __init__(self, execution: Execution, job: Job) -> None:
        self.made = 0
        self._execution, self._job = execution, job
        self._last: BaseException | None = None

    def count(self, call: Callable[[], Resource | None]) -> Resource | None:
        """Make one call."""
        self.made += 1
        return call()

    def failed(self, tries: int, delay: float, error: BaseException) -> None:
        """A call failed in a way that may pass."""
        self._last = error
        text = self._execution.operations.redactor.clean(str(error))
        self._execution.post(Retrying(self._job.address, self._job.action, tries, delay, text))

    def sleep(self, seconds: float) -> None:
        """Pause before the next call, but not when the run is being stopped: then the last error stands."""
        while seconds > 0:
            if self._last and (self._execution.stop.level or self._execution.halted()):
                raise self._last
            self._execution.sleep(min(seconds, POLL))
            seconds -= POLL


def untrue(predicted: Attributes, found: Resource) -> list[str]:
    """Outputs that are not as predicted."""
    return [key for key, value in predicted.items() if not _true(value, found.outputs.get(key))]


def _true(predicted: Value, found: Value) -> bool:
    if is_plain(predicted) and same(predicted, found):
        return True
    return holds_unknown(predicted) or same(reveal(predicted), reveal(found))
