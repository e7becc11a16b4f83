"""A clock that only moves when somebody sleeps, so that hours of waiting take no time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """Monotonic seconds by calling it; `sleep` moves them and does on the way what is due."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._due: list[tuple[float, Callable[[], object]]] = []

    def __call__(self) -> float:
        """Seconds so far."""
        return self.seconds

    def now(self, skew: float = 0.0) -> datetime:
        """The wall clock of a machine that is `skew` seconds ahead."""
        return START + timedelta(seconds=self.seconds + skew)

    def call_later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something once the clock has moved on by so many seconds."""
        self._due.append((self.seconds + seconds, action))

    def sleep(self, seconds: float) -> None:
        """Move on."""
        end = self.seconds + seconds
        while self._due and min(self._due, key=lambda due: due[0])[0] <= end:
            due = min(self._due, key=lambda due: due[0])
            self._due.remove(due)
            self.seconds = max(self.seconds, due[0])
            due[1]()
        self.seconds = end
