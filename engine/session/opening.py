"""Opening a state: for reading without any lock, or for one run that may write.

    with open_session(store, locker, key, operation="apply", ...) as session:
        plan = ...session.state...
        session.claim(digest)
        session.begin(address, action, entry=entry).wait()
        ...
        session.done(address, entry)

Leaving the session flushes, compacts what was recorded into the next snapshot and releases the lock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from datetime import datetime
from functools import partial

import msgspec

from engine.errors import DtmError, LockError, OutcomeUnknownError, StateError, StoreError
from engine.events import Event, LockAcquired, Notice
from engine.lock import LockInfo, lease_of
from engine.log.history import history as earlier
from engine.log.history import prune
from engine.log.probe import Probe
from engine.log.records import Opened
from engine.log.view import AUTO, INSIDE, View, damage, damaged_view, read_view, where
from engine.ports import Emit, Locker, ProcessLocker, Store
from engine.runtime.environment import Environment
from engine.secrets.sealing import Redactor
from engine.session.locking import HeldLock, acquire, looks_dead
from engine.session.session import Session
from engine.state import State, StateEntry
from engine.stored.document import no_gc, state_of

__all__ = ["Reading", "Session", "open_session", "read_state"]


class Reading(msgspec.Struct, frozen=True):
    """A state as it was at one moment.

    `in_progress`: who works on it right now and since when, "" if nobody; `at_work`: the id of that run's session.
    `exists`: anything was ever written here.
    `copy_of`: the home of which this is a copy, "" if it is at home. `notice`: what a person must know, "" if nothing.
    """

    state: State
    location: str
    exists: bool
    in_progress: str = ""
    copy_of: str = ""
    notice: str = ""
    at_work: str = ""

    def busy(self, entry: StateEntry) -> bool:
        """Whether the run at work is at it: unfinished, but not interrupted."""
        return entry.pending is not None and self.at_work == entry.pending.session


def read_state(
    store: Store,
    key: str,
    *,
    locker: Locker | None = None,
    lease: float = 30.0,
    log: str = AUTO,
    environment: Environment | None = None,
) -> Reading:
    """A consistent state without a lock; an absent one is empty. `log` is `state.log`: with `inline` only the key is read.

    `lease` in seconds judges the freshness of a log without a lock. Raises StateError if the content is damaged or newer,
    StoreError if it cannot be read.
    """
    environment = environment or Environment()
    view, location = read_view(store, key, environment, log), where(store, key)
    with no_gc(), damage():
        state = state_of(view.replay.document(), location)
    at_work, in_progress = _at_work(view, locker, key, lease, environment)
    return Reading(
        state,
        location,
        view.snapshot is not None or bool(view.records),
        in_progress,
        "" if state.home in ("", location) else state.home,
        _replaced(view, location),
        at_work,
    )


def _replaced(view: View, location: str) -> str:
    if not view.replaced or view.head is None:
        return ""
    return f"{location} was replaced by other means: the log's records belong to another snapshot and are kept in the history"


def _at_work(
    view: View, locker: Locker | None, key: str, lease: float, environment: Environment
) -> tuple[str, str]:
    """The session at work, and who that is since when, by the log and the lock; wall clocks are only a hint here."""
    opened = view.replay.opened
    if opened is None or view.replay.ended or view.head is None:
        return "", ""
    logged = opened.session, f"{opened.who} since {opened.at}"
    if locker is None:
        return logged if _fresh(view.head.at, _silence(opened, lease), environment) else ("", "")
    try:
        record = environment.retry(lambda: locker.read(key))
    except (
        StoreError
    ):  # who may read the state need not be allowed to read its lock: believe the log then
        return logged
    if record is None:
        return "", ""
    info = record.info
    if info is None:
        return logged
    return (
        ("", "")
        if looks_dead(info, environment.date())
        else (info.id, " since ".join(filter(None, (info.holder, info.created))))
    )


def _silence(opened: Opened, lease: float) -> float:
    """Seconds without a sign of life after which that session is over: what it promised, and what we do, whichever is more.

    It may be working and look at its lock only once in a while of its own lease, to find that it lost it.
    """
    return max(lease, lease_of(opened.lease) or 0.0)


def _fresh(at: str, lease: float, environment: Environment) -> bool:
    try:
        return (environment.date() - datetime.fromisoformat(at)).total_seconds() <= lease
    except (ValueError, TypeError):
        return False


@contextmanager
def open_session(
    store: Store,
    locker: Locker | None,
    key: str,
    *,
    operation: str,
    command: str,
    who: str,
    version: str,
    emit: Emit,
    lock_timeout: float = 0.0,
    takeover: bool = True,
    lease: float = 30.0,
    redactor: Redactor | None = None,
    history: int = 30,
    log: str = AUTO,
    probe: Probe | None = None,
    over: Collection[str] = (),
    environment: Environment | None = None,
) -> Generator[Session]:
    """Lock, read, and hand out a session; on leaving flush, compact, release.

    `locker` None asks no lock at all. `lock_timeout` and `lease` are seconds; `takeover` allows taking over a dead
    holder's lock; `history` is how many old snapshots are kept; `log` is `state.log`. `probe` is what was tried on this
    store, to be recorded; one without trials is made good on the document itself. `over` are ids of sessions known to have
    ended. A damaged state is told by `Session.damage`. Raises LockError, StateError, StoreError; what was not recorded goes
    to a rescue file, which the error names.
    """
    environment = environment or Environment()
    opened = _opening(
        where(store, key), who, command, version, lease, environment, lock=locker is not None
    )
    with _locked(
        locker, key, opened, operation, lock_timeout, takeover, lease, emit, environment
    ) as lock:
        make = partial(
            Session,
            store,
            key,
            opening=opened,
            environment=environment,
            emit=emit,
            redactor=redactor,
            lock_lost=lock.lost,
            log=log,
            probe=probe,
        )
        session = _readable(
            make, store, key, {lock.dead, *over}, lease, lock_timeout, log, emit, environment
        )
        with _leaving(session, emit), _mourned(session, locker, key, lock.dead):
            yield session
        if session.claimed and session.remembers:
            _forget(store, key, history, session, emit, environment)


def _opening(
    home: str,
    who: str,
    command: str,
    version: str,
    lease: float,
    environment: Environment,
    *,
    lock: bool,
) -> Opened:
    """Who this session is; its lock goes by the same id."""
    session = environment.token()
    return Opened(
        session,
        environment.now(),
        who,
        command,
        version,
        "",
        "",
        home,
        session if lock else "",
        lease=lease,
    )


def _readable(
    make: Callable[..., Session],
    store: Store,
    key: str,
    over: Collection[str],
    lease: float,
    patience: float,
    log: str,
    emit: Emit,
    environment: Environment,
) -> Session:
    """A session on the view that `_settled` gives; on what stands for a damaged state if it cannot be read."""
    try:
        with damage():
            return make(_settled(store, key, over, lease, patience, log, emit, environment))
    except StateError as broken:
        return make(_damaged(store, key, broken, log, environment), damage=broken)


def _damaged(
    store: Store, key: str, broken: StateError, log: str, environment: Environment
) -> View:
    """The state counts as the one after the newest in the history, which it most likely was."""
    known = () if log == INSIDE else earlier(store, key, environment)
    serial = max((past.serial for past in known), default=0) + 1
    return damaged_view(store, key, broken, serial, environment, log)


def _forget(
    store: Store, key: str, keep: int, session: Session, emit: Emit, environment: Environment
) -> None:
    """Drop what is too old; the run is done, so failing to is only told."""
    try:
        prune(store, key, keep, session.serial, environment)
    except (StoreError, OutcomeUnknownError) as error:
        emit(Notice("warning", f"old snapshots were not dropped: {error.message}", error.hint))


class _Lock(msgspec.Struct):
    """The lock around a session, if there is one; `dead` is the id of a holder that is known to be over."""

    held: HeldLock | None = None
    dead: str = ""

    def lost(self) -> DtmError | None:
        """Who took the lock from us."""
        return self.held.lost if self.held else None


@contextmanager
def _locked(
    locker: Locker | None,
    key: str,
    opened: Opened,
    operation: str,
    timeout: float,
    takeover: bool,
    lease: float,
    emit: Emit,
    environment: Environment,
) -> Generator[_Lock]:
    """Hold the lock; failing to give it back is told, but changes nothing about what the run did."""
    lock = _Lock()

    def hear(event: Event) -> None:
        if isinstance(event, LockAcquired) and event.taken_from:
            lock.dead = event.taken_from.id
        emit(event)

    if locker is None:
        yield lock
        return
    info = LockInfo(
        opened.session,
        operation,
        opened.who,
        opened.version,
        opened.at,
        opened.home,
        opened.command,
    )
    lock.held = acquire(
        locker,
        key,
        info,
        timeout=timeout,
        takeover=takeover,
        lease=lease,
        emit=hear,
        clock=environment.clock,
        sleep=environment.sleep,
        rng=environment.rng,
        now=environment.date,
    )
    try:
        yield lock
    finally:
        try:
            lock.held.release()
        except (LockError, StoreError, OutcomeUnknownError) as error:
            emit(Notice("warning", f"the lock was not released: {error.message}", error.hint))


@contextmanager
def _leaving(session: Session, emit: Emit) -> Generator[None]:
    """Close the session however it is left; what could not be committed is rescued and never hides the body's own error."""
    try:
        yield
    except BaseException as failure:
        error = session.leave()
        if error is not None and error is not failure:
            emit(Notice("error", error.message, error.hint, error.where))
        raise
    error = session.leave()
    if error is not None:
        raise error


