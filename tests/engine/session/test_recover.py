"""Outcomes that could not be committed: how they are saved, and how they are applied later."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from msgspec.structs import replace

from backends.memory import MemoryStore
from dtm.testing.clock import FakeClock
from dtm.testing.session_support import KEY, create_tool, entry, new_session, tool_names
from engine.address import Address
from engine.errors import (
    ConflictError,
    OutcomeUnknownError,
    StateError,
    StoreError,
    StoreUnavailableError,
    SupersededError,
)
from engine.log import rescue_file
from engine.log.records import Cancelled, Done, Failed, Moved, OutputsSet, Record
from engine.log.state_store import StateStore
from engine.plan import Action
from engine.ports import StoredObject, Version
from engine.runtime.environment import Environment
from engine.session.reading import read_state
from engine.session.recover import RecoveryResult, recover
from engine.session.replacing import push, successor_problem
from engine.session.session import Session
from engine.state import Resource, State, StateEntry, StateId, WriterInfo
from engine.stored.forms import resource_form, tool_form

A = Address("data", "a")


@pytest.mark.parametrize("data", [b"", b"{}", b"text", b'{"format": 1}'])
def test_other_content_than_a_rescue_file_is_refused(data: bytes) -> None:
    with pytest.raises(StateError, match="not a complete rescue file") as caught:
        rescue_file.decode(data, "here")
    assert caught.value.where == "here" and "dtm plan" in caught.value.hint


def test_a_rescue_file_with_a_newer_format_is_refused() -> None:
    data = rescue_file.encode(rescue_file.RescueFile(2, "l", "s", "where", "then", []))
    with pytest.raises(StateError, match="rescue format 2"):
        rescue_file.decode(data, "here")


def _begun(store: MemoryStore) -> tuple[str, str]:
    """Leave a state in which `a` is begun; return its lineage and the ID of the session."""
    with new_session(store) as session:
        session.begin(A, Action.CREATE, entry=replace(entry("a"), resource=None))
        return session.state.id.lineage, session.id


def _recovered(store: MemoryStore, lineage: str, session: str, record: Record) -> RecoveryResult:
    data = rescue_file.encode(
        rescue_file.RescueFile(1, lineage, session, "where", "then", [record])
    )
    with new_session(store) as again:
        return recover(again, data, "rescue")


FORM = resource_form(entry("a").resource or pytest.fail("it has one"))


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (Done(2, A.key, 1, tool_form(entry("a"))), entry("a")),
        (Done(2, A.key, 1, None, FORM), entry("a")),
        (Done(2, A.key, 1), None),
        (Cancelled(2, A.key, 1), None),
        (Cancelled(2, A.key, 1, tool_form(entry("a"))), entry("a")),
    ],
)
def test_the_outcome_of_a_pending_operation_is_applied(
    record: Record, expected: StateEntry | None
) -> None:
    store = MemoryStore("m")
    found = _recovered(store, *_begun(store), record)
    assert (
        found.applied == (A,)
        and read_state(StateStore(store, KEY)).state.entries.get(A) == expected
    )


def test_a_dry_run_lists_outcomes_and_writes_nothing() -> None:
    store = MemoryStore("m")
    lineage, session = _begun(store)
    before = {key: store.read(key) for key in store.list("")}
    records: list[Record] = [Done(2, A.key, 1, tool_form(entry("a"))), Done(3, "data_b", 1)]
    data = rescue_file.encode(rescue_file.RescueFile(1, lineage, session, "where", "then", records))
    with new_session(store, claim=False) as again:
        found = recover(again, data, "rescue", dry_run=True)
    assert found.applied == (A,) and "data/b" in found.refused[0]
    assert {key: store.read(key) for key in store.list("")} == before


@pytest.mark.parametrize("form", [None, tool_form(entry("a"))])
def test_a_rescued_failure_leaves_the_operation_unfinished(form: object) -> None:
    store = MemoryStore("m")
    record = Failed(2, A.key, 1, "no", tool_form(entry("a")) if form else None)
    assert _recovered(store, *_begun(store), record).applied == (A,)
    found = read_state(StateStore(store, KEY)).state.entries[A]
    assert found.pending is not None and found.pending.message == "no"
    assert (found.resource is not None) == bool(form)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (Done(2, A.key, 7), "another create was started later"),
        (Done(2, A.key, 7, None, FORM), "; the resource data.a may still exist"),
        (Done(2, "data_b", 1), "data/b: no longer in the state"),
        (
            Done(2, "data_b", 1, tool_form(entry("b"))),
            "data/b: no longer in the state; the resource data.b may still exist",
        ),
        (OutputsSet(2, {}), "root outputs: not restored"),
        (Moved(2, A.key, tool_form(entry("b"))), "a move: not restored"),
    ],
)
def test_an_outcome_without_a_pending_operation_changes_nothing(record: Record, says: str) -> None:
    store = MemoryStore("m")
    begun = _begun(store)
    before = store.read(KEY)
    found = _recovered(store, *begun, record)
    assert not found.applied and says in found.refused[0] and store.read(KEY) == before


@pytest.mark.parametrize(
    ("known", "says"),
    [
        (entry("a"), "the state has an outcome already"),
        (
            replace(entry("a"), resource=Resource("other")),
            "the state has the resource other, the rescue file data.a: it may exist twice",
        ),
        (
            replace(entry("a"), resource=Resource("data.a", {"n": 7})),
            "the resource data.a differs from the one in the rescue file: unless it was updated",
        ),
    ],
)
def test_another_outcome_warns_of_a_second_resource(known: StateEntry, says: str) -> None:
    store = MemoryStore("m")
    lineage, session = _begun(store)
    with new_session(store, lease=0) as later:
        later.begin(A, Action.CREATE)
        later.done(A, known)
    (message,) = _recovered(store, lineage, session, Done(2, A.key, 1, None, FORM)).refused
    assert message.startswith("data/a: the state has an outcome already") and says in message
    assert ("twice" in message) == (known != entry("a"))


def test_an_operation_never_begun_is_not_rescued() -> None:
    store, saved = MemoryStore("m"), dict[str, bytes]()

    def save(name: str, data: bytes) -> str:
        saved[name] = data
        return name

    def be_superseded() -> None:
        with new_session(
            store, environment=Environment(save_fallback=save, background=False)
        ) as session:
            session.begin(A, Action.CREATE).wait()
            with new_session(store, lease=0):
                pass
            session.done(A, entry("a"))
            session.begin(Address("data", "b"), Action.CREATE)
            session.cancelled(Address("data", "b"))

    with pytest.raises(SupersededError) as caught:
        be_superseded()
    assert caught.value.hint.startswith("1 outcome was saved to")
    (data,) = saved.values()
    assert [type(record) for record in rescue_file.decode(data, "x").records] == [Done]


class UnansweredStore(MemoryStore):
    """A store whose writes get no answer while it is `down`, and arrive when it is up again."""

    def __init__(self, *, reads: bool) -> None:
        super().__init__("m")
        self.down, self._reads = False, reads
        self.under_way: list[Callable[[], object]] = []

    def read(self, key: str) -> StoredObject | None:
        if self.down and not self._reads:
            raise StoreUnavailableError("no route")
        return super().read(key)

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        if not self.down:
            return super().write(key, data, expect=expect)
        self.under_way.append(lambda: super(UnansweredStore, self).write(key, data, expect=expect))
        raise OutcomeUnknownError("no answer")

    def up(self, *, arrives: bool) -> None:
        self.down = False
        for write in self.under_way if arrives else ():
            with suppress(ConflictError):
                write()


@pytest.mark.parametrize(
    "reads", [True, False], ids=["the state can be read", "nothing goes through"]
)
@pytest.mark.parametrize("arrives", [True, False], ids=["arrives late", "never arrives"])
def test_a_late_begin_record_is_cancelled_by_the_rescue_file(reads: bool, arrives: bool) -> None:
    store, saved, clock = UnansweredStore(reads=reads), dict[str, bytes](), FakeClock()

    def save(name: str, data: bytes) -> str:
        saved[name] = data
        return name

    def begin_without_answer() -> None:
        with new_session(
            store,
            environment=Environment(
                save_fallback=save, background=False, clock=clock, sleep=clock.sleep
            ),
        ) as session:
            session.flush()
            store.down = True
            with suppress(StoreError, OutcomeUnknownError):
                session.begin(A, Action.CREATE).wait()
            session.cancelled(A)
            session.begin(Address("data", "b"), Action.CREATE)  # never sent
            session.cancelled(Address("data", "b"))

    with pytest.raises((StoreError, OutcomeUnknownError)) as caught:
        begin_without_answer()
    assert caught.value.hint.startswith("1 outcome was saved to")
    store.up(arrives=arrives)
    assert (A in read_state(StateStore(store, KEY)).state.entries) == arrives
    with new_session(store, lease=0) as session:
        assert recover(session, next(iter(saved.values())), "rescue") == RecoveryResult(
            (A,) * arrives, ()
        )
    assert read_state(StateStore(store, KEY)).state.entries == {}


def test_a_begin_record_before_a_takeover_is_cancelled() -> None:
    """The answer to the begin record is lost; then the head shows the claim of another session."""
    store, saved = MemoryStore("m"), dict[str, bytes]()
    write = store.write

    def be_superseded(key: str, data: bytes, *, expect: Version | None) -> Version:
        del store.write  # use the method of the class again
        write(key, data, expect=expect)
        with new_session(store, lease=0):
            pass
        raise OutcomeUnknownError("no answer")

    def save(name: str, data: bytes) -> str:
        saved[name] = data
        return name

    def begin_without_answer() -> None:
        with new_session(
            store, environment=Environment(save_fallback=save, background=False)
        ) as session:
            session.flush()
            store.write = be_superseded  # type: ignore[method-assign]
            with suppress(SupersededError):
                session.begin(A, Action.CREATE).wait()
            session.cancelled(A)

    with pytest.raises(SupersededError):
        begin_without_answer()
    assert A in read_state(StateStore(store, KEY)).state.entries
    with new_session(store, lease=0) as session:
        assert recover(session, next(iter(saved.values())), "rescue") == RecoveryResult((A,), ())
    assert read_state(StateStore(store, KEY)).state.entries == {}


def test_the_rescue_file_of_another_state_is_refused() -> None:
    store = MemoryStore("m")
    _, session = _begun(store)
    with pytest.raises(StateError, match="belongs to another state"):
        _recovered(store, "other", session, Done(2, A.key, 1))


L, M = StateId("l", 5), StateId("m", 9)
SOME, OTHER = State(L).with_entry(entry("a")), State(L).with_entry(entry("b"))


@pytest.mark.parametrize(
    ("existing", "candidate", "says"),
    [
        (State(StateId("", 0)), SOME, ""),
        (SOME, replace(OTHER, id=StateId("l", 6)), ""),
        (SOME, SOME, ""),
        (SOME, OTHER, "same serial (5)"),
        (SOME, replace(OTHER, id=StateId("l", 4)), "older than the current state (serial 5)"),
        (SOME, replace(OTHER, id=M), "another lineage (m)"),
        (SOME, replace(OTHER, id=StateId("", 0)), ""),
        (SOME, replace(OTHER, id=StateId("", 0), writer=WriterInfo("0.1.0")), "no lineage"),
        (
            replace(SOME, id=StateId("", 0)),
            replace(OTHER, id=StateId("", 0), writer=WriterInfo("0.1.0")),
            "",
        ),
        (replace(SOME, id=StateId("", 0)), OTHER, ""),
    ],
)
def test_which_state_may_be_pushed_over_another(
    existing: State, candidate: State, says: str
) -> None:
    problem = successor_problem(existing, candidate)
    assert says in problem and bool(says) == bool(problem)


def test_a_forced_push_returns_the_problem_that_it_overrode() -> None:
    store = MemoryStore("m")

    def pushed(session: Session) -> str:
        return push(session, replace(OTHER, id=StateId("other", 1)), force=True)

    with new_session(store) as session:
        create_tool(session, "a")
    with new_session(store, claim=False) as session:
        assert "another lineage" in pushed(session)
    state = read_state(StateStore(store, KEY)).state
    assert state.id == StateId("other", 1) and tool_names(state) == {"b"}


def test_a_copy_is_adopted_once_even_with_equal_content() -> None:
    here, there = MemoryStore("here"), MemoryStore("there")
    with new_session(here) as session:
        create_tool(session, "a")
    found = here.read(KEY) or pytest.fail("it was written")
    there.write(KEY, found.data, expect=None)
    state = read_state(StateStore(there, KEY)).state
    with new_session(there, claim=False) as session:
        with pytest.raises(StateError, match="is a copy"):
            session.check_not_copy()
        push(session, state, adopt=True)
        session.check_not_copy()
    home = read_state(StateStore(there, KEY))
    assert not home.copy_of and home.state.id == state.id
    with new_session(there, claim=False) as session:
        push(session, home.state, adopt=True)
        assert not session.claimed
