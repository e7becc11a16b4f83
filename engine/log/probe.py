"""What a store really does with conditional writes: tried, judged, and kept in the state so that every machine knows it."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from threading import Barrier, Thread

import msgspec

from engine.errors import (
    ConditionRefusedError,
    ConflictError,
    DtmError,
    OutcomeUnknownError,
    StoreError,
)
from engine.log.view import swap, where
from engine.ports import Snapshot, Store, Version
from engine.runtime.environment import Environment, utc_now
from engine.values import Value

RACERS, ROUNDS = 8, 5
CREATE, SWAP, RACE = "create", "swap", "race"
"""A second creation of a key; a replacement of a version that is not there any more; creators at the same time."""

PROMISES: Mapping[str, str] = {
    CREATE: "a second creation of the same key is refused",
    SWAP: "a replacement of the present version gets through, of any other one it is refused",
    RACE: f"of {RACERS} creators at the same time exactly one wins",
}


class Trial(msgspec.Struct, frozen=True):
    """One thing tried: CREATE, SWAP or RACE, whether the store kept to it, and what it did."""

    name: str
    kept: bool
    found: str


IMMOVABLE = Trial(SWAP, False, "a key could not be replaced though its very version was expected")


class Probe(msgspec.Struct, frozen=True):
    """A store's verdict: where, when (RFC 3339), and what was tried; nothing yet where there was nothing to try it on."""

    location: str
    at: str
    trials: tuple[Trial, ...] = ()

    @property
    def protects(self) -> bool:
        """Whether a state may be kept there: nothing tried shows that a stale replacement gets through."""
        return all(trial.kept for trial in self.trials if trial.name == SWAP)

    @property
    def native(self) -> bool:
        """Whether a lock may be an object there: everything was tried and kept to."""
        return {trial.name for trial in self.trials if trial.kept} == set(PROMISES)

    def refusal(self, *, lock_native: bool) -> StoreError | None:
        """Why the store cannot be used, or not for a lock of its own; None if it can."""
        needed = PROMISES.keys() if lock_native else {SWAP}
        broken = [trial for trial in self.trials if not trial.kept and trial.name in needed]
        if not broken:
            return None
        did = "; ".join(trial.found for trial in broken)
        if not self.protects:
            return StoreError(
                f"{self.location} cannot protect a state: {did}",
                hint="another store, or another server that honours conditional writes (If-Match), is needed; some do so only "
                "in buckets without versions",
            )
        return StoreError(
            f"{self.location} cannot hold a lock: {did}",
            hint="give it a lock elsewhere: dynamodbTable, or state.lock.url; or use a bucket without versions, "
            "where some servers do better",
        )

    def record(self) -> dict[str, Value]:
        """As it stands in a state's `probe`."""
        tried: dict[str, Value] = {
            trial.name: {"kept": trial.kept, "found": trial.found} for trial in self.trials
        }
        return {"location": self.location, "at": self.at, "tried": tried}

    @classmethod
    def recorded(cls, record: Mapping[str, Value]) -> Probe | None:
        """The inverse; None if there is none, or none that can be understood."""
        location, at, tried = record.get("location"), record.get("at"), record.get("tried")
        if not isinstance(location, str) or not isinstance(at, str) or not isinstance(tried, dict):
            return None
        found = ((name, tried[name]) for name in PROMISES if name in tried)
        trials = tuple(
            Trial(name, bool(each.get("kept")), str(each.get("found", "")))
            for name, each in found
            if isinstance(each, dict)
        )
        return cls(location, at, trials)


@contextmanager
def judged(store: Store, key: str, environment: Environment) -> Generator[None]:
    """A store that refuses what it should accept is refused as by its probe. Raises StoreError."""
    try:
        yield
    except ConditionRefusedError as error:
        verdict = Probe(where(store, key), environment.now(), (IMMOVABLE,))
        raise verdict.refusal(lock_native=False) or error from error


