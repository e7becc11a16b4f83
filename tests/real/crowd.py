"""What each of many processes does that want one lock; importable by them."""

from __future__ import annotations

import os
import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

from dtm.app.place import from_url, open_place
from dtm.testing.contenders import info_of
from engine.lease import acquire

HELD = 0.2


def want(url: str, ready: Barrier, results: Connection) -> None:
    """Connect, wait for everybody, wait for the lock, hold it for 0.2 s, tell when."""
    place = open_place(from_url(url, Path("/")), Path("/"), os.environ)
    locker = place.locker(place.kind())
    assert locker is not None
    locker.read(place.key)
    ready.wait()
    name = f"worker-{os.getpid()}"
    held = acquire(locker, place.key, info_of(name), timeout=60, takeover=True, lease=30, emit=lambda _event: None)
    start = time.monotonic()
    time.sleep(HELD)
    end = time.monotonic()
    held.release()
    results.send((start, end, time.monotonic()))
