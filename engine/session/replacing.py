"""Put another state in place of the one that stands there: push and rollback."""

from __future__ import annotations

from msgspec.structs import replace

from engine.errors import StateError
from engine.session.session import Session, copy_error
from engine.state import State, StateId, has_same_content


def successor_problem(existing: State, candidate: State) -> str:
    """Say why a candidate may not be pushed over a state; "" if it may.

    Accepted: over nothing, and where either side is DevStream's, which knows no lineage; with the
    same lineage a higher serial, or the same serial with the same content.
    """
    if not existing.id.lineage or _is_devstream(candidate):
        return ""
    if not candidate.id.lineage:
        return f"the one pushed has no lineage, the state there has one ({existing.id.lineage})"
    if existing.id.lineage != candidate.id.lineage:
        return (
            f"the state there has another lineage ({existing.id.lineage}) "
            f"than the one pushed ({candidate.id.lineage})"
        )
    if candidate.id.serial < existing.id.serial:
        return (
            f"the state there is newer (serial {existing.id.serial}) "
            f"than the one pushed (serial {candidate.id.serial})"
        )
    if candidate.id.serial == existing.id.serial and not has_same_content(existing, candidate):
        return f"the state there has the same serial ({existing.id.serial}) and other content"
    return ""


def _is_devstream(state: State) -> bool:
    """Tell whether DevStream wrote it: its states have neither lineage nor a version of dtm."""
    return not state.id.lineage and not state.writer.version


def push_problem(
    session: Session, candidate: State, *, force: bool = False, adopt: bool = False
) -> str:
    """Say what `force` would override if this state were pushed; "" for nothing.

    Raises StateError if the candidate is empty, for another place's state without `adopt`, and
    without `force` where a damaged state stands or `successor_problem` finds a reason.
    """
    if not candidate.id.lineage and not candidate.entries:
        raise StateError("there is no state in the pushed document: neither a lineage nor tools")
    if session.damage and not force:
        raise session.damage
    damaged = "the state there is damaged" if session.damage else ""
    problem = damaged or successor_problem(session.state, candidate)
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
    """Put a state in place of the session's, and return what `force` overrode, "" for nothing.

    Its serial and lineage are kept, unless it has none (DevStream's). Equal content is not written
    again: the session then stays unclaimed. `adopt` makes this place the home of a copy. Raises
    StateError as `push_problem`.
    """
    problem = push_problem(session, candidate, force=force, adopt=adopt)
    if not session.damage and _is_current(session, candidate, adopt):
        return ""
    session.claim(adopt=adopt, repair=True)
    _replace(
        session, candidate, candidate.id.serial if candidate.id.lineage else session.serial + 1
    )
    return problem


def _is_current(session: Session, candidate: State, adopt: bool) -> bool:
    """Tell whether the candidate is the very state that stands there, with nothing to adopt."""
    existing = session.state
    copy = existing.home not in ("", session.location)
    return (
        candidate.id == existing.id
        and has_same_content(existing, candidate)
        and not (copy and adopt)
    )


def _replace(session: Session, state: State, serial: int) -> None:
    lineage = state.id.lineage or session.state.id.lineage
    session.replace(replace(state, id=StateId(lineage, serial)), exact=True)


def rollback(session: Session, old: State, *, dry_run: bool = False) -> int:
    """Write a new serial with an earlier state's tools and outputs, and return that serial.

    It may stand over a damaged state. Raises StateError for a copy, and for a state whose secrets
    could not be compared any more.
    """
    serial = session.serial + 1
    if session.damage:
        if old.home not in ("", session.location):
            raise copy_error(old, session.location)
    elif old.salt not in ("", session.state.salt):
        raise StateError(
            "that serial has another salt: its secrets could not be compared",
            hint="dtm state push --force",
        )
    if dry_run:
        return serial
    if session.damage:
        session.claim(repair=True)
        _replace(session, old, serial)
    else:
        session.claim()
        session.replace(replace(session.state, entries=old.entries, outputs=old.outputs))
    return serial
