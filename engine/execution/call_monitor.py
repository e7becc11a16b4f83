"""The monitor of running calls: progress events, deadlines, and requests to stop."""

from __future__ import annotations

from collections.abc import Callable

from engine.errors import OutcomeUnknownError
from engine.events import ApplyProgress, Stopping
from engine.execution.jobs import Job
from engine.execution.run_settings import GRACE, POLL
from engine.execution.worker import JobStatus, Outcome, Started
from engine.ports import Emit

HEARTBEAT = 10.0
"""Seconds between two progress events of a running call."""


class CallMonitor:
    """The calls that are running, and when each one is given up. For one thread."""

    def __init__(self, clock: Callable[[], float], emit: Emit) -> None:
        self._clock, self._emit = clock, emit
        # A call leaves this dict once, when it ends or when it is given up. Whichever comes second
        # finds it gone, so no call is counted twice.
        self._running: dict[Job, Started] = {}
        self._beat = clock() + HEARTBEAT
        self._give_up_at = float("inf")
        self._stop_level = 0

    def started(self, started: Started) -> None:
        """Add a call that a worker is about to make."""
        self._running[started.job] = started

    def ended(self, job: Job) -> bool:
        """Remove a call that has ended; return False if it was given up before."""
        return self._running.pop(job, None) is not None

    def stop_requested(self, level: int) -> None:
        """Emit that the run stops; from level 2 on calls are given up after `GRACE` seconds."""
        level = min(level, 2)
        if level > self._stop_level:
            self._stop_level = level
            running = tuple(job.address for job in self._running)
            self._emit(Stopping(running, cancelling=level > 1))
        # Set once: a further request must not postpone the end.
        if level > 1 and self._give_up_at == float("inf"):
            self._give_up_at = self._clock() + GRACE

    def seconds_to_wait(self) -> float:
        """Return the seconds until the next deadline or progress event, at most `POLL`."""
        ends = [started.deadline + GRACE for started in self._running.values()]
        # At least 10 ms: with a time that has passed the loop would keep a processor busy.
        return min(POLL, max(0.01, min([*ends, self._beat, self._give_up_at]) - self._clock()))

    def overdue(self) -> list[Outcome]:
        """Return an outcome for each call that is overdue, with the status UNKNOWN."""
        # The thread of such a call cannot be stopped and may still change something. So nothing is
        # recorded, and the next run examines the operation.
        now = self._clock()
        return [
            self._unknown(started, now)
            for started in self._running.values()
            if now >= min(started.deadline + GRACE, self._give_up_at)
        ]

    def report_progress(self) -> None:
        """Emit a progress event for each running call, every `HEARTBEAT` seconds."""
        now = self._clock()
        if now >= self._beat:
            self._beat = now + HEARTBEAT
            for job, started in self._running.items():
                self._emit(ApplyProgress(job.address, job.action, "", None, now - started.at))

    def _unknown(self, started: Started, now: float) -> Outcome:
        job = started.job
        error = OutcomeUnknownError(
            f"no answer within {job.timeout:g} s",
            hint="the next dtm apply examines the result; "
            "if the call needs longer, raise the timeouts of this tool",
        )
        if self._give_up_at < float("inf"):
            error = OutcomeUnknownError(
                "the call did not stop when asked", hint="the next dtm apply examines the result"
            )
        return Outcome(job, JobStatus.UNKNOWN, error=error, attempts=1, elapsed=now - started.at)