def probe(
    store: Store,
    key: str,
    *,
    lock_native: bool,
    only_key: bool = False,
    now: Callable[[], str] = utc_now,
    rng: random.Random | None = None,
) -> Probe:
    """Try what a state needs, on throwaway keys beside `key`; with `lock_native` also what a lock object needs.

    `only_key` touches nothing but `key`, which is replaced by the very bytes that are there; where nothing is there nothing
    is tried. Somebody at work on it may be refused after that. Raises what the store raises, except for refusals that were
    hoped for.
    """
    environment = Environment(now=now, rng=rng or random.Random())  # noqa: S311 - names of throwaway keys, nothing secret
    if only_key:
        found = environment.retry(lambda: store.read(key))
        return Probe(
            where(store, key),
            now(),
            (_both_halves(store, key, found, environment),) if found else (),
        )
    names = [
        f"{key}.probe-{environment.rng.getrandbits(64):016x}"
        for _ in range(1 + ROUNDS * lock_native)
    ]
    try:
        trials = (
            *_alone(store, names[0], environment),
            *([_race(store, names[1:], environment)] if lock_native else []),
        )
        return Probe(where(store, key), now(), trials)
    finally:
        for name in names:
            with suppress(
                StoreError, OutcomeUnknownError
            ):  # one that stays behind is rubbish, and its name says so
                environment.retry(partial(store.delete, name))


def stale_swap(store: Store, key: str, there: Snapshot, environment: Environment) -> Trial:
    """Replace what is there by itself, expecting another version: harmless even where it gets through."""
    return _hoped(
        SWAP,
        lambda: environment.retry(
            lambda: store.write(key, there.data, expect=another(there.version))
        ),
    )


def _both_halves(store: Store, key: str, there: Snapshot, environment: Environment) -> Trial:
    """Replace what is there by itself: expecting its very version, which must get through, then another one."""
    try:
        version = environment.retry(lambda: store.write(key, there.data, expect=there.version))
    except (ConflictError, ConditionRefusedError):
        found = environment.retry(lambda: store.read(key))
        if found is None or found.version != there.version:
            raise  # somebody else's doing
        return IMMOVABLE
    return stale_swap(store, key, Snapshot(there.data, version), environment)


def another(version: Version) -> Version:
    """A version of the same form that is not this one: some stores read them as numbers."""
    moved = "".join(str((int(one) + 1) % 10) if one in "0123456789" else one for one in version)
    return moved if moved != version else f"{version}0"


def _hoped(name: str, attempt: Callable[[], Version]) -> Trial:
    """A trial that the store should answer with a conflict."""
    try:
        attempt()
    except ConflictError:
        return Trial(name, True, "refused")
    verb = "created twice" if name == CREATE else "replaced though another version was expected"
    return Trial(name, False, f"a key was {verb}")


def _alone(store: Store, key: str, environment: Environment) -> tuple[Trial, Trial]:
    """What one client after the other may expect."""
    first = swap(store, key, b"1\n", expect=None, environment=environment)
    created = _hoped(
        CREATE, lambda: environment.retry(lambda: store.write(key, b"2\n", expect=None))
    )
    there = environment.retry(lambda: store.read(key)) or Snapshot(b"1\n", first)
    try:
        swap(store, key, b"3\n", expect=there.version, environment=environment)
    except ConditionRefusedError:
        return created, IMMOVABLE
    return created, _hoped(
        SWAP, lambda: environment.retry(lambda: store.write(key, b"4\n", expect=there.version))
    )


def _race(store: Store, keys: Sequence[str], environment: Environment) -> Trial:
    """In each round all create the same key at once."""
    for number, key in enumerate(keys, 1):
        winners = _winners(store, key, environment)
        if winners != 1:
            return Trial(
                RACE,
                False,
                f"{winners} of {RACERS} creators at the same time won in round {number} of {ROUNDS}",
            )
    return Trial(RACE, True, f"one of {RACERS} won in each of {ROUNDS} rounds")


def _winners(store: Store, key: str, environment: Environment) -> int:
    start, won, failed = Barrier(RACERS), list[int](), list[DtmError]()

    def create(racer: int) -> None:
        start.wait()
        try:
            swap(store, key, b"%d\n" % racer, expect=None, environment=environment)
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
