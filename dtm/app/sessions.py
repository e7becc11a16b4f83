"""Reading a workspace's state, and opening a session on it.

Modules that only a session needs are imported when one is opened, because most commands only read.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from dtm import __version__
from dtm.app import locks
from dtm.app.invocation import RunOptions
from dtm.app.workspace import Workspace
from engine.events import Notice
from engine.session.reading import Reading

if TYPE_CHECKING:
    from engine.session.session import Session


def read_and_warn(workspace: Workspace) -> Reading:
    """Read the state without a lock, and emit warnings about its condition.

    Raises StateError, StoreError.
    """
    found = locks.read_without_lock(workspace.place)
    if found.notice:
        workspace.emit(Notice("warning", found.notice))
    if refusal := found.refusal:
        workspace.emit(Notice("warning", refusal.message, refusal.hint, refusal.where))
    if found.copy_of:
        text = f"this state is a copy of {found.copy_of}: dtm can plan with it, but not apply"
        workspace.emit(Notice("warning", text))
    return found


def current_user() -> str:
    """Return `user@host`, the form in which locks and the history name a user."""
    import getpass
    import os
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # Some containers run with a user ID that is not in the password file.
        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


@contextmanager
def open_session_on(
    workspace: Workspace,
    options: RunOptions,
    operation: str,
    *,
    ended: Collection[str] = (),
    log: str = "",
) -> Generator[Session]:
    """Open a session on the workspace's state.

    It holds the lock unless options or settings disable it.

    `ended` holds the IDs of sessions that are known to have ended, so that the new session need not
    wait for their leases. `log` overrides the placement of the commit log in the settings.
    """
    from engine.session.locking import LockOptions
    from engine.session.opening import open_session
    from engine.session.session import SessionOptions

    place, emit = workspace.place, workspace.emit
    locked = options.lock and not options.dry_run
    lock = locks.choose_lock_or_warn(place, emit) if locked else locks.no_lock(place)
    # A dry run writes nothing, so it need not wait until another session has surely ended.
    lease = 0.0 if options.dry_run else lock.lease
    session_options = SessionOptions(
        operation,
        current_user(),
        __version__,
        LockOptions(options.lock_timeout, options.takeover, lease),
        place.settings.history,
        lock.probe,
        workspace.redactor,
        ended,
    )
    state = replace(place.state, log=log) if log else place.state
    with open_session(state, lock.locker, session_options, emit) as session:
        yield session
