"""What dtm remembers: one entry per tool, and where in the state's history this is."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from engine.address import Address
from engine.values import Attributes, Value


class Resource(msgspec.Struct, frozen=True):
    """One live thing. `id` is the provider's key; `attributes` are comparable facts; `outputs` may be referenced."""

    id: str
    attributes: Attributes = msgspec.field(default_factory=dict[str, Value])
    outputs: Attributes = msgspec.field(default_factory=dict[str, Value])


class Pending(msgspec.Struct, frozen=True):
    """An operation begun and not known to have ended.

    `action` is a `plan.Action` value; times are RFC 3339; `seq` orders a session's begins. `token` names the operation
    towards the world: it stays the same however many sessions it takes to end it.
    """

    action: str
    since: str
    session: str
    seq: int = 0
    message: str | None = None
    deadline: str | None = None
    token: str = ""


class StateEntry(msgspec.Struct, frozen=True):
    """What we know of one tool. `options` are as written, resolved, with secrets as Digest."""

    address: Address
    depends_on: tuple[Address, ...] = ()
    options: Attributes = msgspec.field(default_factory=dict[str, Value])
    resource: Resource | None = None
    protected: bool = False
    pending: Pending | None = None


class StateId(msgspec.Struct, frozen=True):
    """Identity of one snapshot; `serial` 0 means that nothing was written yet."""

    lineage: str
    serial: int


class Written(msgspec.Struct, frozen=True):
    """Who wrote a snapshot: dtm's version, RFC 3339 time, `user@host`, command; all "" in DevStream's files."""

    version: str = ""
    at: str = ""
    who: str = ""
    command: str = ""


class State(msgspec.Struct, frozen=True):
    """All entries at one point: a value. What changes entries one by one owns a dict of its own.

    `document` is the snapshot's random id, `home` the URL it belongs to, `salt` (hex) that of its digests, `probe` what
    the store was found to guarantee.
    """

    id: StateId
    entries: Mapping[Address, StateEntry] = msgspec.field(default_factory=dict[Address, StateEntry])
    outputs: Attributes = msgspec.field(default_factory=dict[str, Value])
    document: str = ""
    home: str = ""
    salt: str = ""
    probe: Mapping[str, Value] = msgspec.field(default_factory=dict[str, Value])
    written: Written = Written()

    def put(self, entry: StateEntry) -> State:
        """Copy the state, with this entry at its address."""
        return replace(self, entries={**self.entries, entry.address: entry})

    def drop(self, address: Address) -> State:
        """Copy the state, without that address."""
        left = {known: entry for known, entry in self.entries.items() if known != address}
        return replace(self, entries=left)


def same_content(one: State, other: State) -> bool:
    """Whether tools and outputs are equal."""
    return one.entries == other.entries and one.outputs == other.outputs
