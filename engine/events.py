"""The events of a run, as values: one stream feeds live table, log lines and JSON."""

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
    """The state of this run, by the name of its backend and its URL without credentials.

    `chosen_by` names the flag, variable or file that chose it, "" if that need not be shown.
    """

    backend: str
    location: str
    chosen_by: str = ""


class LockWaiting(msgspec.Struct, frozen=True):
    """Another lock holder has the lock and this run waits.

    Seconds: `waited` so far, `takeover_in` until the lease counts as dead (None: never).
    """

    record: LockRecord
    waited: float
    takeover_in: float | None


class LockAcquired(msgspec.Struct, frozen=True):
    """This run holds the lock; `taken_from` is the dead holder it was taken over from.

    `ended`: its process is known to have ended, as opposed to having been silent for a whole lease.
    """

    info: LockInfo
    waited: float
    taken_from: LockInfo | None = None
    ended: bool = False


class LockReleased(msgspec.Struct, frozen=True):
    """This run gave the lock back."""

    info: LockInfo


class ChangeEvent(msgspec.Struct, frozen=True):
    """Base of the events of one change."""

    address: Address
    action: Action


class ApplyStart(ChangeEvent, frozen=True):
    """A change is about to make its first call; `index` counts from 1 in starting order."""

    index: int
    total: int


class ApplyProgress(ChangeEvent, frozen=True):
    """A provider reports progress, or (text "") an operation is still running.

    `fraction` is in 0..1 or None; `elapsed` is in seconds.
    """

    text: str
    fraction: float | None
    elapsed: float


class ApplyComplete(ChangeEvent, frozen=True):
    """A change ended well; `id` is the resource's, "" after a delete."""

    id: str
    elapsed: float


class ApplyErrored(ChangeEvent, frozen=True):
    """A change failed. `attempts` calls were made."""

    message: str
    hint: str
    elapsed: float
    attempts: int = 1


class ApplySkipped(ChangeEvent, frozen=True):
    """A change was not tried; `because` is the failed tool it waits for, None after a stop."""

    because: Address | None


class ActionDowngraded(msgspec.Struct, frozen=True):
    """With real values a change turned out milder (a replace an update, an update nothing)."""

    address: Address
    planned: Action
    actual: Action


class Stopping(msgspec.Struct, frozen=True):
    """The user asked to stop: nothing new is started.

    `running` is waited for or, with `cancelling`, cut off.
    """

    running: tuple[Address, ...]
    cancelling: bool = False


class Retrying(ChangeEvent, frozen=True):
    """A call failed in a way that may pass; the next try comes in `delay` seconds."""

    attempt: int
    delay: float
    message: str


class Notice(msgspec.Struct, frozen=True):
    """Something that the user must see: level is "info", "warning" or "error"."""

    level: str
    message: str
    hint: str = ""
    where: str = ""


class RefusalWarning(msgspec.Struct, frozen=True):
    """A plan shows changes that `operation` would refuse to make; the reason is as of an error."""

    operation: str
    message: str
    hint: str = ""
    where: str = ""


class InProgress(msgspec.Struct, frozen=True):
    """Another run is changing a tool right now; `by` says which run, and since when."""

    address: Address
    action: str
    by: str


class ApplySummary(msgspec.Struct, frozen=True):
    """The end of a run: `done` counts changes by action, `elapsed` is in seconds.

    `location` is where the state is, `operation` the command. `cancelled`: those of `failed` that
    were cut off, so that their outcome is unknown. `unresolved`: outputs that could not be worked
    out, each explained in a Notice.
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
        """True if everything was done that there was to do."""
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
