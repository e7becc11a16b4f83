"""The step window: which step or job may start next, and how far ahead of its call."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from engine.execution.jobs import Job
from engine.execution.steps import Step
from engine.graph import Readiness

AHEAD_PER_WORKER = 8
"""Jobs with a begin record, running or waiting for a worker, for each worker."""

MAX_AHEAD = 200
"""The most such jobs in all: after a crash the next run reads one resource for each of them."""


class StepWindow:
    """The steps that are ready, and the number of jobs that are launched. For one thread.

    Begin records are committed ahead of the calls, so that calls do not wait for the store. A job
    without an identity is held until a worker is free. Its begin record then comes right before its
    call: after a crash in between, only the user could find out whether the resource exists.
    """

    def __init__(self, edges: Mapping[Step, Iterable[Step]], parallelism: int) -> None:
        self._readiness = Readiness(edges)
        self._ready = deque(self._readiness.start())
        self._held: deque[Job] = deque()
        self._parallelism = parallelism
        self._outstanding = 0

    @property
    def has_running_jobs(self) -> bool:
        """True while a launched job has not ended."""
        return self._outstanding > 0

    @property
    def waiting_steps(self) -> list[Step]:
        """The steps that are neither finished nor abandoned."""
        return self._readiness.waiting

    def next(self) -> Step | Job | None:
        """Return what may start now: a held job, a ready step, or None."""
        # Held jobs come first: otherwise later steps could keep all workers busy, and a held job
        # would never start.
        if self._held:
            return self._held.popleft() if self._has_free_worker() else None
        most = min(MAX_AHEAD, AHEAD_PER_WORKER * self._parallelism)
        return self._ready.popleft() if self._ready and self._outstanding < most else None

    def admit(self, job: Job) -> bool:
        """Return whether a job may be launched now; if not, hold it for `next`."""
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
        """Mark a step as done; steps that waited only for it become ready."""
        self._ready.extend(self._readiness.finish(step))

    def abandon(self, step: Step) -> list[Step]:
        """Give up a step; return all steps that wait for it, directly or not, nearest first."""
        return self._readiness.abandon(step)

    def _has_free_worker(self) -> bool:
        return self._outstanding < self._parallelism
