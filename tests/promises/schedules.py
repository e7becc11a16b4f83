"""Random schedules of real sessions on one memory store.

No session has a lock, as if each had been force-unlocked. With several placements in `logs`, each
session wants one of them: a separate log, an inline one, or AUTO.

Every store call of every session is one step. Between two steps any session may sleep, or be killed
and followed by a new one. A call may lose its answer before or after its effect, or take effect
long after its sender gave up. Checked after every step:

  I1  a reader sees everything that was acknowledged, and everything that an earlier reader saw
  I2  once the claim of a session is durable, no earlier session gets anything acknowledged
  I3  a reader without a lock sees a prefix of what was committed
  I4  at the end a new session succeeds without help
  I5  a session claims the state that it has read, and no reader reports a replacement by hand

The sessions run in threads that take turns, so a seed always gives the same schedule.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from msgspec.structs import replace

from backends.memory import AppendingMemoryStore, MemoryStore
from engine.address import Address
from engine.errors import (
    DtmError,
    OutcomeUnknownError,
    StateError,
    StoreError,
    StoreUnavailableError,
    SupersededError,
)
from engine.log.group_commit import Ticket
from engine.log.state_store import AUTO, INLINE, SEPARATE, StateStore
from engine.plan import Action
from engine.ports import Store, StoredObject, Version
from engine.runtime.environment import Environment, LogLimits
from engine.runtime.retry import STORE_POLICY
from engine.session.locking import LockOptions
from engine.session.opening import open_session
from engine.session.reading import read_state
from engine.session.recover import recover
from engine.session.session import Session, SessionOptions
from engine.state import Resource, State, StateEntry, has_same_content

KEY = "K"


class Killed(BaseException):
    """The process of this thread was killed: no more of its code may run."""


class Actor:
    """A thread that runs one step at a time, on request."""

    def __init__(self, body: Callable[[Actor], None]) -> None:
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self._body = body
        self.ended = self._killed = False
        self.failure: BaseException | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self._killed:
                self._body(self)
        except (Killed, SupersededError, StoreError, OutcomeUnknownError):
            pass  # any session may be killed, superseded or cut off
        except BaseException as failure:  # noqa: BLE001 - handed to the schedule, which raises it
            self.failure = failure
        self.ended = True
        self._back.release()

    def pause(self) -> None:
        """Wait for the next turn; the body calls this before each store call."""
        if not self._killed:
            self._back.release()
            self._go.acquire()
        if self._killed:
            raise Killed

    def step(self) -> None:
        """Run until the next pause or the end."""
        self._go.release()
        self._back.acquire()
        if self.failure:
            raise self.failure

    def kill(self) -> None:
        """End the thread at its current pause, as SIGKILL ends a process."""
        self._killed = True
        if not self.ended:
            self.step()


@dataclass
class Network:
    """The network between sessions and store; `delayed` are writes that arrive later."""

    rng: random.Random
    delayed: list[Callable[[], None]] = field(default_factory=list)
    effects: int = 0

    def write(self, effect: Callable[[], Version]) -> Version:
        """Make a write; its answer may get lost, its effect may come late or never."""
        self.effects += 1
        chance = self.rng.random()
        if chance < 0.9:
            return effect()
        if chance < 0.95:
            effect()
        elif chance < 0.98:
            self.delayed.append(lambda: self._late(effect))
        elif chance < 0.985:
            raise StoreUnavailableError("the store is unavailable")
        raise OutcomeUnknownError("no answer")

    def _late(self, effect: Callable[[], Version]) -> None:
        self.effects += 1
        with suppress(DtmError):  # its sender has given up
            effect()


class FaultyStore:
    """The store as one actor sees it: over a network, one call for each step."""

    def __init__(self, store: MemoryStore, actor: Actor, network: Network) -> None:
        self._store, self._actor, self._network = store, actor, network

    @property
    def location(self) -> str:
        return self._store.location

    def read(self, key: str) -> StoredObject | None:
        self._actor.pause()
        return self._store.read(key)

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        self._actor.pause()
        return self._network.write(lambda: self._store.write(key, data, expect=expect))

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        self._actor.pause()
        self._network.effects += 1
        self._store.delete(key, expect=expect)

    def list(self, prefix: str) -> Iterator[str]:
        self._actor.pause()
        return self._store.list(prefix)


class FaultyAppendingStore(FaultyStore):
    """A FaultyStore that can append."""

    def __init__(self, store: AppendingMemoryStore, actor: Actor, network: Network) -> None:
        super().__init__(store, actor, network)
        self._appending = store

    def append(self, key: str, data: bytes, *, expect: Version) -> Version:
        self._actor.pause()
        return self._network.write(lambda: self._appending.append(key, data, expect=expect))


@dataclass(frozen=True)
class Item:
    """Something that a session recorded; `number` is unique and grows."""

    kind: str
    number: int
    of: int = 0

    @property
    def address(self) -> Address:
        return Address("data", f"t{self.number}")


@dataclass
class Journal:
    """The items that were tried, those that are durable, the claims, and checks of them."""

    numbers: Iterator[int]
    tried: list[Item] = field(default_factory=list)
    durable: dict[Item, None] = field(default_factory=dict)
    claims: list[str] = field(default_factory=list)
    cancelled: set[int] = field(default_factory=set)
    moved: dict[int, int] = field(default_factory=dict)
    acknowledged: int = 0

    def item(self, kind: str, of: int = 0) -> Item:
        item = Item(kind, next(self.numbers), of)
        self.tried.append(item)
        return item

    def acknowledge(self, session: str, items: list[Item]) -> None:
        assert self.claims[-1] == session, (
            f"I2: {session} had {items} acknowledged after the claim of {self.claims[-1]}"
        )
        self.durable.update(dict.fromkeys(items))
        self.acknowledged += len(items)

    def seen(self, item: Item, state: State) -> bool | None:
        """Return whether this state shows the item, None if it cannot show it either way."""
        entries = state.entries
        if item.kind == "outputs":
            found = state.outputs.get("n", 0)
            return isinstance(found, int) and found >= item.number
        if item.kind == "cancelled":
            return False if Address("data", f"t{item.of}") in entries else None
        if item.kind in ("replace", "moved"):
            return item.address in entries
        number = item.of or item.number
        entry = entries.get(Address("data", f"t{number}"))
        if entry is None and number in self.moved:
            entry = entries.get(Address("data", f"t{self.moved[number]}"))
            return True if entry else None
        if item.kind == "begin":
            return True if entry else None if number in self.cancelled else False
        if item.kind == "failed":
            return (
                entry is not None
                and entry.pending is not None
                and entry.pending.message == str(item.number)
            )
        assert item.kind == "done"
        return entry is not None and entry.pending is None and entry.resource is not None

    def check(self, state: State) -> None:
        """Check that nothing durable is missing; what this state shows is durable from now on."""
        missing = [item for item in self.durable if self.seen(item, state) is False]
        assert not missing, f"I1: lost {missing[:3]}"
        for item in self.tried:
            if item not in self.durable and self.seen(item, state):
                self.durable[item] = None
        for entry in state.entries.values():
            if entry.resource:
                assert entry.resource.id == str(entry.options["n"]), "a mixture of entries"

    def check_prefix(self, state: State, least: int) -> None:
        """Check the state of a reader that began when `least` items were durable."""
        verdicts = [self.seen(item, state) for item in self.durable]
        first = verdicts.index(False) if False in verdicts else len(verdicts)
        assert first >= least, (
            f"I3: a reader missed item {first} of {least} that were there before it began"
        )
        assert True not in verdicts[first:], "I3: a reader saw no prefix"


@dataclass
class Schedule:
    """One schedule: the store, the sessions, and the journal.

    `wrap` puts a planted bug around the store. `logs` are the placements that sessions want.
    """

    seed: int
    appending: bool = False
    wrap: Callable[[Store], Store] = lambda store: store
    logs: Sequence[str] = (SEPARATE,)
    kills: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.store = AppendingMemoryStore("m") if self.appending else MemoryStore("m")
        self.network = Network(self.rng)
        self.journal = Journal(iter(range(1, 10**9)))
        self.ids = iter(range(1, 10**9))
        self.rescued: list[bytes] = []

    def environment(self) -> Environment:
        return Environment(
            store_policy=replace(STORE_POLICY, tries=1),
            clock=lambda: 0.0,
            sleep=lambda _: None,
            date=lambda: datetime(2026, 1, 1, tzinfo=UTC),
            token=lambda: f"{next(self.ids):08x}" + "0" * 24,
            save_fallback=self._keep,
            limits=LogLimits(chunk_after=200, compact_after=600),
            background=False,
        )

    def _keep(self, name: str, data: bytes) -> str:
        self.rescued.append(data)
        return name

    def faulty_store(self, actor: Actor) -> Store:
        if isinstance(self.store, AppendingMemoryStore):
            return self.wrap(FaultyAppendingStore(self.store, actor, self.network))
        return self.wrap(FaultyStore(self.store, actor, self.network))

    def run_session(self, actor: Actor) -> None:
        """Run one session; if its placement contradicts the state, run it again with AUTO."""
        state = StateStore(
            self.faulty_store(actor), KEY, self.environment(), log=self.rng.choice(self.logs)
        )
        try:
            self._run_session(state)
        except StateError as refused:
            if "dtm state move-log" not in refused.hint:
                raise
            self._run_session(replace(state, log=AUTO))

    def _run_session(self, state: StateStore) -> None:
        with open_session(
            state,
            None,
            SessionOptions("apply", "w", "1", lock=LockOptions(lease=0), history=2),
            lambda _: None,
        ) as session:
            moves = len(self.logs) > 1 and session.state.id.lineage and self.rng.random() < 0.3
            if not (moves and session.move_log(self.rng.choice([SEPARATE, INLINE]))):
                session.claim()
            self.journal.claims.append(session.id)
            assert has_same_content(self.read_now(), session.state), (
                "I5: a session claimed another state than the one it had read"
            )
            waiting: list[Item] = []
            for _ in range(self.rng.randrange(1, 8)):
                ticket, items = self._act(session)
                waiting += items
                if self.rng.random() < 0.6:
                    ticket.wait()
                    self.journal.acknowledge(session.id, waiting)
                    waiting = []
            session.flush()
            self.journal.acknowledge(session.id, waiting)
            if self.rescued and self.rng.random() < 0.3:
                with suppress(StateError):  # its lineage was never written
                    recover(session, self.rng.choice(self.rescued), "rescue file")
            if self.rng.random() < 0.2:
                self._replace(session)

    def read_now(self) -> State:
        """Return the current state without taking a step."""
        reading = read_state(StateStore(self.store, KEY))
        assert not reading.notice, f"I5: {reading.notice}"
        return reading.state

    def _act(self, session: Session) -> tuple[Ticket, list[Item]]:
        kind = self.rng.choice(
            ["begin", "begin", "whole", "failed", "cancelled", "moved", "outputs"]
        )
        if kind == "outputs":
            item = self.journal.item("outputs")
            return session.set_outputs({"n": item.number}), [item]
        begin = self.journal.item("begin")
        address, number = begin.address, begin.number
        entry = StateEntry(address, (), {"n": number}, None)
        ticket = session.begin(address, Action.CREATE, entry=entry)
        if kind == "begin":
            return ticket, [begin]
        if kind == "failed":
            failed = self.journal.item("failed", number)
            return session.failed(address, str(failed.number)), [begin, failed]
        if kind == "cancelled":
            self.journal.cancelled.add(number)
            return session.cancelled(address), [begin, self.journal.item("cancelled", number)]
        made = replace(
            entry, resource=Resource(str(number), {}, {"pad": "x" * self.rng.randrange(200)})
        )
        done = self.journal.item("done", number)
        ticket = session.done(address, made)
        if kind == "whole":
            return ticket, [begin, done]
        moved = self.journal.item("moved")
        self.journal.moved[number] = moved.number
        return session.moved(address, replace(made, address=moved.address)), [begin, done, moved]

    def _replace(self, session: Session) -> None:
        item = self.journal.item("replace")
        entry = StateEntry(item.address, (), {"n": item.number}, Resource(str(item.number)))
        state = session.state.with_entry(entry)
        session.replace(replace(state, id=replace(state.id, serial=state.id.serial + 1)))
        self.journal.durable[item] = None

    def read(self, actor: Actor) -> None:
        """Run one reader without a lock."""
        least = len(self.journal.durable)
        log = INLINE if self.logs == (INLINE,) else AUTO
        reading = read_state(StateStore(self.faulty_store(actor), KEY, self.environment(), log))
        assert not reading.notice, f"I5: {reading.notice}"
        self.journal.check_prefix(reading.state, least)


def run_schedule(schedule: Schedule) -> Journal:
    """Run one schedule. Raises AssertionError if an invariant is violated."""
    rng, sessions, reader = schedule.rng, list[Actor](), None
    steps, bursts = rng.choice([(120, (0, 1, 1)), (40, (1, 1, 2, 3, 20))])
    for _ in range(rng.randrange(steps // 3, steps)):
        while len(sessions) < 3:
            sessions.append(Actor(schedule.run_session))
        if reader is None and rng.random() < 0.2:
            reader = Actor(schedule.read)
        chosen = rng.choice([*sessions, reader] if reader else sessions)
        if chosen is not reader and rng.random() < 0.03:
            chosen.kill()
            schedule.kills += 1
        elif schedule.network.delayed and rng.random() < 0.1:
            schedule.network.delayed.pop(rng.randrange(len(schedule.network.delayed)))()
            schedule.journal.check(schedule.read_now())
        else:
            _step(schedule, chosen, bursts)
        sessions = [actor for actor in sessions if not actor.ended]
        reader = None if reader and reader.ended else reader
    for actor in [*sessions, reader] if reader else sessions:
        actor.kill()
    return _run_last_session(schedule)


def _step(schedule: Schedule, actor: Actor, bursts: Sequence[int]) -> None:
    """Run a few steps of an actor, or so many that its whole session runs while others sleep."""
    for _ in range(schedule.rng.choice(bursts)):
        before = schedule.network.effects
        actor.step()
        if schedule.network.effects != before:
            schedule.journal.check(schedule.read_now())
        if actor.ended:
            return


def _run_last_session(schedule: Schedule) -> Journal:
    """Run a last session, which must succeed (I4)."""
    for _ in range(50):
        last, claims = Actor(schedule.run_session), len(schedule.journal.claims)
        while not last.ended:
            last.step()
        schedule.journal.check(schedule.read_now())
        if len(schedule.journal.claims) > claims:
            return schedule.journal
    raise AssertionError("I4: no session succeeds")
