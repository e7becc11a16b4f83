"""Bring back outcomes that a session could not commit, from its rescue file."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from engine.address import Address
from engine.errors import StateError
from engine.log import rescue_file
from engine.log.records import Cancelled, Done, Failed, Record
from engine.session.session import Session
from engine.state import Resource, StateEntry
from engine.stored.forms import entry_from_form, resource_from_form


class RecoveryResult(msgspec.Struct, frozen=True):
    """Addresses whose outcomes were brought back; for the others a sentence that says why not."""

    applied: tuple[Address, ...]
    refused: tuple[str, ...]


def recover(
    session: Session, data: bytes, location: str, *, dry_run: bool = False
) -> RecoveryResult:
    """Apply the outcomes in a rescue file to a claimed session; only list them with `dry_run`.

    An outcome counts only where the state still holds the very begin record that it answers, so
    recovering twice is harmless. Raises StateError if the file is damaged or belongs to another
    state.
    """
    rescued, state = rescue_file.decode(data, location), session.state
    if rescued.lineage != state.id.lineage:
        raise StateError(
            f"{location} belongs to another state "
            f"(lineage {rescued.lineage}, here {state.id.lineage})",
            where=location,
        )
    addresses = {address.key: address for address in state.entries}
    applied: list[Address] = []
    refused: list[str] = []
    # Operations that were never called come first: they must not hide what is known of others.
    for record in sorted(rescued.records, key=lambda each: not isinstance(each, Cancelled)):
        entry = _entry(session, addresses, record)
        if entry is not None and _is_awaited(record, rescued.session, entry):
            if not dry_run:
                _apply(session, entry, record)
            applied.append(entry.address)
        elif not isinstance(record, Cancelled):  # nothing waits for a call that was never made
            refused.append(_refusal(record, entry))
    if not dry_run:
        session.flush()
    return RecoveryResult(tuple(applied), tuple(refused))


def _entry(session: Session, addresses: Mapping[str, Address], record: Record) -> StateEntry | None:
    """Return the entry as it is now of the tool that an outcome speaks of."""
    if not isinstance(record, Done | Failed | Cancelled):
        return None
    address = addresses.get(record.key)
    return session.entry(address) if address else None


def _is_awaited(record: Record, session: str, entry: StateEntry) -> bool:
    """Tell whether the entry still waits for this outcome of that session."""
    pending = entry.pending
    if pending is None or not isinstance(record, Done | Failed | Cancelled):
        return False
    return pending.session == session and pending.seq == record.answers


def _apply(session: Session, begun: StateEntry, record: Record) -> None:
    match record:
        case Done(tool=None, resource=None):
            session.done(begun.address, None)
        case Done(tool=None, resource=dict() as resource):
            session.done(begun.address, replace(begun, resource=resource_from_form(resource)))
        case Done(tool=tool) if tool is not None:
            session.done(begun.address, entry_from_form(tool, {}))
        case Failed():
            entry = entry_from_form(record.tool, {}) if record.tool else None
            session.failed(begun.address, record.message, entry and replace(entry, pending=None))
        case Cancelled():
            session.cancelled_to(
                begun.address, entry_from_form(record.tool, {}) if record.tool else None
            )
        case _:
            raise AssertionError(record)


def _refusal(record: Record, entry: StateEntry | None) -> str:
    """Say why an outcome is not applied: what the state says now."""
    if not isinstance(record, Done | Failed):
        return f"a {type(record).__name__} record is not brought back: it answers no operation"
    if entry is None:
        spelled = record.key.replace("_", "/", 1)  # for the eye: nothing is looked up by it
        return f"{spelled}: not in the state any more{_difference(record, None)}"
    difference = _difference(record, entry.resource)
    if entry.pending is None:
        return f"{entry.address}: the state knows how it ended{difference}"
    since = f"another {entry.pending.action} has begun since ({entry.pending.since})"
    return f"{entry.address}: {since}{difference}"


def _difference(record: Done | Failed, known: Resource | None) -> str:
    """Say what may exist beside the recorded resource by an outcome that is not applied."""
    made = _recorded_resource(record)
    if made is None or made == known:
        return ""
    if known is None:
        return f"; what was made ({made.id}) may still be there"
    if known.id != made.id:
        return (
            f", but otherwise: it has {known.id}, here it is {made.id}; the thing may exist twice"
        )
    return (
        f", but otherwise than here ({made.id}); if it was not updated since, "
        "the thing may exist twice"
    )


def _recorded_resource(record: Done | Failed) -> Resource | None:
    if not isinstance(record, Done):
        return None
    if record.tool is not None:
        return entry_from_form(record.tool, {}).resource
    return None if record.resource is None else resource_from_form(record.resource)
