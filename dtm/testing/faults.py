"""A locker whose calls fail on request, before or after they had their effect."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import msgspec

from engine.lock import LockInfo, LockRecord
from engine.ports import Locker

T = TypeVar("T")


class CallFault(msgspec.Struct, frozen=True):
    """The fault of one call, which raises `error`.

    With `after_effect` the call has its effect first, as when an answer is lost. `before_call` runs
    before the call in any case.
    """

    error: Exception | None = None
    after_effect: bool = False
    before_call: Callable[[], object] | None = None


class FaultyLocker:
    """A locker that passes each call to another locker, with faults.

    Each call takes the next fault of the list for its method. When a list is used up, calls
    succeed. `calls` records the names of the called methods.

        locker = FaultyLocker(locker, put=[CallFault(StoreUnavailableError("no connection"))])
    """

    def __init__(
        self,
        locker: Locker,
        *,
        read: Iterable[CallFault] = (),
        put: Iterable[CallFault] = (),
        remove: Iterable[CallFault] = (),
    ) -> None:
        self._locker = locker
        self._faults: dict[str, Iterator[CallFault]] = {
            "read": iter(read),
            "put": iter(put),
            "remove": iter(remove),
        }
        self.calls: list[str] = []

    def read(self, key: str) -> LockRecord | None:
        """See `engine.ports.Locker.read`."""
        return self._call("read", lambda: self._locker.read(key))

    def put(self, key: str, info: LockInfo, *, expect: LockRecord | None) -> LockRecord:
        """See `engine.ports.Locker.put`."""
        return self._call("put", lambda: self._locker.put(key, info, expect=expect))

    def remove(self, key: str, *, expect: LockRecord) -> None:
        """See `engine.ports.Locker.remove`."""
        return self._call("remove", lambda: self._locker.remove(key, expect=expect))

    def _call(self, kind: str, call: Callable[[], T]) -> T:
        self.calls.append(kind)
        fault = next(self._faults[kind], CallFault())
        if fault.before_call:
            fault.before_call()
        if fault.error and not fault.after_effect:
            raise fault.error
        answer = call()
        if fault.error:
            raise fault.error
        return answer
