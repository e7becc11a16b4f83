"""Sessions on local stores: the contract, cases outside it, and the cost of a commit."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event as Event_
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.local.store import LocalLocker, LocalStore
from backends.lockers.object import ObjectLocker
from backends.memory import AppendingMemoryStore, MemoryStore
from dtm.testing.clock import FakeClock
from dtm.testing.session import SESSION_CASES, Client, Connect, session_contract
from dtm.testing.session_support import (
    KEY,
    KillableClient,
    ProcessKilled,
    create_tool,
    entry,
    new_session,
    read_current,
    tool_names,
)
from engine.address import Address
from engine.errors import LockError, StateError, StoreError, SupersededError
from engine.events import Event, Notice
from engine.log.state_store import StateStore
from engine.plan import Action
from engine.ports import Store
from engine.runtime.environment import Environment, LogLimits
from engine.secrets.redaction import Redactor
from engine.secrets.sealing import Sealer
from engine.session.locking import break_lock
from engine.session.opening import open_session
from engine.session.reading import read_state
from engine.session.session import SessionOptions
from engine.state import Resource, StateEntry, has_same_content
from engine.values import Secret
from tests.engine.restricted_store import RestrictedStore

T = TypeVar("T")


def place(kind: str, directory: Path) -> Connect:
    if kind == "local":
        return lambda: Client(
            LocalStore(directory), LocalLocker(directory), lambda locker: _close(locker)
        )
    store = MemoryStore("m") if kind != "appending" else AppendingMemoryStore("m")
    if kind == "inline":
        return lambda: Client(
            RestrictedStore(store, KEY, f"{KEY}.lock"), ObjectLocker(store), separate_log=False
        )
    return lambda: Client(store, ObjectLocker(store))


def _close(locker: object) -> None:
    assert isinstance(locker, LocalLocker)
    locker.close()


@pytest.mark.parametrize("case", list(SESSION_CASES), ids=str)
@pytest.mark.parametrize("kind", ["memory", "appending", "inline", "local"])
def test_session_contract(kind: str, case: str, tmp_path: Path) -> None:
    SESSION_CASES[case](place(kind, tmp_path))


def test_the_contract_names_the_case_that_fails(tmp_path: Path) -> None:
    class Forgetful(MemoryStore):
        def write(self, key: str, data: bytes, *, expect: str | None) -> str:
            return "1"

    def broken() -> Client:
        store = Forgetful("m")
        return Client(store, ObjectLocker(store))

    with pytest.raises(AssertionError, match="C24"):
        session_contract(lambda: broken)


steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["create", "update", "delete", "failed", "cancelled", "moved", "outputs", "flush"]
        ),
        st.integers(0, 3),
        st.integers(0, 9),
    ),
    max_size=12,
)


@given(steps, st.booleans(), st.booleans())
def test_a_reader_sees_the_state_that_the_session_shows(
    found: list[tuple[str, int, int]], appending: bool, background: bool
) -> None:
    store = AppendingMemoryStore("m") if appending else MemoryStore("m")
    environment = Environment(
        limits=LogLimits(chunk_after=300, compact_after=900), background=background
    )
    fresh = itertools.count(100)
    with new_session(store, environment=environment) as session:
        for kind, which, value in found:
            made = entry(f"n{which}", value)
            present = made.address in session.state.entries
            if kind == "flush":
                session.flush()
                assert has_same_content(read_state(StateStore(store, KEY)).state, session.state)
            elif kind == "outputs":
                session.set_outputs({"n": value})
            elif kind == "moved":
                if present:
                    session.moved(made.address, entry(f"n{next(fresh)}", value))
            else:
                session.begin(
                    made.address,
                    Action(kind) if kind in ("create", "update", "delete") else Action.UPDATE,
                    entry=made,
                )
                if kind == "failed":
                    session.failed(made.address, "no", made if value % 2 else None)
                elif kind == "cancelled":
                    session.cancelled(made.address)
                elif value < 8:
                    session.done(made.address, None if kind == "delete" else made)
        session.flush()
        assert has_same_content(read_state(StateStore(store, KEY)).state, session.state)
        last = session.state
    assert has_same_content(read_state(StateStore(store, KEY)).state, last)


def test_the_next_run_waits_one_lease_for_a_killed_session(tmp_path: Path) -> None:
    client, clock, heard = place("memory", tmp_path)(), itertools.count(), list[Event]()
    killable = KillableClient(client)
    with suppress(BaseException), new_session(killable.store) as session:
        session.begin(Address("data", "a"), Action.CREATE).wait()
        killable.kill()
    environment = Environment(clock=lambda: float(next(clock)), sleep=lambda _: None)
    with new_session(client.store, lease=30, environment=environment, emit=heard.append):
        pass
    assert next(clock) > 30
    assert any(
        isinstance(event, Notice) and "see whether it is still running" in event.message
        for event in heard
    )


@pytest.mark.parametrize(
    ("theirs", "ours", "waited"), [(30, 1, 30), (1, 30, 30), (1e9, 5, 5), (-1, 5, 5)]
)
@pytest.mark.parametrize("locked", [True, False])
def test_a_session_without_a_lock_is_waited_for_the_longer_lease(
    theirs: float, ours: float, waited: float, locked: bool
) -> None:
    store = MemoryStore("m")
    locker, clock, dead = (
        ObjectLocker(store),
        FakeClock(),
        KillableClient(Client(store, ObjectLocker(store))),
    )
    with (
        suppress(BaseException),
        new_session(dead.store, locker if locked else None, lease=theirs) as session,
    ):
        session.begin(Address("data", "a"), Action.CREATE).wait()
        dead.kill()
    if locker.read(KEY):
        break_lock(locker, KEY, session.id)
    with new_session(
        store,
        locker if locked else None,
        lease=ours,
        environment=Environment(clock=clock, sleep=clock.sleep),
    ):
        assert waited <= clock() <= waited * 1.2


def test_the_wait_ends_with_the_session() -> None:
    store, clock = MemoryStore("m"), FakeClock()
    with ExitStack() as work:
        session = work.enter_context(new_session(store, lease=30))
        session.begin(Address("data", "a"), Action.CREATE).wait()

        def end() -> None:
            session.done(Address("data", "a"), entry("a"))
            work.close()

        clock.call_later(4, end)
        with new_session(
            store, lease=1, environment=Environment(clock=clock, sleep=clock.sleep)
        ) as later:
            assert clock() < 10 and Address("data", "a") in later.state.entries


def test_without_a_lock_the_lease_of_the_writer_counts() -> None:
    store, clock = MemoryStore("m"), FakeClock()
    environment = Environment(clock=clock, sleep=clock.sleep, date=lambda: clock.now())
    with new_session(store, lease=60, environment=environment) as session:
        session.begin(Address("data", "a"), Action.CREATE).wait()
        clock.sleep(50)
        assert read_state(StateStore(store, KEY, environment), lease=1).active_session == session.id
        clock.sleep(20)
        assert not read_state(StateStore(store, KEY, environment), lease=1).active_session


def test_a_log_that_still_changes_is_not_taken_over(tmp_path: Path) -> None:
    store = MemoryStore("m")
    with new_session(store, who="busy@there") as busy:
        busy.begin(Address("data", "a"), Action.CREATE).wait()
        clock, numbers = itertools.count(), itertools.count()

        def sleep(_: float) -> None:
            busy.begin(Address("data", f"n{next(numbers)}"), Action.CREATE).wait()

        environment = Environment(clock=lambda: float(next(clock)), sleep=sleep)
        with (
            pytest.raises(LockError, match="busy@there is running dtm apply"),
            new_session(store, lease=10, environment=environment),
        ):
            pass


def test_readers_go_on_while_a_session_compacts() -> None:
    store = MemoryStore("m")
    with new_session(
        store,
        environment=Environment(
            limits=LogLimits(chunk_after=500, compact_after=1000), background=False
        ),
    ) as session:
        for number in range(40):
            create_tool(session, f"n{number}")
            reading = read_state(StateStore(store, KEY))
            assert len(reading.state.entries) == number + 1 and reading.in_progress.startswith(
                "me@here"
            )
        assert read_state(StateStore(store, KEY)).state.id.serial > 1
        session.begin(Address("data", "n0"), Action.UPDATE).wait()
    assert read_current(Client(store, ObjectLocker(store))).entries[Address("data", "n0")].pending


def _lose_the_lock(store: Store, locker: ObjectLocker) -> None:
    with new_session(store, locker, lease=0.03) as session:
        session.begin(
            Address("data", "a"), Action.CREATE, entry=replace(entry("a"), resource=None)
        ).wait()
        while session.lost is None:
            found = locker.read(KEY)
            with suppress(LockError):
                if found is not None:
                    locker.remove(KEY, expect=found)
        with pytest.raises(SupersededError):
            session.begin(Address("data", "b"), Action.CREATE)
        session.done(Address("data", "a"), entry("a")).wait()


def test_a_lost_lock_stops_new_work_but_keeps_the_outcomes() -> None:
    store = MemoryStore("m")
    with pytest.raises(SupersededError):
        _lose_the_lock(store, ObjectLocker(store))
    assert read_state(StateStore(store, KEY)).state.entries[Address("data", "a")] == entry("a")


def _fail_while_superseded(store: Store, emit: Callable[[Event], None]) -> None:
    with new_session(
        store, emit=emit, environment=Environment(save_fallback=lambda name, _: name)
    ) as slow:
        with new_session(store) as quick:
            create_tool(quick, "b")
        slow.done(Address("data", "a"), entry("a"))
        raise ZeroDivisionError


def test_an_error_of_the_body_is_raised_and_the_rescue_reported() -> None:
    heard: list[Event] = []
    with pytest.raises(ZeroDivisionError):
        _fail_while_superseded(MemoryStore("m"), heard.append)
    (notice,) = [event for event in heard if isinstance(event, Notice)]
    assert (
        notice.level == "error"
        and "taken over by me@here" in notice.message
        and "dtm state recover" in notice.hint
    )


def test_nothing_is_recorded_before_the_claim() -> None:
    with (
        new_session(MemoryStore("m"), claim=False) as session,
        pytest.raises(StateError, match="claimed"),
    ):
        session.begin(Address("data", "a"), Action.CREATE)


def test_unchanged_outputs_are_not_recorded() -> None:
    store = MemoryStore("m")
    with new_session(store) as session:
        session.set_outputs({"a": 1}).wait()
        before = store.read(f"{KEY}.log")
        session.set_outputs({"a": 1}).wait()
        assert store.read(f"{KEY}.log") == before


def test_an_operation_keeps_its_token_over_several_crashes() -> None:
    store, made, other = MemoryStore("m"), entry("a", 1), entry("b", 1)
    tokens: list[str] = []

    def begun(address: Address) -> str:
        pending = session.state.entries[address].pending
        assert pending is not None
        return pending.token

    for run in range(4):
        with new_session(store) as session:
            session.begin(made.address, Action.CREATE, entry=made)
            tokens.append(begun(made.address))
            if run == 1:
                session.failed(made.address, "no")
    assert len(set(tokens)) == 1
    with new_session(store) as session:
        assert begun(made.address) == tokens[0]
        session.done(made.address, made)
        session.begin(made.address, Action.UPDATE)
        session.begin(other.address, Action.CREATE, entry=other)
        assert len({tokens[0], begun(made.address), begun(other.address)}) == 3


def test_known_secrets_are_redacted_in_texts_of_providers() -> None:
    store, redactor = MemoryStore("m"), Redactor()
    redactor.add(Secret("hunter22", ("env T",)))
    made = StateEntry(Address("data", "a"), (), {}, Resource("a", {"url": "https://hunter22@x"}))
    with open_session(
        StateStore(store, KEY),
        None,
        SessionOptions("apply", "me", "0", redactor=redactor),
        lambda _: None,
    ) as session:
        session.claim()
        session.begin(made.address, Action.CREATE)
        session.failed(made.address, "denied for hunter22", made)
    state = read_state(StateStore(store, KEY)).state
    found = state.entries[made.address]
    assert found.pending is not None and found.pending.message == "denied for (sensitive)"
    assert found.resource is not None
    assert found.resource.attributes == Sealer(state.salt).seal_map(
        {"url": Secret("https://hunter22@x", ("env T",))}, made.address, ("resource",)
    )


def test_replace_writes_the_next_serial_unless_content_is_equal() -> None:
    store = MemoryStore("m")
    with new_session(store) as session:
        create_tool(session, "a")
    with new_session(store) as session:
        before = store.read(KEY)
        session.replace(session.state)
        assert store.read(KEY) == before
        session.replace(session.state.without_entry(Address("data", "a")).with_entry(entry("b")))
        assert session.state.id.serial == 2
    state = read_state(StateStore(store, KEY)).state
    assert tool_names(state) == {"b"} and state.id.serial == 2


@pytest.mark.parametrize("name", ["devstream.state", "deep.json"])
def test_home_is_the_url_of_the_state_file(name: str, tmp_path: Path) -> None:
    store: Store = LocalStore(tmp_path)
    assert read_state(StateStore(store, name)).location == f"file://{tmp_path}/{name}"


def test_the_retry_policy_is_used_for_every_call() -> None:
    asked: list[object] = []

    class Counting(Environment, frozen=True):
        def retry(self, call: Callable[[], T]) -> T:
            asked.append(call)
            return call()

    with new_session(MemoryStore("m"), environment=Counting()) as session:
        create_tool(session, "a")
    assert len(asked) > 5


def _between(killable: KillableClient, act: Callable[[], None]) -> None:
    """Call `act` right before the next write of the snapshot."""

    def before(key: str) -> None:
        if key == KEY:
            killable.store.before = lambda _: None
            act()

    killable.store.before = before


@pytest.mark.parametrize("finished", [True, False])
def test_a_superseded_replacement_changes_nothing(finished: bool) -> None:
    """The next session finishes the compaction with the old content; the slow one is refused."""
    store = MemoryStore("m")
    with new_session(store) as session:
        create_tool(session, "a")
    client = Client(store, ObjectLocker(store))
    killable, other = KillableClient(client), KillableClient(client)

    def supersede() -> None:
        if not finished:  # the other session dies between snapshot and head
            other.store.after = lambda key: other.kill() if key == KEY else None
        with suppress(ProcessKilled), new_session(other.store) as quick:
            create_tool(quick, "b")

    def replace_all() -> None:
        with new_session(killable.store) as slow:
            _between(killable, supersede)
            slow.replace(slow.state.with_entry(entry("c")).without_entry(Address("data", "a")))

    with pytest.raises(SupersededError):
        replace_all()
    assert tool_names(read_state(StateStore(store, KEY)).state) == (
        {"a", "b"} if finished else {"a"}
    )
    with new_session(store) as session:
        create_tool(session, "d")
    assert "d" in tool_names(read_state(StateStore(store, KEY)).state)


def test_a_foreign_snapshot_during_compaction_loses_no_record() -> None:
    store = MemoryStore("m")
    killable = KillableClient(Client(store, ObjectLocker(store)))
    with new_session(store) as session:
        create_tool(session, "a")

    with new_session(killable.store) as session:
        create_tool(session, "b")
        _between(killable, lambda: _write_by_hand(store))
    reading = read_state(StateStore(store, KEY))
    assert "replaced by other means" in reading.notice and tool_names(reading.state) == {"a"}
    with new_session(store) as session:
        create_tool(session, "c")
    assert b"data_b" in _saved_log(store)


def _sealed(client: Client) -> None:
    """Leave a state whose last run died after sealing the log, before writing the snapshot."""
    killable = KillableClient(client)

    def die(key: str) -> None:
        if key == KEY:
            killable.kill()

    with suppress(ProcessKilled), new_session(killable.store) as session:
        create_tool(session, "b")
        killable.store.before = die


def test_a_foreign_snapshot_over_a_sealed_log_keeps_the_records() -> None:
    store = MemoryStore("m")
    client = Client(store, ObjectLocker(store))
    with new_session(store) as session:
        create_tool(session, "a")
    _sealed(client)
    _write_by_hand(store)
    assert "replaced by other means" in read_state(StateStore(store, KEY)).notice
    with new_session(store, lease=0) as session:
        create_tool(session, "c")
    assert (
        tool_names(read_state(StateStore(store, KEY)).state) == {"a", "c"}
        and not read_state(StateStore(store, KEY)).notice
    )
    assert b"data_b" in _saved_log(store)


def test_a_foreign_snapshot_while_a_compaction_is_finished() -> None:
    store = MemoryStore("m")
    client = Client(store, ObjectLocker(store))
    with new_session(store) as session:
        create_tool(session, "a")
    _sealed(client)
    finisher = KillableClient(client)

    def finish() -> None:
        with new_session(finisher.store, claim=False, lease=0) as session:
            assert tool_names(session.state) == {"a", "b"}
            _between(finisher, lambda: _write_by_hand(store))
            session.claim()

    with pytest.raises(SupersededError):
        finish()
    with new_session(store, lease=0) as session:
        create_tool(session, "c")
    assert tool_names(read_state(StateStore(store, KEY)).state) == {"a", "c"}
    assert b"data_b" in _saved_log(store)


def _write_by_hand(store: Store) -> None:
    found = store.read(KEY)
    assert found is not None
    store.write(KEY, found.data.replace(b'"id": "', b'"id": "0'), expect=found.version)


def _saved_log(store: Store) -> bytes:
    (kept,) = store.list(f"{KEY}.history/log-")
    found = store.read(kept)
    assert found is not None
    return found.data


class SlowChunks(MemoryStore):
    """A store that delays chunks until the test releases them."""

    def __init__(self) -> None:
        super().__init__("m")
        self.go, self.asked = Event_(), Event_()

    def write(self, key: str, data: bytes, *, expect: str | None) -> str:
        if ".log.d/" in key:
            self.asked.set()
            assert self.go.wait(20)
        return super().write(key, data, expect=expect)


def test_commits_go_on_while_a_chunk_is_written() -> None:
    store = SlowChunks()
    with new_session(store, environment=Environment(limits=LogLimits(chunk_after=3000))) as session:
        number = 0
        while not store.asked.is_set():
            create_tool(session, f"n{number}")
            number += 1
        create_tool(session, "meanwhile")
        assert (
            not list(store.list(f"{KEY}.log.d/"))
            and len(read_state(StateStore(store, KEY)).state.entries) == number + 1
        )
        store.go.set()
        while not list(store.list(f"{KEY}.log.d/")):
            time.sleep(0.001)
        create_tool(session, "after")
        create_tool(session, "later")
        head = store.read(f"{KEY}.log")
        assert head is not None and b'"chunks":["' in head.data and b"data_n0" not in head.data
        assert len(read_state(StateStore(store, KEY)).state.entries) == number + 3
    assert len(read_state(StateStore(store, KEY)).state.entries) == number + 3 and not list(
        store.list(f"{KEY}.log.d/")
    )


def test_a_failed_chunk_write_stops_the_run_with_the_reason() -> None:
    class Full(MemoryStore):
        def write(self, key: str, data: bytes, *, expect: str | None) -> str:
            if ".log.d/" in key:
                raise StoreError("no space left")
            return super().write(key, data, expect=expect)

    store = Full("m")

    def work() -> None:
        with new_session(
            store,
            environment=Environment(
                limits=LogLimits(chunk_after=1000), save_fallback=lambda name, _: name
            ),
        ) as session:
            for number in range(100):
                create_tool(session, f"n{number}")

    with pytest.raises(StoreError, match="no space left"):
        work()
    assert 0 < len(read_state(StateStore(store, KEY)).state.entries) < 100
