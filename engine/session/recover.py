"""Apply a rescue file: commit the outcomes that an earlier session could not commit."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from engine.address import Address
from engine.errors import StateError
from engine.log import rescue_file
from engine.log.records import Cancelled, Done, Failed, Moved, Record
from engine.session.session import Session
from engine.state import Resource, StateEntry
from engine.stored.forms import entry_from_form, resource_from_form


class RecoveryResult(msgspec.Struct, frozen=True):
    """The addresses whose outcomes were applied, and a message for each refused outcome."""

    applied: tuple[Address, ...]
    refused: tuple[str, ...]


def recover(
    session: Session, data: bytes, location: str, *, dry_run: bool = False
) -> RecoveryResult:
    """Apply the outcomes in a rescue file to a claimed session; with `dry_run` only list them.

    An outcome is applied only if the state still has the operation that it belongs to, so applying
    a file twice is harmless. Raises StateError if the file is damaged or belongs to another state.
    """
    rescued, state = rescue_file.decode(data, location), session.state
    # Sequence numbers mean nothing in another state: they could match by chance.
    if rescued.lineage != state.id.lineage:
        raise StateError(
            f"the rescue file belongs to another state (its lineage is {rescued.lineage}, "
            f"that of the state is {state.id.lineage})",
            where=location,
        )
    addresses = {address.key: address for address in state.entries}
    applied: list[Address] = []
    refused: list[str] = []
    # Cancellations come first. The last begin record of a tool may be that of an operation that was
    # never called; until that is cancelled, the outcome of the operation before it does not match.
    for record in sorted(rescued.records, key=lambda each: not isinstance(each, Cancelled)):
        entry = _entry(session, addresses, record)
        if entry is not None and _is_awaited(record, rescued.session, entry):
            if not dry_run:
                _apply(session, entry, record)
            applied.append(entry.address)
        elif not isinstance(record, Cancelled):  # no call was made, so nothing is lost
            refused.append(_refusal(record, entry))
    # Before the result is reported: after that the user may delete the file.
    if not dry_run:
        session.flush()
    return RecoveryResult(tuple(applied), tuple(refused))


def _entry(session: Session, addresses: Mapping[str, Address], record: Record) -> StateEntry | None:
    """Return the current entry of the tool that an outcome belongs to; None if there is none."""
    if not isinstance(record, Done | Failed | Cancelled):
        return None
    address = addresses.get(record.key)
    return session.entry(address) if address else None


def _is_awaited(record: Record, session: str, entry: StateEntry) -> bool:
    """Return whether the pending operation of an entry is the one that this outcome ends."""
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
    """Return a message why an outcome is not applied."""
    if not isinstance(record, Done | Failed):
        what = "a move" if isinstance(record, Moved) else "root outputs"
        return f"{what}: not restored, since the next dtm apply does it again"
    if entry is None:
        # A guess of the address for the message: keys are not parsed anywhere else.
        spelled = record.key.replace("_", "/", 1)
        return f"{spelled}: no longer in the state{_difference(record, None)}"
    difference = _difference(record, entry.resource)
    if entry.pending is None:
        return f"{entry.address}: the state has an outcome already{difference}"
    later = f"another {entry.pending.action} was started later ({entry.pending.since})"
    return f"{entry.address}: {later}{difference}"


def _difference(record: Done | Failed, known: Resource | None) -> str:
    """Return a text about a second resource that may exist, "" if none can."""
    made = _recorded_resource(record)
    if made is None or made == known:
        return ""
    if known is None:
        return f"; the resource {made.id} may still exist"
    if known.id != made.id:
        return (
            f"; the state has the resource {known.id}, the rescue file {made.id}: "
            "it may exist twice"
        )
    return (
        f"; the resource {made.id} differs from the one in the rescue file: "
        "unless it was updated since, it may exist twice"
    )


def _recorded_resource(record: Done | Failed) -> Resource | None:
    if not isinstance(record, Done):
        return None
    if record.tool is not None:
        return entry_from_form(record.tool, {}).resource
    return None if record.resource is None else resource_from_form(record.resource)
