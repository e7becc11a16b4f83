"""Open a session: lock, wait until the last session is over, read the state.

    with open_session(place, locker, options, emit) as session:
        plan = ...session.state...
        session.claim(digest)
        session.begin(address, action, entry=entry).wait()
        ...
        session.done(address, entry)

Leaving the session flushes the queue, compacts the log into the next snapshot and releases the
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
    """Take the lock, read the state and yield a session; afterwards flush, compact and release.

    Without `locker` no lock is used. For a damaged state `Session.damage` is set. Raises LockError,
    StateError, StoreError. Outcomes that could not be committed go to a rescue file, which the
    hint of the error names.
    """
    environment = state_store.environment
    # Incomplete: `Session.claim` sets lineage, salt and plan, and the time of the claim.
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
                # This session has written nothing, so the log still names the dead holder. Without
                # the holder's lock record the next run would wait for a whole lease again.
                lock.keep_dead_holder_record()


@contextmanager
def _hold_lock(
    state_store: StateStore,
    locker: Locker | None,
    claim: Claim,
    options: SessionOptions,
    emit: Emit,
) -> Generator[tuple[Claim, HeldLock | None]]:
    """Hold the lock, whose ID is that of the session; yield the claim and the lock.

    A failed release is only a warning: it does not change the result of the run.
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
    """Leave the session, however its body ends; an error of the body takes precedence."""
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
    """Create a session on a view of the state, or of the bytes of a damaged state."""
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
    # Damage is not raised here: `push --force` and `rollback` need a session to repair it.
    except StateError as broken:
        # A damaged state was most likely the snapshot after the newest one in the history.
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
    """Return a view after the last session is over: it ended, or its lease passed without a commit.

    `over` are IDs of sessions that are known to be over. A lease of 0 means not to wait. Raises
    LockError if the log still changes after the lock timeout or two leases, whichever is longer.
    """
    # Calls of the last session may still be running. Reading live resources now could miss what
    # they are about to create, and this run would create it a second time.
    environment, view = state_store.environment, read_view(state_store)
    claim, lease = view.replay.claim, options.lock.lease
    if claim is None or lease <= 0 or claim.session in over or not _left_unfinished(view, claim):
        return view
    lease = silence_limit(claim, lease)
    emit(
        Notice(
            "info",
            f"a run by {claim.who} (since {claim.at}) has not ended: "
            f"waiting {lease:g} s to see whether it is still running",
        )
    )
    started = silent_since = environment.clock()
    while environment.clock() - silent_since < lease and _is_open(view):
        if environment.clock() - started > max(options.lock.timeout, 2 * lease):
            raise LockError(
                f"{claim.who} is running dtm {claim.command} on {state_store.location} "
                f"without a lock (since {claim.at})"
            )
        environment.sleep(min(1.0, lease / 10))
        now = read_view(state_store)
        # Any change of the version is a commit, and the session that made it is alive.
        if now.head_version != view.head_version:
            view, silent_since = now, environment.clock()
    return view


def _left_unfinished(view: View, claim: Claim) -> bool:
    """Return whether that session has not ended and has an unfinished operation."""
    return not view.replay.ended and view.replay.has_unfinished(claim.session)


def _is_open(view: View) -> bool:
    """Return whether the log names a session that has not ended."""
    return view.replay.claim is not None and not view.replay.ended
