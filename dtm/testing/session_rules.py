"""The cases of the session contract about state files, serials, lineages and pushes."""

from __future__ import annotations

from contextlib import suppress

from msgspec.structs import replace

from dtm.testing.conformance import expect_error
from dtm.testing.session_support import (
    HEAD,
    KEY,
    Client,
    Connect,
    create_tool,
    entry,
    new_session,
    read_current,
    session_case,
    state_store,
    tool_names,
)
from engine.address import Address
from engine.errors import StateError, SupersededError
from engine.log.history import load_snapshot, read_history
from engine.plan import Action
from engine.ports import StoredObject
from engine.session.reading import read_state
from engine.session.replacing import push
from engine.state import State, StateId
from engine.stored.state_file import decode, encode
from engine.values import Value


@session_case("C01 a missing state file reads as the empty state, and reading creates nothing")
def _absent(connect: Connect) -> None:
    client = connect()
    reading = read_state(state_store(client.store))
    assert not reading.exists and not reading.state.entries
    assert list(client.store.list("")) == []


@session_case("C05 an empty state file reads as the empty state")
def _empty(connect: Connect) -> None:
    client = connect()
    client.store.write(KEY, b"", expect=None)
    assert not read_current(client).entries
    with new_session(client.store) as session:
        create_tool(session, "a")
    assert tool_names(read_current(client)) == {"a"}


@session_case("C07 Unicode, newlines, large integers and floats are stored unchanged")
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
    with new_session(client.store) as session:
        create_tool(session, "a", value)
    assert read_current(client).entries[Address("data", "a")] == entry("a", value)


@session_case("C08 a damaged state file is an error that names it, and is left unchanged")
def _damaged(connect: Connect) -> None:
    client = connect()
    client.store.write(KEY, b'{"format": 1, "tools": {', expect=None)
    error = expect_error(lambda: read_current(client), StateError)
    assert client.store.location.rstrip("/") in error.where
    expect_error(lambda: new_session(client.store).__enter__(), StateError)
    found = client.store.read(KEY)
    assert found is not None and found.data == b'{"format": 1, "tools": {'


@session_case("C09 a state in a newer format is refused, and the error names the format")
def _newer(connect: Connect) -> None:
    client = connect()
    client.store.write(KEY, b'{"format": 99, "dtm": "7.1"}', expect=None)
    error = expect_error(lambda: read_current(client), StateError)
    assert "99" in error.message and "7.1" in error.message


@session_case("C11 the first snapshot has serial 1 and a lineage")
def _first(connect: Connect) -> None:
    client = connect()
    with new_session(client.store, client.locker) as session:
        create_tool(session, "a")
    state = read_current(client)
    assert (
        state.id.serial == 1
        and len(state.id.lineage) == 36
        and state.home == read_state(state_store(client.store)).location
    )


@session_case(
    "C12 a session without changes writes no snapshot, and one without a claim writes nothing"
)
def _unchanged(connect: Connect) -> None:
    client = connect()
    with new_session(client.store) as session:
        create_tool(session, "a")
    before, keys = read_current(client), list(client.store.list(""))
    bytes_before = _stored(client)
    with new_session(client.store, client.locker, claim=False):
        pass
    assert _stored(client) == bytes_before
    with new_session(client.store, client.locker) as session:
        address = Address("data", "b")
        session.begin(address, Action.CREATE)
        session.cancelled(address)
    assert (read_current(client).id, read_current(client).snapshot_id) == (
        before.id,
        before.snapshot_id,
    )
    assert list(client.store.list("")) == keys


def _stored(client: Client) -> list[StoredObject | None]:
    """Return the stored state file and the stored log head."""
    return [client.store.read(key) for key in (KEY, HEAD)[: 1 + client.separate_log]]


