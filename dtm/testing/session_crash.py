"""The cases of the session contract about locks, kills, lost answers, and what follows them."""

from __future__ import annotations

import time
from contextlib import suppress
from threading import Thread

from msgspec.structs import replace

from dtm.testing.conformance import expect_error
from dtm.testing.session_support import (
    HEAD,
    KEY,
    Client,
    Connect,
    KillableClient,
    ProcessKilled,
    create_tool,
    entry,
    new_session,
    read_current,
    replace_snapshot,
    session_case,
    state_store,
    tool_names,
)
from engine.address import Address
from engine.errors import (
    LockHeldError,
    OutcomeUnknownError,
    StateError,
    StoreError,
    StoreUnavailableError,
    SupersededError,
)
from engine.log.history import load_snapshot, read_history
from engine.plan import Action
from engine.ports import AppendStore
from engine.runtime.environment import Environment
from engine.session.reading import read_state
from engine.session.recover import recover
from engine.session.replacing import push
from engine.session.session import Session
from engine.state import State, StateId
from engine.values import Digest, Secret

DEVSTREAM = b"""data_a:
  name: data
  instanceid: a
  dependson: []
  options:
    input: x
  resource:
    outputs:
      output: x
"""


@session_case(
    "C24, C26 a second session is refused, "
    "and readers see the running session and its pending operations"
)
def _in_progress(connect: Connect) -> None:
    one, two = connect(), connect()
    with new_session(one.store, one.locker, who="one@here") as session:
        create_tool(session, "a")
        session.begin(Address("data", "b"), Action.CREATE).wait()
        reading = read_state(state_store(two.store), two.locker)
        assert reading.in_progress.startswith("one@here since ") and tool_names(reading.state) == {
            "a",
            "b",
        }
        pending = reading.state.entries[Address("data", "b")].pending
        assert pending is not None and pending.action == "create" and pending.session == session.id
        error = expect_error(
            lambda: new_session(two.store, two.locker, claim=False).__enter__(), LockHeldError
        )
        assert error.record.info is not None and error.record.info.who == "one@here"
    assert read_state(state_store(two.store), two.locker).in_progress == ""
    assert two.locker.read(KEY) is None


@session_case("C36, G54 a superseded session cannot begin or record anything more")
def _superseded(connect: Connect) -> None:
    one, two = connect(), connect()
    rescued: dict[str, bytes] = {}
    assert "recover" in _overtaken(one, two, rescued).hint
    state = read_current(two)
    assert tool_names(state) == {"a", "b", "c"} and state.entries[Address("data", "b")].pending
    (data,) = rescued.values()
    with new_session(two.store, lease=0) as session:
        assert recover(session, data, "rescue").applied == (Address("data", "b"),)
    with new_session(two.store) as session:
        again = recover(session, data, "rescue")
        assert not again.applied and "has an outcome already" in again.refused[0]
    assert read_current(two).entries[Address("data", "b")] == entry("b")


def _overtaken(one: Client, two: Client, rescued: dict[str, bytes]) -> SupersededError:
    """Continue a session of `one` after `two` took over; return the error that ends it.

    `data.b` is begun before the takeover and finished after it. So its result is only in `rescued`.
    """
    environment = Environment(
        save_fallback=lambda name, data: name if rescued.setdefault(name, data) else ""
    )
    begun = replace(entry("b"), resource=None)
    try:
        with new_session(one.store, who="slow@here", environment=environment) as slow:
            create_tool(slow, "a")
            slow.begin(begun.address, Action.CREATE, entry=begun).wait()
            with new_session(two.store, who="quick@there", lease=0) as quick:
                create_tool(quick, "c")
            # The writer thread may report the lost claim here, or only at the next operation.
            with suppress(SupersededError):
                slow.done(begun.address, entry("b")).wait()
            expect_error(lambda: slow.begin(Address("data", "d"), Action.CREATE), SupersededError)
    except SupersededError as error:
        return error
    raise AssertionError("leaving the session must raise SupersededError")


@session_case("C42 a session without a lock sends no lock requests")
def _no_lock(connect: Connect) -> None:
    killable = KillableClient(connect())
    with new_session(killable.store) as session:
        create_tool(session, "a")
    assert killable.locker.requests == 0 and tool_names(read_current(connect())) == {"a"}


def _fail(
    killable: KillableClient, number: int, before: bool, error: Exception | None, times: int = 1
) -> list[str]:
    """Raise `error` at the `number`-th write, before or after its effect; None kills the process.

    Return a list to which the key of each write is added.
    """
    seen: list[str] = []

    def act(key: str) -> None:
        seen.append(key)
        if not number <= len(seen) < number + times:
            return
        if error is None:
            killable.kill()
        else:
            raise error

    if before:
        killable.store.before = act
    else:
        killable.store.after = act
    return seen


def _sleep_briefly(seconds: float) -> None:
    time.sleep(min(seconds, 0.02))


