"""The settings of a run: parallel calls, environment, and requests to stop."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from engine.runtime.environment import Environment

PARALLELISM = 10

GRACE = 5.0
"""Seconds after its deadline at which a call is given up."""

POLL = 0.2
"""Seconds between two checks for calls to give up."""


class StopRequest:
    """The user's request to stop; `level` is how often it was made.

    Level 1: start no further call. Level 2: cancel running calls where the provider can.
    """

    def __init__(self) -> None:
        self.level = 0
        # Does nothing at first: a signal may arrive before the executor is ready for it.
        self._wake: Callable[[], object] = lambda: None

    def request(self) -> None:
        """Raise the level by one. A signal handler may call this, even during another call."""
        self.level += 1
        self._wake()

    def on_request(self, wake: Callable[[], object]) -> None:
        """Have `wake` called at each further request; it must be safe in a signal handler."""
        self._wake = wake


class RunSettings(msgspec.Struct, frozen=True):
    """The number of calls that run at once, and the environment whose clock times them."""

    parallelism: int = PARALLELISM
    environment: Environment = msgspec.field(default_factory=Environment)


class RunControl(RunSettings, frozen=True):
    """The settings of a run that the user can stop."""

    stop: StopRequest = msgspec.field(default_factory=StopRequest)
