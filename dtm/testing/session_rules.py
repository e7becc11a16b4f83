"""The session contract, first part: documents, serials, lineages, pushes."""

from __future__ import annotations

from contextlib import suppress

from msgspec.structs import replace

from dtm.testing.conformance import refused
from dtm.testing.session_bench import (
    HEAD,
    KEY,
    Client,
    Connect,
    case,
    current,
    entry,
    make,
    names,
    opened,
    state_of,
)
from engine.address import Address
from engine.errors import StateError, SupersededError
from engine.log.history import history, load
from engine.plan import Action
from engine.ports import Snapshot
from engine.session.reading import read_state
from engine.session.replacing import push
from engine.state import State, StateId
from engine.stored.document import decode, encode
from engine.values import Value


@case("C01 nothing there is the empty state, and reading makes nothing")
def _absent(connect: Connect) -> None:
    client = connect()
    reading = read_state(state_of(client.store))
    assert not reading.exists and not reading.state.entries
    assert list(client.store.list("")) == []


@case("C05 an empty object is the empty state")
def _empty(connect: Connect) -> None:
    client = connect()
    client.store.write(KEY, b"", expect=None)
    assert not current(client).entries
    with opened(client.store) as session:
        make(session, "a")
    assert names(current(client)) == {"a"}


@case("C07 unicode, newlines, large integers and floats come back as they were")
def _values(connect: Connect) -> None:
    value: Value = {
        "text": "ü 🎉\n\t\"'\\",
        "big": 2**63 - 1,
        "small": -(2**63),
        "float": 0.1,
        "list": [None, True, {}],
        "": "",
    }
    client = connect()
    with opened(client.store) as session:
        make(session, "a", value)
    assert current(client).entries[Address("data", "a")] == entry("a", value)


@case("C08 damaged content is an error that names the place, and stays as it is")
def _damaged(connect: Connect) -> None:
    client = connect()
    client.store.write(KEY, b'{"format": 1, "tools": {', expect=None)
    error = refused(lambda: current(client), StateError)
    assert client.store.location.rstrip("/") in error.where
    refused(lambda: opened(client.store).__enter__(), StateError)
    found = client.store.read(KEY)
    assert found is not None and found.data == b'{"format": 1, "tools": {'


@case("C09 a newer format is refused and named")
def _newer(connect: Connect) -> None:
    client = connect()
    client.store.write(KEY, b'{"format": 99, "dtm": "7.1"}', expect=None)
    error = refused(lambda: current(client), StateError)
    assert "99" in error.message and "7.1" in error.message


@case("C11 the first snapshot has serial 1 and a lineage")
def _first(connect: Connect) -> None:
    client = connect()
    with opened(client.store, client.locker) as session:
        make(session, "a")
    state = current(client)
    assert (
        state.id.serial == 1
        and len(state.id.lineage) == 36
        and state.home == read_state(state_of(client.store)).location
    )


@case(
    "C12 a session that changes nothing writes no snapshot; "
    "one that never claims writes nothing at all"
)
def _unchanged(connect: Connect) -> None:
    client = connect()
    with opened(client.store) as session:
        make(session, "a")
    before, keys = current(client), list(client.store.list(""))
    bytes_before = _stored(client)
    with opened(client.store, client.locker, claim=False):
        pass
    assert _stored(client) == bytes_before
    with opened(client.store, client.locker) as session:
        address = Address("data", "b")
        session.begin(address, Action.CREATE)
        session.cancelled(address)
    assert (current(client).id, current(client).document) == (before.id, before.document)
    assert list(client.store.list("")) == keys


def _stored(client: Client) -> list[Snapshot | None]:
    """Document and head as they are."""
    return [client.store.read(key) for key in (KEY, HEAD)[: 1 + client.beside]]


@case("C13 a changed state has the next serial and the same lineage, and keeps what it replaced")
def _next(connect: Connect) -> None:
    client = connect()
    with opened(client.store) as session:
        make(session, "a")
    old = client.store.read(KEY)
    first = current(client)
    with opened(client.store) as session:
        make(session, "b")
    second = current(client)
    assert second.id == StateId(first.id.lineage, 2) and names(second) == {"a", "b"}
    if not client.beside:
        assert not history(state_of(client.store))
        return
    (past,) = history(state_of(client.store))
    assert past.serial == 1 and load(state_of(client.store), past).id == first.id
    kept = client.store.read(past.key)
    assert kept is not None and old is not None and kept.data == old.data


@case("C14 of two that read the same serial the second is refused, and the first one's state stays")
def _stale(connect: Connect) -> None:
    one, two = connect(), connect()
    with suppress(SupersededError), opened(one.store, claim=False, who="late@there") as late:
        with opened(two.store, who="early@here") as early:
            make(early, "a")
        error = refused(late.claim, SupersededError)
        assert "nothing more is written" in error.message
    assert names(current(one)) == {"a"}


@case("C15-C20 a pushed state is taken by serial and lineage, unless forced")
def _push(connect: Connect) -> None:
    client = connect()
    first, second = _grown(client, "a"), _grown(client, "b")
    _push_refused(client, first, second)
    assert _pushed(client, first, force=True) and current(client).id == first.id
    last = _grown(client, "d")
    assert last.id.serial == first.id.serial + 1 and names(last) == {"a", "d"}


def _push_refused(client: Client, first: State, second: State) -> None:
    """Push states that must not replace `second`, which follows `first`, and `second` itself."""
    assert "newer" in refused(lambda: _pushed(client, first), StateError).message
    assert _pushed(client, second) == "" and current(client).document == second.document
    other = second.put(entry("c"))
    assert "same serial" in refused(lambda: _pushed(client, other), StateError).message
    foreign = replace(second, id=StateId("other", 9))
    assert "lineage" in refused(lambda: _pushed(client, foreign), StateError).message
    assert names(current(client)) == {"a", "b"}


def _grown(client: Client, name: str) -> State:
    """Make `data.NAME` in a session of its own; returns the state after it."""
    with opened(client.store) as session:
        make(session, name)
    return current(client)


def _pushed(client: Client, state: State, force: bool = False) -> str:
    with opened(client.store, claim=False) as session:
        return push(session, state, force=force)


@case(
    "C19, C21 onto nothing anything is pushed with its serial and lineage; "
    "without a lineage it gets one"
)
def _push_first(connect: Connect) -> None:
    client = connect()
    with opened(client.store, claim=False) as session:
        push(session, State(StateId("mine", 7)).put(entry("a")))
    assert current(client).id == StateId("mine", 7)
    with opened(client.store, claim=False) as session:
        push(session, State(StateId("", 0)).put(entry("b")))
    assert current(client).id == StateId("mine", 8) and names(current(client)) == {"b"}


@case("C22 what a session hands out or was given can be changed without changing the state")
def _copies(connect: Connect) -> None:
    client = connect()
    value: dict[str, Value] = {"list": [1]}
    with opened(client.store) as session:
        make(session, "a", value)
        value["list"] = "changed"
        handed = session.state.entries[Address("data", "a")].options["input"]
        assert isinstance(handed, dict)
        handed["list"] = "changed too"
    assert current(client).entries[Address("data", "a")].options == {"input": {"list": [1]}}


@case("C23 states that differ only in the order of maps are equal byte for byte")
def _order(connect: Connect) -> None:
    del connect
    one = State(StateId("l", 1)).put(entry("a", {"x": 1, "y": 2})).put(entry("b"))
    other = State(StateId("l", 1)).put(entry("b")).put(entry("a", {"y": 2, "x": 1}))
    assert encode(one) == encode(other) and decode(encode(one), "here").entries == dict(
        other.entries
    )
