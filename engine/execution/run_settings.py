"""Settings of a run: how many calls run at once, by whose clock, and how a user stops it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from engine.runtime.environment import Environment

PARALLELISM = 10

GRACE = 5.0
"""Seconds that a call may overrun its deadline before it is given up."""

POLL = 0.2
"""Seconds between two checks for such calls."""


class StopRequest:
    """The user's wish to stop. Once: start nothing new. Twice: cancel what can be cancelled."""

    def __init__(self) -> None:
        self.level = 0
        # Does nothing at first: a signal may come before the executor listens.
        self._wake: Callable[[], object] = lambda: None

    def request(self) -> None:
        """Ask once more. A signal handler may call it, even while it is running already."""
        self.level += 1
        self._wake()

    def on_request(self, wake: Callable[[], object]) -> None:
        """Call `wake` at each further request; it must be safe in a signal handler."""
        self._wake = wake


class RunSettings(msgspec.Struct, frozen=True):
    """The number of calls that run at once, and the environment whose clock times them."""

    parallelism: int = PARALLELISM
    environment: Environment = msgspec.field(default_factory=Environment)


class RunControl(RunSettings, frozen=True):
    """A pace that the user can stop."""

    stop: StopRequest = msgspec.field(default_factory=StopRequest)
