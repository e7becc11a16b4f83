"""The lock of a run: chosen by the settings, the guarantees of the store, and the permissions."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from backends.lockers.object import ObjectLocker
from backends.memory import MemoryStore
from dtm.app import locks
from dtm.app.place import Place
from engine.config import LockSettings, StateSettings
from engine.errors import StoreAccessError, StoreError
from engine.events import Event, Notice
from engine.log.probe import GUARANTEES, Probe, StoreTrial
from engine.ports import Locker, OpenedBackend, Store, StoredObject
from engine.state import State, StateId
from engine.stored.state_file import encode

KEY = "devstream.state"


class StoreWithoutExclusiveCreate(MemoryStore):
    """A store that accepts a create of an existing key, as Ceph does in versioned buckets."""

    def write(self, key: str, data: bytes, *, expect: str | None) -> str:
        found = self.read(key)
        return super().write(
            key, data, expect=found.version if expect is None and found else expect
        )


class StoreIgnoringVersions(MemoryStore):
    """A store that replaces a key whatever the expected version is."""

    def write(self, key: str, data: bytes, *, expect: str | None) -> str:
        found = self.read(key)
        return super().write(key, data, expect=found.version if found else None)


class StoreDenyingOtherKeys(MemoryStore):
    """A store that denies every key but the state file. With `deny_all` it denies that one too."""

    deny_all = False

    def read(self, key: str) -> StoredObject | None:
        if self.deny_all or key != KEY:
            raise StoreAccessError(f"{key} is denied", hint=f"allow {key}")
        return super().read(key)

    def write(self, key: str, data: bytes, *, expect: str | None) -> str:
        if self.deny_all or key != KEY:
            raise StoreAccessError(f"{key} is denied", hint=f"allow {key}")
        return super().write(key, data, expect=expect)


def place(
    store: Store,
    kind: str = "auto",
    *,
    table: bool = False,
    trusted: bool = False,
    log: str = "auto",
) -> Place:
    lockers: dict[str, Callable[[], Locker]] = {"native": lambda: ObjectLocker(store)}
    if table:
        lockers["dynamodb"] = lambda: ObjectLocker(MemoryStore("table"))
    settings = StateSettings("s3", {}, LockSettings(kind), log)
    return Place(settings, OpenedBackend(store, KEY, lockers, trusted=trusted, lease=120.0))


def with_recorded_probe(store: MemoryStore, *trials: StoreTrial, location: str = "") -> MemoryStore:
    """Write a state that records these trials of its store."""
    verdict = Probe(
        location or f"{store.location.rstrip('/')}/{KEY}", "2026-01-31T12:00:00Z", trials
    )
    store.write(
        KEY,
        encode(State(StateId("lineage", 1), snapshot_id="d", probe=verdict.record())),
        expect=None,
    )
    return store


PASSED_TRIALS = tuple(StoreTrial(name, kept=True, found="refused") for name in GUARANTEES)
WEAK_TRIALS = tuple(
    replace(trial, kept=trial.name == "swap", found="8 of 8 won") for trial in PASSED_TRIALS
)


def test_sound_store_holds_the_lock_and_is_probed_once() -> None:
    store = MemoryStore("m")
    found = locks.choose_lock(place(store), probing=True)
    assert (found.kind, found.lease, found.probe is not None and found.probe.supports_lock) == (
        "native",
        120.0,
        True,
    )
    assert list(store.list("")) == []
    with_recorded_probe(store, *PASSED_TRIALS)
    again = locks.choose_lock(place(store), probing=True)
    assert again.probe is not None
    assert again.probe.at == "2026-01-31T12:00:00Z"


def test_foreign_or_partial_probe_is_repeated() -> None:
    for store in (
        with_recorded_probe(MemoryStore("m"), *WEAK_TRIALS, location="s3://other/k"),
        with_recorded_probe(MemoryStore("m"), PASSED_TRIALS[1]),
    ):
        found = locks.choose_lock(place(store), probing=True)
        assert found.kind == "native"
        assert found.probe is not None and found.probe.at != "2026-01-31T12:00:00Z"


def test_store_without_exclusive_create_has_no_lock() -> None:
    events: list[Event] = []
    found = locks.choose_lock_or_warn(place(StoreWithoutExclusiveCreate("m")), events.append)
    assert (found.kind, found.locker, found.lease) == ("none", None, 30.0)
    (notice,) = events
    assert isinstance(notice, Notice)
    assert (
        notice.message.startswith("running without a lock because memfs:")
        and "two runs may do the same work" in notice.message
    )
    assert "dynamodbTable" in notice.hint


@pytest.mark.parametrize("kind", ["native", "both"])
def test_store_without_exclusive_create_refuses_named_lock(kind: str) -> None:
    with pytest.raises(StoreError, match="cannot hold a lock"):
        locks.choose_lock(place(StoreWithoutExclusiveCreate("m"), kind, table=True), probing=True)


def test_store_that_ignores_versions_is_refused() -> None:
    with pytest.raises(StoreError, match="cannot protect a state"):
        locks.choose_lock(place(StoreIgnoringVersions("m")), probing=True)


def test_lock_table_needs_no_probe_of_other_keys() -> None:
    found = locks.choose_lock(place(StoreDenyingOtherKeys("m"), table=True), probing=True)
    assert (found.kind, found.lease) == ("dynamodb", 30.0)
    assert found.probe is not None and found.probe.trials == ()


@pytest.mark.parametrize("trusted", [False, True])
def test_denied_lock_object_names_the_permission(trusted: bool) -> None:
    found = locks.choose_lock(place(StoreDenyingOtherKeys("m"), trusted=trusted), probing=True)
    assert found.locker is None
    assert found.why.endswith("is denied") and found.hint.startswith("allow")


def test_denied_state_file_is_the_error() -> None:
    store = StoreDenyingOtherKeys("m")
    store.deny_all = True
    with pytest.raises(StoreAccessError, match="is denied"):
        locks.choose_lock(place(store), probing=True)
    with pytest.raises(StoreAccessError, match="is denied"):
        locks.choose_lock(place(StoreDenyingOtherKeys("m"), "native"), probing=True)


def test_inline_log_has_no_native_lock_unless_named() -> None:
    assert (
        locks.choose_lock(place(MemoryStore("m"), log="inline"), probing=True).why
        == locks.NO_LOCK_INLINE
    )
    assert (
        locks.choose_lock(place(MemoryStore("m"), "native", log="inline"), probing=True).kind
        == "native"
    )
    assert (
        locks.choose_lock(place(MemoryStore("m"), table=True, log="inline"), probing=True).kind
        == "dynamodb"
    )


def test_reading_the_lock_probes_nothing() -> None:
    store = MemoryStore("m")
    assert locks.choose_lock(place(store), probing=False).kind == "native"
    assert (
        locks.choose_lock(
            place(with_recorded_probe(MemoryStore("n"), *WEAK_TRIALS)), probing=False
        ).kind
        == "none"
    )


def test_trusted_store_is_not_probed() -> None:
    store = MemoryStore("m")
    assert locks.choose_lock(place(store, trusted=True), probing=True).probe is None
    assert locks.no_lock(place(MemoryStore("m"), trusted=True)).probe is None


def test_damaged_state_can_still_be_locked() -> None:
    store = MemoryStore("m")
    store.write(KEY, b'{"format": ', expect=None)
    assert locks.recorded_probe(place(store)) is None
    assert locks.choose_lock(place(store), probing=False).kind == "native"
