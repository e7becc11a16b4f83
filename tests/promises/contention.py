"""Processes that compete for one lock. They import this module."""

from __future__ import annotations

import multiprocessing
import os
import time
from itertools import pairwise
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

from dtm.app.place import open_place, settings_from_url
from dtm.testing.lock_clients import lock_info
from engine.session.locking import LockOptions, acquire

HOLD_TIME = 0.2
PROCESSES = 10
processes = multiprocessing.get_context("spawn")


def measure_contention(url: str) -> float:
    """Return the seconds from the first acquisition to the last release.

    Fails if two processes held the lock at the same time.
    """
    ready = processes.Barrier(PROCESSES)
    pairs = [processes.Pipe() for _ in range(PROCESSES)]
    workers = [
        processes.Process(target=acquire_once, args=(url, ready, theirs)) for _, theirs in pairs
    ]
    for worker in workers:
        worker.start()
    for _, theirs in pairs:
        theirs.close()
    times = sorted(ours.recv() for ours, _ in pairs)
    for worker in workers:
        worker.join()
    assert all(end <= start for (_, end, _), (start, _, _) in pairwise(times))
    return float(max(released for _, _, released in times) - times[0][0])


def acquire_once(url: str, ready: Barrier, results: Connection) -> None:
    """Connect, wait for the other processes, hold the lock for `HOLD_TIME`, and send the times."""
    place = open_place(settings_from_url(url, Path("/")), Path("/"), os.environ)
    locker = place.locker(place.lock_kind())
    assert locker is not None
    locker.read(place.key)
    ready.wait()
    name = f"worker-{os.getpid()}"
    held = acquire(
        locker, place.key, lock_info(name), LockOptions(timeout=60, lease=30), lambda _event: None
    )
    start = time.monotonic()
    time.sleep(HOLD_TIME)
    end = time.monotonic()
    held.release()
    results.send((start, end, time.monotonic()))
