"""The state as a value: one entry for each tool, and which version of which state it is."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from engine.address import Address
from engine.values import Attributes, Value


class Resource(msgspec.Struct, frozen=True):
    """A live resource, as a provider reports it.

    `id` is the provider's key, `attributes` are comparable facts, `outputs` may be referenced.
    """

    id: str
    attributes: Attributes = {}
    outputs: Attributes = {}


class Pending(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An operation begun and not known to have ended.

    The state file holds it just like this: a field without a default is written even when null.

    `action` is a `plan.Action` value; times are RFC 3339; `seq` orders the begin records of a
    session. `token` names the operation to the provider: it stays the same however many sessions it
    takes to end it.
    """

    action: str
    since: str
    session: str
    seq: int
    message: str | None
    deadline: str | None = None
    token: str = ""


class StateEntry(msgspec.Struct, frozen=True):
    """One tool as recorded; `options` are as written, resolved, with secrets as Digest."""

    address: Address
    depends_on: tuple[Address, ...] = ()
    options: Attributes = {}
    resource: Resource | None = None
    protected: bool = False
    pending: Pending | None = None


class StateId(msgspec.Struct, frozen=True):
    """Identity of one snapshot; `serial` 0 means that nothing was written yet."""

    lineage: str
    serial: int


class WriterInfo(msgspec.Struct, frozen=True):
    """The writer of a snapshot: dtm's version, RFC 3339 time, `user@host`, command.

    All are "" in DevStream's files.
    """

    version: str = ""
    at: str = ""
    who: str = ""
    command: str = ""


class State(msgspec.Struct, frozen=True):
    """All entries at one moment: a value.

    An object that changes entries one by one owns a dict of its own. `document` is the snapshot's
    random id, `home` the URL it belongs to, `salt` (hex) that of its digests, `probe` what the
    store was found to guarantee.
    """

    id: StateId
    entries: Mapping[Address, StateEntry] = {}
    outputs: Attributes = {}
    snapshot_id: str = ""
    home: str = ""
    salt: str = ""
    probe: Mapping[str, Value] = {}
    writer: WriterInfo = WriterInfo()

    def with_entry(self, entry: StateEntry) -> State:
        """Copy the state, with this entry at its address."""
        return replace(self, entries={**self.entries, entry.address: entry})

    def without_entry(self, address: Address) -> State:
        """Copy the state, without that address."""
        left = {known: entry for known, entry in self.entries.items() if known != address}
        return replace(self, entries=left)


def has_same_content(one: State, other: State) -> bool:
    """Tell whether tools and outputs are equal."""
    return one.entries == other.entries and one.outputs == other.outputs
