"""The inline log, moving the log, and settings that contradict the placement."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

import pytest
from msgspec.structs import replace

from backends.lockers.object import ObjectLocker
from backends.memory import AppendingMemoryStore, MemoryStore
from dtm.testing.session_crash import DEVSTREAM
from dtm.testing.session_support import (
    KEY,
    Client,
    KillableClient,
    ProcessKilled,
    create_tool,
    entry,
    tool_names,
)
from engine.address import Address
from engine.errors import StateError, StoreAccessError, SupersededError
from engine.events import Event, Notice
from engine.log.history import read_history
from engine.log.state_store import AUTO, INLINE, SEPARATE, StateStore
from engine.plan import Action
from engine.ports import Store
from engine.runtime.environment import Environment, LogLimits
from engine.session.locking import LockOptions
from engine.session.opening import open_session
from engine.session.reading import read_state
from engine.session.replacing import push
from engine.session.session import Session, SessionOptions
from engine.state import has_same_content
from engine.stored.state_file import decode, encode
from tests.engine.restricted_store import RestrictedStore

LOG = f"{KEY}.log"


def new_session(
    store: Store,
    log: str,
    emit: Callable[[Event], None] = lambda _: None,
    environment: Environment | None = None,
) -> AbstractContextManager[Session]:
    return open_session(
        StateStore(
            store, KEY, environment or Environment(save_fallback=lambda name, _: name), log=log
        ),
        None,
        SessionOptions("apply", "me@here", "0", lock=LockOptions(lease=0)),
        emit,
    )


def run(store: Store, log: str, *made: str, emit: Callable[[Event], None] = lambda _: None) -> None:
    with new_session(store, log, emit) as session:
        session.claim()
        for name in made:
            create_tool(session, name)


def inside(store: Store) -> bool:
    found = store.read(KEY)
    return found is not None and b'\n  "log": ' in found.data


def test_inline_touches_no_object_but_the_state_file() -> None:
    place = MemoryStore("m")
    store = RestrictedStore(place, KEY)
    run(store, INLINE, "a", "b")
    run(store, INLINE, "c")
    with new_session(store, INLINE) as session:
        push(session, session.state.without_entry(Address("data", "c")), force=True)
    assert tool_names(read_state(StateStore(store, KEY, log=INLINE)).state) == {"a", "b"}
    assert store.denied == [] and list(place.list("")) == [KEY]


def test_a_denied_log_stays_inline_with_one_warning() -> None:
    place, heard = MemoryStore("m"), list[Event]()
    store = RestrictedStore(place, KEY)
    run(store, AUTO, "a", emit=heard.append)
    (notice,) = [event for event in heard if isinstance(event, Notice)]
    assert (
        notice.level == "warning"
        and f"{LOG}*" in notice.hint
        and f"may not write memfs://m/{LOG}" in notice.message
    )
    run(store, AUTO, "b", emit=heard.append)
    assert (
        len(heard) == 1
        and inside(place)
        and tool_names(read_state(StateStore(store, KEY)).state) == {"a", "b"}
    )


def test_a_user_with_more_access_leaves_an_inline_log_alone() -> None:
    place = MemoryStore("m")
    run(RestrictedStore(place, KEY), AUTO, "a")
    run(place, AUTO, "b")
    assert inside(place) and tool_names(
        read_state(StateStore(RestrictedStore(place, KEY), KEY)).state
    ) == {
        "a",
        "b",
    }


def test_denied_access_to_a_separate_log_names_the_next_step() -> None:
    place = MemoryStore("m")
    run(place, AUTO, "a")
    for log in (AUTO, INLINE):
        with pytest.raises(StoreAccessError) as denied:
            run(RestrictedStore(place, KEY), log, "b")
        assert "dtm state move-log inline" in denied.value.hint
    assert tool_names(read_state(StateStore(place, KEY)).state) == {"a"}


def test_a_required_separate_log_never_falls_back_to_inline() -> None:
    with pytest.raises(StoreAccessError):
        run(RestrictedStore(MemoryStore("m"), KEY), SEPARATE, "a")


def move(store: Store, log: str, name: str = "") -> bool:
    """Move the log, and create a tool in the same session."""
    with new_session(store, AUTO) as session:
        moved = session.move_log(log)
        if moved and name:
            create_tool(session, name)
        return moved


@pytest.mark.parametrize(
    "store", [MemoryStore("m"), AppendingMemoryStore("m")], ids=["swapping", "appending"]
)
def test_move_log_moves_the_log_in_both_directions(store: Store) -> None:
    run(store, AUTO, "n0")
    for number, log in enumerate([INLINE, INLINE, SEPARATE, INLINE, SEPARATE, SEPARATE], 1):
        before = inside(store)
        assert move(store, log, f"m{number}") is (before is not (log == INLINE))
        assert inside(store) is (log == INLINE)
        run(store, AUTO, f"n{number}")
        assert inside(store) is (log == INLINE)
        for reader in (AUTO, SEPARATE, INLINE):
            found = tool_names(read_state(StateStore(store, KEY, log=reader)).state)
            assert {f"n{earlier}" for earlier in range(number + 1)} <= found
    assert {"m1", "m3", "m4", "m5"} <= tool_names(read_state(StateStore(store, KEY)).state)


def test_a_placed_log_stays_even_without_any_record() -> None:
    store = MemoryStore("m")
    run(store, INLINE)
    run(store, AUTO, "a")
    assert inside(store)


def test_a_dead_first_session_does_not_prevent_a_move() -> None:
    store = MemoryStore("m")
    killable = KillableClient(Client(store, ObjectLocker(store)))
    killable.store.after = lambda key: killable.kill() if key == KEY else None
    with suppress(ProcessKilled), new_session(killable.store, AUTO) as session:
        session.claim()
    assert inside(store)
    assert move(store, INLINE)
    run(store, AUTO, "a")
    assert inside(store)


def test_moving_the_log_needs_an_undamaged_state() -> None:
    store = MemoryStore("m")
    with (
        new_session(store, AUTO) as session,
        pytest.raises(StateError, match="there is no state at"),
    ):
        session.move_log(INLINE)
    assert not list(store.list(""))
    store.write(KEY, b"junk", expect=None)
    for log in (INLINE, SEPARATE):
        for dry_run in (False, True):
            with (
                new_session(store, AUTO) as session,
                pytest.raises(StateError, match="not a valid state file"),
            ):
                session.move_log(log, dry_run=dry_run)


def test_a_reader_learns_that_its_settings_contradict_the_state() -> None:
    store = MemoryStore("m")
    run(store, SEPARATE, "a")
    assert read_state(StateStore(store, KEY)).refusal is None
    refusal = read_state(StateStore(store, KEY, log=INLINE)).refusal
    assert refusal is not None and "dtm state move-log inline" in refusal.hint


def test_moving_alone_changes_neither_tools_nor_serial() -> None:
    store = MemoryStore("m")
    run(store, AUTO, "a")
    before = read_state(StateStore(store, KEY)).state
    for log in (INLINE, SEPARATE):
        assert move(store, log)
        after = read_state(StateStore(store, KEY)).state
        assert has_same_content(after, before) and after.id == before.id


def test_a_dry_run_of_a_move_writes_nothing() -> None:
    store = MemoryStore("m")
    run(store, AUTO, "a")
    before = [store.read(key) for key in store.list("")]
    with new_session(store, AUTO) as session:
        assert session.move_log(INLINE, dry_run=True) and not session.move_log(
            SEPARATE, dry_run=True
        )
    assert [store.read(key) for key in store.list("")] == before


@pytest.mark.parametrize(("there", "asked"), [(INLINE, SEPARATE), (SEPARATE, INLINE)])
def test_a_setting_that_contradicts_the_placement_is_refused(there: str, asked: str) -> None:
    store = MemoryStore("m")
    run(store, there, "a")
    with pytest.raises(StateError, match=f"state.log is {asked}") as refused:
        run(store, asked, "b")
    assert f"dtm state move-log {asked}" in refused.value.hint
    assert tool_names(read_state(StateStore(store, KEY)).state) == {"a"} and inside(store) is (
        there == INLINE
    )


@pytest.mark.parametrize("log", [SEPARATE, INLINE])
def test_what_a_killed_run_recorded_survives_a_move(log: str) -> None:
    store = MemoryStore("m")
    killable = KillableClient(Client(store, ObjectLocker(store)))
    run(store, log, "a")
    with suppress(ProcessKilled), new_session(killable.store, log) as session:
        session.claim()
        create_tool(session, "b")
        session.begin(Address("data", "c"), Action.CREATE).wait()
        killable.kill()
    assert move(store, INLINE if log == SEPARATE else SEPARATE, "d")
    state = read_state(StateStore(store, KEY)).state
    assert tool_names(state) == {"a", "b", "c", "d"} and state.entries[Address("data", "c")].pending


@pytest.mark.parametrize("call", range(1, 8))
@pytest.mark.parametrize("log", [SEPARATE, INLINE])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_while_the_log_moves_loses_nothing(log: str, call: int, after: bool) -> None:
    store, writes = MemoryStore("m"), 0
    killable = KillableClient(Client(store, ObjectLocker(store)))
    run(store, INLINE if log == SEPARATE else SEPARATE, "a", "b")

    def count(_key: str) -> None:
        nonlocal writes
        writes += 1
        if writes == call:
            killable.kill()

    if after:
        killable.store.after = count
    else:
        killable.store.before = count
    alone = Environment(background=False)
    with (
        suppress(ProcessKilled),
        new_session(killable.store, AUTO, environment=alone) as session,
    ):
        session.move_log(log)
        create_tool(session, "c")
    run(store, AUTO, "d")
    found = tool_names(read_state(StateStore(store, KEY)).state)
    assert {"a", "b", "d"} <= found <= {"a", "b", "c", "d"}


@pytest.mark.parametrize("slow", [SEPARATE, INLINE])
@pytest.mark.parametrize("moves", [False, True], ids=["stays", "moves"])
def test_a_superseded_session_is_refused(slow: str, moves: bool) -> None:
    store = MemoryStore("m")
    run(store, slow, "a")

    def late() -> None:
        with new_session(store, slow) as session:
            session.claim()
            create_tool(session, "b")
            if moves:
                move(store, INLINE if slow == SEPARATE else SEPARATE, "c")
            else:
                run(store, AUTO, "c")
            session.begin(Address("data", "d"), Action.CREATE).wait()

    with pytest.raises(SupersededError, match="me@here"):
        late()
    assert tool_names(read_state(StateStore(store, KEY)).state) == {"a", "b", "c"}


@pytest.mark.parametrize("log", [AUTO, INLINE])
@pytest.mark.parametrize("call", range(1, 6))
def test_records_of_another_snapshot_are_never_applied(log: str, call: int) -> None:
    """Write a snapshot by hand, then kill the session that claims it."""
    store = MemoryStore("m")
    run(store, SEPARATE, "a")
    kept = store.read(KEY)
    assert kept is not None
    killable = KillableClient(Client(store, ObjectLocker(store)))
    with suppress(ProcessKilled), new_session(killable.store, AUTO) as session:
        session.claim()
        create_tool(session, "foreign")
        killable.kill()
    other = decode(kept.data, "").with_entry(entry("mine"))
    data = encode(replace(other, snapshot_id="f" * 32))
    found = store.read(KEY)
    store.write(KEY, data, expect=found.version if found else None)
    claiming, writes = KillableClient(Client(store, ObjectLocker(store))), 0

    def count(_key: str) -> None:
        nonlocal writes
        writes += 1
        if writes == call:
            claiming.kill()

    claiming.store.after = count
    with suppress(ProcessKilled), new_session(claiming.store, log) as session:
        session.claim()
    assert tool_names(read_state(StateStore(store, KEY)).state) == {"a", "mine"}
    run(store, AUTO, "b")
    assert tool_names(read_state(StateStore(store, KEY)).state) == {"a", "mine", "b"}


def test_each_commit_is_one_write_and_records_travel_together() -> None:
    store, writes = MemoryStore("m"), list[str]()
    killable = KillableClient(Client(store, ObjectLocker(store)))
    killable.store.before = writes.append
    with new_session(killable.store, INLINE, environment=Environment(background=False)) as session:
        session.claim()
        writes.clear()
        _many(session, 50)
        assert writes == [KEY]
    assert writes == [KEY, KEY] and len(read_state(StateStore(store, KEY)).state.entries) == 50


def _many(session: Session, count: int) -> None:
    for number in range(count):
        made = entry(f"n{number}")
        session.begin(made.address, Action.CREATE, entry=made)
        session.done(made.address, made)
    session.flush()


def test_a_long_inline_log_is_compacted_during_the_session() -> None:
    store = MemoryStore("m")
    with new_session(
        store,
        INLINE,
        environment=Environment(
            limits=LogLimits(chunk_after=100, compact_after=2000), background=False
        ),
    ) as session:
        session.claim()
        for number in range(40):
            create_tool(session, f"n{number}")
        found = store.read(KEY)
        assert found is not None and len(json.loads(found.data)["log"]["records"]) < 40
        assert read_state(StateStore(store, KEY)).in_progress.startswith("me@here")
    assert read_state(StateStore(store, KEY)).state.id.serial > 2 and list(store.list("")) == [KEY]


def test_the_state_file_is_complete_only_between_runs() -> None:
    store = MemoryStore("m")
    with new_session(store, INLINE) as session:
        session.claim()
        create_tool(session, "a")
        found = store.read(KEY)
        assert found is not None
        with pytest.raises(StateError, match="copied during a run"):
            decode(found.data, "a copy")
        assert list(json.loads(found.data)) == sorted(json.loads(found.data))
    found = store.read(KEY)
    assert found is not None
    assert has_same_content(decode(found.data, "a copy"), read_state(StateStore(store, KEY)).state)
    assert b'"log"' not in encode(read_state(StateStore(store, KEY)).state)


def test_a_state_file_reformatted_during_a_run_is_still_read() -> None:
    store = MemoryStore("m")
    killable = KillableClient(Client(store, ObjectLocker(store)))
    with suppress(ProcessKilled), new_session(killable.store, INLINE) as session:
        session.claim()
        create_tool(session, "a")
        killable.kill()
    found = store.read(KEY)
    assert found is not None
    store.write(KEY, json.dumps(json.loads(found.data), indent=4).encode(), expect=found.version)
    run(store, INLINE, "b")
    assert tool_names(read_state(StateStore(store, KEY)).state) == {"a", "b"}


def test_foreign_content_is_saved_locally_without_a_history() -> None:
    store, saved, heard = MemoryStore("m"), dict[str, bytes](), list[Event]()
    store.write(KEY, DEVSTREAM, expect=None)
    environment = Environment(
        save_fallback=lambda name, data: f"/there/{name}" if saved.setdefault(name, data) else ""
    )
    with new_session(RestrictedStore(store, KEY), INLINE, heard.append, environment) as session:
        session.claim()
        create_tool(session, "b")
    ((name, data),) = saved.items()
    assert data == DEVSTREAM and name.startswith("replaced-0-")
    assert [event.message for event in heard if isinstance(event, Notice)] == [
        f"the previous content of memfs://m/{KEY} was saved to /there/{name}"
    ]
    assert tool_names(read_state(StateStore(store, KEY)).state) == {"a", "b"} and not read_history(
        StateStore(store, KEY)
    )


@pytest.mark.parametrize("log", [INLINE, AUTO])
def test_a_damaged_state_file_is_only_replaced_as_a_whole(log: str) -> None:
    store, saved = MemoryStore("m"), dict[str, bytes]()
    run(store, INLINE, "a")
    found = store.read(KEY)
    assert found is not None
    good = decode(found.data, "")
    store.write(KEY, b'{"format": 1, "tools": {', expect=found.version)
    environment = Environment(
        save_fallback=lambda name, data: name if saved.setdefault(name, data) else ""
    )
    with (
        suppress(ZeroDivisionError),
        new_session(store, log, environment=environment) as session,
    ):
        assert session.damage
        session.claim(repair=True)
        raise ZeroDivisionError
    now = store.read(KEY)
    assert now is not None and now.data == b'{"format": 1, "tools": {'
    with new_session(store, log, environment=environment) as session:
        push(session, good, force=True)
    assert tool_names(read_state(StateStore(store, KEY)).state) == {"a"}
    kept = [
        *saved.values(),
        *(found.data for key in store.list(f"{KEY}.history/") if (found := store.read(key))),
    ]
    assert b'{"format": 1, "tools": {' in kept
