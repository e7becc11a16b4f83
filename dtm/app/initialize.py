"""A check of everything that an apply needs.

The order is config, plugins, state, lock, store.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Literal, TypeAlias

import msgspec

from dtm.app import locks
from dtm.app.locks import LockChoice
from dtm.app.place import open_provisioner
from dtm.app.sessions import read_and_warn
from dtm.app.workspace import Workspace
from engine.errors import StoreAccessError
from engine.log.probe import Probe
from engine.session.reading import Reading


class ConfigRead(msgspec.Struct, frozen=True):
    """The config loads, and each of its plugins is installed."""

    tools: int
    plugins: tuple[str, ...]


class CreationStep(msgspec.Struct, frozen=True):
    """A fact about what the state needs, such as a bucket or table.

    The kind says what `text` holds. `nothing`: the location of a state for which dtm creates
    nothing. `missing` and `created`: the name of the bucket, table or namespace. `permissions`: the
    smallest policy that this state needs.
    """

    kind: Literal["nothing", "missing", "created", "permissions"]
    text: str


class ProbeSkipped(msgspec.Struct, frozen=True):
    """The store could not be tested, and why."""

    message: str
    hint: str


class InitFinished(msgspec.Struct, frozen=True):
    """Every check passed."""


InitStep: TypeAlias = (
    ConfigRead | CreationStep | Reading | LockChoice | ProbeSkipped | Probe | InitFinished
)


def initialize(
    workspace: Workspace, *, confirm: Callable[[], bool] | None = None
) -> Iterator[InitStep]:
    """Check one thing after the other and yield each result.

    The last result is InitFinished, unless an error is raised. With `confirm`, a bucket, table or
    namespace that the state needs is created if `confirm()` returns True. If it returns False, the
    check ends without InitFinished.
    """
    names = tuple(sorted({tool.address.name for tool in workspace.required_config.tools}))
    for name in names:
        workspace.providers[name]  # raises PluginError
    # Each result is yielded before the next check starts, so that an error is shown below the
    # checks that passed.
    yield ConfigRead(len(workspace.required_config.tools), names)
    if confirm and not (yield from _create_missing(workspace, confirm)):
        return
    yield read_and_warn(workspace)
    lock = locks.choose_lock(workspace.place, probing=True)
    yield lock
    if lock.locker:
        # Report a missing or inaccessible table now, not at the first apply.
        lock.locker.read(workspace.place.key)
    yield from _check_store(workspace, lock.probe)
    yield InitFinished()


def _create_missing(
    workspace: Workspace, confirm: Callable[[], bool]
) -> Generator[InitStep, None, bool]:
    """Create what is missing. Return False if the user declined."""
    found = open_provisioner(workspace.place, workspace.base_dir)
    if found is None:
        yield CreationStep("nothing", workspace.place.location)
        return True
    missing = found.missing()
    yield from (CreationStep("missing", what) for what in missing)
    if missing:
        if not confirm():
            return False
        yield from (CreationStep("created", what) for what in found.create())
    yield CreationStep("permissions", found.policy())
    return True


def _check_store(workspace: Workspace, known: Probe | None) -> Iterator[InitStep]:
    """Yield what the store guarantees, as recorded in the state or else tested now.

    Raises StoreError if the store cannot protect a state.
    """
    try:
        verdict = (
            known
            if known and known.supports_lock
            else locks.probe_place(workspace.place, racing=False)
        )
    except StoreAccessError as error:
        yield ProbeSkipped(error.message, error.hint)
        return
    yield verdict
    if refusal := verdict.refusal(lock_native=False):
        raise refusal
