"""Read a workspace's state, or open a session on it.

What only a session needs is imported when one is opened: most commands only read.
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
    """Read the state without a lock; emit what the user must know of it.

    Raises StateError, StoreError.
    """
    found = locks.read_without_lock(workspace.place)
    if found.notice:
        workspace.emit(Notice("warning", found.notice))
    if refusal := found.refusal:
        workspace.emit(Notice("warning", refusal.message, refusal.hint, refusal.where))
    if found.copy_of:
        text = (
            f"this state is a copy of {found.copy_of}: it can be planned against, but not applied"
        )
        workspace.emit(Notice("warning", text))
    return found


def current_user() -> str:
    """Return `user@host`, as it stands in locks and in the history."""
    import getpass
    import os
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no such user in the password file, as in some containers
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
    """Open a session on the workspace's state, with the lock unless choices or settings say no.

    `over` are ids of sessions known to have ended, whose silence need not be waited for. `log` is
    where the commit log is to stand, where that is not as the settings say.
    """
    from engine.session.locking import LockOptions
    from engine.session.opening import open_session
    from engine.session.session import SessionOptions

    place, emit = workspace.place, workspace.emit
    locked = options.lock and not options.dry_run
    lock = locks.choose_lock_or_warn(place, emit) if locked else locks.no_lock(place)
    lease = 0.0 if options.dry_run else lock.lease  # what only looks waits for nothing
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
