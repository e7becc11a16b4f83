"""Several processes with one local state: they wait, die, or stop for longer than a lease."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from backends.local.store import LocalLocker, LocalStore
from dtm.testing.lock_clients import lock_info
from engine.errors import LockHeldError
from engine.events import Event, LockAcquired
from engine.session.locking import LockOptions, acquire
from tests.backends.local.holders import KEY, LEASE, LOCKERS, acquire_lock, hold, locker_of
from tests.promises.contention import measure_contention

processes = multiprocessing.get_context("spawn")


def test_ten_processes_finish_within_four_seconds(tmp_path: Path) -> None:
    """C39: each process waits up to a minute and holds the lock for 0.2 s."""
    assert measure_contention(f"file://{tmp_path}/devstream.state") < 4.0
    assert not list(tmp_path.glob(".*.lock*"))


@contextmanager
def holder(kind: str, directory: Path) -> Iterator[tuple[int, Connection]]:
    """Start a process that holds the lock; yield its ID and the pipe to it."""
    ours, theirs = processes.Pipe()
    process = processes.Process(target=hold, args=(kind, directory, theirs))
    process.start()
    theirs.close()
    assert ours.recv() == "holding"
    assert process.pid is not None
    yield process.pid, ours
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)
    process.kill()
    process.join()


@pytest.mark.parametrize("kind", LOCKERS)
def test_living_holder_keeps_the_lock_for_many_leases(tmp_path: Path, kind: str) -> None:
    """C24, C26, C47: the holder renews its lock, and other processes can read meanwhile."""
    with holder(kind, tmp_path) as (_, pipe), locker_of(kind, tmp_path) as locker:
        with pytest.raises(LockHeldError, match="still locked by holder@host after"):
            acquire_lock(locker, "me", timeout=2 * LEASE)
        found = LocalStore(tmp_path).read(KEY)
        assert found is not None
        assert found.data == b"01"
        pipe.send("go on")
        assert pipe.recv() == ("appended", "")
        pipe.send("end")
        assert pipe.recv() == "released"
        acquire_lock(locker, "me").release()


def test_lock_of_a_killed_process_is_free_immediately(tmp_path: Path) -> None:
    """C47, C69: the kernel releases the lock, so that no client has to wait for the lease."""
    events: list[Event] = []
    with holder("local", tmp_path) as (pid, _), locker_of("local", tmp_path) as locker:
        os.kill(pid, signal.SIGKILL)
        started = time.monotonic()
        while locker.read(KEY):
            assert time.monotonic() - started < 5
            time.sleep(0.01)
        held = acquire(
            locker,
            KEY,
            lock_info("me"),
            LockOptions(timeout=0, takeover=False, lease=30),
            events.append,
        )
        assert isinstance(events[-1], LockAcquired)
        assert events[-1].waited < 0.1
        assert events[-1].taken_from is not None
        assert events[-1].taken_from.id == "holder"
        assert events[-1].ended
        assert isinstance(locker, LocalLocker)
        held.keep_dead_holder_record()
        held.release()
        assert locker.read(KEY) is None
        held = acquire(
            locker,
            KEY,
            lock_info("me"),
            LockOptions(timeout=0, takeover=False, lease=30),
            events.append,
        )
        again = events[-1]
        assert isinstance(again, LockAcquired)
        assert again.ended
        assert again.taken_from is not None
        assert again.taken_from.id == "holder"
        held.release()
        assert list(tmp_path.glob(".*.lock*")) == []
        acquire(
            locker,
            KEY,
            lock_info("me"),
            LockOptions(timeout=0, takeover=False, lease=30),
            events.append,
        ).release()
        assert isinstance(events[-2], LockAcquired)
        assert events[-2].taken_from is None


def test_lock_object_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    """C47, G53: a lock object outlives its process, and is taken over after its lease."""
    with holder("object", tmp_path) as (pid, _), locker_of("object", tmp_path) as locker:
        os.kill(pid, signal.SIGKILL)
        started = time.monotonic()
        held = acquire_lock(locker, "me", timeout=20 * LEASE)
        assert time.monotonic() - started > LEASE * 0.6
        held.release()


@pytest.mark.parametrize("kind", LOCKERS)
def test_stopped_process_is_taken_over_and_fenced(tmp_path: Path, kind: str) -> None:
    """C35, C36, G54: its append is refused, and it can neither keep nor release the lock."""
    with (
        holder(kind, tmp_path) as (pid, pipe),
        locker_of(kind, tmp_path) as locker,
        locker_of(kind, tmp_path) as other,
    ):
        os.kill(pid, signal.SIGSTOP)
        held = acquire_lock(locker, "me", timeout=20 * LEASE)
        store = LocalStore(tmp_path)
        found = store.read(KEY)
        assert found is not None
        version = store.append(KEY, b"claim", expect=found.version)
        os.kill(pid, signal.SIGCONT)
        time.sleep(LEASE)
        pipe.send("go on")
        assert pipe.recv() == ("overtaken", "me@host took over the lock on this state")
        pipe.send("end")
        assert pipe.recv() == "the state is locked by me@host"
        assert held.lost is None
        with pytest.raises(LockHeldError):
            acquire_lock(other, "third")
        store.append(KEY, b"!", expect=version)
        found = store.read(KEY)
        assert found is not None
        assert found.data == b"01claim!"
        held.release()
