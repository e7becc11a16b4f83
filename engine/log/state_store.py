"""One state on one store: the objects that it consists of, and how each is read and replaced.

A state file at key K has its log head at `K.log`, its chunks under `K.log.d/` and its earlier
snapshots under `K.history/`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec

from engine.errors import ConditionRefusedError, ConflictError, OutcomeUnknownError
from engine.ports import AppendStore, Snapshot, Store, Version
from engine.runtime.environment import Environment

TRIES = 5
FIRST_PAUSE, LONGEST_PAUSE, PATIENCE = 0.2, 5.0, 30.0
"""Seconds between two tries to find out what became of a request without an answer, and in all."""

INLINE, SEPARATE, AUTO = "inline", "beside", "auto"
"""Where the log is to stand: inside the state file, beside it, or where the state file has it.

AUTO puts the log of a new state beside it, and inside where that is denied.
"""


class StateStore(msgspec.Struct, frozen=True):
    """The state at `key` of `store`; `log` is INLINE, SEPARATE or AUTO.

    Every call is repeated while the store is unavailable, as `environment.retry` says.
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
        """The key of the log head where it stands beside the state file."""
        return f"{self.key}.log"

    @property
    def history_prefix(self) -> str:
        """The beginning of the keys of all earlier snapshots."""
        return f"{self.key}.history/"

    @property
    def appends(self) -> bool:
        """Tell whether the store can add to an object at a cost independent of its size."""
        return isinstance(self.store, AppendStore)

    def url(self, key: str) -> str:
        """Name an object of this store in a message."""
        return f"{self.store.location.rstrip('/')}/{key}"

    def chunk_prefix(self, base: str) -> str:
        """The beginning of the keys of all chunks that continue the snapshot with the id `base`."""
        return f"{self.key}.log.d/{short(base)}-"

    def read(self, key: str = "") -> Snapshot | None:
        """Read an object, by default the state file. Raises as `Store.read`."""
        return self.environment.retry(lambda: self.store.read(key or self.key))

    def list(self, prefix: str) -> list[str]:
        """List the keys that begin so. Raises as `Store.list`."""
        return self.environment.retry(lambda: list(self.store.list(prefix)))

    def delete(self, key: str) -> None:
        """Remove an object; one that is gone already is no error. Raises as `Store.delete`."""
        self.environment.retry(lambda: self.store.delete(key))

    def create(self, key: str, data: bytes) -> None:
        """Create an immutable object; finding these very bytes there is success.

        Raises ConflictError if other bytes are there.
        """
        self.swap(key, data, expect=None)

    def swap(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        """Replace the version `expect` by these bytes, also where an answer is lost on the way.

        After a lost answer the bytes that are there are compared with ours, which no other client
        writes. Raises ConflictError if other bytes are there, ConditionRefusedError if the expected
        version is there and was yet refused, OutcomeUnknownError if no answer came in five tries.
        """
        return self._send(
            key,
            lambda: self.store.write(key, data, expect=expect),
            lambda there: there == data,
            expect,
        )

    def append(self, key: str, line: bytes, *, expect: Version) -> Version:
        """Add a line to the version `expect`; raises as `swap`. The store must be able to append.

        The line must be one that no other client writes: after a lost answer, finding it at the end
        is success.
        """
        store = cast("AppendStore", self.store)  # `appends` was asked once: asking is slow
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
        started, tries, outcome_unknown = environment.clock(), 0, False
        while tries < TRIES:
            tries += 1
            try:
                return environment.retry(send)
            except (ConflictError, OutcomeUnknownError) as error:
                outcome_unknown = outcome_unknown or isinstance(error, OutcomeUnknownError)
                found = self.read(key)
                if found is not None and is_written(found.data):
                    return found.version
                version = found.version if found else None
                self._raise_if_lost(error, key, expect, version, outcome_unknown=outcome_unknown)
                # nothing has changed yet, so the request may still be under way: send it again
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (tries - 1))
                pause *= environment.rng.uniform(0.5, 1.0)
                if environment.clock() - started + pause > PATIENCE:
                    break
                environment.sleep(pause)
        raise OutcomeUnknownError(
            f"{self.store.location}: no answer to {tries} attempts to write {key}"
        )

    def _raise_if_lost(
        self,
        error: ConflictError | OutcomeUnknownError,
        key: str,
        expect: Version | None,
        version: Version | None,
        *,
        outcome_unknown: bool,
    ) -> None:
        """Raise the error of a swap that surely failed; return where another try may help."""
        refused = isinstance(error, ConflictError)
        if refused and version == expect is not None:
            raise ConditionRefusedError(
                f"{self.url(key)}: the very version that is there was refused"
            ) from error
        if refused or version != expect:
            raise ConflictError(key, expect, version, outcome_unknown=outcome_unknown) from error


def short(document: str) -> str:
    """Shorten a snapshot's id for use in keys; zeros where there is no snapshot."""
    return document[:8] or "0" * 8
