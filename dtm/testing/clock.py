"""A clock that moves only in `sleep`, so that hours of waiting take no time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """A monotonic clock: call it for the seconds since its start.

    `sleep` moves it forward, and runs the actions of `call_later` that become due.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._due: list[tuple[float, Callable[[], object]]] = []

    def __call__(self) -> float:
        """Return the seconds since the start."""
        return self.seconds

    def now(self, skew: float = 0.0) -> datetime:
        """Return the wall-clock time of a machine whose clock is `skew` seconds ahead."""
        return START + timedelta(seconds=self.seconds + skew)

    def call_later(self, seconds: float, action: Callable[[], object]) -> None:
        """Run `action` once the clock has moved forward by `seconds`."""
        self._due.append((self.seconds + seconds, action))

    def sleep(self, seconds: float) -> None:
        """Move the clock forward."""
        end = self.seconds + seconds
        # An action may add further actions, so the next one is searched for each time.
        while self._due and min(self._due, key=lambda due: due[0])[0] <= end:
            due = min(self._due, key=lambda due: due[0])
            self._due.remove(due)
            self.seconds = max(self.seconds, due[0])
            due[1]()
        self.seconds = end
