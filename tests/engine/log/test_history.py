"""The history: which snapshots are kept, what they contain, which are pruned."""

from __future__ import annotations

from typing import ClassVar

import pytest

from backends.memory import MemoryStore
from dtm.testing.session_support import KEY, create_tool, entry, new_session, tool_names
from engine.errors import StateError
from engine.log.history import load_snapshot, prune_history, read_history
from engine.log.state_store import StateStore
from engine.ports import StoredObject
from engine.session.reading import read_state
from engine.session.replacing import push


def test_each_change_adds_a_snapshot_and_the_31st_deletes_one() -> None:
    store = MemoryStore("m")
    for number in range(32):
        with new_session(store) as session:
            create_tool(session, f"n{number}")
    found = read_history(StateStore(store, KEY))
    assert [past.serial for past in found] == list(range(2, 32))
    assert (
        len(load_snapshot(StateStore(store, KEY), found[0]).entries) == 2
        and load_snapshot(StateStore(store, KEY), found[0]).writer.who == "me@here"
    )


def test_pruning_goes_by_age_after_a_push_of_a_lower_serial() -> None:
    store = MemoryStore("m")
    for number in range(5):
        with new_session(store) as session:
            create_tool(session, f"n{number}")
    old = load_snapshot(StateStore(store, KEY), read_history(StateStore(store, KEY))[0])
    with new_session(store, claim=False) as session:
        push(session, old, force=True)
    for number in range(3):
        with new_session(store, history=3) as session:
            create_tool(session, f"m{number}")
    kept = [
        tool_names(load_snapshot(StateStore(store, KEY), past))
        for past in read_history(StateStore(store, KEY))
    ]
    assert {"n0", "m0", "m1"} in kept and {"n0", "m0"} in kept and len(kept) == 3
    assert tool_names(read_state(StateStore(store, KEY)).state) == {"n0", "m0", "m1", "m2"}


def test_other_keys_are_neither_listed_nor_deleted() -> None:
    store = MemoryStore("m")
    store.write(f"{KEY}.history/notes.txt", b"mine", expect=None)
    store.write(f"{KEY}2.history/1-aaaaaaaa", b"another state's", expect=None)
    with new_session(store) as session:
        create_tool(session, "a")
    prune_history(StateStore(store, KEY), 0, 1)
    assert read_history(StateStore(store, KEY)) == () and len(list(store.list(f"{KEY}"))) == 4


def test_pruning_by_serial_reads_no_snapshot() -> None:
    class Watched(MemoryStore):
        reads: ClassVar[list[str]] = []

        def read(self, key: str) -> StoredObject | None:
            self.reads.append(key)
            return super().read(key)

    store = Watched("m")
    for number in range(4):
        with new_session(store, history=1) as session:
            create_tool(session, f"n{number}")
    assert (
        not [key for key in Watched.reads if ".history/" in key]
        and len(read_history(StateStore(store, KEY))) == 1
    )


def test_loading_a_deleted_snapshot_is_an_error() -> None:
    store = MemoryStore("m")
    for name in ("a", "b"):
        with new_session(store) as session:
            create_tool(session, name)
    (past,) = read_history(StateStore(store, KEY))
    store.delete(past.key)
    with pytest.raises(StateError, match="no longer in the history"):
        load_snapshot(StateStore(store, KEY), past)


def test_a_constructed_entry_equals_a_read_one() -> None:
    store = MemoryStore("m")
    with new_session(store) as session:
        create_tool(session, "a", {"x": [1, 2.5, None]})
    assert read_state(StateStore(store, KEY)).state.entries[entry("a").address] == entry(
        "a", {"x": [1, 2.5, None]}
    )
