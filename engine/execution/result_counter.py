"""The results of a run: changes started, done, failed and skipped, with an event for each."""

from __future__ import annotations

from engine.address import Address
from engine.errors import DtmError
from engine.events import ApplyComplete, ApplyErrored, ApplySkipped, ApplyStart
from engine.execution.worker import Outcome
from engine.plan import Action, Change, Plan
from engine.ports import Emit
from engine.secrets.redaction import Redactor
from engine.state import Resource


class ResultCounter:
    """The counter of changes, which emits their events. For one thread.

    The dicts are ordered sets of tools. `cancelled` are those of `failed` whose call was cut off.
    """

    def __init__(self, plan: Plan, emit: Emit, redactor: Redactor) -> None:
        self._emit, self._redactor = emit, redactor
        self._total = sum(1 for _ in plan)
        self._started: set[Address] = set()
        # All actions from the start, so that their order does not depend on which tool ends first.
        self._done = dict.fromkeys(Action, 0)
        self.failed: dict[Address, None] = {}
        self.skipped: dict[Address, None] = {}
        self.cancelled: dict[Address, None] = {}

    @property
    def done(self) -> dict[Action, int]:
        """The number of changes done, by action; actions without any are left out."""
        return {action: count for action, count in self._done.items() if count}

    def has_failed_or_skipped(self, address: Address) -> bool:
        """Return whether a tool failed or was skipped; then none of its steps may start."""
        return address in self.failed or address in self.skipped

    def start(self, change: Change) -> None:
        """Emit that a change has started, at the first of its calls: a replace has two."""
        if change.address not in self._started:
            self._started.add(change.address)
            self._emit(ApplyStart(change.address, change.action, len(self._started), self._total))

    def complete(self, change: Change, resource: Resource | None, elapsed: float) -> None:
        """Count a change as done."""
        self._done[change.action] += 1
        found = resource.id if resource else ""
        self._emit(ApplyComplete(change.address, change.action, found, elapsed))

    def fail(self, change: Change, error: DtmError, outcome: Outcome | None = None) -> None:
        """Count a change as failed; without an outcome no call was made."""
        clean = self._redactor.redact
        elapsed, attempts = (outcome.elapsed, outcome.attempts) if outcome else (0.0, 0)
        self.failed[change.address] = None
        self._emit(
            ApplyErrored(
                change.address,
                change.action,
                clean(error.message),
                clean(error.hint),
                elapsed,
                attempts,
            )
        )

    def skip(self, change: Change, because: Address | None) -> None:
        """Count a change as skipped, unless it has failed or needs no action."""
        if not self.has_failed_or_skipped(change.address) and change.action is not Action.KEEP:
            self.skipped[change.address] = None
            self._emit(ApplySkipped(change.address, change.action, because))

    def cancel(self, address: Address) -> None:
        """Count the call of a failed tool as cut off."""
        self.cancelled[address] = None
