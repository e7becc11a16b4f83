"""The order of starts: which step or job is next, and how far begin records run ahead of calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from engine.execution.jobs import Job
from engine.execution.steps import Step
from engine.graph import Readiness

AHEAD_PER_WORKER = 8
"""Begin records that may run ahead of the calls, per worker."""

MAX_AHEAD = 200


class StepWindow:
    """Steps that are ready, and the room for more jobs. For one thread.

    Begin records run ahead of the calls, so that the round trips of the log are not waited for. A
    job whose resource could not be found again is the exception: it begins right before its own
    call, because a crash between the two would leave the user to find out what became of it.
    """

    def __init__(self, edges: Mapping[Step, Iterable[Step]], parallelism: int) -> None:
        self._readiness = Readiness(edges)
        self._ready = deque(self._readiness.start())
        self._held: deque[Job] = deque()
        self._parallelism = parallelism
        self._outstanding = 0

    @property
    def has_running_jobs(self) -> bool:
        """True while a job that was launched has not ended."""
        return self._outstanding > 0

    @property
    def waiting_steps(self) -> list[Step]:
        """The steps that are neither finished nor abandoned."""
        return self._readiness.waiting

    def next(self) -> Step | Job | None:
        """Return what may start now: a ready step, or a held job that needs no more preparation."""
        # Held jobs come first: a later step that overtook them could starve them for ever.
        if self._held:
            return self._held.popleft() if self._has_free_worker() else None
        # Bounded, since after a crash the next run reads one resource per begin record.
        most = min(MAX_AHEAD, AHEAD_PER_WORKER * self._parallelism)
        return self._ready.popleft() if self._ready and self._outstanding < most else None

    def admit(self, job: Job) -> bool:
        """Return whether a job may be launched now; if not, `next` returns it later."""
        if job.has_identity or self._has_free_worker():
            return True
        self._held.append(job)
        return False

    def launched(self) -> None:
        """Count a job as launched."""
        self._outstanding += 1

    def ended(self) -> None:
        """Count a launched job as ended."""
        self._outstanding -= 1

    def finish(self, step: Step) -> None:
        """Take a step as done, so that those which only waited for it become ready."""
        self._ready.extend(self._readiness.finish(step))

    def abandon(self, step: Step) -> list[Step]:
        """Give a step up; return every step that waits for it, directly or not, nearest first."""
        return self._readiness.abandon(step)

    def _has_free_worker(self) -> bool:
        return self._outstanding < self._parallelism
