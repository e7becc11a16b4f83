"""Read a state without a lock, and find out whether a run is in progress."""

from __future__ import annotations

from datetime import datetime

import msgspec

from engine.errors import StateError, StoreError
from engine.lock import parse_lease
from engine.log.placement import placement_conflict
from engine.log.records import Claim
from engine.log.state_store import StateStore
from engine.log.view import View, explain_damage, read_view
from engine.ports import Locker
from engine.state import State, StateEntry
from engine.stored.state_file import build_state, paused_gc


class Reading(msgspec.Struct, frozen=True):
    """A state at one moment, with what a reader must know about it.

    `exists` is true if anything was ever written at the location. `in_progress` names the user and
    the start of the run in progress, "" if there is none; `active_session` is the ID of its
    session. `copy_of` is the home of a copy, "" if this location is the home. `notice` is a text
    for the user, "" if there is none. `refusal` is why a run with these settings would be refused.
    """

    state: State
    location: str
    exists: bool
    in_progress: str = ""
    copy_of: str = ""
    notice: str = ""
    active_session: str = ""
    refusal: StateError | None = None

    def is_busy(self, entry: StateEntry) -> bool:
        """Return whether the operation belongs to the run in progress, so is not interrupted."""
        return entry.pending is not None and self.active_session == entry.pending.session


def read_state(
    state_store: StateStore, locker: Locker | None = None, lease: float = 30.0
) -> Reading:
    """Read a consistent state without a lock; an absent state file is an empty state.

    Without a `locker` the run that wrote the log last counts as in progress for `lease` seconds.
    Raises StateError if the content is damaged or has a newer format, StoreError if it cannot be
    read.

        entries = read_state(StateStore(store, key)).state.entries
    """
    view, location = read_view(state_store), state_store.location
    with paused_gc(), explain_damage():
        found = build_state(view.replay.state_file(), location)
    active_session, in_progress = _active_session(state_store, view, locker, lease)
    notice = ""
    if view.replaced and view.head is not None:
        change = "removed" if view.snapshot is None else "replaced"
        notice = (
            f"{location} was {change} by other means than dtm. Its commit log belongs to another "
            "snapshot: the next run moves the records of the log to the history"
        )
    return Reading(
        found,
        location,
        view.snapshot is not None or bool(view.records),
        in_progress,
        "" if found.home in ("", location) else found.home,
        notice,
        active_session,
        placement_conflict(state_store, view),
    )


def _active_session(
    state_store: StateStore, view: View, locker: Locker | None, lease: float
) -> tuple[str, str]:
    """Return the ID of the session in progress, and its user and start; "" and "" if none is.

    This compares wall clocks of two machines, so it is only a hint: no write depends on it.
    """
    claim, environment = view.replay.claim, state_store.environment
    # The usual case: without an open session in the log no lock has to be read.
    if claim is None or view.replay.ended or view.head is None:
        return "", ""
    logged = claim.session, f"{claim.who} since {claim.at}"
    if locker is None:
        return (
            logged
            if _is_fresh(state_store, view.head.at, silence_limit(claim, lease))
            else ("", "")
        )
    try:
        record = environment.retry(lambda: locker.read(state_store.key))
    except StoreError:
        # Users who may read the state need not have access to the lock. The log names the session.
        return logged
    # No lock: the run has crashed. A run with --no-lock is overlooked here, which is acceptable for
    # a hint.
    if record is None:
        return "", ""
    info = record.info
    if info is None:
        return logged
    if info.has_expired_lease(environment.date()):
        return "", ""
    return info.id, " since ".join(filter(None, (info.holder, info.created)))


def silence_limit(claim: Claim, lease: float) -> float:
    """Return the seconds without a commit after which that session counts as over.

    That is `lease`, or the lease in the claim if that is longer. A session learns that it lost its
    lock only when it renews the lock, which happens within its own lease.
    """
    return max(lease, parse_lease(claim.lease) or 0.0)


def _is_fresh(state_store: StateStore, at: str, lease: float) -> bool:
    try:
        age = state_store.environment.date() - datetime.fromisoformat(at)
    except (ValueError, TypeError):
        return False
    return age.total_seconds() <= lease
