"""Reading a workspace's state, and opening a session on it."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Collection, Generator
from contextlib import contextmanager

from dtm import __version__
from dtm.app import locks
from dtm.app.choices import Choices
from dtm.app.workspace import Workspace
from engine.events import Notice
from engine.ports import Emit
from engine.runtime.environment import Environment
from engine.secrets.sealing import Redactor
from engine.session.opening import Reading, Session, open_session


def look(workspace: Workspace, emit: Emit) -> Reading:
    """The state as it is, without a lock; what people must know of it is told. Raises StateError, StoreError."""
    found = locks.read(workspace.place, environment())
    if found.notice:
        emit(Notice("warning", found.notice))
    if found.copy_of:
        emit(
            Notice(
                "warning",
                f"this state is a copy of {found.copy_of}: it can be planned against, but not applied",
            )
        )
    return found


def who() -> str:
    """`user@host`, as it stands in locks and in the history."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no such user in the password file, as in some containers
        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def environment() -> Environment:
    """Return a session's surroundings: the real ones."""
    return Environment()


@contextmanager
def opened(
    workspace: Workspace,
    choices: Choices,
    operation: str,
    emit: Emit,
    redactor: Redactor,
    *,
    over: Collection[str] = (),
) -> Generator[Session]:
    """A session on the workspace's state, with the lock unless `choices` or the settings say otherwise.

    `over` are ids of sessions known to have ended, whose silence need not be waited for.
    """
    place = workspace.place
    lock = (
        locks.to_hold(place, emit) if choices.lock and not choices.dry_run else locks.without(place)
    )
    with open_session(
        place.store,
        lock.locker,
        place.key,
        operation=operation,
        command=operation,
        who=who(),
        version=__version__,
        emit=emit,
        lock_timeout=choices.lock_timeout,
        takeover=choices.takeover,
        lease=0.0 if choices.dry_run else lock.lease,  # what only looks waits for nobody
        redactor=redactor,
        history=place.settings.history,
        log=place.settings.log,
        probe=lock.probe,
        over=over,
        environment=environment(),
    ) as session:
        yield session
