"""The events of a run: one stream that feeds the live table, the log lines and the JSON output.

An example:

    emit(ApplyStart(address, Action.CREATE, index=1, total=4))
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from engine.address import Address
from engine.lock import LockInfo, LockRecord
from engine.plan import Action


class RunStarted(msgspec.Struct, frozen=True):
    """A command that changes tools begins: `operation` is its name."""

    operation: str


class BackendUsed(msgspec.Struct, frozen=True):
    """The place of this run's state: the name of the backend, and the URL without credentials.

    `chosen_by` names the flag, variable or file that chose it, "" if that need not be shown.
    """

    backend: str
    location: str
    chosen_by: str = ""


class LockWaiting(msgspec.Struct, frozen=True):
    """Another lock holder has the lock, and this run waits for it.

    `waited`: seconds so far. `takeover_in`: seconds until the lease expires, None if the lock has
    no lease.
    """

    record: LockRecord
    waited: float
    takeover_in: float | None


class LockAcquired(msgspec.Struct, frozen=True):
    """This run acquired the lock, after `waited` seconds.

    `taken_from` is the previous holder if the lock was taken over. `ended`: that holder's process
    is known to have ended. Otherwise it did not renew the lock for a whole lease.
    """

    info: LockInfo
    waited: float
    taken_from: LockInfo | None = None
    ended: bool = False


class LockReleased(msgspec.Struct, frozen=True):
    """This run released the lock."""

    info: LockInfo


class ChangeEvent(msgspec.Struct, frozen=True):
    """Base of the events of one change."""

    address: Address
    action: Action


class ApplyStart(ChangeEvent, frozen=True):
    """A change is about to call its provider. `index` counts started changes from 1."""

    index: int
    total: int


class ApplyProgress(ChangeEvent, frozen=True):
    """A provider reports progress, or (with `text` "") an operation is still running.

    `fraction` is in 0..1 or None. `elapsed` is in seconds.
    """

    text: str
    fraction: float | None
    elapsed: float


class ApplyComplete(ChangeEvent, frozen=True):
    """A change succeeded. `id` is that of the resource, "" after a delete."""

    id: str
    elapsed: float


class ApplyErrored(ChangeEvent, frozen=True):
    """A change failed after `attempts` calls."""

    message: str
    hint: str
    elapsed: float
    attempts: int = 1


class ApplySkipped(ChangeEvent, frozen=True):
    """A change was not tried. `because` is the failed tool it depends on, None after a stop."""

    because: Address | None


class ActionDowngraded(msgspec.Struct, frozen=True):
    """The values known during the apply need a smaller action: an update, not a replace."""

    address: Address
    planned: Action
    actual: Action


class Stopping(msgspec.Struct, frozen=True):
    """The user asked the run to stop. It starts no further change.

    It waits for the changes in `running`, or cancels them if `cancelling` is True.
    """

    running: tuple[Address, ...]
    cancelling: bool = False


class Retrying(ChangeEvent, frozen=True):
    """A call failed temporarily. The next try starts in `delay` seconds."""

    attempt: int
    delay: float
    message: str


class Notice(msgspec.Struct, frozen=True):
    """A message for the user. `level` is "info", "warning" or "error"."""

    level: str
    message: str
    hint: str = ""
    where: str = ""


class RefusalWarning(msgspec.Struct, frozen=True):
    """The plan shows changes that the command `operation` would refuse with this error."""

    operation: str
    message: str
    hint: str = ""
    where: str = ""


class InProgress(msgspec.Struct, frozen=True):
    """Another run is changing this tool now. `by` names that run and when it started."""

    address: Address
    action: str
    by: str


class ApplySummary(msgspec.Struct, frozen=True):
    """The result of a run.

    `done`: the number of completed changes by action.
    `elapsed`: the duration in seconds.
    `location`: the place of the state.
    `operation`: the command.
    `cancelled`: those of `failed` that were cancelled, so that their outcome is unknown.
    `unresolved`: the root outputs that could not be computed; a Notice explains each of them.
    """

    done: dict[Action, int]
    failed: tuple[Address, ...]
    skipped: tuple[Address, ...]
    elapsed: float
    location: str
    interrupted: bool = False
    operation: str = "apply"
    cancelled: tuple[Address, ...] = ()
    unresolved: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """True if all changes were made and all outputs were computed."""
        return not (self.failed or self.skipped or self.interrupted or self.unresolved)


Event: TypeAlias = (
    RunStarted
    | BackendUsed
    | LockWaiting
    | LockAcquired
    | LockReleased
    | ApplyStart
    | ApplyProgress
    | ApplyComplete
    | ApplyErrored
    | ApplySkipped
    | ActionDowngraded
    | Stopping
    | Retrying
    | Notice
    | RefusalWarning
    | InProgress
    | ApplySummary
)
