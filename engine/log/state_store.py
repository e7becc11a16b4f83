"""The objects of one state on one store: their keys, and how each is read and replaced.

The state file at key K has a separate log head at `K.log`, its chunks under `K.log.d/` and its
earlier snapshots under `K.history/`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec

from engine.errors import ConditionRefusedError, ConflictError, OutcomeUnknownError
from engine.ports import AppendStore, Store, StoredObject, Version
from engine.runtime.environment import Environment

MAX_ATTEMPTS = 5
"""Attempts to find out whether a write without an answer took effect."""
FIRST_PAUSE, LONGEST_PAUSE, MAX_DURATION = 0.2, 5.0, 30.0
"""Seconds between two such attempts, and for all of them together."""

# The values are those of the setting `state.log`, so they must not change with the names.
INLINE, SEPARATE, AUTO = "inline", "beside", "auto"
"""Placements of the log: in the state file, in an object of its own, or as the state has it.

AUTO gives a new state a separate log, and an inline one if access to a separate log is denied.
"""


class StateStore(msgspec.Struct, frozen=True):
    """The state at `key` of `store`; `log` is INLINE, SEPARATE or AUTO.

    Every call is retried while the store is unavailable, see `Environment.retry`.
    """

    store: Store
    key: str
    environment: Environment = msgspec.field(default_factory=Environment)
    log: str = AUTO

    @property
    def location(self) -> str:
        """The state's URL without credentials: its `home`."""
        return self.url(self.key)

    @property
    def head_key(self) -> str:
        """The key of a separate log head."""
        return f"{self.key}.log"

    @property
    def history_prefix(self) -> str:
        """The prefix of the keys of all earlier snapshots."""
        return f"{self.key}.history/"

    @property
    def appends(self) -> bool:
        """True if the store can append to an object at a cost independent of its size."""
        return isinstance(self.store, AppendStore)

    def url(self, key: str) -> str:
        """Return the URL of an object for a message; it holds no credentials."""
        return f"{self.store.location.rstrip('/')}/{key}"

    def chunk_prefix(self, base: str) -> str:
        """Return the prefix of the keys of all chunks that continue the snapshot with ID `base`."""
        return f"{self.key}.log.d/{short(base)}-"

    def read(self, key: str = "") -> StoredObject | None:
        """Read an object, by default the state file. Raises as `Store.read`."""
        return self.environment.retry(lambda: self.store.read(key or self.key))

    def list(self, prefix: str) -> list[str]:
        """List the keys with this prefix. Raises as `Store.list`."""
        return self.environment.retry(lambda: list(self.store.list(prefix)))

    def delete(self, key: str) -> None:
        """Delete an object; an absent one is not an error. Raises as `Store.delete`."""
        self.environment.retry(lambda: self.store.delete(key))

    def create(self, key: str, data: bytes) -> None:
        """Create an immutable object; succeed also if it exists with the same bytes.

        Raises ConflictError if it exists with other bytes.
        """
        self.swap(key, data, expect=None)

    def swap(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        """Replace the version `expect` by these bytes, and return the new version.

        `expect` None creates the object. A lost answer is resolved by reading the object and
        comparing: no other client writes these bytes. Raises ConflictError if the object has
        another version, ConditionRefusedError if the store refused although the object has the
        expected version, OutcomeUnknownError if no answer came in `MAX_ATTEMPTS` attempts.

            version = state_store.swap(key, data, expect=snapshot.version)
        """
        return self._send(
            key,
            lambda: self.store.write(key, data, expect=expect),
            lambda there: there == data,
            expect,
        )

    def append(self, key: str, line: bytes, *, expect: Version) -> Version:
        """Append a line to the version `expect`; raises as `swap`. Requires `appends`.

        No other client may write the same line: after a lost answer, an object that ends with the
        line counts as success.
        """
        # A cast, since an isinstance check of a protocol takes longer than the append itself.
        store = cast("AppendStore", self.store)
        return self._send(
            key,
            lambda: store.append(key, line, expect=expect),
            lambda there: there.endswith(line),
            expect,
        )

    def _send(
        self,
        key: str,
        send: Callable[[], Version],
        is_written: Callable[[bytes], bool],
        expect: Version | None,
    ) -> Version:
        environment = self.environment
        started, attempts, unclear = environment.clock(), 0, False
        while attempts < MAX_ATTEMPTS:
            attempts += 1
            try:
                return environment.retry(send)
            except (ConflictError, OutcomeUnknownError) as error:
                unclear = unclear or isinstance(error, OutcomeUnknownError)
                # Read after a conflict, too. An SDK may have sent the write twice: then the first
                # one succeeded, and the second one met it as a conflict.
                found = self.read(key)
                if found is not None and is_written(found.data):
                    return found.version
                version = found.version if found else None
                self._raise_if_lost(error, key, expect, version, unclear=unclear)
                # Nothing has changed, so the request may still be on its way. Sending it again is
                # safe: only one of the two can find the expected version.
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempts - 1))
                pause *= environment.rng.uniform(0.5, 1.0)
                if environment.clock() - started + pause > MAX_DURATION:
                    break
                environment.sleep(pause)
        raise OutcomeUnknownError(
            f"{self.store.location}: no answer to {attempts} attempts to write {key}"
        )

    def _raise_if_lost(
        self,
        error: ConflictError | OutcomeUnknownError,
        key: str,
        expect: Version | None,
        version: Version | None,
        *,
        unclear: bool,
    ) -> None:
        """Raise the error of a swap that failed for certain; return if another attempt may help."""
        refused = isinstance(error, ConflictError)
        if refused and version == expect is not None:
            # A server that compares versions wrongly refuses every write. After a ConflictError dtm
            # would report that another session took over, and there is none.
            raise ConditionRefusedError(
                f"{self.url(key)}: the store refused to replace the version that it holds"
            ) from error
        if refused or version != expect:
            raise ConflictError(key, expect, version, outcome_unknown=unclear) from error


def short(snapshot_id: str) -> str:
    """Shorten a snapshot's ID for use in keys; return zeros if there is no snapshot."""
    return snapshot_id[:8] or "0" * 8