def _run(killable: KillableClient, round_: int, done: set[str]) -> None:
    with new_session(
        killable.store,
        killable.locker,
        lease=0.2,
        timeout=5,
        environment=Environment(
            sleep=_sleep_briefly, save_fallback=lambda name, _: name, background=False
        ),
    ) as session:
        for part in ("x", "y"):
            create_tool(session, f"{part}{round_}")
            done.add(f"{part}{round_}")


def _each_write(connect: Connect, before: bool, error: Exception | None) -> int:
    """Run again and again, with a fault at the first, second, ... write, until a run has no fault.

    After each run, a reader must see all acknowledged results. Return the number of runs.
    """
    done: set[str] = set()
    for number in range(1, 40):
        killable = KillableClient(connect())
        seen = _fail(killable, number, before, error)
        with suppress(ProcessKilled):
            _run(killable, number, done)
        state = read_current(connect())
        assert done <= {
            address.instance for address, found in state.entries.items() if not found.pending
        }
        # The run made fewer writes than the number of the fault, so it had none.
        if len(seen) < number:
            assert not [
                found
                for found in state.entries.values()
                if found.address.instance.endswith(str(number)) and found.pending
            ]
            return number
    raise AssertionError("a run makes too many writes")


@session_case("C43 a write whose answer is lost is recognized as done, whichever write it is")
def _lost_after(connect: Connect) -> None:
    assert _each_write(connect, False, OutcomeUnknownError("the answer was lost")) > 5


@session_case("C43 a write that is lost is repeated, whichever write it is")
def _lost_before(connect: Connect) -> None:
    assert _each_write(connect, True, OutcomeUnknownError("the answer was lost")) > 5


@session_case(
    "C47, G53, G57 if a run is killed before a write, "
    "the next run knows all finished and pending operations"
)
def _killed_before(connect: Connect) -> None:
    assert _each_write(connect, True, None) > 5


@session_case(
    "C47, G53, G57 if a run is killed after a write, "
    "the next run knows all finished and pending operations"
)
def _killed_after(connect: Connect) -> None:
    assert _each_write(connect, False, None) > 5


@session_case(
    "C46 an unreachable store ends the run after a few attempts and leaves the state unchanged"
)
def _unreachable(connect: Connect) -> None:
    with new_session(connect().store) as session:
        create_tool(session, "a")
    killable = KillableClient(connect())
    seen = _fail(killable, 1, True, StoreUnavailableError("the store is unreachable"), times=1000)
    environment = Environment(sleep=lambda _: None)
    expect_error(
        lambda: new_session(killable.store, killable.locker, environment=environment).__enter__(),
        StoreUnavailableError,
    )
    assert (
        1 < len(seen) < 20
        and tool_names(read_current(connect())) == {"a"}
        and connect().locker.read(KEY) is None
    )


@session_case("G56 an interrupted run records its results, compacts the log and releases the lock")
def _interrupted(connect: Connect) -> None:
    client = connect()
    with suppress(KeyboardInterrupt), new_session(client.store, client.locker) as session:
        create_tool(session, "a")
        session.begin(Address("data", "b"), Action.CREATE).wait()
        raise KeyboardInterrupt
    state = read_current(client)
    assert (
        state.id.serial == 1
        and tool_names(state) == {"a", "b"}
        and state.entries[Address("data", "b")].pending
    )
    assert client.locker.read(KEY) is None


@session_case("G59, G60 results that cannot be committed are saved to a rescue file")
def _rescue(connect: Connect) -> None:
    killable, rescued = KillableClient(connect()), dict[str, bytes]()
    environment = Environment(
        sleep=lambda _: None,
        save_fallback=lambda name, data: f"/there/{name}" if rescued.setdefault(name, data) else "",
    )
    error = None
    try:
        with new_session(killable.store, killable.locker, environment=environment) as session:
            session.begin(
                Address("data", "a"), Action.CREATE, entry=replace(entry("a"), resource=None)
            ).wait()
            _fail(killable, 1, True, StoreError("credentials expired"), times=1000)
            session.done(Address("data", "a"), entry("a"))
    except StoreError as found:
        error = found
    ((name, data),) = rescued.items()
    assert (
        error is not None
        and f"dtm state recover /there/{name}" in error.hint
        and connect().locker.read(KEY) is None
    )
    with new_session(connect().store, lease=0) as session:
        recover(session, data, name)
    assert read_current(connect()).entries[Address("data", "a")] == entry("a")


@session_case("G61 an incomplete last record of the log is ignored")
def _torn(connect: Connect) -> None:
    client, killable = connect(), KillableClient(connect())
    with suppress(ProcessKilled), new_session(killable.store) as session:
        create_tool(session, "a")
        killable.kill()
    # Only an append can leave an incomplete record; other stores replace the log head as a whole.
    if isinstance(client.store, AppendStore):
        head = client.store.read(HEAD)
        assert head is not None
        client.store.append(HEAD, b'{"session":"x","seq":9,"at":"","rec', expect=head.version)
    assert tool_names(read_current(client)) == {"a"}
    with new_session(client.store, lease=0) as session:
        create_tool(session, "b")
    assert tool_names(read_current(client)) == {"a", "b"}


