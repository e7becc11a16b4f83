"""Clients of a store or locker in another process, called through a pipe."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

from engine.lock import LockInfo, LockRecord
from engine.ports import StoredObject

_processes = multiprocessing.get_context("spawn")


def _serve(pipe: Connection) -> None:
    clients: dict[int, Any] = {}
    while True:
        try:
            number, name, given, named = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((_answer(clients, number, name, given, named), None))
        except Exception as error:  # noqa: BLE001 - the caller raises it again
            pipe.send((None, (type(error), error.args, error.__dict__)))


def _answer(
    clients: dict[int, Any], number: int, name: str, given: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    if name == "make":
        clients[number] = given[0](*given[1:])
        return None
    if name == "drop":
        return clients.pop(number).close()
    answer = getattr(clients[number], name)
    if callable(answer):
        answer = answer(*given, **named)
    return list(answer) if isinstance(answer, Iterator) else answer


class OtherProcess:
    """A process that holds clients; one is enough for all tests of a module."""

    def __init__(self) -> None:
        self._pipe, theirs = _processes.Pipe()
        self._process = _processes.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._mutex = threading.Lock()

    def ask(self, number: int, name: str, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        with self._mutex:
            self._pipe.send((number, name, given, named))
            answer, failure = self._pipe.recv()
        if failure is None:
            return answer
        kind, arguments, fields = failure
        error = kind.__new__(kind, *arguments)
        error.__dict__.update(fields)
        raise error

    def close(self) -> None:
        self._pipe.close()
        self._process.join(10)


class Remote:
    """A client in the other process, created there by `make(*arguments)`."""

    _numbers = count()

    def __init__(self, process: OtherProcess, make: Callable[..., Any], *arguments: Any) -> None:
        self._process, self._number = process, next(self._numbers)
        self.ask("make", make, *arguments)

    def ask(self, name: str, *given: Any, **named: Any) -> Any:
        return self._process.ask(self._number, name, given, named)

    def close(self) -> None:
        self.ask("drop")


class RemoteStore(Remote):
    @property
    def location(self) -> str:
        return str(self.ask("location"))

    def read(self, key: str) -> StoredObject | None:
        return self.ask("read", key)  # type: ignore[no-any-return]

    def write(self, key: str, data: bytes, *, expect: str | None) -> str:
        return str(self.ask("write", key, data, expect=expect))

    def delete(self, key: str, *, expect: str | None = None) -> None:
        self.ask("delete", key, expect=expect)

    def list(self, prefix: str) -> Iterator[str]:
        return iter(self.ask("list", prefix))

    def append(self, key: str, data: bytes, *, expect: str) -> str:
        return str(self.ask("append", key, data, expect=expect))


class RemoteLocker(Remote):
    def read(self, key: str) -> LockRecord | None:
        return self.ask("read", key)  # type: ignore[no-any-return]

    def put(self, key: str, info: LockInfo, *, expect: LockRecord | None) -> LockRecord:
        return self.ask("put", key, info, expect=expect)  # type: ignore[no-any-return]

    def remove(self, key: str, *, expect: LockRecord) -> None:
        self.ask("remove", key, expect=expect)
