"""The log inside the document: nothing else is touched, everybody reads it, and the place may change between runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

import pytest

from backends.lockers.object import ObjectLocker
from backends.memory import AppendingMemoryStore, MemoryStore
from dtm.testing.session_bench import KEY, Client, Dead, Mortal, entry, make, names
from dtm.testing.session_crash import DEVSTREAM
from engine.address import Address
from engine.errors import StateError, StoreAccessError, SupersededError
from engine.events import Event, Notice
from engine.log.history import history
from engine.log.view import AUTO, BESIDE, INSIDE
from engine.plan import Action
from engine.ports import Store
from engine.runtime.environment import Environment, Limits
from engine.session.opening import Session, open_session, read_state
from engine.session.recover import push
from engine.state import same_content
from engine.stored.document import decode, encode
from tests.engine.narrow import NarrowStore

LOG = f"{KEY}.log"


def opened(
    store: Store,
    log: str,
    emit: Callable[[Event], None] = lambda _: None,
    environment: Environment | None = None,
) -> AbstractContextManager[Session]:
    return open_session(
        store,
        None,
        KEY,
        operation="apply",
        command="apply",
        who="me@here",
        version="0",
        emit=emit,
        lease=0,
        log=log,
        environment=environment or Environment(keep=lambda name, _: name),
    )


def run(store: Store, log: str, *made: str, emit: Callable[[Event], None] = lambda _: None) -> None:
    with opened(store, log, emit) as session:
        session.claim()
        for name in made:
            make(session, name)


def inside(store: Store) -> bool:
    found = store.read(KEY)
    return found is not None and b'\n  "log": ' in found.data


def test_inline_makes_no_call_outside_the_key() -> None:
    place = MemoryStore("m")
    store = NarrowStore(place, KEY)
    run(store, INSIDE, "a", "b")
    run(store, INSIDE, "c")
    with opened(store, INSIDE) as session:
        push(session, session.state.drop(Address("data", "c")), force=True)
    assert names(read_state(store, KEY, log=INSIDE).state) == {"a", "b"}
    assert store.denied == [] and list(place.list("")) == [KEY]


def test_a_denied_log_stays_inside_and_that_is_told_once() -> None:
    place, heard = MemoryStore("m"), list[Event]()
    store = NarrowStore(place, KEY)
    run(store, AUTO, "a", emit=heard.append)
    (notice,) = [event for event in heard if isinstance(event, Notice)]
    assert (
        notice.level == "warning"
        and f"{LOG}*" in notice.hint
        and f"may not write memfs://m/{LOG}" in notice.message
    )
    run(store, AUTO, "b", emit=heard.append)
    assert len(heard) == 1 and inside(place) and names(read_state(store, KEY).state) == {"a", "b"}


def test_who_may_more_leaves_the_log_where_those_who_may_less_need_it() -> None:
    place = MemoryStore("m")
    run(NarrowStore(place, KEY), AUTO, "a")
    run(place, AUTO, "b")
    assert inside(place) and names(read_state(NarrowStore(place, KEY), KEY).state) == {"a", "b"}


def test_who_may_not_read_the_log_beside_is_told_what_to_do() -> None:
    place = MemoryStore("m")
    run(place, AUTO, "a")
    for log in (AUTO, INSIDE):
        with pytest.raises(StoreAccessError) as denied:
            run(NarrowStore(place, KEY), log, "b")
        assert "state.log: inline" in denied.value.hint
    assert names(read_state(place, KEY).state) == {"a"}


def test_a_log_that_must_be_beside_is_never_inside_in_silence() -> None:
    with pytest.raises(StoreAccessError):
        run(NarrowStore(MemoryStore("m"), KEY), BESIDE, "a")


@pytest.mark.parametrize(
    "store", [MemoryStore("m"), AppendingMemoryStore("m")], ids=["swapping", "appending"]
)
def test_the_place_of_the_log_may_change_with_every_run(store: Store) -> None:
    for number, log in enumerate([BESIDE, INSIDE, INSIDE, BESIDE, AUTO, INSIDE, AUTO]):
        run(store, log, f"n{number}")
        assert inside(store) == (number in (1, 2, 5, 6))
        for reader in (AUTO, BESIDE, INSIDE):
            assert len(read_state(store, KEY, log=reader).state.entries) == number + 1
    assert read_state(store, KEY).state.id.serial == 7


@pytest.mark.parametrize("before", [BESIDE, INSIDE])
@pytest.mark.parametrize("after", [BESIDE, INSIDE, AUTO])
def test_what_a_killed_run_recorded_is_there_for_a_run_that_wants_the_log_elsewhere(
    before: str, after: str
) -> None:
    store = MemoryStore("m")
    mortal = Mortal(Client(store, ObjectLocker(store)))
    run(store, before, "a")
    with suppress(Dead), opened(mortal.store, before) as session:
        session.claim()
        make(session, "b")
        session.begin(Address("data", "c"), Action.CREATE).wait()
        mortal.kill()
    run(store, after, "d")
    state = read_state(store, KEY).state
    assert names(state) == {"a", "b", "c", "d"} and state.entries[Address("data", "c")].pending


@pytest.mark.parametrize("slow", [BESIDE, INSIDE])
@pytest.mark.parametrize("quick", [BESIDE, INSIDE])
def test_a_session_that_lost_its_state_to_another_place_of_the_log_is_refused(
    slow: str, quick: str
) -> None:
    store = MemoryStore("m")
    run(store, slow, "a")

    def late() -> None:
        with opened(store, slow) as session:
            session.claim()
            make(session, "b")
            run(store, quick, "c")
            session.begin(Address("data", "d"), Action.CREATE).wait()

    with pytest.raises(SupersededError, match="me@here"):
        late()
    assert names(read_state(store, KEY).state) == {"a", "b", "c"}


def test_each_commit_is_one_write_and_records_travel_together() -> None:
    store, writes = MemoryStore("m"), list[str]()
    mortal = Mortal(Client(store, ObjectLocker(store)))
    mortal.store.before = writes.append
    with opened(mortal.store, INSIDE, environment=Environment(background=False)) as session:
        session.claim()
        writes.clear()
        _many(session, 50)
        assert writes == [KEY]
    assert writes == [KEY, KEY] and len(read_state(store, KEY).state.entries) == 50


def _many(session: Session, count: int) -> None:
    for number in range(count):
        made = entry(f"n{number}")
        session.begin(made.address, Action.CREATE, entry=made)
        session.done(made.address, made)
    session.flush()


def test_a_long_log_inside_is_folded_in_mid_session() -> None:
    store = MemoryStore("m")
    with opened(
        store,
        INSIDE,
        environment=Environment(limits=Limits(spill=100, compact=2000), background=False),
    ) as session:
        session.claim()
        for number in range(40):
            make(session, f"n{number}")
        found = store.read(KEY)
        assert found is not None and len(json.loads(found.data)["log"]["records"]) < 40
        assert read_state(store, KEY).in_progress.startswith("me@here")
    assert read_state(store, KEY).state.id.serial > 2 and list(store.list("")) == [KEY]


def test_at_rest_the_document_is_complete_and_in_mid_run_it_is_not_taken_for_one() -> None:
    store = MemoryStore("m")
    with opened(store, INSIDE) as session:
        session.claim()
        make(session, "a")
        found = store.read(KEY)
        assert found is not None
        with pytest.raises(StateError, match="while a run was at work"):
            decode(found.data, "a copy")
        assert list(json.loads(found.data)) == sorted(json.loads(found.data))
    found = store.read(KEY)
    assert found is not None
    assert same_content(decode(found.data, "a copy"), read_state(store, KEY).state)
    assert b'"log"' not in encode(read_state(store, KEY).state)


def test_a_document_laid_out_anew_in_mid_run_is_read_all_the_same() -> None:
    store = MemoryStore("m")
    mortal = Mortal(Client(store, ObjectLocker(store)))
    with suppress(Dead), opened(mortal.store, INSIDE) as session:
        session.claim()
        make(session, "a")
        mortal.kill()
    found = store.read(KEY)
    assert found is not None
    store.write(KEY, json.dumps(json.loads(found.data), indent=4).encode(), expect=found.version)
    run(store, INSIDE, "b")
    assert names(read_state(store, KEY).state) == {"a", "b"}


def test_what_another_program_wrote_is_saved_on_this_machine_where_there_is_no_history() -> None:
    store, saved, heard = MemoryStore("m"), dict[str, bytes](), list[Event]()
    store.write(KEY, DEVSTREAM, expect=None)
    environment = Environment(
        keep=lambda name, data: f"/there/{name}" if saved.setdefault(name, data) else ""
    )
    with opened(NarrowStore(store, KEY), INSIDE, heard.append, environment) as session:
        session.claim()
        make(session, "b")
    ((name, data),) = saved.items()
    assert data == DEVSTREAM and name.startswith("replaced-0-")
    assert [event.message for event in heard if isinstance(event, Notice)] == [
        f"what stood at memfs://m/{KEY} before was saved to /there/{name}"
    ]
    assert names(read_state(store, KEY).state) == {"a", "b"} and not history(store, KEY)


@pytest.mark.parametrize("log", [INSIDE, AUTO])
def test_a_damaged_document_is_only_replaced_whole(log: str) -> None:
    store, saved = MemoryStore("m"), dict[str, bytes]()
    run(store, INSIDE, "a")
    found = store.read(KEY)
    assert found is not None
    good = decode(found.data, "")
    store.write(KEY, b'{"format": 1, "tools": {', expect=found.version)
    environment = Environment(keep=lambda name, data: name if saved.setdefault(name, data) else "")
    with suppress(ZeroDivisionError), opened(store, log, environment=environment) as session:
        assert session.damage
        session.claim(mend=True)
        raise ZeroDivisionError
    now = store.read(KEY)
    assert now is not None and now.data == b'{"format": 1, "tools": {'
    with opened(store, log, environment=environment) as session:
        push(session, good, force=True)
    assert names(read_state(store, KEY).state) == {"a"}
    kept = [
        *saved.values(),
        *(found.data for key in store.list(f"{KEY}.history/") if (found := store.read(key))),
    ]
    assert b'{"format": 1, "tools": {' in kept
