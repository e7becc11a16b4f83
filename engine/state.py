"""What dtm remembers: one entry per tool, and where in the state's history this is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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


class Entries(Mapping[Address, StateEntry]):
    """A persistent map: `put` and `drop` give a new map in O(1) and leave this one as it was.

    The newest version owns one shared dict; an older one keeps only its difference to the next and pays for
    that when it is read again, by moving the ownership back (Baker's rerooting). Not safe for concurrent use.
    """

    __slots__ = ("_delta", "_dict", "_next")

    def __init__(self, entries: Mapping[Address, StateEntry] | None = None) -> None:
        self._dict: dict[Address, StateEntry] | None = dict(entries or {})
        self._delta: tuple[Address, StateEntry | None] | None = None
        self._next: Entries | None = None

    def _own(self) -> dict[Address, StateEntry]:
        if self._dict is not None:
            return self._dict
        chain: list[Entries] = []
        node: Entries | None = self
        while node is not None and node._dict is None:
            chain.append(node)
            node = node._next
        assert node is not None  # the newest version always owns the dict
        for older in reversed(chain):
            newer = older._next
            assert newer is not None and newer._dict is not None and older._delta is not None
            older._take(newer)
        assert self._dict is not None
        return self._dict

    def _take(self, newer: Entries) -> None:
        assert newer._dict is not None and self._delta is not None
        shared, (address, value) = newer._dict, self._delta
        newer._delta = (address, shared.get(address))
        newer._dict, newer._next = None, self
        if value is None:
            shared.pop(address, None)
        else:
            shared[address] = value
        self._dict, self._delta, self._next = shared, None, None

    def put(self, address: Address, entry: StateEntry | None) -> Entries:
        """A map with the entry set, or removed where it is None."""
        shared = self._own()
        newer = Entries.__new__(Entries)
        newer._dict, newer._delta, newer._next = shared, None, None
        self._delta, self._dict, self._next = (address, shared.get(address)), None, newer
        if entry is None:
            shared.pop(address, None)
        else:
            shared[address] = entry
        return newer

    def __getitem__(self, address: Address) -> StateEntry:
        return self._own()[address]

    def __iter__(self) -> Iterator[Address]:
        return iter(self._own())

    def __len__(self) -> int:
        return len(self._own())

    def __contains__(self, address: object) -> bool:
        return address in self._own()


class Written(msgspec.Struct, frozen=True):
    """Who wrote a snapshot: dtm's version, RFC 3339 time, `user@host`, command; all "" in DevStream's files."""

    version: str = ""
    at: str = ""
    who: str = ""
    command: str = ""


class State(msgspec.Struct, frozen=True):
    """All entries at one point.

    `document` is the snapshot's random id, `home` the URL it belongs to, `salt` (hex) that of its digests, `probe` what
    the store was found to guarantee.
    """

    id: StateId
    entries: Entries = msgspec.field(default_factory=Entries)
    outputs: Attributes = msgspec.field(default_factory=dict[str, Value])
    document: str = ""
    home: str = ""
    salt: str = ""
    probe: Mapping[str, Value] = msgspec.field(default_factory=dict[str, Value])
    written: Written = Written()

    def put(self, entry: StateEntry) -> State:
        """The state with this entry at its address."""
        return replace(self, entries=self.entries.put(entry.address, entry))

    def drop(self, address: Address) -> State:
        """The state without that address."""
        return replace(self, entries=self.entries.put(address, None))


def same_content(one: State, other: State) -> bool:
    """Whether tools and outputs are equal."""
    return dict(one.entries) == dict(other.entries) and one.outputs == other.outputs
