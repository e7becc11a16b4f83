"""What happened, as values: one stream feeds the live table, the log lines and the JSON."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from engine.address import Address
from engine.lock import LockInfo, LockRecord
from engine.plan import Action


class LockWaiting(msgspec.Struct, frozen=True):
    """Somebody else holds the lock and we wait.

    Seconds: `waited` so far, `takeover_in` until the lease counts as dead (None: never).
    """

    record: LockRecord
    waited: float
    takeover_in: float | None


class LockAcquired(msgspec.Struct, frozen=True):
    """We hold the lock; `taken_from` is the dead holder it was taken over from.

    `ended`: its process is known to have ended, as opposed to having been silent for a whole lease.
    """

    info: LockInfo
    waited: float
    taken_from: LockInfo | None = None
    ended: bool = False


class LockReleased(msgspec.Struct, frozen=True):
    """We gave the lock back."""

    info: LockInfo


class ApplyStart(msgspec.Struct, frozen=True):
    """A change's first call is about to be made; `index` of `total` counts from 1 in starting order."""

    address: Address
    action: Action
    index: int
    total: int


class ApplyProgress(msgspec.Struct, frozen=True):
    """A provider speaks, or (text "") an operation is still running. `fraction` in 0..1 or None; `elapsed` in seconds."""

    address: Address
    action: Action
    text: str
    fraction: float | None
    elapsed: float


class ApplyComplete(msgspec.Struct, frozen=True):
    """A change ended well; `id` is the resource's, "" after a delete."""

    address: Address
    action: Action
    id: str
    elapsed: float


class ApplyErrored(msgspec.Struct, frozen=True):
    """A change failed. `attempts` calls were made."""

    address: Address
    action: Action
    message: str
    hint: str
    elapsed: float
    attempts: int = 1


class ApplySkipped(msgspec.Struct, frozen=True):
    """A change was not tried; `because` names the failed tool it waits for, None if the run was stopped."""

    address: Address
    action: Action
    because: Address | None


class ApplyMilder(msgspec.Struct, frozen=True):
    """With real values a planned change turned out milder (a replace an update, an update nothing)."""

    address: Address
    planned: Action
    actual: Action


class Stopping(msgspec.Struct, frozen=True):
    """A person asked to stop: nothing new is started, `running` is waited for or, with `cancelling`, cut off."""

    running: tuple[Address, ...]
    cancelling: bool = False


class Retrying(msgspec.Struct, frozen=True):
    """A call failed in a way that may pass; the next try comes in `delay` seconds."""

    address: Address
    action: Action
    attempt: int
    delay: float
    message: str


class Notice(msgspec.Struct, frozen=True):
    """Something people must see: level is "info", "warning" or "error"."""

    level: str
    message: str
    hint: str = ""
    where: str = ""


class WillRefuse(msgspec.Struct, frozen=True):
    """A plan shows changes that `operation` would refuse to make, with the reason as of an error."""

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
    """The end of a run: what was done, failed and skipped; seconds; where the state is; which command it was.

    `cancelled`: those of `failed` that were cut off, so that nobody knows what became of them. `unresolved`: outputs that
    could not be worked out, each told in a Notice.
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
    def complete(self) -> bool:
        """Whether everything was done that there was to do."""
        return not (self.failed or self.skipped or self.interrupted or self.unresolved)


Event: TypeAlias = (
    LockWaiting
    | LockAcquired
    | LockReleased
    | ApplyStart
    | ApplyProgress
    | ApplyComplete
    | ApplyErrored
    | ApplySkipped
    | ApplyMilder
    | Stopping
    | Retrying
    | Notice
    | WillRefuse
    | InProgress
    | ApplySummary
)