@session_case(
    "C13 a changed state has the next serial and the same lineage, and the old snapshot is kept"
)
def _next(connect: Connect) -> None:
    client = connect()
    with new_session(client.store) as session:
        create_tool(session, "a")
    old = client.store.read(KEY)
    first = read_current(client)
    with new_session(client.store) as session:
        create_tool(session, "b")
    second = read_current(client)
    assert second.id == StateId(first.id.lineage, 2) and tool_names(second) == {"a", "b"}
    if not client.separate_log:
        assert not read_history(state_store(client.store))
        return
    (past,) = read_history(state_store(client.store))
    assert past.serial == 1 and load_snapshot(state_store(client.store), past).id == first.id
    kept = client.store.read(past.key)
    assert kept is not None and old is not None and kept.data == old.data


@session_case(
    "C14 if two sessions read the same serial, the second one to claim the state is refused"
)
def _stale(connect: Connect) -> None:
    one, two = connect(), connect()
    with (
        suppress(SupersededError),
        new_session(one.store, claim=False, who="late@there") as late,
    ):
        with new_session(two.store, who="early@here") as early:
            create_tool(early, "a")
        error = expect_error(late.claim, SupersededError)
        assert "writes nothing more" in error.message
    assert tool_names(read_current(one)) == {"a"}


@session_case("C15-C20 a pushed state must have the same lineage and a higher serial, or be forced")
def _push(connect: Connect) -> None:
    client = connect()
    first, second = _create_in_session(client, "a"), _create_in_session(client, "b")
    _push_refused(client, first, second)
    assert _pushed(client, first, force=True) and read_current(client).id == first.id
    last = _create_in_session(client, "d")
    assert last.id.serial == first.id.serial + 1 and tool_names(last) == {"a", "d"}


def _push_refused(client: Client, first: State, second: State) -> None:
    """Push states that are refused while `second` is the current one.

    A push of `second` itself changes nothing.
    """
    assert "older" in expect_error(lambda: _pushed(client, first), StateError).message
    assert _pushed(client, second) == "" and read_current(client).snapshot_id == second.snapshot_id
    other = second.with_entry(entry("c"))
    assert "same serial" in expect_error(lambda: _pushed(client, other), StateError).message
    foreign = replace(second, id=StateId("other", 9))
    assert "lineage" in expect_error(lambda: _pushed(client, foreign), StateError).message
    assert tool_names(read_current(client)) == {"a", "b"}


def _create_in_session(client: Client, name: str) -> State:
    """Create `data.NAME` in a session of its own, and return the state after it."""
    with new_session(client.store) as session:
        create_tool(session, name)
    return read_current(client)


def _pushed(client: Client, state: State, force: bool = False) -> str:
    with new_session(client.store, claim=False) as session:
        return push(session, state, force=force)


@session_case(
    "C19, C21 any state can be pushed to an empty place, and gets a lineage if it has none"
)
def _push_first(connect: Connect) -> None:
    client = connect()
    with new_session(client.store, claim=False) as session:
        push(session, State(StateId("mine", 7)).with_entry(entry("a")))
    assert read_current(client).id == StateId("mine", 7)
    with new_session(client.store, claim=False) as session:
        push(session, State(StateId("", 0)).with_entry(entry("b")))
    assert read_current(client).id == StateId("mine", 8) and tool_names(read_current(client)) == {
        "b"
    }


@session_case("C22 values that a session takes or returns are copies")
def _copies(connect: Connect) -> None:
    client = connect()
    value: dict[str, Value] = {"list": [1]}
    with new_session(client.store) as session:
        create_tool(session, "a", value)
        value["list"] = "changed"
        handed = session.state.entries[Address("data", "a")].options["input"]
        assert isinstance(handed, dict)
        handed["list"] = "changed too"
    assert read_current(client).entries[Address("data", "a")].options == {"input": {"list": [1]}}


@session_case("C23 states that differ only in the order of maps have equal bytes")
def _order(connect: Connect) -> None:
    del connect
    one = State(StateId("l", 1)).with_entry(entry("a", {"x": 1, "y": 2})).with_entry(entry("b"))
    other = State(StateId("l", 1)).with_entry(entry("b")).with_entry(entry("a", {"y": 2, "x": 1}))
    assert encode(one) == encode(other) and decode(encode(one), "here").entries == dict(
        other.entries
    )
