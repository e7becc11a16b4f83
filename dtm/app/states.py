"""Looking at the state and mending it: pull, push, mv, rm, history, diff, rollback, recover."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from dtm.app.invocation import RunOptions
from dtm.app.sessions import open_session_on, read_and_warn
from dtm.app.workspace import Workspace
from engine.address import Address
from engine.errors import StateError, UsageError
from engine.events import Event, Notice
from engine.log.history import HistoryEntry, load_snapshot, read_history
from engine.log.state_store import AUTO
from engine.session.reading import Reading
from engine.state import State, StateEntry
from engine.stored.document import decode, encode, to_devstream
from engine.suggestions import nearest
from engine.values import Value


def current_state(workspace: Workspace) -> State:
    """The state. Raises StateError if there is none."""
    found = read_and_warn(workspace)
    if not found.exists:
        raise StateError(
            f"there is no state at {workspace.place.location}", hint="dtm apply makes one"
        )
    return found.state


def format_state(state: State, form: str) -> str:
    """The state as text: `json` (also valid YAML), `yaml`, or `devstream`."""
    if form == "devstream":
        return to_devstream(state).decode()
    text = encode(state).decode()
    if form == "json":
        return text
    import yaml

    return yaml.safe_dump(json.loads(text), sort_keys=True, allow_unicode=True)


def state_at(workspace: Workspace, serial: int | None) -> State:
    """Read the state, or the earlier one with that serial.

    Raises StateError naming the serials there are.
    """
    if serial is None:
        return current_state(workspace)
    now = _read_or_warn(replace(workspace, emit=_discard_event))
    if now and now.exists and now.state.id.serial == serial:
        return now.state
    place = workspace.place
    known = read_history(place.state)
    for old in reversed(known):
        if old.serial == serial:
            return load_snapshot(place.state, old)
    numbers = [str(old.serial) for old in known] + (
        [f"{now.state.id.serial} (now)"] if now and now.exists else []
    )
    hint = f"there are: {', '.join(numbers) or 'none'}"
    raise StateError(f"there is no serial {serial} in the history of {place.location}", hint=hint)


def _discard_event(_event: Event) -> None:
    return None


def _read_or_warn(workspace: Workspace) -> Reading | None:
    """Read the present state; warn of a damaged one and return None.

    Earlier states can be had all the same.
    """
    try:
        return read_and_warn(workspace)
    except StateError as error:
        workspace.emit(Notice("warning", error.message, error.hint, error.where))
        return None


class HistoryItem(msgspec.Struct, frozen=True):
    """One state of the history, or the present one (`now`); `state` None: it is damaged."""

    number: int
    state: State | None
    now: bool = False


def list_history(workspace: Workspace) -> list[HistoryItem]:
    """Every state of the history and the present one, newest first; damaged ones are told."""
    place = workspace.place
    found = [
        HistoryItem(old.serial, _load_or_warn(workspace, old)) for old in read_history(place.state)
    ]
    now = _read_or_warn(workspace)
    if now and now.exists:
        found.append(HistoryItem(now.state.id.serial, now.state, now=True))
    return found[::-1]


def _load_or_warn(workspace: Workspace, old: HistoryEntry) -> State | None:
    try:
        return load_snapshot(workspace.place.state, old)
    except StateError as error:
        workspace.emit(Notice("warning", error.message, where=error.where))
        return None


class PushResult(msgspec.Struct, frozen=True):
    """The pushed state: its serial, how many tools it has, and where.

    `overridden` says what force overrode, "" if nothing.
    """

    serial: int
    tools: int
    location: str
    overridden: str = ""


def push(
    workspace: Workspace, options: RunOptions, data: bytes, *, adopt: bool
) -> PushResult | None:
    """Make a document the state; None if it is the state already.

    Raises StateError as `engine.session.replacing.push_problem`.
    """
    from engine.session import replacing

    # Before the lock: a document that cannot be read needs none.
    candidate = decode(data, "the pushed document")
    with open_session_on(workspace, options, "state push") as session:
        if options.dry_run:
            overrode = replacing.push_problem(session, candidate, force=options.force, adopt=adopt)
        else:
            overrode = replacing.push(session, candidate, force=options.force, adopt=adopt)
            if not session.claimed:
                return None
    location = workspace.place.location
    return PushResult(candidate.id.serial, len(candidate.entries), location, overrode)


def move_entry(workspace: Workspace, options: RunOptions, old: Address, new: Address) -> None:
    """Give an entry another address; edges of others follow.

    Raises StateError, also for an address of another plugin.
    """
    _refuse_other_plugin(workspace, old, new)
    with open_session_on(workspace, options, "state mv") as session:
        state = session.state
        entry = entry_of(state, old)
        if new in state.entries:
            raise StateError(f"{new} is in the state already")
        entries = {**state.drop(old).entries, new: replace(entry, address=new)}
        for address, other in entries.items():
            if old in other.depends_on:
                edges = tuple(new if edge == old else edge for edge in other.depends_on)
                entries[address] = replace(other, depends_on=edges)
        if not options.dry_run:
            session.claim()
            session.replace(replace(state, entries=entries))


def _refuse_other_plugin(workspace: Workspace, old: Address, new: Address) -> None:
    """Refuse to move an entry to another plugin.

    That plugin would look for another resource and find nothing, and the old one would be
    forgotten.
    """
    if old.name == new.name:
        return
    ours, other = (workspace.providers[name].plugin for name in (old.name, new.name))
    if ours != other:
        raise StateError(
            f"{new} belongs to plugin {other}, {old} to plugin {ours}: "
            "neither could read what the other made",
            hint=f"keep the name: dtm state mv {old.dotted} {old.name}.{new.instance}",
        )


def remove_entries(workspace: Workspace, options: RunOptions, addresses: Sequence[Address]) -> None:
    """Forget entries without touching what they stand for.

    Raises StateError if others depend on them.
    """
    with open_session_on(workspace, options, "state rm") as session:
        state = session.state
        gone = set(addresses)
        for address in addresses:
            entry_of(state, address)
        left = [entry for address, entry in state.entries.items() if address not in gone]
        holding = sorted({str(entry.address) for entry in left if gone & set(entry.depends_on)})
        if holding and not options.force:
            raise StateError(
                f"{', '.join(map(str, addresses))}: still depended on by {', '.join(holding)}",
                hint="remove those too, or --force, which cuts their edges",
            )
        kept = {
            entry.address: replace(
                entry, depends_on=tuple(edge for edge in entry.depends_on if edge not in gone)
            )
            for entry in left
        }
        if not options.dry_run:
            session.claim()
            session.replace(replace(state, entries=kept))


def rollback(workspace: Workspace, options: RunOptions, serial: int) -> tuple[int, State]:
    """Write a new serial with an earlier one's tools and outputs; no provider is called.

    Returns the new serial, and the earlier state. Raises StateError.
    """
    from engine.session import replacing

    with open_session_on(workspace, options, "state rollback") as session:
        old = state_at(workspace, serial)
        return replacing.rollback(session, old, dry_run=options.dry_run), old


def output(state: State, name: str) -> Value:
    """Get one output. Raises UsageError with the nearest name that there is."""
    if name not in state.outputs:
        raise UsageError(
            f'there is no output "{name}"',
            hint=nearest(name, sorted(state.outputs)) or "dtm output shows all there are",
        )
    return state.outputs[name]


def move_log(workspace: Workspace, options: RunOptions, log: str) -> bool:
    """Move the commit log into the state file (`inline`) or beside it; False if it is there.

    Raises StateError where the state is damaged, StoreError where the new place is denied.
    """
    with open_session_on(workspace, options, "state move-log", log=AUTO) as session:
        return session.move_log(log, dry_run=options.dry_run)


def entry_of(state: State, address: Address) -> StateEntry:
    """The entry. Raises StateError with the nearest address that there is."""
    found = state.entries.get(address)
    if found is None:
        hint = nearest(str(address), list(map(str, state.entries)), few=0)
        raise StateError(
            f"{address} is not in the state", hint=hint or "dtm state list shows what is"
        )
    return found


def recover(workspace: Workspace, options: RunOptions, file: Path) -> Sequence[Address]:
    """Apply the results saved in a rescue file; warn of those that do not apply.

    Returns the tools that have a result now. The session that wrote the file did so at its end, so
    that nobody waits for it. Raises StateError.
    """
    from engine.log import rescue_file
    from engine.session.recover import recover as use

    data = file.read_bytes()
    # Before the session: the file names the ended session that need not be waited for.
    saved = rescue_file.decode(data, str(file))
    with open_session_on(workspace, options, "state recover", ended=(saved.session,)) as session:
        if not options.dry_run:
            session.claim()
        found = use(session, data, str(file), dry_run=options.dry_run)
    for text in found.refused:
        workspace.emit(Notice("warning", f"not recovered: {text}"))
    if not found.refused and not found.applied:
        workspace.emit(
            Notice("info", f"nothing to recover: the state waits for nothing that {file} knows")
        )
    return found.applied
