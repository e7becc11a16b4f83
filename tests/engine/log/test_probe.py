"""The probe of conditional writes: it detects, reports and records each planted weakness."""

from __future__ import annotations

import random
import threading
from datetime import datetime

import pytest

from backends.memory import MemoryStore
from dtm.testing.session_support import KEY, create_tool
from engine.errors import ConflictError, OutcomeUnknownError, StoreError
from engine.log.probe import CREATE, RACE, SWAP, Probe, other_version, probe
from engine.log.state_store import AUTO, INLINE, StateStore
from engine.ports import Version
from engine.runtime.environment import Environment
from engine.session.opening import open_session
from engine.session.reading import read_state
from engine.session.session import SessionOptions
from tests.engine.restricted_store import RestrictedStore

AT = "2026-01-01T00:00:00.000000Z"


class IgnoresAbsence(MemoryStore):
    """A store in which `expect=None` overwrites an existing object."""

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        if expect is None:
            found = self.read(key)
            expect = found.version if found else None
        return super().write(key, data, expect=expect)


class IgnoresVersions(MemoryStore):
    """A store that accepts stale versions, as S3 did before conditional writes."""

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        found = self.read(key)
        return super().write(
            key, data, expect=found.version if expect is not None and found else None
        )


class RefusesVersions(IgnoresAbsence):
    """A store that refuses current versions too, as Ceph RGW on a versioned bucket."""

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        if expect is None:
            return super().write(key, data, expect=None)
        raise ConflictError(key, expect, None)


