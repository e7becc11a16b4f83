"""The commands that inspect and repair the state.

They are pull, push, mv, rm, history, diff, rollback, recover and move-log.
"""

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
from engine.stored.state_file import decode, encode, to_devstream
from engine.suggestions import suggest
from engine.values import Value


def current_state(workspace: Workspace) -> State:
    """Read the state. Raises StateError if there is none."""
    found = read_and_warn(workspace)
    if not found.exists:
        raise StateError(
            f"there is no state at {workspace.place.location}", hint="create it with dtm apply"
        )
    return found.state


def format_state(state: State, form: str) -> str:
    """Return the state as text: `json` (also valid YAML), `yaml`, or `devstream`."""
    if form == "devstream":
        return to_devstream(state).decode()
    text = encode(state).decode()
    if form == "json":
        return text
    import yaml

    return yaml.safe_dump(json.loads(text), sort_keys=True, allow_unicode=True)


def state_at(workspace: Workspace, serial: int | None) -> State:
    """Read the state with that serial from the history, or the current state for None.

    Raises StateError naming the serials that exist.
    """
    if serial is None:
        return current_state(workspace)
    # Warnings about the current state do not concern a reader of the history.
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
    hint = f"use one of these serials: {', '.join(numbers)}" if numbers else "the history is empty"
    raise StateError(f"there is no serial {serial} in the history of {place.location}", hint=hint)


def _discard_event(_event: Event) -> None:
    return None


def _read_or_warn(workspace: Workspace) -> Reading | None:
    """Read the current state. If it is damaged, warn and return None.

    The history can still be read then.
    """
    try:
        return read_and_warn(workspace)
    except StateError as error:
        workspace.emit(Notice("warning", error.message, error.hint, error.where))
        return None


class HistoryItem(msgspec.Struct, frozen=True):
    """One state of the history. `now` marks the current one; `state` is None if it is damaged."""

    number: int
    state: State | None
    now: bool = False


def list_history(workspace: Workspace) -> list[HistoryItem]:
    """Return the current state, then the history, highest serial first. Warn of damaged ones."""
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
    """The pushed state: its serial, the number of its tools, and its location.

    `overridden` describes what `--force` overrode, "" if nothing.
    """

    serial: int
    tools: int
    location: str
    overridden: str = ""


def push(
    workspace: Workspace, options: RunOptions, data: bytes, *, adopt: bool
) -> PushResult | None:
    """Replace the state with the given bytes. Return None if they are the state already.

    Raises StateError as `engine.session.replacing.push_problem` describes.
    """
    from engine.session import replacing

    # Before the lock is taken: a file that cannot be parsed must not make other runs wait.
    candidate = decode(data, "the pushed file")
    with open_session_on(workspace, options, "state push") as session:
        if options.dry_run:
            overrode = replacing.push_problem(session, candidate, force=options.force, adopt=adopt)
        else:
            overrode = replacing.push(session, candidate, force=options.force, adopt=adopt)
            # The session wrote nothing: the file equals the state.
            if not session.claimed:
                return None
    location = workspace.place.location
    return PushResult(candidate.id.serial, len(candidate.entries), location, overrode)


def move_entry(workspace: Workspace, options: RunOptions, old: Address, new: Address) -> None:
    """Give an entry another address. The dependencies of other entries follow.

    Raises StateError if the new address exists or belongs to another plugin.
    """
    _refuse_other_plugin(workspace, old, new)
    with open_session_on(workspace, options, "state mv") as session:
        state = session.state
        entry = entry_of(state, old)
        if new in state.entries:
            raise StateError(
                f"cannot move {old} to {new}: the state has a tool with that address",
                # Not for the tool's own address: the command would remove the tool itself.
                hint="" if new == old else f"remove it first with dtm state rm {new.dotted}",
            )
        entries = {**state.without_entry(old).entries, new: replace(entry, address=new)}
        for address, other in entries.items():
            if old in other.depends_on:
                edges = tuple(new if edge == old else edge for edge in other.depends_on)
                entries[address] = replace(other, depends_on=edges)
        if not options.dry_run:
            session.claim()
            session.replace(replace(state, entries=entries))


