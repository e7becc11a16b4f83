"""Replace the whole state by another one: push and rollback."""

from __future__ import annotations

from msgspec.structs import replace

from engine.errors import StateError
from engine.session.session import Session, copy_error
from engine.state import State, StateId, has_same_content


def successor_problem(existing: State, candidate: State) -> str:
    """Return why a candidate may not be pushed over a state; "" if it may.

    A state without a lineage (empty, or written by DevStream) may be replaced by any candidate, and
    any state by one that DevStream wrote. Otherwise the candidate must have the same lineage and a
    higher serial, or the same serial and content.
    """
    if not existing.id.lineage or _is_devstream(candidate):
        return ""
    if not candidate.id.lineage:
        return f"the pushed state has no lineage, the current state has {existing.id.lineage}"
    if existing.id.lineage != candidate.id.lineage:
        return (
            f"the pushed state has another lineage ({candidate.id.lineage}) "
            f"than the current state ({existing.id.lineage})"
        )
    if candidate.id.serial < existing.id.serial:
        return (
            f"the pushed state (serial {candidate.id.serial}) is older "
            f"than the current state (serial {existing.id.serial})"
        )
    if candidate.id.serial == existing.id.serial and not has_same_content(existing, candidate):
        return f"the current state has the same serial ({existing.id.serial}) and other content"
    return ""


def _is_devstream(state: State) -> bool:
    """Return whether DevStream wrote a state: it has neither a lineage nor a version of dtm."""
    return not state.id.lineage and not state.writer.version


def push_problem(
    session: Session, candidate: State, *, force: bool = False, adopt: bool = False
) -> str:
    """Return why a push of this state needs `force`; "" if it does not.

    Raises StateError if the candidate is empty, if it belongs to another location and `adopt` is
    false, and if there is a problem and `force` is false.
    """
    if not candidate.id.lineage and not candidate.entries:
        raise StateError("the pushed file holds no state: it has neither a lineage nor tools")
    # The damage explains more than a refused push would.
    if session.damage and not force:
        raise session.damage
    damaged = "the current state is damaged" if session.damage else ""
    problem = damaged or successor_problem(session.state, candidate)
    if problem and not force:
        raise StateError(
            problem, hint="override this with dtm state push --force", where=session.location
        )
    if candidate.home not in ("", session.location) and not adopt:
        raise StateError(
            f"the pushed state belongs to {candidate.home}",
            hint="make this location its home with --adopt",
            where=session.location,
        )
    return problem


def push(session: Session, candidate: State, *, force: bool = False, adopt: bool = False) -> str:
    """Replace the state of a session; return the problem that `force` overrode, "" if none.

    The candidate keeps its serial and lineage; one of DevStream, which has none, gets the current
    lineage and the next serial. If the candidate is the current state already, nothing is written
    and the session does not claim. `adopt` makes this location the home of a copy. Raises
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
    """Return whether the candidate is the current state already, with nothing to adopt."""
    existing = session.state
    copy = existing.home not in ("", session.location)
    return (
        candidate.id == existing.id
        and has_same_content(existing, candidate)
        and not (copy and adopt)
    )


def _replace(session: Session, state: State, serial: int) -> None:
    # A state of DevStream has no lineage; it takes the one that the claim has set.
    lineage = state.id.lineage or session.state.id.lineage
    session.replace(replace(state, id=StateId(lineage, serial)), exact=True)


def rollback(session: Session, old: State, *, dry_run: bool = False) -> int:
    """Write the tools and outputs of an earlier state as the next serial; return that serial.

    This also replaces a damaged state. Raises StateError for a copy, and for a state whose secrets
    could no longer be compared.
    """
    serial = session.serial + 1
    if session.damage:
        if old.home not in ("", session.location):
            raise copy_error(old, session.location)
    # Digests depend on the salt. With another one every secret would look changed.
    elif old.salt not in ("", session.state.salt):
        raise StateError(
            f"serial {old.id.serial} was written with another salt than the current state, "
            "so its secrets cannot be compared with the config",
            hint="replace the state anyway: copy that snapshot out of the history, "
            "then run dtm state push --force FILE",
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
