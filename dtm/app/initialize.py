"""Everything that an apply would meet, checked beforehand.

Config, plugins, state, lock and store, in this order.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Literal, TypeAlias

import msgspec

from dtm.app import locks
from dtm.app.locks import LockChoice
from dtm.app.place import resource_creator
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
    """One thing about what the state needs, as text.

    `nothing`: the location of a state for which dtm has nothing to make. `missing` and `made`: the
    thing. `permissions`: the least that this state needs, to paste.
    """

    kind: Literal["nothing", "missing", "made", "permissions"]
    text: str


class ProbeSkipped(msgspec.Struct, frozen=True):
    """The store could not be tried, and why."""

    message: str
    hint: str


class InitFinished(msgspec.Struct, frozen=True):
    """Everything was checked."""


Step: TypeAlias = (
    ConfigRead | CreationStep | Reading | LockChoice | ProbeSkipped | Probe | InitFinished
)


def initialize(
    workspace: Workspace, *, confirm: Callable[[], bool] | None = None
) -> Iterator[Step]:
    """Check one thing after the other and yield what was found.

    It ends with Finished, or with an error. With `make`, a bucket, table or namespace that the
    state needs is made if `make()` says yes; a no ends the check without Finished.
    """
    names = tuple(sorted({tool.address.name for tool in workspace.required_config.tools}))
    for name in names:
        workspace.providers[name]  # raises PluginError
    # Each step is yielded before the next one starts: an error then stands below what was fine.
    yield ConfigRead(len(workspace.required_config.tools), names)
    if confirm and not (yield from _create_missing(workspace, confirm)):
        return
    yield read_and_warn(workspace)
    lock = locks.choose_lock(workspace.place, probing=True)
    yield lock
    if lock.locker:
        # A table that is missing or closed is found here, not by the first apply.
        lock.locker.read(workspace.place.key)
    yield from _check_store(workspace, lock.probe)
    yield InitFinished()


def _create_missing(
    workspace: Workspace, confirm: Callable[[], bool]
) -> Generator[Step, None, bool]:
    """Make what is missing; False if the answer was no."""
    found = resource_creator(workspace.place, workspace.base_dir)
    if found is None:
        yield CreationStep("nothing", workspace.place.location)
        return True
    missing = found.missing()
    yield from (CreationStep("missing", what) for what in missing)
    if missing:
        if not confirm():
            return False
        yield from (CreationStep("made", what) for what in found.create())
    yield CreationStep("permissions", found.policy())
    return True


def _check_store(workspace: Workspace, known: Probe | None) -> Iterator[Step]:
    """Report what the store guarantees: as recorded where everything was kept, else tried now.

    Raises StoreError where the store is unfit.
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