@contextmanager
def _mourned(session: Session, locker: Locker | None, key: str, dead: str) -> Generator[None]:
    """A run that changes nothing lets the next one know, too, that this holder is dead: with its lock went what told so."""
    try:
        yield
    finally:
        if (
            dead
            and isinstance(locker, ProcessLocker)
            and not session.claimed
            and session.waits_for(dead)
        ):
            locker.bequeath(key)


def _settled(
    store: Store,
    key: str,
    over: Collection[str],
    lease: float,
    patience: float,
    log: str,
    emit: Emit,
    environment: Environment,
) -> View:
    """The view once the last session is surely over: it ended, its lock was silent for a lease, or the log is now.

    `over` are ids of sessions known to be: a holder that was silent for a whole lease, or whose process is gone. A `lease` of
    0 waits for nobody. Raises LockError if the log is still being written after `patience` seconds, or two leases.
    """
    view = read_view(store, key, environment, log)
    opened = view.replay.opened
    if (
        lease <= 0
        or opened is None
        or view.replay.ended
        or opened.session in over
        or not view.replay.unfinished(opened.session)
    ):
        return view
    lease = _silence(opened, lease)
    emit(
        Notice(
            "info",
            f"{opened.who} began work at {opened.at} and did not end it: waiting {lease:g} s for a sign of life",
        )
    )
    started = silent_since = environment.clock()
    while (
        environment.clock() - silent_since < lease and view.replay.opened and not view.replay.ended
    ):  # folded in: ended too
        if environment.clock() - started > max(patience, 2 * lease):
            raise LockError(
                f"{opened.who} is at work on {where(store, key)} without a lock (dtm {opened.command}, since {opened.at})"
            )
        environment.sleep(min(1.0, lease / 10))
        now = read_view(store, key, environment, log)
        if now.head_version != view.head_version:
            view, silent_since = now, environment.clock()
    return view
