"""Tests of what a store guarantees: a probe makes trials of its conditional writes.

The verdict is recorded in the state, so that other machines need not probe again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Barrier, Thread

import msgspec

from engine.errors import (
    ConditionRefusedError,
    ConflictError,
    DtmError,
    OutcomeUnknownError,
    StoreError,
)
from engine.log.state_store import StateStore
from engine.ports import StoredObject, Version
from engine.values import Value

RACERS, ROUNDS = 8, 5
CREATE, SWAP, RACE = "create", "swap", "race"
"""The trials: create a key twice, replace its current and a stale version, let creators race."""

GUARANTEES: Mapping[str, str] = {
    CREATE: "a second creation of the same key is refused",
    SWAP: "only the current version can be replaced",
    RACE: f"exactly one of {RACERS} simultaneous creators succeeds",
}


class StoreTrial(msgspec.Struct, frozen=True):
    """The result of a trial, CREATE, SWAP or RACE.

    `kept` is true if the store kept the guarantee; `found` describes what it did.
    """

    name: str
    kept: bool
    found: str


CURRENT_REFUSED = StoreTrial(
    SWAP, False, "a key could not be replaced although its current version was expected"
)


class Probe(msgspec.Struct, frozen=True):
    """The verdict on a store: its location, the time (RFC 3339), and the trials, if any."""

    location: str
    at: str
    trials: tuple[StoreTrial, ...] = ()

    @property
    def protects_state(self) -> bool:
        """True unless a trial showed that the store accepts stale writes."""
        return all(trial.kept for trial in self.trials if trial.name == SWAP)

    @property
    def supports_lock(self) -> bool:
        """True if all trials were made and all guarantees kept, as a lock in the store needs."""
        return {trial.name for trial in self.trials if trial.kept} == set(GUARANTEES)

    def refusal(self, *, lock_native: bool) -> StoreError | None:
        """Return why the store cannot hold a state (with `lock_native` a lock, too), or None."""
        needed = GUARANTEES.keys() if lock_native else {SWAP}
        broken = [trial for trial in self.trials if not trial.kept and trial.name in needed]
        if not broken:
            return None
        did = "; ".join(trial.found for trial in broken)
        if not self.protects_state:
            return StoreError(
                f"{self.location} cannot protect a state: {did}",
                hint="use another store, or a server that honors conditional writes (If-Match); "
                "some servers honor them only in buckets without versioning",
            )
        return StoreError(
            f"{self.location} cannot hold a lock: {did}",
            hint="put the lock elsewhere with dynamodbTable or state.lock.url, or use a bucket "
            "without versioning",
        )

    def record(self) -> dict[str, Value]:
        """Return the form in which the state records this probe."""
        # These keys are part of the format of the state file.
        tried: dict[str, Value] = {
            trial.name: {"kept": trial.kept, "found": trial.found} for trial in self.trials
        }
        return {"location": self.location, "at": self.at, "tried": tried}

    @classmethod
    def recorded(cls, record: Mapping[str, Value]) -> Probe | None:
        """Decode a recorded probe; return None if there is none, or if it is in an unknown form."""
        location, at, tried = record.get("location"), record.get("at"), record.get("tried")
        if not isinstance(location, str) or not isinstance(at, str) or not isinstance(tried, dict):
            return None
        found = ((name, tried[name]) for name in GUARANTEES if name in tried)
        trials = tuple(
            StoreTrial(name, bool(each.get("kept")), str(each.get("found", "")))
            for name, each in found
            if isinstance(each, dict)
        )
        return cls(location, at, trials)


@contextmanager
def explain_refused_swaps(state_store: StateStore) -> Generator[None]:
    """Turn the refusal of a current version into the error of a failed probe, a StoreError."""
    try:
        yield
    except ConditionRefusedError as error:
        verdict = Probe(state_store.location, state_store.environment.now(), (CURRENT_REFUSED,))
        raise verdict.refusal(lock_native=False) or error from error


def probe(state_store: StateStore, *, lock_native: bool, only_key: bool = False) -> Probe:
    """Make the trials that a state needs, on temporary keys.

    `lock_native` adds the trials for a lock that is an object in the same store. `only_key` uses no
    temporary keys: it replaces the state file by its own bytes, which supersedes a running session;
    without a state file it tries nothing. Raises the errors of the store, except for the conflicts
    that the trials expect.

        refusal = probe(state_store, lock_native=True).refusal(lock_native=True)
    """
    environment = state_store.environment
    if only_key:
        found = state_store.read()
        tried = (_try_both_swaps(state_store, found),) if found else ()
        return Probe(state_store.location, environment.now(), tried)
    names = [
        f"{state_store.key}.probe-{environment.rng.getrandbits(64):016x}"
        for _ in range(1 + ROUNDS * lock_native)
    ]
    try:
        raced = [_try_race(state_store, names[1:])] if lock_native else []
        trials = (*_try_in_turn(state_store, names[0]), *raced)
        return Probe(state_store.location, environment.now(), trials)
    finally:
        # Also after an error: each probe uses new random names, so leftovers would add up.
        for name in names:
            with suppress(StoreError, OutcomeUnknownError):
                # A key that stays is harmless: no reader looks at it, and its name explains it.
                state_store.delete(name)


def try_stale_swap(state_store: StateStore, current: StoredObject) -> StoreTrial:
    """Try to replace the state file by its own bytes, while expecting a stale version.

    This is harmless even if the store accepts it.
    """
    return _expect_conflict(
        SWAP,
        lambda: _write(state_store, state_store.key, current.data, other_version(current.version)),
    )


def _write(state_store: StateStore, key: str, data: bytes, expect: Version | None) -> Version:
    """Write without resolving a lost answer."""
    # `StateStore.swap` would take a refused write for a successful one if the bytes are equal, but
    # a trial has to know what the store answered.
    return state_store.environment.retry(lambda: state_store.store.write(key, data, expect=expect))


def _try_both_swaps(state_store: StateStore, current: StoredObject) -> StoreTrial:
    """Replace the state file by its own bytes, with its current version, then with a stale one."""
    try:
        version = _write(state_store, state_store.key, current.data, current.version)
    except (ConflictError, ConditionRefusedError):
        found = state_store.read()
        if found is None or found.version != current.version:
            raise  # another session has replaced it, so the version was no longer current
        return CURRENT_REFUSED
    return try_stale_swap(state_store, StoredObject(current.data, version))


def other_version(version: Version) -> Version:
    """Return another version of the same form."""
    # Some stores read versions as numbers and would answer a malformed one with another error.
    moved = "".join(str((int(one) + 1) % 10) if one in "0123456789" else one for one in version)
    return moved if moved != version else f"{version}0"


def _expect_conflict(name: str, attempt: Callable[[], Version]) -> StoreTrial:
    """Make a trial that the store has to answer with a conflict."""
    try:
        attempt()
    except ConflictError:
        return StoreTrial(name, True, "refused")
    verb = "created twice" if name == CREATE else "replaced though another version was expected"
    return StoreTrial(name, False, f"a key was {verb}")


def _try_in_turn(state_store: StateStore, key: str) -> tuple[StoreTrial, StoreTrial]:
    """Make the trials that need only one client."""
    first = state_store.swap(key, b"1\n", expect=None)
    created = _expect_conflict(CREATE, lambda: _write(state_store, key, b"2\n", None))
    current = state_store.read(key) or StoredObject(b"1\n", first)
    try:
        state_store.swap(key, b"3\n", expect=current.version)
    except ConditionRefusedError:
        return created, CURRENT_REFUSED
    return created, _expect_conflict(
        SWAP, lambda: _write(state_store, key, b"4\n", current.version)
    )


def _try_race(state_store: StateStore, keys: Sequence[str]) -> StoreTrial:
    """Let all racers create the same key at the same time, one key for each round."""
    for number, key in enumerate(keys, 1):
        winners = _count_winners(state_store, key)
        if winners != 1:
            return StoreTrial(
                RACE,
                False,
                f"{winners} of {RACERS} simultaneous creators succeeded "
                f"in round {number} of {ROUNDS}",
            )
    return StoreTrial(RACE, True, f"one of {RACERS} succeeded in each of {ROUNDS} rounds")


def _count_winners(state_store: StateStore, key: str) -> int:
    # The barrier starts all requests together; one after the other would prove nothing.
    start, won, failed = Barrier(RACERS), list[int](), list[DtmError]()

    def create(racer: int) -> None:
        start.wait()
        try:
            state_store.swap(key, b"%d\n" % racer, expect=None)
        except ConflictError:
            return
        except DtmError as error:
            failed.append(error)
        else:
            won.append(racer)

    racers = [Thread(target=create, args=(racer,)) for racer in range(RACERS)]
    for thread in racers:
        thread.start()
    for thread in racers:
        thread.join()
    # Without a winner an error proves nothing: the store may only have been unavailable.
    if failed and not won:
        raise failed[0]
    return len(won)
