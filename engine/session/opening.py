"""Open a state: for reading without a lock, or for one run that may write.

    with open_session(state, locker, options, emit) as session:
        plan = ...session.state...
        session.claim(digest)
        session.begin(address, action, entry=entry).wait()
        ...
        session.done(address, entry)

Leaving the session flushes, compacts what was recorded into the next snapshot and releases the lock.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import contextmanager
from datetime import datetime
from functools import partial

import msgspec
from msgspec.structs import replace

from engine.errors import LockError, OutcomeUnknownError, StateError, StoreError
from engine.events import Notice
from engine.lock import LockInfo, lease_of
from engine.log.history import history
from engine.log.placement import misplaced
from engine.log.records import Claim
from engine.log.state_store import INSIDE, StateStore
from engine.log.view import View, damage, damaged_view, read_view
from engine.ports import Emit, Locker
from engine.session.locking import HeldLock, acquire, looks_dead
from engine.session.session import Session, SessionOptions
from engine.state import State, StateEntry
from engine.stored.document import no_gc, state_of

__all__ = ["Reading", "Session", "SessionOptions", "open_session", "read_state"]


class Reading(msgspec.Struct, frozen=True):
    """A state as it was at one moment.

    `exists`: anything was ever written here. `in_progress` says who works on it now and since when,
    "" if no run does; `at_work` is the id of that run's session. `copy_of` is the home of which this
    is a copy, "" if it is at home. `notice` is what the user must know, "" if nothing.
    """

    state: State
    location: str
    exists: bool
    in_progress: str = ""
    copy_of: str = ""
    notice: str = ""
    at_work: str = ""

    def busy(self, entry: StateEntry) -> bool:
        """Tell whether the run at work is at this entry: unfinished, but not interrupted."""
        return entry.pending is not None and self.at_work == entry.pending.session


def read_state(state: StateStore, locker: Locker | None = None, lease: float = 30.0) -> Reading:
    """Read a consistent state without a lock; an absent one is empty.

    `lease` in seconds judges how fresh a log without a lock is. Raises StateError if the content is
    damaged or newer, StoreError if it cannot be read.
    """
    view, location = read_view(state), state.location
    with no_gc(), damage():
        found = state_of(view.replay.document(), location)
    at_work, in_progress = _at_work(state, view, locker, lease)
    notice = ""
    if view.replaced and view.head is not None:
        notice = (
            f"{location} was replaced by other means: the log's records belong to another snapshot "
            "and are kept in the history"
        )
    return Reading(
        found,
        location,
        view.snapshot is not None or bool(view.records),
        in_progress,
        "" if found.home in ("", location) else found.home,
        notice,
        at_work,
    )


def _at_work(state: StateStore, view: View, locker: Locker | None, lease: float) -> tuple[str, str]:
    """Return the session at work, and its user and start; wall clocks are only a hint here."""
    claim, environment = view.replay.claim, state.environment
    if claim is None or view.replay.ended or view.head is None:
        return "", ""
    logged = claim.session, f"{claim.who} since {claim.at}"
    if locker is None:
        return logged if _fresh(state, view.head.at, _silence(claim, lease)) else ("", "")
    try:
        record = environment.retry(lambda: locker.read(state.key))
    except StoreError:
        # A reader of the state need not be allowed to read its lock: the log must do then.
        return logged
    if record is None:
        return "", ""
    info = record.info
    if info is None:
        return logged
    if looks_dead(info, environment.date()):
        return "", ""
    return info.id, " since ".join(filter(None, (info.holder, info.created)))


def _silence(claim: Claim, lease: float) -> float:
    """Return after how many seconds without a sign of life that session is over.

    It is the longer of its lease and ours: it may look at its lock only once in a while of its own
    lease, to find that it lost it.
    """
    return max(lease, lease_of(claim.lease) or 0.0)


def _fresh(state: StateStore, at: str, lease: float) -> bool:
    try:
        age = state.environment.date() - datetime.fromisoformat(at)
    except (ValueError, TypeError):
        return False
    return age.total_seconds() <= lease


@contextmanager
def open_session(
    state: StateStore, locker: Locker | None, options: SessionOptions, emit: Emit
) -> Generator[Session]:
    """Lock, read, and hand out a session; on leaving flush, compact, release.

    Without `locker` no lock is asked. A damaged state shows as `Session.damage`. Raises LockError,
    StateError, StoreError; outcomes that could not be recorded go to a rescue file, which the error
    names.
    """
    environment = state.environment
    claim = Claim(
        environment.token(),
        environment.now(),
        options.who,
        options.operation,
        options.version,
        lineage="",
        salt="",
        home=state.location,
        lease=options.lock.lease,
    )
    with _locked(state, locker, claim, options, emit) as (claim, lock):
        session, view = _opened(state, claim, lock, options, emit)
        try:
            with _leaving(session, emit):
                yield session
        finally:
            dead = lock.taken_from if lock else None
            if lock and dead and not session.claimed and view.replay.unfinished(dead.id):
                # Nothing was written, so the log still waits for the dead holder, and with our
                # record of the lock its own would go: the next run would wait for a whole lease.
                lock.keep_record_of_the_dead()


@contextmanager
def _locked(
    state: StateStore,
    locker: Locker | None,
    claim: Claim,
    options: SessionOptions,
    emit: Emit,
) -> Generator[tuple[Claim, HeldLock | None]]:
    """Hold the lock, whose ID is that of the session.

    Failing to give it back is only a warning: it changes nothing about what the run did.
    """
    if locker is None:
        yield claim, None
        return
    info = LockInfo(
        claim.session,
        options.operation,
        claim.who,
        claim.version,
        claim.at,
        claim.home,
        claim.command,
    )
    lock = acquire(locker, state.key, info, options.lock, emit, state.environment)
    try:
        yield replace(claim, lock=claim.session), lock
    finally:
        try:
            lock.release()
        except (LockError, StoreError, OutcomeUnknownError) as error:
            emit(Notice("warning", f"the lock was not released: {error.message}", error.hint))


@contextmanager
def _leaving(session: Session, emit: Emit) -> Generator[None]:
    """Close the session however it is left.

    What could not be committed is rescued, and that never hides the body's own error.
    """
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


def _opened(
    state: StateStore,
    claim: Claim,
    lock: HeldLock | None,
    options: SessionOptions,
    emit: Emit,
) -> tuple[Session, View]:
    """Make a session on a settled view, or on the bytes that stand for a damaged state.

    A damaged state counts as the one after the newest in the history, which it most likely was.
    """
    make = partial(
        Session,
        state,
        claim=claim,
        options=options,
        emit=emit,
        lock_lost=lambda: lock.lost if lock else None,
    )
    dead = (lock.taken_from.id,) if lock and lock.taken_from else ()
    try:
        with damage():
            view = _settled(state, options, {*dead, *options.over}, emit)
            session = make(view)
    except StateError as broken:
        known = () if state.log == INSIDE else history(state)
        serial = max((past.serial for past in known), default=0) + 1
        view = damaged_view(state, broken, serial)
        return make(view), view
    if refusal := misplaced(state, view):
        raise refusal
    return session, view


def _settled(state: StateStore, options: SessionOptions, over: Collection[str], emit: Emit) -> View:
    """Return the view once the last session is surely over.

    It is over if it ended, or if the log did not change for a whole lease. `over` are ids of
    sessions known to have ended: their lock was silent for a lease, or their process is gone. A
    lease of 0 waits for nothing. Raises LockError if the log is still being written after the lock
    timeout, or two leases.
    """
    environment, view = state.environment, read_view(state)
    claim, lease = view.replay.claim, options.lock.lease
    if claim is None or lease <= 0 or claim.session in over or not _unfinished(view, claim):
        return view
    lease = _silence(claim, lease)
    emit(
        Notice(
            "info",
            f"{claim.who} began work at {claim.at} and did not end it: "
            f"waiting {lease:g} s for a sign of life",
        )
    )
    started = silent_since = environment.clock()
    while environment.clock() - silent_since < lease and _at_large(view):
        if environment.clock() - started > max(options.lock.timeout, 2 * lease):
            raise LockError(
                f"{claim.who} is at work on {state.location} without a lock "
                f"(dtm {claim.command}, since {claim.at})"
            )
        environment.sleep(min(1.0, lease / 10))
        now = read_view(state)
        if now.head_version != view.head_version:
            view, silent_since = now, environment.clock()
    return view


def _unfinished(view: View, claim: Claim) -> bool:
    """Tell whether that session did not end, and left an operation begun."""
    return not view.replay.ended and view.replay.unfinished(claim.session)


def _at_large(view: View) -> bool:
    """Tell whether a session is in the log that did not end; a compacted one ended, too."""
    return view.replay.claim is not None and not view.replay.ended
