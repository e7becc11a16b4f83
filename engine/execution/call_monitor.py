"""A watch over running calls: signs of life, deadlines, and the user's wish to stop."""

from __future__ import annotations

from collections.abc import Callable

from engine.errors import OutcomeUnknownError
from engine.events import ApplyProgress, Stopping
from engine.execution.jobs import Job
from engine.execution.run_settings import GRACE, POLL
from engine.execution.worker import JobStatus, Outcome, Started
from engine.ports import Emit

HEARTBEAT = 10.0
"""Seconds between two signs of life of a running operation."""


class CallMonitor:
    """The calls that are running, and when each is given up. For one thread."""

    def __init__(self, clock: Callable[[], float], emit: Emit) -> None:
        self._clock, self._emit = clock, emit
        # The single record of what is out: a call leaves it once, by ending or by being given up.
        self._running: dict[Job, Started] = {}
        self._beat = clock() + HEARTBEAT
        self._give_up_at = float("inf")
        self._stop_level = 0

    def started(self, started: Started) -> None:
        """Note that a worker is about to call."""
        self._running[started.job] = started

    def ended(self, job: Job) -> bool:
        """Note that a call has ended; return False if it was given up before."""
        return self._running.pop(job, None) is not None

    def stop_requested(self, level: int) -> None:
        """Emit that the run stops; at the second request running calls have `GRACE` seconds."""
        level = min(level, 2)
        if level > self._stop_level:
            self._stop_level = level
            running = tuple(job.address for job in self._running)
            self._emit(Stopping(running, cancelling=level > 1))
        # Set once: a further request must not put the end off.
        if level > 1 and self._give_up_at == float("inf"):
            self._give_up_at = self._clock() + GRACE

    def seconds_to_wait(self) -> float:
        """Return the seconds until something is to be done here, at most `POLL`."""
        ends = [started.deadline + GRACE for started in self._running.values()]
        # At least 10 ms: a time that has passed would make the loop spin.
        return min(POLL, max(0.01, min([*ends, self._beat, self._give_up_at]) - self._clock()))

    def overdue(self) -> list[Outcome]:
        """Return an outcome for each call to give up.

        The thread of such a call is lost and may still change something: the outcome is unknown,
        and the begin record stands for the next run to look into.
        """
        now = self._clock()
        return [
            self._unknown(started, now)
            for started in self._running.values()
            if now >= min(started.deadline + GRACE, self._give_up_at)
        ]

    def report_progress(self) -> None:
        """Emit a sign of life for each running call, every `HEARTBEAT` seconds."""
        now = self._clock()
        if now >= self._beat:
            self._beat = now + HEARTBEAT
            for job, started in self._running.items():
                self._emit(ApplyProgress(job.address, job.action, "", None, now - started.at))

    def _unknown(self, started: Started, now: float) -> Outcome:
        job = started.job
        error = OutcomeUnknownError(
            f"no answer within {job.timeout:g} s",
            hint="the next apply looks what became of it; timeouts may be raised",
        )
        if self._give_up_at < float("inf"):
            error = OutcomeUnknownError(
                "it did not stop when asked", hint="the next apply looks what became of it"
            )
        return Outcome(job, JobStatus.UNKNOWN, error=error, attempts=1, elapsed=now - started.at)
