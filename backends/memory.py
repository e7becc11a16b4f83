"""A store in memory, which is gone when its process ends.

It is for tests, and for callers of the Python API that do not want to keep a state.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated

from backends.lockers.object import ObjectLocker
from engine.errors import ConflictError
from engine.ports import OpenedBackend, StoredObject, Version
from engine.schema import Field, Options
from engine.values import Value


class MemoryOptions(Options, frozen=True, kw_only=True):
    """A state in memory, which is gone when its process ends."""

    name: Annotated[str, Field("name of the state within the process", example="test")] = ""


OPTIONS = MemoryOptions


def open_backend(
    options: Mapping[str, Value],
    base_dir: Path,  # noqa: ARG001 - a Backend
    env: Mapping[str, str],  # noqa: ARG001 - a Backend
) -> OpenedBackend:
    """See `engine.ports.Backend`. Return the same store for the same name."""
    store = shared_store(str(options.get("name", "")))
    return OpenedBackend(
        store, "devstream.state", {"native": lambda: ObjectLocker(store)}, trusted=True
    )


class MemoryStore:
    """`engine.ports.Store` on a dict; the version is the number of the write. Thread-safe."""

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._mutex = threading.Lock()
        self._values: dict[str, StoredObject] = {}
        self._writes = 0

    @property
    def location(self) -> str:
        """`memfs://name`."""
        return f"memfs://{self._name}"

    def read(self, key: str) -> StoredObject | None:
        """See `engine.ports.Store.read`; never fails."""
        with self._mutex:
            return self._values.get(key)

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        """See `engine.ports.Store.write`. Raises ConflictError."""
        with self._mutex:
            self._check(key, expect)
            return self._put(key, data)

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        """See `engine.ports.Store.delete`. Raises ConflictError."""
        with self._mutex:
            if expect is not None and key in self._values:
                self._check(key, expect)
            self._values.pop(key, None)

    def list(self, prefix: str) -> Iterator[str]:
        """See `engine.ports.Store.list`. Later writes do not change the listing."""
        with self._mutex:
            return iter(sorted(key for key in self._values if key.startswith(prefix)))

    def _check(self, key: str, expect: Version | None) -> None:
        found = self._values.get(key)
        if (found.version if found else None) != expect:
            raise ConflictError(key, expect, found.version if found else None)

    def _put(self, key: str, data: bytes) -> Version:
        self._writes += 1
        version = str(self._writes)
        self._values[key] = StoredObject(bytes(data), version)
        return version


class AppendingMemoryStore(MemoryStore):
    """`engine.ports.AppendStore` in memory."""

    def append(self, key: str, data: bytes, *, expect: Version) -> Version:
        """See `engine.ports.AppendStore.append`. Raises ConflictError."""
        with self._mutex:
            self._check(key, expect)
            return self._put(key, self._values[key].data + data)


@cache
def shared_store(name: str) -> MemoryStore:
    """Return the store that `memfs://name` names in this process; create it at the first call."""
    return MemoryStore(name)
