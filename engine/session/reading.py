"""Read a state without a lock, and tell who is at work on it."""

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
    """A state as it was at one moment.

    `exists`: anything was ever written here. `in_progress` says who works on it now and since when,
    "" if no run does; `active_session` is the id of that run's session. `copy_of` is the home of
    which this is a copy, "" if it is at home. `notice` is what the user must know, "" if nothing.
    `refusal` is why no run may write it with these settings, None if one may.
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
        """Tell whether the run at work is at this entry: unfinished, but not interrupted."""
        return entry.pending is not None and self.active_session == entry.pending.session


def read_state(
    state_store: StateStore, locker: Locker | None = None, lease: float = 30.0
) -> Reading:
    """Read a consistent state without a lock; an absent one is empty.

    `lease` in seconds judges how fresh a log without a lock is. Raises StateError if the content is
    damaged or newer, StoreError if it cannot be read.
    """
    view, location = read_view(state_store), state_store.location
    with paused_gc(), explain_damage():
        found = build_state(view.replay.state_file(), location)
    active_session, in_progress = _active_session(state_store, view, locker, lease)
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
        active_session,
        placement_conflict(state_store, view),
    )


def _active_session(
    state_store: StateStore, view: View, locker: Locker | None, lease: float
) -> tuple[str, str]:
    """Return the session at work, and its user and start; wall clocks are only a hint here."""
    claim, environment = view.replay.claim, state_store.environment
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
        # A reader of the state need not be allowed to read its lock: the log must do then.
        return logged
    if record is None:
        return "", ""
    info = record.info
    if info is None:
        return logged
    if info.has_expired_lease(environment.date()):
        return "", ""
    return info.id, " since ".join(filter(None, (info.holder, info.created)))


def silence_limit(claim: Claim, lease: float) -> float:
    """Return after how many seconds without a sign of life that session is over.

    It is the longer of its lease and ours: it may look at its lock only once in a while of its own
    lease, to find that it lost it.
    """
    return max(lease, parse_lease(claim.lease) or 0.0)


def _is_fresh(state_store: StateStore, at: str, lease: float) -> bool:
    try:
        age = state_store.environment.date() - datetime.fromisoformat(at)
    except (ValueError, TypeError):
        return False
    return age.total_seconds() <= lease
