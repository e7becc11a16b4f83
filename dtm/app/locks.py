"""Looking at the lock, and breaking it."""

from __future__ import annotations

from dtm.app.workspace import Workspace
from engine.errors import LockError, UsageError
from engine.lease import break_lock as engine_break
from engine.lock import LockRecord
from engine.ports import Locker


def _locker(workspace: Workspace) -> Locker:
    if workspace.place.locker is None:
        raise UsageError(f"locking is off for {workspace.place.location}", hint="state.lock.kind says so")
    return workspace.place.locker


def holder(workspace: Workspace) -> LockRecord | None:
    """Who holds the lock, None if nobody does. Raises UsageError where locking is off."""
    return _locker(workspace).read(workspace.place.key)


def held(workspace: Workspace, lock_id: str, *, corrupt: bool) -> LockRecord:
    """The record to break. Raises LockError if there is none or it has another ID, UsageError where locking is off."""
    record = holder(workspace)
    if record is None:
        raise LockError(f"{workspace.place.location} is not locked")
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
