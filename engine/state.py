"""The state as a value: an entry for each tool, and the snapshot that it was read from.

An example:

    state = State(StateId("lineage", 3)).with_entry(entry)
    state.entries[entry.address] is entry
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from engine.address import Address
from engine.values import Attributes, Value


class Resource(msgspec.Struct, frozen=True):
    """A resource, as a provider reports it.

    `id`: the key by which the provider finds it, unique for the plugin.
    `attributes`: facts that are compared to detect drift.
    `outputs`: values that other tools can refer to.
    """

    id: str
    attributes: Attributes = {}
    outputs: Attributes = {}


class Pending(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An operation that was recorded as begun and not as ended.

    `action` is the value of a `plan.Action`. Times are RFC 3339. `session` and `seq` name the begin
    record: `seq` counts the records of that session. `message` is the error of the last try, None
    if the session was interrupted. `token` identifies the operation for the provider; it stays the
    same until the operation ends, even if that takes several sessions.

    The state file stores this Struct as it is. Fields without a default are written even if null.
    """

    action: str
    since: str
    session: str
    seq: int
    message: str | None
    deadline: str | None = None
    token: str = ""


class StateEntry(msgspec.Struct, frozen=True):
    """The record of one tool.

    `options` are the options as last applied: references are resolved, secrets are Digests.
    `resource` is None if no create was completed. `protected` is `lifecycle.preventDestroy`.
    `pending` is an operation that has not ended.
    """

    address: Address
    depends_on: tuple[Address, ...] = ()
    options: Attributes = {}
    resource: Resource | None = None
    protected: bool = False
    pending: Pending | None = None


class StateId(msgspec.Struct, frozen=True):
    """The identity of a snapshot. `serial` 0 means that no snapshot was written yet."""

    lineage: str
    serial: int


class WriterInfo(msgspec.Struct, frozen=True):
    """The writer of a snapshot: version of dtm, time (RFC 3339), `user@host`, command.

    All are "" in state files of DevStream.
    """

    version: str = ""
    at: str = ""
    who: str = ""
    command: str = ""


class State(msgspec.Struct, frozen=True):
    """All entries and outputs at one moment. It never changes.

    `with_entry` and `without_entry` copy all entries. Code that changes many entries, such as a
    session, therefore works on a dict of its own and makes a State of it at the end.

    `snapshot_id`: the random ID of the snapshot.
    `home`: the URL that the state belongs to.
    `salt`: the key of its digests, in hex.
    `probe`: the results of the last probe of its store.
    """

    id: StateId
    # Defaults may be shared between instances, since no code mutates a State.
    entries: Mapping[Address, StateEntry] = {}
    outputs: Attributes = {}
    snapshot_id: str = ""
    home: str = ""
    salt: str = ""
    probe: Mapping[str, Value] = {}
    writer: WriterInfo = WriterInfo()

    def with_entry(self, entry: StateEntry) -> State:
        """Return a copy with this entry at its address."""
        return replace(self, entries={**self.entries, entry.address: entry})

    def without_entry(self, address: Address) -> State:
        """Return a copy without the entry of that address."""
        left = {known: entry for known, entry in self.entries.items() if known != address}
        return replace(self, entries=left)


def has_same_content(one: State, other: State) -> bool:
    """Return whether two states have equal entries and outputs."""
    return one.entries == other.entries and one.outputs == other.outputs
