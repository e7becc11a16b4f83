"""A comparison of two states, entry by entry."""

from __future__ import annotations

from typing import Literal

import msgspec

from engine.address import Address
from engine.plan import FieldChange
from engine.planning.diff import diff
from engine.state import State, StateEntry
from engine.values import Value


class Difference(msgspec.Struct, frozen=True):
    """How one tool differs between two states.

    `fields` is empty unless both states have the tool.
    """

    address: Address
    kind: Literal["added", "removed", "changed"]
    fields: tuple[FieldChange, ...] = ()


def compare_states(old: State, new: State) -> list[Difference]:
    """Return the differences between two states, sorted by address."""
    found: list[Difference] = []
    for address in sorted({*old.entries, *new.entries}):
        before, after = old.entries.get(address), new.entries.get(address)
        if before is None or after is None:
            found.append(Difference(address, "added" if before is None else "removed"))
        elif fields := diff(entry_as_map(before), entry_as_map(after)):
            found.append(Difference(address, "changed", fields))
    return found


def entry_as_map(entry: StateEntry) -> dict[str, Value]:
    """Return one entry as a nested map with the keys that users know."""
    found: dict[str, Value] = {
        "name": entry.address.name,
        "instanceID": entry.address.instance,
        "dependsOn": [edge.dotted for edge in entry.depends_on],
        "options": dict(entry.options),
    }
    if entry.resource:
        resource = entry.resource
        found |= {
            "id": resource.id,
            "resource": dict(resource.attributes),
            "outputs": dict(resource.outputs),
        }
    if entry.protected:
        found["protected"] = True
    if entry.pending:
        found["unfinished"] = {
            "action": entry.pending.action,
            "since": entry.pending.since,
            "message": entry.pending.message,
        }
    return found