class LetsRacersIn(MemoryStore):
    """A store that checks first and writes later, as OpenStack Swift: racers all succeed."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.gate = threading.Barrier(2)

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        found = self.read(key)
        if expect is not None or found is not None:
            return super().write(key, data, expect=expect)
        try:
            self.gate.wait(0.2)
        except threading.BrokenBarrierError:
            self.gate = threading.Barrier(2)
        found = self.read(key)
        return super().write(key, data, expect=found.version if found else None)


def run_probe(store: MemoryStore, *, lock_native: bool = True) -> Probe:
    environment = Environment(date=lambda: datetime.fromisoformat(AT), rng=random.Random(1))
    return probe(StateStore(store, KEY, environment), lock_native=lock_native)


def test_a_correct_store_passes_and_no_probe_key_remains() -> None:
    store = MemoryStore("m")
    found = run_probe(store)
    assert {trial.name: trial.kept for trial in found.trials} == {
        CREATE: True,
        SWAP: True,
        RACE: True,
    }
    assert found.supports_lock and found.protects_state and found.refusal(lock_native=True) is None
    assert (found.location, found.at) == (f"memfs://m/{KEY}", AT)
    assert list(store.list("")) == []


@pytest.mark.parametrize(
    ("store", "broken", "did"),
    [
        (
            IgnoresAbsence("m"),
            {CREATE, RACE},
            "a key was created twice; 8 of 8 simultaneous creators",
        ),
        (IgnoresVersions("m"), {SWAP}, "replaced though another version was expected"),
        (
            RefusesVersions("m"),
            {CREATE, SWAP, RACE},
            "could not be replaced although its current version was expected",
        ),
        (LetsRacersIn("m"), {RACE}, "simultaneous creators succeeded"),
    ],
    ids=["absence", "versions", "refusal", "race"],
)
def test_a_weak_store_is_detected_and_alternatives_are_named(
    store: MemoryStore, broken: set[str], did: str
) -> None:
    found = run_probe(store)
    assert {trial.name for trial in found.trials if not trial.kept} == broken
    refusal = found.refusal(lock_native=True)
    assert refusal is not None and did in refusal.message and not found.supports_lock
    if SWAP in broken:
        assert not found.protects_state and "If-Match" in refusal.hint
    else:
        assert found.refusal(lock_native=False) is None
        assert all(
            word in refusal.hint
            for word in ("dynamodbTable", "state.lock.url", "without versioning")
        )


def test_the_race_is_run_only_for_a_native_lock() -> None:
    assert {trial.name for trial in run_probe(MemoryStore("m"), lock_native=False).trials} == {
        CREATE,
        SWAP,
    }


@pytest.mark.parametrize("store", [MemoryStore("m"), IgnoresVersions("m")], ids=["sound", "weak"])
def test_only_key_probes_the_state_file_without_changing_it(store: MemoryStore) -> None:
    narrow = RestrictedStore(store, KEY)
    assert probe(StateStore(narrow, KEY), lock_native=False, only_key=True).trials == ()
    store.write(KEY, b"{}", expect=None)
    (trial,) = probe(StateStore(narrow, KEY), lock_native=False, only_key=True).trials
    found = store.read(KEY)
    assert trial.kept is (type(store) is MemoryStore)
    assert found is not None and found.data == b"{}" and list(store.list("")) == [KEY]


def test_a_verdict_survives_encoding_and_decoding() -> None:
    found = run_probe(IgnoresAbsence("m"))
    assert Probe.recorded(found.record()) == found
    assert (
        Probe.recorded({}) is None
        and Probe.recorded({"location": "x", "at": AT, "tried": []}) is None
    )


@pytest.mark.parametrize("version", ["1", "9", "19", "d41d8cd98f00b204e9800998ecf8427e", "abc"])
def test_other_version_differs_but_has_the_same_form(version: str) -> None:
    assert (
        other_version(version) != version and other_version(version).isdigit() is version.isdigit()
    )


def run(store: MemoryStore, verdict: Probe | None, log: str = AUTO) -> None:
    with open_session(
        StateStore(store, KEY, Environment(date=lambda: datetime.fromisoformat(AT)), log=log),
        None,
        SessionOptions("apply", "me", "0", probe=verdict),
        lambda _: None,
    ) as session:
        session.claim()
        create_tool(session, "a")


@pytest.mark.parametrize("log", [AUTO, INLINE])
def test_the_verdict_is_written_with_the_first_state(log: str) -> None:
    store = MemoryStore("m")
    verdict = run_probe(store)
    run(store, verdict, log)
    assert Probe.recorded(read_state(StateStore(store, KEY)).state.probe) == verdict
    run(store, None, log)
    assert Probe.recorded(read_state(StateStore(store, KEY)).state.probe) == verdict


@pytest.mark.parametrize("log", [AUTO, INLINE])
def test_the_first_session_probes_a_store_without_a_state(log: str) -> None:
    store = MemoryStore("m")
    run(store, probe(StateStore(store, KEY), lock_native=False, only_key=True), log)
    found = Probe.recorded(read_state(StateStore(store, KEY)).state.probe)
    assert found is not None and [(trial.name, trial.kept) for trial in found.trials] == [
        (SWAP, True)
    ]


@pytest.mark.parametrize("known", [True, False])
def test_an_unsafe_store_is_refused_before_any_operation(
    known: bool,
) -> None:
    store = IgnoresVersions("m")
    verdict = run_probe(store) if known else Probe(f"memfs://m/{KEY}", AT)
    with pytest.raises(StoreError, match="cannot protect a state"):
        run(store, verdict)
    assert not read_state(StateStore(store, KEY)).state.entries
    assert (store.read(KEY) is None) is known


def test_a_lost_answer_gives_no_verdict() -> None:
    class Silent(MemoryStore):
        def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
            if data == b"2\n":
                raise OutcomeUnknownError("no answer")
            return super().write(key, data, expect=expect)

    store = Silent("m")
    with pytest.raises(OutcomeUnknownError):
        run_probe(store)
    assert list(store.list("")) == []
    with pytest.raises(ConflictError):
        store.write(KEY, b"", expect="9")


class RefusesReplacements(MemoryStore):
    """A store in which a key can be created, but not replaced by any version."""

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        if expect is not None:
            raise ConflictError(key, expect, None)
        return super().write(key, data, expect=expect)


@pytest.mark.parametrize("there", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("log", [AUTO, INLINE])
def test_a_refused_current_version_ends_the_run_as_a_probe_would(log: str, there: bool) -> None:
    store = RefusesReplacements("m")
    if there:
        sound = MemoryStore("m")
        run(sound, None, log)
        for key in sound.list(""):
            store.write(key, snapshot.data if (snapshot := sound.read(key)) else b"", expect=None)
    with pytest.raises(
        StoreError, match="cannot protect a state: a key could not be replaced"
    ) as refused:
        run(store, Probe(f"memfs://m/{KEY}", AT), log)
    assert "another store" in refused.value.hint


def test_only_key_tries_the_current_version_first() -> None:
    store = RefusesReplacements("m")
    store.write(KEY, b"{}", expect=None)
    found = probe(StateStore(RestrictedStore(store, KEY), KEY), lock_native=False, only_key=True)
    assert [(trial.name, trial.kept) for trial in found.trials] == [
        (SWAP, False)
    ] and not found.protects_state
    snapshot = store.read(KEY)
    assert snapshot is not None and snapshot.data == b"{}" and list(store.list("")) == [KEY]
