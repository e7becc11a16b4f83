"""Helpers of the session contract: clients, killable processes, and sessions for the cases."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import TypeAlias, TypedDict, Unpack

import msgspec
from msgspec.structs import replace

from engine.address import Address
from engine.errors import LockError
from engine.events import Event
from engine.lock import LockInfo, LockRecord
from engine.log.state_store import AUTO, StateStore
from engine.plan import Action
from engine.ports import Locker, Store, StoredObject, Version
from engine.runtime.environment import Environment
from engine.session.locking import LockOptions
from engine.session.opening import open_session
from engine.session.reading import read_state
from engine.session.session import Session, SessionOptions
from engine.state import Resource, State, StateEntry
from engine.values import Value

KEY, HEAD = "contract.state", "contract.state.log"


def _nothing(_locker: Locker) -> None:
    return None


class Client(msgspec.Struct, frozen=True):
    """The store and the locker of one process.

    `drop_lock` releases the lock as the kernel does for a process that ends. `separate_log` is
    False if only the state file may be written: the log is then inline, and there is no history.
    """

    store: Store
    locker: Locker
    drop_lock: Callable[[Locker], None] = _nothing
    separate_log: bool = True


Connect: TypeAlias = Callable[[], Client]
"""A function that connects one more process to the same place."""
SessionCase: TypeAlias = Callable[[Connect], None]
SESSION_CASES: dict[str, SessionCase] = {}


def session_case(name: str) -> Callable[[SessionCase], SessionCase]:
    """Register a function as the case with this name."""

    def register(found: SessionCase) -> SessionCase:
        SESSION_CASES[name] = found
        return found

    return register


class ProcessKilled(BaseException):
    """Raised in a process that was killed; a BaseException, so that no handler catches it."""


class KillableClient(msgspec.Struct, dict=True):
    """A client whose process can be killed: then each call to its store and locker fails."""

    client: Client
    alive: bool = True

    def __post_init__(self) -> None:
        self.store, self.locker = _KillableStore(self), _KillableLocker(self)

    def check(self) -> None:
        """Raise ProcessKilled if the process was killed."""
        if not self.alive:
            raise ProcessKilled

    def kill(self) -> None:
        """Kill the process, as SIGKILL does. Raises ProcessKilled."""
        # Under the mutex, so that no renewal is in progress while the lock is released.
        with self.locker.mutex:
            self.alive = False
            self.client.drop_lock(self.client.locker)
        raise ProcessKilled


class _KillableStore:
    """The client's store; `before` and `after` are called around each write, with its key."""

    def __init__(self, owner: KillableClient) -> None:
        self._owner, self._store = owner, owner.client.store
        self.before: Callable[[str], None] = lambda _: None
        self.after: Callable[[str], None] = lambda _: None

    @property
    def location(self) -> str:
        return self._store.location

    def read(self, key: str) -> StoredObject | None:
        self._owner.check()
        return self._store.read(key)

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        self._owner.check()
        self.before(key)
        version = self._store.write(key, data, expect=expect)
        self.after(key)
        return version

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        self._owner.check()
        self._store.delete(key, expect=expect)

    def list(self, prefix: str) -> Iterator[str]:
        self._owner.check()
        return self._store.list(prefix)


class _KillableLocker:
    """The client's locker. After a kill each call fails, also in the thread that renews."""

    def __init__(self, owner: KillableClient) -> None:
        self._owner, self._locker, self.requests = owner, owner.client.locker, 0
        self.mutex = RLock()

    @contextmanager
    def _while_alive(self) -> Generator[Locker]:
        with self.mutex:
            # A LockError, since ProcessKilled would end the renewing thread with a traceback.
            if not self._owner.alive:
                raise LockError("this process was killed")
            self.requests += 1
            yield self._locker

    def read(self, key: str) -> LockRecord | None:
        with self._while_alive() as locker:
            return locker.read(key)

    def put(self, key: str, info: LockInfo, *, expect: LockRecord | None) -> LockRecord:
        with self._while_alive() as locker:
            return locker.put(key, info, expect=expect)

    def remove(self, key: str, *, expect: LockRecord) -> None:
        with self._while_alive() as locker:
            locker.remove(key, expect=expect)


class SessionSetup(TypedDict, total=False):
    """Settings of a session that a case changes; `lease` and `timeout` are in seconds."""

    claim: bool
    who: str
    lease: float
    timeout: float
    history: int
    log: str
    environment: Environment | None
    emit: Callable[[Event], None]


def state_store(
    store: Store, environment: Environment | None = None, log: str = AUTO
) -> StateStore:
    """Return the state that all cases use, in this store."""
    return StateStore(
        store,
        KEY,
        environment or Environment(sleep=_sleep_briefly, save_fallback=_save_nowhere),
        log,
    )


@contextmanager
def new_session(
    store: Store, locker: Locker | None = None, **setup: Unpack[SessionSetup]
) -> Generator[Session]:
    """Open a session with the settings of `setup`, and claim it unless `claim` is False."""
    lock = LockOptions(setup.get("timeout", 0.0), lease=setup.get("lease", 30.0))
    options = SessionOptions(
        "apply", setup.get("who", "me@here"), "0", lock=lock, history=setup.get("history", 30)
    )
    state = state_store(store, setup.get("environment"), setup.get("log", AUTO))
    emit = setup.get("emit", _silent)
    with open_session(state, locker, options, emit) as session:
        if setup.get("claim", True):
            session.claim()
        yield session


def _silent(_event: Event) -> None:
    return None


def _save_nowhere(name: str, _data: bytes) -> str:
    return name


def _sleep_briefly(seconds: float) -> None:
    time.sleep(min(seconds, 0.01))


def entry(name: str, value: Value = "x") -> StateEntry:
    """Return an entry for the tool `data.NAME`."""
    return StateEntry(
        Address("data", name), (), {"input": value}, Resource(f"data.{name}", {}, {"output": value})
    )


def create_tool(session: Session, name: str, value: Value = "x") -> None:
    """Record the creation of the tool `data.NAME`: begin record and done record."""
    made = entry(name, value)
    session.begin(made.address, Action.CREATE, entry=replace(made, resource=None)).wait()
    session.done(made.address, made).wait()


def tool_names(state: State) -> set[str]:
    """Return the instance IDs of the tools in a state."""
    return {address.instance for address in state.entries}


def read_current(client: Client) -> State:
    """Return the state as a reader sees it."""
    return read_state(state_store(client.store)).state


def replace_snapshot(client: Client, data: bytes) -> None:
    """Replace the state file, as a user would by hand."""
    found = client.store.read(KEY)
    client.store.write(KEY, data, expect=found.version if found else None)
