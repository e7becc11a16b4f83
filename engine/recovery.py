"""Bringing outcomes back that a session could not commit, and other states in place of this one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine import rescue
from engine.address import Address
from engine.errors import StateError
from engine.log import Cancelled, Done, Failed, Record
from engine.recording import Session
from engine.state import State, StateEntry
from engine.wire import entry_of, resource_of


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of the outcomes in a rescue file: addresses that were brought back, and why others were not."""

    applied: tuple[Address, ...]
    refused: tuple[str, ...]


def recover(session: Session, data: bytes, location: str) -> Recovered:
    """Apply the outcomes in a rescue file to a claimed session.

    An outcome counts only where the state still holds the very begin that it answers; otherwise the state knows better,
    so recovering twice is harmless. Raises StateError if the file is damaged or belongs to another state.
    """
    rescued = rescue.decode(data, location)
    if rescued.lineage != session.state.id.lineage:
        raise StateError(
            f"{location} belongs to another state (lineage {rescued.lineage}, here {session.state.id.lineage})", where=location
        )
    applied: list[Address] = []
    refused: list[str] = []
    for record in rescued.records:
        begun = _begun(session.state, record, rescued.session)
        if begun is None:
            refused.append(_refusal(session.state, record))
        else:
            _apply(session, begun, record)
            applied.append(begun.address)
    session.flush()
    return Recovered(tuple(applied), tuple(refused))


def _begun(state: State, record: Record, session: str) -> StateEntry | None:
    """The entry that still waits for this outcome."""
    if not isinstance(record, Done | Failed | Cancelled):
        return None
    entry = _entry(state, record.key)
    pending = entry.pending if entry else None
    if pending is None or pending.session != session or pending.seq != record.answers:
        return None
    return entry


def _entry(state: State, key: str) -> StateEntry | None:
    return next((entry for entry in state.entries.values() if entry.address.key == key), None)


def _apply(session: Session, begun: StateEntry, record: Record) -> None:
    match record:
        case Done(tool=None, resource=None):
            session.done(begun.address, None)
        case Done(tool=None, resource=dict() as resource):
            session.done(begun.address, replace(begun, resource=resource_of(resource)))
        case Done(tool=tool) if tool is not None:
            session.done(begun.address, entry_of(tool, {}))
        case Failed():
            entry = entry_of(record.tool, {}) if record.tool else None
            session.failed(begun.address, record.message, entry and replace(entry, pending=None))
        case Cancelled():
            session.restored(begun.address, entry_of(record.tool, {}) if record.tool else None)
        case _:
            raise AssertionError(record)


def _refusal(state: State, record: Record) -> str:
    """Why an outcome is not applied: what the state says now."""
    if not isinstance(record, Done | Failed | Cancelled):
        return f"a {type(record).__name__} record is not brought back: it answers no operation"
    entry = _entry(state, record.key)
    if entry is None:
        return f"{record.key}: not in the state any more"
    if entry.pending is None:
        return f"{entry.address}: the state knows how it ended"
    return f"{entry.address}: another {entry.pending.action} has begun since ({entry.pending.since})"
