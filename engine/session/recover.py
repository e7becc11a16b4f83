"""Bringing back what a session could not commit, and putting another state in place of this one."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from engine.address import Address
from engine.errors import StateError
from engine.log import rescue_file
from engine.log.records import Cancelled, Done, Failed, Record
from engine.session.session import Session, copied
from engine.state import Resource, State, StateEntry, StateId, same_content
from engine.stored.forms import entry_of, resource_of


class Recovered(msgspec.Struct, frozen=True):
    """What became of the outcomes in a rescue file: addresses that were brought back, and why others were not."""

    applied: tuple[Address, ...]
    refused: tuple[str, ...]


def recover(session: Session, data: bytes, location: str, *, dry_run: bool = False) -> Recovered:
    """Apply the outcomes in a rescue file to a claimed session; with `dry_run` only say which would be.

    An outcome counts only where the state still holds the very begin that it answers; otherwise the state knows better,
    so recovering twice is harmless. Raises StateError if the file is damaged or belongs to another state.
    """
    rescued = rescue_file.decode(data, location)
    if rescued.lineage != session.state.id.lineage:
        raise StateError(
            f"{location} belongs to another state (lineage {rescued.lineage}, here {session.state.id.lineage})",
            where=location,
        )
    applied: list[Address] = []
    refused: list[str] = []
    for record in sorted(
        rescued.records, key=lambda each: not isinstance(each, Cancelled)
    ):  # what never was hides nothing
        begun = _begun(session.state, record, rescued.session)
        if begun is not None:
            if not dry_run:
                _apply(session, begun, record)
            applied.append(begun.address)
        elif not isinstance(record, Cancelled):  # that was never called, and nobody waits for it
            refused.append(_refusal(session.state, record))
    if not dry_run:
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
        spelled = record.key.replace(
            "_", "/", 1
        )  # as people write it; nothing is looked up by this
        return f"{spelled}: not in the state any more{_besides(record, None)}"
    if entry.pending is None:
        return f"{entry.address}: the state knows how it ended{_besides(record, entry.resource)}"
    since = f"another {entry.pending.action} has begun since ({entry.pending.since})"
    return f"{entry.address}: {since}{_besides(record, entry.resource)}"


def _besides(record: Done | Failed | Cancelled, known: Resource | None) -> str:
    """What the world may hold beside what the state knows, by an outcome that is not brought back; "" for nothing."""
    made = _made(record)
    if made is None or made == known:
        return ""
    if known is None:
        return f"; what was made ({made.id}) may still be there"
    if known.id != made.id:
        return (
            f", but otherwise: it has {known.id}, here it is {made.id}; the thing may exist twice"
        )
    return f", but otherwise than here ({made.id}); if it was not updated since, the thing may exist twice"


def _made(record: Done | Failed | Cancelled) -> Resource | None:
    if not isinstance(record, Done):
        return None
    if record.tool is not None:
        return entry_of(record.tool, {}).resource
    return None if record.resource is None else resource_of(record.resource)


def successor_problem(existing: State, candidate: State) -> str:
    """Why a candidate may not be pushed over a state, "" if it may.

    The table: nothing there, or DevStream's on either side, which knows no lineage: accepted. Same lineage: a higher
    serial, or the same with the same content. Else refused.
    """
    if not existing.id.lineage or _is_devstream(candidate):
        return ""
    if not candidate.id.lineage:
        return f"the one pushed has no lineage, the state there has one ({existing.id.lineage})"
    if existing.id.lineage != candidate.id.lineage:
        return f"the state there has another lineage ({existing.id.lineage}) than the one pushed ({candidate.id.lineage})"
    if candidate.id.serial < existing.id.serial:
        return f"the state there is newer (serial {existing.id.serial}) than the one pushed (serial {candidate.id.serial})"
    if candidate.id.serial == existing.id.serial and not same_content(existing, candidate):
        return f"the state there has the same serial ({existing.id.serial}) and other content"
    return ""


def _is_devstream(state: State) -> bool:
    """Whether DevStream wrote it: only that has neither lineage nor the version of a dtm."""
    return not state.id.lineage and not state.written.version


def push_problem(
    session: Session, candidate: State, *, force: bool = False, adopt: bool = False
) -> str:
    """What `force` would override if this state were pushed, "" for nothing.

    Raises StateError if there is nothing in the candidate, without `force` by the table of `successor_problem` and where a
    damaged state stands, and for another place's state without `adopt`.
    """
    if not candidate.id.lineage and not candidate.entries:
        raise StateError("there is no state in the pushed document: neither a lineage nor tools")
    if session.damage and not force:
        raise session.damage
    problem = (
        "the state there is damaged"
        if session.damage
        else successor_problem(session.state, candidate)
    )
    if problem and not force:
        raise StateError(
            problem, hint="dtm state push --force overrides this", where=session.location
        )
    if candidate.home not in ("", session.location) and not adopt:
        raise StateError(
            f"the pushed document belongs to {candidate.home}",
            hint="--adopt makes this place its home",
            where=session.location,
        )
    return problem


def push(session: Session, candidate: State, *, force: bool = False, adopt: bool = False) -> str:
    """Put a state in place of the session's, whole; returns what `force` overrode, "" for nothing.

    Its serial and lineage are kept, unless it has none (DevStream's). Equal content is not written again: the session
    then stays unclaimed. `adopt` makes this place home of a copy. Raises StateError as `push_problem`.
    """
    problem = push_problem(session, candidate, force=force, adopt=adopt)
    if not session.damage and _stands(session, candidate, adopt):
        return ""
    session.claim(adopt=adopt, mend=True)
    _put(session, candidate, candidate.id.serial if candidate.id.lineage else session.serial + 1)
    return problem


def _stands(session: Session, candidate: State, adopt: bool) -> bool:
    """Whether the candidate is the very state that stands there, with nothing left to adopt."""
    existing = session.state
    copy = existing.home not in ("", session.location)
    return (
        candidate.id == existing.id and same_content(existing, candidate) and not (copy and adopt)
    )


def _put(session: Session, state: State, serial: int) -> None:
    lineage = state.id.lineage or session.state.id.lineage
    session.replace(replace(state, id=StateId(lineage, serial)), exact=True)


def rollback(session: Session, old: State, *, dry_run: bool = False) -> int:
    """Write a new serial with an earlier state's tools and outputs, over a damaged state too; returns that serial.

    Raises StateError for a copy and for a state whose secrets could not be compared any more.
    """
    serial = session.serial + 1
    if session.damage:
        if old.home not in ("", session.location):
            raise copied(old, session.location)
    elif old.salt not in ("", session.state.salt):
        raise StateError(
            "that serial has another salt: its secrets could not be compared",
            hint="dtm state push --force",
        )
    if dry_run:
        return serial
    if session.damage:
        session.claim(mend=True)
        _put(session, old, serial)
    else:
        session.claim()
        session.replace(replace(session.state, entries=old.entries, outputs=old.outputs))
    return serial