def _refuse_other_plugin(workspace: Workspace, old: Address, new: Address) -> None:
    """Raise StateError if the two addresses belong to different plugins.

    The new plugin would look for another resource and create a second one, and nothing would manage
    the old one.
    """
    if old.name == new.name:
        return
    current, other = (workspace.providers[name].plugin for name in (old.name, new.name))
    if current != other:
        raise StateError(
            f"cannot move {old} to {new}: "
            f"plugin {other} cannot manage a resource of plugin {current}",
            hint=f"keep the plugin name with dtm state mv {old.dotted} {old.name}.{new.instance}"
            if new.instance != old.instance
            else "",
        )


def remove_entries(workspace: Workspace, options: RunOptions, addresses: Sequence[Address]) -> None:
    """Remove entries from the state. Their resources are not touched.

    Raises StateError if other entries depend on them.
    """
    with open_session_on(workspace, options, "state rm") as session:
        state = session.state
        gone = set(addresses)
        # Every address is checked before anything is written, so that a typo removes nothing.
        for address in addresses:
            entry_of(state, address)
        left = [entry for address, entry in state.entries.items() if address not in gone]
        holding = sorted({str(entry.address) for entry in left if gone & set(entry.depends_on)})
        if holding and not options.force:
            raise StateError(
                f"cannot remove {', '.join(map(str, addresses))}: "
                f"still needed by {', '.join(holding)}",
                hint="remove those too, or remove their dependency with --force",
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
    """Write the tools and outputs of an earlier serial as a new serial. No provider is called.

    Return the new serial and the earlier state. Raises StateError.
    """
    from engine.session import replacing

    with open_session_on(workspace, options, "state rollback") as session:
        old = state_at(workspace, serial)
        return replacing.rollback(session, old, dry_run=options.dry_run), old


def output(state: State, name: str) -> Value:
    """Return one output. Raises UsageError with the most similar name."""
    if name not in state.outputs:
        raise UsageError(
            f'there is no output "{name}"',
            hint=suggest(name, sorted(state.outputs)) or "list the outputs with dtm output",
        )
    return state.outputs[name]


def move_log(workspace: Workspace, options: RunOptions, log: str) -> bool:
    """Move the commit log: `inline` into the state file, `beside` into an object next to it.

    Return False if the log is there already. Raises StateError if the state is damaged, StoreError
    if access to the new place is denied.
    """
    # With AUTO the session finds the log where it is now, not where the settings want it.
    with open_session_on(workspace, options, "state move-log", log=AUTO) as session:
        return session.move_log(log, dry_run=options.dry_run)


def entry_of(state: State, address: Address) -> StateEntry:
    """Return an entry. Raises StateError with the most similar address."""
    found = state.entries.get(address)
    if found is None:
        hint = suggest(str(address), list(map(str, state.entries)), few=0)
        raise StateError(
            f"{address} is not in the state", hint=hint or "list its tools with dtm state list"
        )
    return found


def recover(workspace: Workspace, options: RunOptions, file: Path) -> Sequence[Address]:
    """Apply the results saved in a rescue file; warn of those that do not apply.

    Return the tools that have a result now. The session that wrote the file did so as its last act,
    so the new session need not wait for its lease. Raises StateError.
    """
    from engine.log import rescue_file
    from engine.session.recover import recover as use

    data = file.read_bytes()
    # Before the session is opened: the file names the ended session.
    saved = rescue_file.decode(data, str(file))
    with open_session_on(workspace, options, "state recover", ended=(saved.session,)) as session:
        if not options.dry_run:
            session.claim()
        found = use(session, data, str(file), dry_run=options.dry_run)
    for text in found.refused:
        workspace.emit(Notice("warning", f"not recovered: {text}"))
    if not found.refused and not found.applied:
        workspace.emit(
            Notice("info", f"nothing to recover: the state lacks no result that {file} holds")
        )
    return found.applied
