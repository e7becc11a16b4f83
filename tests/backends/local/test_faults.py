"""Writes to a disk that fails at any moment: readers see the old or the new state."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from backends.local.disk import Disk
from backends.local.store import LocalLocker, LocalStore
from engine.errors import (
    ConflictError,
    DtmError,
    OutcomeUnknownError,
    StoreAccessError,
    StoreError,
    StoreUnavailableError,
)
from tests.backends.local.faulty_disk import Died, FaultyDisk

OLD = b"old state\n" * 50
NEW = b"the new state\n" * 500
LINE = b'{"record": "' + b"x" * 1500 + b'"}\n'
BYTES = [*range(201), *range(1024, len(NEW) + 1024, 1024)]


def write_old_state(directory: Path) -> str:
    """Write the old state into the directory, and return its version."""
    store = LocalStore(directory)
    version = store.write("state", OLD, expect=None)
    store.close()
    return version


def read_by_new_process(directory: Path) -> bytes:
    """Return what a new process reads and lists."""
    store = LocalStore(directory)
    found = store.read("state")
    assert list(store.list("")) == ["state"]
    assert found is not None
    store.close()
    return found.data


def check_next_write(directory: Path) -> None:
    store = LocalStore(directory)
    found = store.read("state")
    assert found is not None
    store.write("state", b"later", expect=found.version)
    assert read_by_new_process(directory) == b"later"
    assert not list(directory.glob(".state.tmp"))
    store.close()


@pytest.mark.parametrize("count", BYTES)
def test_crash_within_a_write_keeps_the_old_state(tmp_path: Path, count: int) -> None:
    version = write_old_state(tmp_path)
    with pytest.raises(Died):
        LocalStore(tmp_path, FaultyDisk(bytes_left=min(count, len(NEW)))).write(
            "state", NEW, expect=version
        )
    assert read_by_new_process(tmp_path) == OLD
    check_next_write(tmp_path)


WRITE_CALLS = ["fsync", "rename", "fsync"]  # sync the file, rename it, sync the directory


@pytest.mark.parametrize("power", ["stays", "goes", "goes with names"])
@pytest.mark.parametrize("call", range(len(WRITE_CALLS)))
@pytest.mark.parametrize("side", ["before", "after"])
def test_crash_around_each_call_leaves_old_or_new_state(
    tmp_path: Path, side: str, call: int, power: str
) -> None:
    version = write_old_state(tmp_path)
    disk = FaultyDisk(before=call) if side == "before" else FaultyDisk(after=call)
    with pytest.raises(Died):
        LocalStore(tmp_path, disk).write("state", NEW, expect=version)
    assert disk.calls == WRITE_CALLS[: call + 1]
    if power != "stays":
        disk.cut_power(tmp_path, names_too=power == "goes with names")
    renamed = call == 2 or (side, call) == ("after", 1)
    undone = power == "goes with names" and (side, call) != ("after", 2)
    assert read_by_new_process(tmp_path) == (NEW if renamed and not undone else OLD)
    check_next_write(tmp_path)


def test_finished_write_survives_a_power_cut(tmp_path: Path) -> None:
    disk = FaultyDisk()
    store = LocalStore(tmp_path, disk)
    store.write("state", NEW, expect=None)
    disk.cut_power(tmp_path, names_too=True)
    assert read_by_new_process(tmp_path) == NEW


def test_finished_append_survives_a_power_cut(tmp_path: Path) -> None:
    version, disk = write_old_state(tmp_path), FaultyDisk()
    LocalStore(tmp_path, disk).append("state", LINE, expect=version)
    disk.cut_power(tmp_path, names_too=True)
    assert disk.calls == ["fdatasync"]
    assert read_by_new_process(tmp_path) == OLD + LINE


@pytest.mark.parametrize("count", [*range(201), 1024, len(LINE)])
def test_crash_within_an_append_leaves_at_most_a_torn_end(tmp_path: Path, count: int) -> None:
    version = write_old_state(tmp_path)
    with pytest.raises(Died):
        LocalStore(tmp_path, FaultyDisk(bytes_left=count)).append("state", LINE, expect=version)
    assert read_by_new_process(tmp_path) == OLD + LINE[:count]
    other = LocalStore(tmp_path)
    if count:
        with pytest.raises(ConflictError):
            other.append("state", LINE, expect=version)
    check_next_write(tmp_path)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT], ids=errno.errorcode.get)
@pytest.mark.parametrize("count", [0, 1, 100, 1400])
def test_full_disk_is_an_error_and_changes_nothing(tmp_path: Path, code: int, count: int) -> None:
    version = write_old_state(tmp_path)
    full = FaultyDisk(bytes_left=count, error=lambda: OSError(code, os.strerror(code)))
    with pytest.raises(StoreError, match=os.strerror(code)) as caught:
        LocalStore(tmp_path, full).write("state", NEW, expect=version)
    # Not a StoreUnavailableError, which would be retried: a full disk does not become free soon.
    assert not isinstance(caught.value, StoreUnavailableError)
    assert ("intact" in caught.value.hint) == (code != errno.EIO)
    assert not list(tmp_path.glob(".state.tmp"))
    full = FaultyDisk(bytes_left=count, error=lambda: OSError(code, os.strerror(code)))
    store = LocalStore(tmp_path, full)
    with pytest.raises(StoreError, match=os.strerror(code)):
        store.append("state", LINE, expect=version)
    assert read_by_new_process(tmp_path) == OLD
    full._left = -1  # there is space again, and the same store goes on
    assert store.append("state", LINE, expect=version)
    assert read_by_new_process(tmp_path) == OLD + LINE


def test_failed_directory_sync_is_an_unknown_outcome(
    tmp_path: Path,
) -> None:
    version = write_old_state(tmp_path)
    with pytest.raises(StoreError, match="Input/output error"):
        LocalStore(
            tmp_path, FaultyDisk(before=0, error=lambda: OSError(errno.EIO, os.strerror(errno.EIO)))
        ).write("state", NEW, expect=version)
    assert read_by_new_process(tmp_path) == OLD
    with pytest.raises(OutcomeUnknownError, match="may not survive a power cut"):
        LocalStore(
            tmp_path, FaultyDisk(before=2, error=lambda: OSError(errno.EIO, os.strerror(errno.EIO)))
        ).write("state", NEW, expect=version)
    assert read_by_new_process(tmp_path) == NEW


def test_no_append_after_a_failed_sync(tmp_path: Path) -> None:
    version = write_old_state(tmp_path)
    store = LocalStore(
        tmp_path, FaultyDisk(before=0, error=lambda: OSError(errno.EIO, os.strerror(errno.EIO)))
    )
    with pytest.raises(OutcomeUnknownError):
        store.append("state", LINE, expect=version)
    with pytest.raises(ConflictError):
        store.append("state", LINE, expect=version)
    found = store.read("state")
    assert found is not None
    assert found.data == OLD + LINE
    assert store.append("state", LINE, expect=found.version)


class Forbidden(Disk):
    """A disk that refuses to open files for writing."""

    def __init__(self, code: int) -> None:
        self._code = code

    def open(self, path: Path, flags: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(self._code, os.strerror(self._code), str(path))
        return super().open(path, flags)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS], ids=errno.errorcode.get)
@pytest.mark.parametrize(
    "act",
    [
        lambda store, version: store.write("state", NEW, expect=version),
        lambda store, version: store.append("state", LINE, expect=version),
    ],
    ids=["write", "append"],
)
def test_denied_write_names_the_file_and_the_user(
    tmp_path: Path, code: int, act: Callable[[LocalStore, str], object]
) -> None:
    version = write_old_state(tmp_path)
    with pytest.raises(StoreAccessError, match=r"state.*: .*, as user ") as caught:
        act(LocalStore(tmp_path, Forbidden(code)), version)
    assert str(tmp_path) in caught.value.message and str(tmp_path) in caught.value.hint
    assert read_by_new_process(tmp_path) == OLD


def test_denied_directory_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(StoreAccessError) as caught:
        LocalStore(tmp_path, Forbidden(errno.EACCES)).write("state", NEW, expect=None)
    assert caught.value.message.startswith(
        f"the state's directory {tmp_path} is not writable: Permission denied, as user "
    )
    assert f"chmod u+w {tmp_path}" in caught.value.hint and "--state" in caught.value.hint


def test_locker_maps_errors_of_the_file_system(tmp_path: Path) -> None:
    from dtm.testing.lock_clients import lock_info

    with pytest.raises(DtmError, match="Permission denied, as user "):
        LocalLocker(tmp_path, Forbidden(errno.EACCES)).put("state", lock_info("me"), expect=None)
    assert LocalLocker(tmp_path).read("state") is None
