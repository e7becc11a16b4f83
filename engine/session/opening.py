"""Open a state for one run that may write; `reading` reads one without a lock.

    with open_session(place, locker, options, emit) as session:
        plan = ...session.state...
        session.claim(digest)
        session.begin(address, action, entry=entry).wait()
        ...
        session.done(address, entry)

Leaving the session flushes, compacts what was recorded into the next snapshot and releases the
lock.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import contextmanager
from functools import partial

from msgspec.structs import replace

from engine.errors import LockError, OutcomeUnknownError, StateError, StoreError
from engine.events import Notice
from engine.lock import LockInfo
from engine.log.history import read_history
from engine.log.placement import placement_conflict
from engine.log.records import Claim
from engine.log.state_store import INLINE, StateStore
from engine.log.view import View, explain_damage, read_damaged_view, read_view
from engine.ports import Emit, Locker
from engine.session.locking import HeldLock, acquire
from engine.session.reading import silence_limit
from engine.session.session import Session, SessionOptions


@contextmanager
def open_session(
    state_store: StateStore, locker: Locker | None, options: SessionOptions, emit: Emit
) -> Generator[Session]:
    """Lock, read, and hand out a session; on leaving flush, compact, release.

    Without `locker` no lock is asked. A damaged state shows as `Session.damage`. Raises LockError,
    StateError, StoreError; outcomes that could not be recorded go to a rescue file, which the error
    names.
    """
    environment = state_store.environment
    claim = Claim(
        environment.token(),
        environment.now(),
        options.who,
        options.operation,
        options.version,
        lineage="",
        salt="",
        home=state_store.location,
        lease=options.lock.lease,
    )
    with _hold_lock(state_store, locker, claim, options, emit) as (claim, lock):
        session, view = _create_session(state_store, claim, lock, options, emit)
        try:
            with _leave_on_exit(session, emit):
                yield session
        finally:
            dead = lock.taken_from if lock else None
            if lock and dead and not session.claimed and view.replay.has_unfinished(dead.id):
                # Nothing was written, so the log still waits for the dead holder, and with our
                # record of the lock its own would go: the next run would wait for a whole lease.
                lock.keep_dead_holder_record()


@contextmanager
def _hold_lock(
    state_store: StateStore,
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
    lock = acquire(locker, state_store.key, info, options.lock, emit, state_store.environment)
    try:
        yield replace(claim, lock=claim.session), lock
    finally:
        try:
            lock.release()
        except (LockError, StoreError, OutcomeUnknownError) as error:
            emit(Notice("warning", f"the lock was not released: {error.message}", error.hint))


@contextmanager
def _leave_on_exit(session: Session, emit: Emit) -> Generator[None]:
    """Close the session however it is left.

    What could not be committed is rescued, and that never hides the body's own error.
    """
    try:
        yield
    except BaseException as failure:
        error = session.leave(clean=False)
        if error is not None and error is not failure:
            emit(Notice("error", error.message, error.hint, error.where))
        raise
    error = session.leave(clean=True)
    if error is not None:
        raise error


def _create_session(
    state_store: StateStore,
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
        state_store,
        claim=claim,
        options=options,
        emit=emit,
        lock_lost=lambda: lock.lost if lock else None,
    )
    dead = (lock.taken_from.id,) if lock and lock.taken_from else ()
    try:
        with explain_damage():
            view = _wait_for_last_session(state_store, options, {*dead, *options.over}, emit)
            session = make(view)
    except StateError as broken:
        known = () if state_store.log == INLINE else read_history(state_store)
        serial = max((past.serial for past in known), default=0) + 1
        view = read_damaged_view(state_store, broken, serial)
        return make(view), view
    if refusal := placement_conflict(state_store, view):
        raise refusal
    return session, view


def _wait_for_last_session(
    state_store: StateStore, options: SessionOptions, over: Collection[str], emit: Emit
) -> View:
    """Return the view once the last session is surely over.

    It is over if it ended, or if the log did not change for a whole lease. `over` are ids of
    sessions known to have ended: their lock was silent for a lease, or their process is gone. A
    lease of 0 waits for nothing. Raises LockError if the log is still being written after the lock
    timeout, or two leases.
    """
    environment, view = state_store.environment, read_view(state_store)
    claim, lease = view.replay.claim, options.lock.lease
    if claim is None or lease <= 0 or claim.session in over or not _left_unfinished(view, claim):
        return view
    lease = silence_limit(claim, lease)
    emit(
        Notice(
            "info",
            f"{claim.who} began work at {claim.at} and did not end it: "
            f"waiting {lease:g} s for a sign of life",
        )
    )
    started = silent_since = environment.clock()
    while environment.clock() - silent_since < lease and _is_open(view):
        if environment.clock() - started > max(options.lock.timeout, 2 * lease):
            raise LockError(
                f"{claim.who} is at work on {state_store.location} without a lock "
                f"(dtm {claim.command}, since {claim.at})"
            )
        environment.sleep(min(1.0, lease / 10))
        now = read_view(state_store)
        if now.head_version != view.head_version:
            view, silent_since = now, environment.clock()
    return view


def _left_unfinished(view: View, claim: Claim) -> bool:
    """Tell whether that session did not end, and left an operation begun."""
    return not view.replay.ended and view.replay.has_unfinished(claim.session)


def _is_open(view: View) -> bool:
    """Tell whether a session is in the log that did not end; a compacted one ended, too."""
    return view.replay.claim is not None and not view.replay.ended
