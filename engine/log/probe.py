"""Trials of a store's conditional writes.

The verdict is kept in the state, so that every machine knows it.
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
from engine.ports import Snapshot, Version
from engine.values import Value

RACERS, ROUNDS = 8, 5
CREATE, SWAP, RACE = "create", "swap", "race"
"""The trials: create a key twice, replace a version that is gone, create a key all at once."""

GUARANTEES: Mapping[str, str] = {
    CREATE: "a second creation of the same key is refused",
    SWAP: "a replacement of the present version gets through, of any other one it is refused",
    RACE: f"of {RACERS} creators at the same time exactly one wins",
}


class StoreTrial(msgspec.Struct, frozen=True):
    """One of CREATE, SWAP and RACE: whether the store kept its promise, and what it did."""

    name: str
    kept: bool
    found: str


SWAP_REFUSED = StoreTrial(
    SWAP, False, "a key could not be replaced though its very version was expected"
)


class Probe(msgspec.Struct, frozen=True):
    """The verdict on a store: where, when (RFC 3339), and what was tried, if anything was."""

    location: str
    at: str
    trials: tuple[StoreTrial, ...] = ()

    @property
    def protects_state(self) -> bool:
        """Tell whether a state may be kept there: no trial let a stale replacement through."""
        return all(trial.kept for trial in self.trials if trial.name == SWAP)

    @property
    def supports_lock(self) -> bool:
        """Tell whether a lock may be an object there: everything was tried, every promise kept."""
        return {trial.name for trial in self.trials if trial.kept} == set(GUARANTEES)

    def refusal(self, *, lock_native: bool) -> StoreError | None:
        """Return why the store cannot be used, or cannot hold a lock; None if it can."""
        needed = GUARANTEES.keys() if lock_native else {SWAP}
        broken = [trial for trial in self.trials if not trial.kept and trial.name in needed]
        if not broken:
            return None
        did = "; ".join(trial.found for trial in broken)
        if not self.protects_state:
            return StoreError(
                f"{self.location} cannot protect a state: {did}",
                hint="another store, or another server that honours conditional writes (If-Match), "
                "is needed; some do so only in buckets without versions",
            )
        return StoreError(
            f"{self.location} cannot hold a lock: {did}",
            hint="give it a lock elsewhere: dynamodbTable, or state.lock.url; or use a bucket "
            "without versions, where some servers do better",
        )

    def record(self) -> dict[str, Value]:
        """Return the form in which a state records it."""
        tried: dict[str, Value] = {
            trial.name: {"kept": trial.kept, "found": trial.found} for trial in self.trials
        }
        return {"location": self.location, "at": self.at, "tried": tried}

    @classmethod
    def recorded(cls, record: Mapping[str, Value]) -> Probe | None:
        """Read what `record` made; None if there is nothing that can be understood."""
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
def explain_refused_swaps(place: StateStore) -> Generator[None]:
    """Refuse a store that refuses what it should accept, as its probe would. Raises StoreError."""
    try:
        yield
    except ConditionRefusedError as error:
        verdict = Probe(place.location, place.environment.now(), (SWAP_REFUSED,))
        raise verdict.refusal(lock_native=False) or error from error


def probe(place: StateStore, *, lock_native: bool, only_key: bool = False) -> Probe:
    """Try what a state needs, on throwaway keys beside it; with `lock_native` a lock, too.

    `only_key` touches nothing but the state file, which is replaced by the very bytes that are
    there; where there is none nothing is tried. Another session at work on it may be refused after
    that. Raises what the store raises, except for the refusals that were hoped for.
    """
    environment = place.environment
    if only_key:
        found = place.read()
        tried = (_try_both_swaps(place, found),) if found else ()
        return Probe(place.location, environment.now(), tried)
    names = [
        f"{place.key}.probe-{environment.rng.getrandbits(64):016x}"
        for _ in range(1 + ROUNDS * lock_native)
    ]
    try:
        raced = [_try_race(place, names[1:])] if lock_native else []
        trials = (*_try_in_turn(place, names[0]), *raced)
        return Probe(place.location, environment.now(), trials)
    finally:
        for name in names:
            with suppress(StoreError, OutcomeUnknownError):
                place.delete(name)  # one that stays behind is rubbish, and its name says so


def try_stale_swap(place: StateStore, current: Snapshot) -> StoreTrial:
    """Replace the state file by its own bytes, expecting another version.

    This is harmless even where the store lets it through.
    """
    return _expect_conflict(
        SWAP, lambda: _write(place, place.key, current.data, other_version(current.version))
    )


def _write(place: StateStore, key: str, data: bytes, expect: Version | None) -> Version:
    """Write without resolving a lost answer: what a trial asks is the answer itself."""
    return place.environment.retry(lambda: place.store.write(key, data, expect=expect))


def _try_both_swaps(place: StateStore, current: Snapshot) -> StoreTrial:
    """Replace the state file by its own bytes: expecting its very version, then another one."""
    try:
        version = _write(place, place.key, current.data, current.version)
    except (ConflictError, ConditionRefusedError):
        found = place.read()
        if found is None or found.version != current.version:
            raise  # another session replaced it meanwhile
        return SWAP_REFUSED
    return try_stale_swap(place, Snapshot(current.data, version))


def other_version(version: Version) -> Version:
    """Return another version of the same form: some stores read versions as numbers."""
    moved = "".join(str((int(one) + 1) % 10) if one in "0123456789" else one for one in version)
    return moved if moved != version else f"{version}0"


def _expect_conflict(name: str, attempt: Callable[[], Version]) -> StoreTrial:
    """Make a trial that the store should answer with a conflict."""
    try:
        attempt()
    except ConflictError:
        return StoreTrial(name, True, "refused")
    verb = "created twice" if name == CREATE else "replaced though another version was expected"
    return StoreTrial(name, False, f"a key was {verb}")


def _try_in_turn(place: StateStore, key: str) -> tuple[StoreTrial, StoreTrial]:
    """Try what one client after the other may expect."""
    first = place.swap(key, b"1\n", expect=None)
    created = _expect_conflict(CREATE, lambda: _write(place, key, b"2\n", None))
    current = place.read(key) or Snapshot(b"1\n", first)
    try:
        place.swap(key, b"3\n", expect=current.version)
    except ConditionRefusedError:
        return created, SWAP_REFUSED
    return created, _expect_conflict(SWAP, lambda: _write(place, key, b"4\n", current.version))


def _try_race(place: StateStore, keys: Sequence[str]) -> StoreTrial:
    """Have all racers create the same key at once, one key a round."""
    for number, key in enumerate(keys, 1):
        winners = _count_winners(place, key)
        if winners != 1:
            return StoreTrial(
                RACE,
                False,
                f"{winners} of {RACERS} creators at the same time won "
                f"in round {number} of {ROUNDS}",
            )
    return StoreTrial(RACE, True, f"one of {RACERS} won in each of {ROUNDS} rounds")


def _count_winners(place: StateStore, key: str) -> int:
    start, won, failed = Barrier(RACERS), list[int](), list[DtmError]()

    def create(racer: int) -> None:
        start.wait()
        try:
            place.swap(key, b"%d\n" % racer, expect=None)
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
    if failed and not won:
        raise failed[0]
    return len(won)
