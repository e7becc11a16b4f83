"""The contracts on stores and lockers in memory and on disk.

On disk the second client is in another process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from backends.local.store import LocalLocker, LocalStore
from backends.lockers.object import ObjectLocker
from backends.lockers.pair import BothLockers
from backends.memory import AppendingMemoryStore, MemoryStore
from dtm.testing.conformance import Case, CaseFailedError, CaseSkipped
from dtm.testing.locker import LOCKER_CASES, LockerPlace, locker_contract
from dtm.testing.store import STORE_CASES, StorePlace, store_contract
from engine.lock import LockInfo, LockRecord
from tests.contracts.remote import OtherProcess, Remote, RemoteLocker, RemoteStore


class ObjectLockerOnDisk(ObjectLocker):
    """An ObjectLocker whose open files can be closed."""

    def __init__(self, directory: Path) -> None:
        self._files = LocalStore(directory)
        super().__init__(self._files)

    def close(self) -> None:
        self._files.close()


@pytest.fixture(scope="module")
def other() -> Iterator[OtherProcess]:
    with closing(OtherProcess()) as process:
        yield process


class TwoProcesses:
    """Connects clients to one directory, the second one in the other process."""

    def __init__(
        self,
        make: Callable[[Path], Any],
        remote: type[Remote],
        directory: Path,
        other: OtherProcess,
    ) -> None:
        self._make, self._remote, self._directory, self._other = make, remote, directory, other
        self._clients: list[Any] = []

    def __call__(self) -> Any:
        second = len(self._clients) == 1
        self._clients.append(
            self._remote(self._other, self._make, self._directory)
            if second
            else self._make(self._directory)
        )
        return self._clients[-1]

    def close(self) -> None:
        for client in self._clients:
            client.close()


@contextmanager
def memory(_directory: Path, _other: OtherProcess) -> Iterator[StorePlace]:
    store = MemoryStore("contract")
    yield StorePlace(lambda: store)


@contextmanager
def appending_memory(_directory: Path, _other: OtherProcess) -> Iterator[StorePlace]:
    store = AppendingMemoryStore("contract")
    yield StorePlace(lambda: store)


@contextmanager
def local(directory: Path, other: OtherProcess) -> Iterator[StorePlace]:
    blocked = directory / "file"
    blocked.write_bytes(b"in the way")
    with closing(TwoProcesses(LocalStore, RemoteStore, directory / "state", other)) as connect:
        yield StorePlace(connect, denied=lambda: LocalStore(blocked / "below"), many=200)


class UnconditionalDeleteStore(MemoryStore):
    """Ignores the expected version in `delete`, as Ceph does."""

    def delete(self, key: str, *, expect: str | None = None) -> None:
        super().delete(key)


@contextmanager
def marking_locker(_directory: Path, _other: OtherProcess) -> Iterator[LockerPlace]:
    store = UnconditionalDeleteStore("contract")

    def corrupt(key: str) -> None:
        found = store.read(key + ".lock")
        store.write(key + ".lock", b'{"ID": ', expect=found.version if found else None)

    yield LockerPlace(lambda: ObjectLocker(store, exact_delete=False), corrupt, clients=20)


@contextmanager
def memory_locker(_directory: Path, _other: OtherProcess) -> Iterator[LockerPlace]:
    store = MemoryStore("contract")

    def corrupt(key: str) -> None:
        found = store.read(key + ".lock")
        store.write(key + ".lock", b'{"ID": ', expect=found.version if found else None)

    yield LockerPlace(lambda: ObjectLocker(store), corrupt)


@contextmanager
def both_memory_lockers(_directory: Path, _other: OtherProcess) -> Iterator[LockerPlace]:
    """Yield two locks, of which one is on a store whose delete ignores the expected version."""
    first, second = UnconditionalDeleteStore("first"), MemoryStore("second")

    def corrupt(key: str) -> None:
        for store, name in ((first, f"{key}.tflock"), (second, f"{key}.lock")):
            found = store.read(name)
            store.write(name, b'{"ID": ', expect=found.version if found else None)

    yield LockerPlace(
        lambda: BothLockers(
            ObjectLocker(first, ".tflock", exact_delete=False), ObjectLocker(second)
        ),
        corrupt,
        clients=20,
    )


@contextmanager
def local_locker(directory: Path, other: OtherProcess) -> Iterator[LockerPlace]:
    with closing(TwoProcesses(LocalLocker, RemoteLocker, directory, other)) as connect:
        yield LockerPlace(
            connect, lambda key: (directory / f".{key}.lock.info").write_bytes(b'{"ID": ')
        )


@contextmanager
def local_object_locker(directory: Path, other: OtherProcess) -> Iterator[LockerPlace]:
    with closing(TwoProcesses(ObjectLockerOnDisk, RemoteLocker, directory, other)) as connect:
        yield LockerPlace(
            connect, lambda key: (directory / f"{key}.lock").write_bytes(b'{"ID": '), attempts=20
        )


def check(case: Case[Any], place: Any) -> None:
    try:
        case.check(place)
    except CaseSkipped as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("case", STORE_CASES, ids=str)
@pytest.mark.parametrize(
    "place", [memory, appending_memory, local], ids=lambda place: place.__name__
)
def test_store(place: Any, case: Case[StorePlace], tmp_path: Path, other: OtherProcess) -> None:
    with place(tmp_path, other) as made:
        check(case, made)


@pytest.mark.parametrize("case", LOCKER_CASES, ids=str)
@pytest.mark.parametrize(
    "place",
    [memory_locker, marking_locker, both_memory_lockers, local_locker, local_object_locker],
    ids=lambda place: place.__name__,
)
def test_locker(place: Any, case: Case[LockerPlace], tmp_path: Path, other: OtherProcess) -> None:
    with place(tmp_path, other) as made:
        check(case, made)


class UnconditionalWriteStore(MemoryStore):
    """Ignores the expected version in `write`."""

    def write(self, key: str, data: bytes, *, expect: str | None) -> str:
        found = self.read(key)
        return super().write(key, data, expect=found.version if found else None)


class ForgetfulStore(MemoryStore):
    """Acknowledges a replacement without storing it."""

    def write(self, key: str, data: bytes, *, expect: str | None) -> str:
        return super().write(key, data, expect=None) if expect is None else expect + "+"


class AcceptingLocker(ObjectLocker):
    """Grants the lock to every client."""

    def put(self, key: str, info: LockInfo, *, expect: LockRecord | None) -> LockRecord:
        return super().put(key, info, expect=expect or self.read(key))


@pytest.mark.parametrize("flawed", [UnconditionalWriteStore, ForgetfulStore])
def test_store_contract_fails_for_a_flawed_store(flawed: type[MemoryStore]) -> None:
    def place() -> StorePlace:
        store = flawed()
        return StorePlace(lambda: store, many=10)

    with pytest.raises(CaseFailedError, match=r"C14.* a write with an outdated version is refused"):
        store_contract(place)


def test_locker_contract_fails_for_two_holders() -> None:
    def place() -> LockerPlace:
        store = MemoryStore()
        return LockerPlace(lambda: AcceptingLocker(store), clients=5, attempts=5)

    with pytest.raises(CaseFailedError, match="C38 there are never two holders"):
        locker_contract(place)


def test_correct_store_and_locker_pass_all_cases() -> None:
    def place() -> StorePlace:
        store = MemoryStore()
        return StorePlace(lambda: store, many=10)

    def locks() -> LockerPlace:
        store = MemoryStore()
        return LockerPlace(lambda: ObjectLocker(store), clients=5, attempts=5)

    skipped = {
        result.ids for result in store_contract(place) + locker_contract(locks) if result.skipped
    }
    assert skipped == {("G26",), ("C02",), ("C14", "C36"), ("C34",)}
