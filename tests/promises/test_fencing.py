"""Fencing: a superseded session writes nothing more, and its outcomes are not lost.

A runs, and B takes over: after a force-unlock, without a lock, or because A slept during its lease.
Both use one clock, which moves only when one of them sleeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from backends.lockers.object import ObjectLocker
from backends.memory import MemoryStore
from dtm.testing.clock import FakeClock
from dtm.testing.session_support import (
    KEY,
    Client,
    KillableClient,
    create_tool,
    entry,
    tool_names,
)
from engine.address import Address
from engine.errors import (
    ConflictError,
    DtmError,
    LockHeldError,
    OutcomeUnknownError,
    SupersededError,
)
from engine.events import ApplySummary, Event, LockAcquired, Notice
from engine.execution import executor
from engine.execution.run_settings import RunControl
from engine.log import rescue_file
from engine.log.records import Done
from engine.log.state_store import AUTO, INLINE, StateStore
from engine.plan import Action
from engine.ports import Locker, Store, Version
from engine.runtime.environment import Environment
from engine.runtime.retry import STORE_POLICY
from engine.session.locking import LockOptions, break_lock
from engine.session.opening import open_session
from engine.session.reading import Reading, read_state
from engine.session.recover import recover
from engine.session.session import Session, SessionOptions
from tests.engine.fake_system import Bench, at, config, tool

LEASE = 300.0
"""Seconds of a lease; longer than the test, so that the renewal thread never renews."""

LOGS = pytest.mark.parametrize("log", [AUTO, INLINE])


@dataclass
class Site:
    """A memory store with its lock, a clock, and the files saved on this machine."""

    log: str = AUTO
    clock: FakeClock = field(default_factory=FakeClock)
    store: MemoryStore = field(default_factory=lambda: MemoryStore("m"))
    events: list[Event] = field(default_factory=list[Event])
    saved: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def __post_init__(self) -> None:
        self.locker: Locker = ObjectLocker(self.store)

    def read_state(self) -> Reading:
        state = StateStore(self.store, KEY, self.environment(), self.log)
        return read_state(state, self.locker, LEASE)

    def environment(self) -> Environment:
        return Environment(
            clock=self.clock,
            sleep=self.clock.sleep,
            date=lambda: self.clock.now(),
            save_fallback=self._keep,
            store_policy=replace(STORE_POLICY, tries=1),
            background=False,
        )

    def _keep(self, name: str, data: bytes) -> str:
        self.saved[name] = data
        return f"/there/{name}"

    @contextmanager
    def session(
        self, who: str, *, lock: bool = True, store: Store | None = None, over: tuple[str, ...] = ()
    ) -> Iterator[Session]:
        with open_session(
            StateStore(store or self.store, KEY, self.environment(), log=self.log),
            self.locker if lock else None,
            SessionOptions("apply", who, "0", lock=LockOptions(lease=LEASE), over=over),
            self.events.append,
        ) as session:
            session.claim()
            yield session

    def run(self, who: str, *made: str, lock: bool = True) -> None:
        with self.session(who, lock=lock) as session:
            for name in made:
                create_tool(session, name)

    def force_unlock(self) -> None:
        holder = self.locker.read(KEY)
        assert holder is not None and holder.info is not None
        break_lock(self.locker, KEY, holder.info.id)

    def tool_names(self) -> set[str]:
        return tool_names(read_state(StateStore(self.store, KEY)).state)

    def rescued(self) -> bytes:
        (data,) = self.saved.values()
        return data


def force_unlocked(site: Site) -> None:
    site.force_unlock()
    site.run("b@there", "b")


def force_unlocked_and_two_sessions_ended(site: Site) -> None:
    site.force_unlock()
    site.run("b@there", "b")
    site.run("c@there", "c")


def without_a_lock(site: Site) -> None:
    site.run("b@there", "b", lock=False)


def slept_through_its_lease(site: Site) -> None:
    """Let B see the same lock record for a whole lease, since the process of A sleeps."""
    site.clock.sleep(2 * LEASE)
    site.run("b@there", "b")
    (taken,) = [
        event.taken_from
        for event in site.events
        if isinstance(event, LockAcquired) and event.taken_from
    ]
    assert taken.who == "a@here"


TAKE_OVERS: list[Callable[[Site], None]] = [
    force_unlocked,
    force_unlocked_and_two_sessions_ended,
    without_a_lock,
    slept_through_its_lease,
]


def run_superseded(site: Site, take_over: Callable[[Site], None]) -> SupersededError:
    """Let A record and call x, B take over, and the call of A end; return the error of A."""

    def work() -> None:
        with site.session("a@here") as a:
            create_tool(a, "a")
            a.begin(
                Address("data", "x"), Action.CREATE, entry=replace(entry("x"), resource=None)
            ).wait()
            take_over(site)
            with suppress(SupersededError):
                a.done(Address("data", "x"), entry("x")).wait()
            with pytest.raises(SupersededError):
                a.begin(Address("data", "y"), Action.CREATE)

    with pytest.raises(SupersededError) as refused:
        work()
    return refused.value


@LOGS
@pytest.mark.parametrize("take_over", TAKE_OVERS)
def test_a_superseded_session_names_the_winner_and_saves_calls(
    take_over: Callable[[Site], None], log: str
) -> None:
    site = Site(log)
    error = run_superseded(site, take_over)
    assert "taken over by" in error.message and "@there" in error.message and error.exit_code == 1
    assert "dtm state recover /there/errored-" in error.hint
    (saved,) = rescue_file.decode(site.rescued(), "x").records
    assert isinstance(saved, Done) and saved.key == "data_x"
    state = read_state(StateStore(site.store, KEY)).state
    assert {"a", "b", "x"} <= tool_names(state) and state.entries[Address("data", "x")].pending
    assert all(
        not found.pending for address, found in state.entries.items() if address.instance != "x"
    )


@LOGS
def test_after_a_force_unlock_one_silent_lease_is_waited_for(
    log: str,
) -> None:
    site = Site(log)
    run_superseded(site, force_unlocked)
    assert LEASE <= site.clock() <= LEASE * 1.3
    assert [
        event.message
        for event in site.events
        if isinstance(event, Notice) and "see whether it is still running" in event.message
    ]


@LOGS
def test_a_rescue_file_of_an_ended_session_is_applied_at_once(log: str) -> None:
    site = Site(log)
    with suppress(SupersededError), site.session("a@here") as a:
        a.begin(
            Address("data", "x"), Action.CREATE, entry=replace(entry("x"), resource=None)
        ).wait()
        site.force_unlock()
        with suppress(SupersededError), site.session("b@there", over=(a.id,)):
            pass
        a.done(Address("data", "x"), entry("x"))
    before, saved = site.clock(), rescue_file.decode(site.rescued(), "x")
    with site.session("d@here", over=(saved.session,)) as session:
        assert recover(session, site.rescued(), "x").applied == (Address("data", "x"),)
    assert site.clock() == before
    assert read_state(StateStore(site.store, KEY)).state.entries[Address("data", "x")] == entry("x")


@LOGS
def test_a_refused_compaction_loses_nothing(log: str) -> None:
    site = Site(log)
    killable = KillableClient(Client(site.store, site.locker))

    def supersede(key: str) -> None:
        if key == KEY:
            killable.store.before = lambda _: None
            site.force_unlock()
            site.run("b@there", "b")

    with site.session("a@here", store=killable.store) as a:
        create_tool(a, "a")
        killable.store.before = supersede
    assert site.tool_names() == {"a", "b"}
    (notice,) = [
        event for event in site.events if isinstance(event, Notice) and event.level == "warning"
    ][:1]
    assert "not compacted" in notice.message and "b@there" in notice.message


class DelayedStore:
    """A store whose requests can be delayed: they arrive when the test calls those in `late`."""

    def __init__(self, store: MemoryStore) -> None:
        self.store, self.lose, self.late = store, False, list[Callable[[], object]]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        if not self.lose:
            return self.store.write(key, data, expect=expect)
        self.late.append(lambda: self.store.write(key, data, expect=expect))
        raise OutcomeUnknownError("no answer")


@LOGS
def test_a_late_request_after_a_compaction_changes_nothing(log: str) -> None:
    site = Site(log)
    late = DelayedStore(site.store)

    def work() -> None:
        with site.session("a@here", store=late) as a:
            create_tool(a, "a")
            late.lose = True
            a.begin(Address("data", "x"), Action.CREATE, entry=replace(entry("x"), resource=None))
            with pytest.raises(OutcomeUnknownError):
                a.flush()
            site.force_unlock()
            site.run("b@there", "b")
            for arrive in late.late:
                with pytest.raises(ConflictError):
                    arrive()

    with pytest.raises(OutcomeUnknownError):
        work()
    assert len(late.late) > 1 and site.tool_names() == {"a", "b"}


@LOGS
def test_a_held_lock_refuses_others_and_readers_see_the_holder(log: str) -> None:
    site = Site(log)
    with site.session("a@here") as a:
        create_tool(a, "a")
        with pytest.raises(LockHeldError, match="a@here"):
            site.run("b@there", "b")
        reading = site.read_state()
        assert reading.in_progress.startswith("a@here since ") and reading.active_session == a.id
        site.clock.sleep(2 * LEASE)
        assert not site.read_state().in_progress


def test_a_superseded_apply_stops_and_saves_its_running_call() -> None:
    """Another session claims the state during the create call of `a`."""
    bench, saved = Bench(), dict[str, bytes]()

    def take_over() -> None:
        with bench.session() as other:
            other.claim()

    bench.system.faults = {"create a": [take_over]}
    wanted = config(tool("a"), tool("b", "a"), tool("c", "b"))
    caught: DtmError | None = None
    environment = Environment(
        save_fallback=lambda name, data: name if saved.setdefault(name, data) else ""
    )
    try:
        with open_session(
            StateStore(bench.store, "k", environment),
            None,
            SessionOptions(
                "apply", "a", "1", lock=LockOptions(lease=0), redactor=bench.operations.redactor
            ),
            bench.events.append,
        ) as session:
            plan = bench.plan(wanted, session)
            executor.apply(
                plan,
                wanted,
                session,
                bench.operations,
                emit=bench.events.append,
                control=RunControl(1),
            )
    except SupersededError as error:
        caught = error
    assert caught is not None and "taken over by test" in caught.message and caught.exit_code == 1
    assert bench.system.effects == ["a"]
    (summary,) = [event for event in bench.events if isinstance(event, ApplySummary)]
    assert at("c") in summary.skipped
    (data,) = saved.values()
    assert [
        record.key for record in rescue_file.decode(data, "x").records if isinstance(record, Done)
    ] == [at("a").key]
