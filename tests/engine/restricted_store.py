"""A store that allows only some keys, like the policy that Lokomotive documents for S3."""

from __future__ import annotations

from collections.abc import Iterator

from engine.errors import StoreAccessError
from engine.ports import Store, StoredObject, Version


class RestrictedStore:
    """A store that allows only the `granted` keys of another one, and collects `denied` calls."""

    def __init__(self, store: Store, *granted: str) -> None:
        self._store, self._granted = store, granted
        self.denied: list[str] = []

    @property
    def location(self) -> str:
        """See `engine.ports.Store.location`."""
        return self._store.location

    def read(self, key: str) -> StoredObject | None:
        """See `engine.ports.Store.read`."""
        self._check("read", key)
        return self._store.read(key)

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        """See `engine.ports.Store.write`."""
        self._check("write", key)
        return self._store.write(key, data, expect=expect)

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        """See `engine.ports.Store.delete`."""
        self._check("delete", key)
        self._store.delete(key, expect=expect)

    def list(self, prefix: str) -> Iterator[str]:
        """See `engine.ports.Store.list`; listing is always allowed."""
        return self._store.list(prefix)

    def _check(self, verb: str, key: str) -> None:
        if key not in self._granted:
            self.denied.append(f"{verb} {key}")
            raise StoreAccessError(f"me may not {verb} {self._store.location}/{key}")