@session_case("a log with chunks is read completely, by other clients and after a kill")
def _long(connect: Connect) -> None:
    client, killable = connect(), KillableClient(connect())
    with suppress(ProcessKilled), new_session(killable.store) as session:
        for number in range(60):
            create_tool(session, f"n{number}", "x" * 5000)
        assert len(read_current(client).entries) == 60
        killable.kill()
    assert len(read_current(client).entries) == 60
    with new_session(client.store, lease=0) as session:
        create_tool(session, "last")
    assert len(read_current(client).entries) == 61 and not list(client.store.list(f"{KEY}.log.d/"))


@session_case("a record is visible to other clients when its caller continues, with many threads")
def _threads(connect: Connect) -> None:
    client, other, flaws = connect(), connect(), list[str]()

    def work(session: Session, thread: int) -> None:
        for number in range(5):
            create_tool(session, f"t{thread}-{number}")
            if f"t{thread}-{number}" not in tool_names(read_current(other)):
                flaws.append(f"t{thread}-{number}")

    with new_session(client.store) as session:
        threads = [Thread(target=work, args=(session, number)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not flaws and len(read_current(other).entries) == 20


@session_case("a DevStream state is converted, and its bytes are kept as history entry 0")
def _devstream(connect: Connect) -> None:
    client = connect()
    client.store.write(KEY, DEVSTREAM, expect=None)
    assert tool_names(read_current(client)) == {"a"}
    saved: dict[str, bytes] = {}
    environment = Environment(
        save_fallback=lambda name, data: name if saved.setdefault(name, data) else ""
    )
    with new_session(client.store, environment=environment) as session:
        create_tool(session, "b")
    assert tool_names(read_current(client)) == {"a", "b"} and read_current(client).id.serial == 1
    if not client.separate_log:
        assert list(saved.values()) == [DEVSTREAM]
        return
    (past,) = read_history(state_store(client.store))
    kept = client.store.read(past.key)
    assert past.serial == 0 and kept is not None and kept.data == DEVSTREAM
    assert tool_names(load_snapshot(state_store(client.store), past)) == {"a"}


@session_case("G73 the history keeps the configured number of the newest snapshots")
def _history(connect: Connect) -> None:
    client = connect()
    for number in range(6):
        with new_session(client.store, history=3) as session:
            create_tool(session, f"n{number}")
    assert [past.serial for past in read_history(state_store(client.store))] == (
        [3, 4, 5] if client.separate_log else []
    )


@session_case(
    "a snapshot replaced by hand is used, and the records of the old one are kept in the history"
)
def _replaced(connect: Connect) -> None:
    client, killable = connect(), KillableClient(connect())
    with new_session(client.store) as session:
        create_tool(session, "a")
    with suppress(ProcessKilled), new_session(killable.store) as session:
        create_tool(session, "lost")
        killable.kill()
    replace_snapshot(client, DEVSTREAM)
    reading = read_state(state_store(client.store))
    assert (
        ("replaced by other means" in reading.notice) == client.separate_log
        and tool_names(reading.state) == {"a"}
        and not reading.state.id.lineage
    )
    with new_session(client.store) as session:
        create_tool(session, "b")
    assert tool_names(read_current(client)) == {"a", "b"}
    if not client.separate_log:  # an inline log was replaced together with the state file
        return
    kept = [key for key in client.store.list(f"{KEY}.history/") if "log-" in key]
    found = client.store.read(kept[0])
    assert found is not None and b"lost" in found.data


@session_case("a copied state names its home and is not written before it is adopted")
def _copy(connect: Connect) -> None:
    client = connect()
    with new_session(client.store, claim=False) as session:
        push(session, State(StateId("l", 3)).with_entry(entry("a")))
    found = client.store.read(KEY)
    assert found is not None
    replace_snapshot(client, found.data.replace(b'"home": "', b'"home": "elsewhere:'))
    assert read_state(state_store(client.store)).copy_of.startswith("elsewhere:")
    with new_session(client.store, claim=False) as session:
        assert "copy" in expect_error(session.claim, StateError).message
        push(session, session.state, adopt=True)
    assert read_state(state_store(client.store)).copy_of == "" and tool_names(
        read_current(client)
    ) == {"a"}


@session_case("no secret is stored anywhere")
def _secrets(connect: Connect) -> None:
    client, secret = connect(), Secret("correct horse battery", ("env TOKEN",))
    made = replace(entry("a"), options={"input": "x", "token": {"deep": [secret]}})
    with new_session(client.store) as session:
        session.begin(made.address, Action.CREATE, entry=made)
        session.done(made.address, made)
        session.set_outputs({"token": secret})
    for key in client.store.list(""):
        found = client.store.read(key)
        assert found is not None and b"horse" not in found.data, key
    state = read_current(client)
    token = state.entries[made.address].options["token"]
    assert (
        isinstance(token, dict)
        and isinstance(state.outputs["token"], Digest)
        and "env TOKEN" in str(sources_of(token))
    )


def sources_of(token: object) -> object:
    """Return the sources of the digest in the option `token`."""
    match token:
        case {"deep": [Digest() as digest]}:
            return digest.sources
        case _:
            raise AssertionError(token)
