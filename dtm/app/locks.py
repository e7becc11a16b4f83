"""The lock of a run, the guarantees of its store, and the ways to look at a lock and break it."""

from __future__ import annotations

from typing import Final

import msgspec

from dtm.app.place import LOCKS, Place
from dtm.app.workspace import Workspace
from engine.errors import LockError, StateError, StoreAccessError, UsageError
from engine.events import Notice
from engine.lock import LockRecord
from engine.log.probe import GUARANTEES, Probe, probe
from engine.ports import Emit, Locker
from engine.session.reading import Reading, read_state
from engine.values import Value

NO_LOCK_INLINE: Final = "state.log: inline leaves everything but the state itself alone"


class LockChoice(msgspec.Struct, frozen=True):
    """The lock of a run: its kind, its locker and its lease in seconds.

    Without a locker, `why` and `hint` say why there is none. `probe` is what the session records of
    the store; None where there is nothing to find out.
    """

    kind: str
    locker: Locker | None
    lease: float
    probe: Probe | None = None
    why: str = ""
    hint: str = ""


def no_lock(
    place: Place, why: str = "", hint: str = "", verdict: Probe | None = None
) -> LockChoice:
    """Run without a lock; no request is sent."""
    found = verdict or (None if place.opened.certain else _empty_probe(place))
    return LockChoice("none", None, place.lease("none"), found, why, hint)


def _empty_probe(place: Place) -> Probe:
    return Probe(place.location, place.state.environment.now())


def choose_lock_or_warn(place: Place, emit: Emit) -> LockChoice:
    """Choose the lock for a run that works on the state; warn if there is none.

    Raises StoreError where the store is unfit.
    """
    found = choose_lock(place, probing=True)
    if found.locker is None:
        emit(
            Notice(
                "warning",
                f"there is no lock, {found.why}: "
                "the state stays safe, but two runs may do the same work",
                found.hint,
            )
        )
    return found


def choose_lock(place: Place, *, probing: bool) -> LockChoice:
    """Choose the lock of this place; `probing` tries a store that is not known to hold one.

    `auto` takes what there is; a kind that was asked for and cannot be had is a StoreError.
    """
    auto, kind = place.settings.lock.kind == "auto", place.kind()
    if (
        auto
        and kind == "native"
        and place.settings.log == "inline"
        and place.settings.backend != "local"
    ):
        hint = "give it a lock elsewhere: dynamodbTable, or state.lock.url; "
        return no_lock(place, NO_LOCK_INLINE, hint + "or state.lock.kind: native")
    if kind == "none":
        return no_lock(place, f"{place.location} has none" if auto else "as the settings say")
    try:
        verdict = _probe_of(place, native="native" in LOCKS[kind], probing=probing)
        refusal = verdict.refusal(lock_native=True) if verdict and "native" in LOCKS[kind] else None
        if refusal and verdict and not (auto and verdict.protects_state):
            raise refusal
        if refusal:
            return no_lock(place, refusal.message, refusal.hint, verdict)
        locker = place.locker(kind)
        if auto and kind == "native" and locker:
            # Tried now: whether this user may touch the lock object is not known before.
            locker.read(place.key)
    except StoreAccessError as error:
        place.store.read(place.key)  # raises where not only the lock is closed to us
        if not auto or kind != "native":
            raise
        return no_lock(place, error.message, error.hint)
    return LockChoice(kind, locker, place.lease(kind), verdict)


def _probe_of(place: Place, *, native: bool, probing: bool) -> Probe | None:
    """Read what the state records of its store, None where there is nothing to find out.

    Where `native` needs more, `probing` tries it now. Raises store errors.
    """
    if place.opened.certain:
        return None
    found = recorded_probe(place)
    known = {trial.name for trial in found.trials} if found else set[str]()
    if native and probing and not GUARANTEES.keys() <= known:
        return probe(place.state, lock_native=True)
    return found or _empty_probe(place)


def recorded_probe(place: Place) -> Probe | None:
    """Read what the state says of its own store, None if nothing."""
    try:
        state = read_state(place.state).state
    except StateError:  # a damaged one says nothing, and can still be replaced
        return None
    found = Probe.recorded(state.probe)
    return found if found and found.location == place.location else None


def probe_place(place: Place, *, racing: bool = True) -> Probe:
    """Try everything that this place has to guarantee.

    Where only the state's own key may be touched, it is left alone while a run is at work on it:
    the first write of that run was a trial.
    """
    kind = place.kind()
    only_key = place.settings.log == "inline" or kind == "dynamodb"
    if only_key and _is_in_use(place):
        return recorded_probe(place) or _empty_probe(place)
    native = racing and "native" in LOCKS[kind]
    return probe(place.state, lock_native=native, only_key=only_key)


def _is_in_use(place: Place) -> bool:
    try:
        return bool(read_without_lock(place).active_session)
    except StateError:  # a damaged one
        return False


def probe_rows(verdict: Probe) -> list[dict[str, Value]]:
    """Lay out a verdict for people."""
    return [
        {"result": "yes" if trial.kept else f"NO: {trial.found}", "what": GUARANTEES[trial.name]}
        for trial in verdict.trials
    ]


def read_without_lock(place: Place) -> Reading:
    """Read the state without holding a lock, and who is at work on it.

    Raises StateError, StoreError.
    """
    kind = place.kind()
    return read_state(place.state, place.locker(kind), place.lease(kind))


def read_lock(workspace: Workspace) -> LockRecord | None:
    """Read the record of the lock, None if it is free. Raises UsageError where locking is off."""
    return _locker(workspace).read(workspace.place.key)


def record_to_break(workspace: Workspace, lock_id: str, *, corrupt: bool) -> LockRecord:
    """Read the record to break.

    Raises LockError if it has another ID, UsageError if there is none or locking is off.
    """
    record = read_lock(workspace)
    if record is None:
        raise UsageError(f"{workspace.place.location} is not locked")
    if record.info is None:
        if corrupt:
            return record
        raise LockError(
            "the lock's record cannot be read, so it has no ID",
            hint="dtm force-unlock --corrupt breaks it",
        )
    if record.info.id != lock_id:
        raise LockError(
            f"the lock has another ID: {record.info.id}, held by {record.info.holder}"
            if lock_id
            else "which lock? Its ID is needed",
            hint=f"dtm force-unlock {record.info.id}",
        )
    return record


def break_lock(workspace: Workspace, record: LockRecord) -> None:
    """Remove the lock with that record's ID, renewed meanwhile or not.

    Raises LockError if another client holds it by now.
    """
    from engine.session.locking import break_lock as engine_break

    engine_break(_locker(workspace), workspace.place.key, record.info.id if record.info else "")


def _locker(workspace: Workspace) -> Locker:
    found = choose_lock(workspace.place, probing=False)
    if found.locker is None:
        raise UsageError(
            f"locking is off for {workspace.place.location}, {found.why}", hint=found.hint
        )
    return found.locker
