"""The choice of a run's lock, the guarantees of its store, and reading and breaking a lock.

A `Probe` is the result of a probe: what a store guarantees, as tested and recorded in the state.
"""

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

NO_LOCK_INLINE: Final = "because state.log: inline allows no object but the state file"


class LockChoice(msgspec.Struct, frozen=True):
    """The lock that a run uses: its kind, its locker and its lease in seconds.

    If `locker` is None, `why` and `hint` say why there is no lock. `probe` is what the session
    records about the store, None if nothing needs to be tested.
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
    """Return the choice of no lock. No request is sent."""
    found = verdict or (None if place.opened.trusted else _empty_probe(place))
    return LockChoice("none", None, place.lease("none"), found, why, hint)


def _empty_probe(place: Place) -> Probe:
    return Probe(place.location, place.state.environment.now())


def choose_lock_or_warn(place: Place, emit: Emit) -> LockChoice:
    """Choose the lock for a run that works on the state; warn if there is none.

    Raises StoreError if the store cannot protect a state.
    """
    found = choose_lock(place, probing=True)
    if found.locker is None:
        emit(
            Notice(
                "warning",
                f"running without a lock {found.why}: "
                "the state stays safe, but two runs may do the same work",
                found.hint,
            )
        )
    return found


def choose_lock(place: Place, *, probing: bool) -> LockChoice:
    """Choose the lock of this place. With `probing`, an untested store is tested first.

    The kind `auto` uses the best lock that works here, or none. Raises StoreError if a kind that
    the settings name does not work here.
    """
    auto, kind = place.settings.lock.kind == "auto", place.lock_kind()
    if (
        auto
        and kind == "native"
        and place.settings.log == "inline"
        and place.settings.backend != "local"
    ):
        # The user allowed no object but the state file, so a lock object needs an explicit setting.
        hint = "set dynamodbTable, state.lock.url or state.lock.kind: native to have a lock"
        return no_lock(place, NO_LOCK_INLINE, hint)
    if kind == "none":
        return no_lock(
            place,
            f"because {place.location} offers none" if auto else "because the settings disable it",
        )
    try:
        verdict = _probe_of(place, native="native" in LOCKS[kind], probing=probing)
        refusal = verdict.refusal(lock_native=True) if verdict and "native" in LOCKS[kind] else None
        # Without a lock the commit log still protects the state, if the store compares versions.
        if refusal and verdict and not (auto and verdict.protects_state):
            raise refusal
        if refusal:
            return no_lock(place, f"because {refusal.message}", refusal.hint, verdict)
        locker = place.locker(kind)
        if auto and kind == "native" and locker:
            # Read it now: only a request shows whether this user may access the lock object.
            locker.read(place.key)
    except StoreAccessError as error:
        # Raises if access to the state file is denied too: then the lock is not the problem.
        place.store.read(place.key)
        if not auto or kind != "native":
            raise
        return no_lock(place, f"because {error.message}", error.hint)
    return LockChoice(kind, locker, place.lease(kind), verdict)


def _probe_of(place: Place, *, native: bool, probing: bool) -> Probe | None:
    """Return what the state records about its store, None if nothing needs to be tested.

    With `probing`, the store is tested now if a `native` lock needs more guarantees than recorded.
    Raises store errors.
    """
    if place.opened.trusted:
        return None
    found = recorded_probe(place)
    known = {trial.name for trial in found.trials} if found else set[str]()
    if native and probing and not GUARANTEES.keys() <= known:
        return probe(place.state, lock_native=True)
    return found or _empty_probe(place)


def recorded_probe(place: Place) -> Probe | None:
    """Return what the state records about its own store, None if nothing."""
    try:
        state = read_state(place.state).state
    except StateError:  # a damaged state can still be replaced, so it may be locked
        return None
    found = Probe.recorded(state.probe)
    return found if found and found.location == place.location else None


def probe_place(place: Place, *, racing: bool = True) -> Probe:
    """Test everything that this place has to guarantee.

    With `racing`, what a native lock needs is tested too. If no key but the state file's may be
    used, nothing is tested while a run is working: the test would disturb that run, whose first
    write was a test already.
    """
    kind = place.lock_kind()
    only_key = place.settings.log == "inline" or kind == "dynamodb"
    if only_key and _is_in_use(place):
        return recorded_probe(place) or _empty_probe(place)
    native = racing and "native" in LOCKS[kind]
    return probe(place.state, lock_native=native, only_key=only_key)


def _is_in_use(place: Place) -> bool:
    try:
        return bool(read_without_lock(place).active_session)
    except StateError:  # a damaged state names no run
        return False


def probe_rows(verdict: Probe) -> list[dict[str, Value]]:
    """Return the results of the tests as rows of a table."""
    return [
        {"result": "yes" if trial.kept else f"NO: {trial.found}", "what": GUARANTEES[trial.name]}
        for trial in verdict.trials
    ]


def read_without_lock(place: Place) -> Reading:
    """Read the state and find out which run is working on it. The lock is not taken.

    Raises StateError, StoreError.
    """
    kind = place.lock_kind()
    return read_state(place.state, place.locker(kind), place.lease(kind))


def read_lock(workspace: Workspace) -> LockRecord | None:
    """Read the record of the lock, None if it is free. Raises UsageError if locking is off."""
    return _locker(workspace).read(workspace.place.key)


def record_to_break(workspace: Workspace, lock_id: str, *, corrupt: bool) -> LockRecord:
    """Read the lock's record and check that the user named it.

    Raises LockError if it has another ID, UsageError if there is no lock or locking is off.
    """
    record = read_lock(workspace)
    if record is None:
        raise UsageError(f"{workspace.place.location} is not locked")
    if record.info is None:
        if corrupt:
            return record
        raise LockError(
            "cannot read the lock's record, so its ID is unknown",
            hint="break it with dtm force-unlock --corrupt",
        )
    if record.info.id != lock_id:
        raise LockError(
            f"the lock has the ID {record.info.id}, not {lock_id}: {record.info.holder} holds it"
            if lock_id
            else "the ID of the lock is missing",
            hint=f"break the lock with dtm force-unlock {record.info.id}",
        )
    return record


def break_lock(workspace: Workspace, record: LockRecord) -> None:
    """Remove the lock with that record's ID, even if it was renewed since.

    Raises LockError if another client holds the lock now.
    """
    from engine.session.locking import break_lock as engine_break

    engine_break(_locker(workspace), workspace.place.key, record.info.id if record.info else "")


def _locker(workspace: Workspace) -> Locker:
    found = choose_lock(workspace.place, probing=False)
    if found.locker is None:
        raise UsageError(
            f"locking is off for {workspace.place.location} {found.why}", hint=found.hint
        )
    return found.locker
