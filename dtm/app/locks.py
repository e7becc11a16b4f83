"""Which lock a run holds, looking at the lock, and breaking it."""

from __future__ import annotations

from dataclasses import dataclass

from dtm.app.place import Place
from dtm.app.workspace import Workspace
from engine.errors import LockError, UsageError
from engine.events import Notice
from engine.lease import break_lock as engine_break
from engine.lock import LockRecord
from engine.ports import Emit, Locker
from engine.session import Reading, read_state
from engine.world import World

SAFE = "the state stays safe, but two runs may do the same work"


@dataclass(frozen=True, slots=True)
class Holding:
    """The lock that a run takes, None for none; `lease` in seconds."""

    locker: Locker | None
    lease: float


def to_hold(place: Place, emit: Emit) -> Holding:
    """The lock for a run that works on the state; that there is none is told."""
    kind = place.kind()
    if kind == "none":
        why = (
            "locking is off in the settings" if place.settings.lock.kind == "none" else f"there is no lock at {place.location}"
        )
        emit(Notice("warning", f"{why}: {SAFE}"))
    return Holding(place.locker(kind), place.lease(kind))


def read(place: Place, world: World) -> Reading:
    """The state without holding a lock, and who is at work on it. Raises StateError, StoreError."""
    kind = place.kind()
    return read_state(place.store, place.key, locker=place.locker(kind), lease=place.lease(kind), world=world)


def holder(workspace: Workspace) -> LockRecord | None:
    """Who holds the lock, None if nobody does. Raises UsageError where locking is off."""
    return _locker(workspace).read(workspace.place.key)


def held(workspace: Workspace, lock_id: str, *, corrupt: bool) -> LockRecord:
    """The record to break. Raises LockError if it has another ID, UsageError if there is none or locking is off."""
    record = holder(workspace)
    if record is None:
        raise UsageError(f"{workspace.place.location} is not locked")
    if record.info is None:
        if corrupt:
            return record
        raise LockError("the lock's record cannot be read, so it has no ID", hint="dtm force-unlock --corrupt breaks it")
    if record.info.id != lock_id:
        raise LockError(
            f"the lock has another ID: {record.info.id}, held by {record.info.who}"
            if lock_id
            else "which lock? Its ID is needed",
            hint=f"dtm force-unlock {record.info.id}",
        )
    return record


def break_lock(workspace: Workspace, record: LockRecord) -> None:
    """Remove the lock with that record's ID, renewed meanwhile or not. Raises LockError if it is another one by now."""
    engine_break(_locker(workspace), workspace.place.key, record.info.id if record.info else "")


def _locker(workspace: Workspace) -> Locker:
    place = workspace.place
    locker = place.locker(place.kind())
    if locker is None:
        raise UsageError(f"locking is off for {place.location}", hint="state.lock.kind says so")
    return locker
