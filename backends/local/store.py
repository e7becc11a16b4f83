"""State in a directory of this machine: files replaced whole or appended to, and a lock that dies with its holder."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import msgspec

from backends.local.disk import (
    Disk,
    ShortLock,
    SyncError,
    is_at,
    make_directories,
    replace,
    sync_directory,
    write_all,
)
from engine.errors import (
    ConflictError,
    LockError,
    LockHeldError,
    OutcomeUnknownError,
    StoreAccessError,
    StoreError,
    StoreUnavailableError,
    UsageError,
)
from engine.lock import LockInfo, LockRecord
from engine.ports import Opened, Snapshot, Version
from engine.schema import Field, Options
from engine.values import Value

SWAP_LOCK = ".dtm.swap"
"""The short lock of a directory; it stays there, empty."""
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
_HINTS = {
    errno.ENOSPC: "the disk is full; what was there before is intact",
    errno.EDQUOT: "your quota is used up; what was there before is intact",
    errno.EISDIR: "a directory stands where the state file should be",
}


class LocalOptions(Options, frozen=True, kw_only=True):
    """A state in a file of this machine."""

    state_file: Annotated[str, Field("the state's file", example="devstream.state")] = (
        "devstream.state"
    )


OPTIONS = LocalOptions


def open_backend(options: Mapping[str, Value], base_dir: Path, env: Mapping[str, str]) -> Opened:  # noqa: ARG001 - a Backend
    """See `engine.ports.Backend`. Links are followed, so that a linked state is replaced where it really is.

    Nothing is made before the first write. Raises UsageError for a directory.
    """
    path = (
        base_dir / Path(str(options.get("stateFile") or "devstream.state")).expanduser()
    ).resolve()
    if path.is_dir():
        raise UsageError(
            f"the state file {path} is a directory",
            hint=f"name a file in it: {path / 'devstream.state'}",
        )
    return Opened(
        LocalStore(path.parent),
        path.name,
        {"native": lambda: LocalLocker(path.parent)},
        certain=True,
    )


class _Tail(msgspec.Struct):
    """A file kept open for appending: as long as it stands at its path with this size, its content is `content`'s."""

    descriptor: int
    size: int
    content: hashlib._Hash  # pyright: ignore[reportPrivateUsage] - typeshed has no public name for it


class LocalStore:
    """`engine.ports.AppendStore` over files below `directory`; the version is the SHA-256 of the content.

    A key that is both a file and a folder (`a` and `a/b`) cannot be had here.
    """

    def __init__(self, directory: Path, disk: Disk | None = None) -> None:
        self._root, self._disk = directory, disk or Disk()
        self._lock = ShortLock(directory / SWAP_LOCK)
        self._tails: dict[str, _Tail] = {}

    @property
    def location(self) -> str:
        """`file:///directory`."""
        return f"file://{self._root}"

    def read(self, key: str) -> Snapshot | None:
        """See `engine.ports.Store.read`."""
        path = self._path(key)
        with _errors(path):
            data = _content(path)
        return None if data is None else Snapshot(data, _version(data))

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        """See `engine.ports.Store.write`; file mode 0600, missing directories 0700."""
        path = self._path(key)
        with _errors(path):
            make_directories(self._disk, path.parent)
            with self._lock.held():
                _require(key, expect, _content(path))
                replace(self._disk, path, data)
        return _version(data)

    def append(self, key: str, data: bytes, *, expect: Version) -> Version:
        """See `engine.ports.AppendStore.append`. The file stays open, so that a second append costs one write and one sync."""
        path = self._path(key)
        with _errors(path), self._swap_lock(key, expect):
            tail = self._tail(key, path, expect)
            try:
                write_all(self._disk, tail.descriptor, data)
            except OSError:
                self._disk.truncate(tail.descriptor, tail.size)
                raise
            try:
                self._disk.sync_data(tail.descriptor)
            except (
                OSError
            ) as error:  # what the file holds now is anybody's guess: never append to it again
                self._forget(key)
                raise SyncError(error.errno, error.strerror, str(path)) from error
            tail.size += len(data)
            tail.content.update(data)
            return tail.content.hexdigest()

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        """See `engine.ports.Store.delete`."""
        path = self._path(key)
        with _errors(path):
            if not path.exists():
                return
            with self._lock.held():
                if expect is not None and (found := _content(path)) is not None:
                    _require(key, expect, found)
                with suppress(FileNotFoundError):
                    self._disk.unlink(path)
                    sync_directory(self._disk, path.parent)

    def list(self, prefix: str) -> Iterator[str]:
        """See `engine.ports.Store.list`; lock files and what a crash left of a write are no keys."""
        folder = self._path(prefix.rpartition("/")[0]) if "/" in prefix else self._root
        with _errors(folder):
            keys = (path.relative_to(self._root).as_posix() for path in _files(folder))
            return iter(sorted(key for key in keys if key.startswith(prefix)))

    def close(self) -> None:
        """Give back the files kept open; the store stays usable."""
        for key in list(self._tails):
            self._forget(key)
        self._lock.close()

    __del__ = close

    def _path(self, key: str) -> Path:
        if not all(part not in ("", ".", "..") for part in key.split("/")) or "\0" in key:
            raise StoreError(f'"{key}" is no key of {self.location}')
        return self._root / key

    @contextmanager
    def _swap_lock(self, key: str, expect: Version) -> Generator[None]:
        """The short lock; where there is not even a directory, nothing can have been appended to."""
        if not self._root.is_dir():
            raise ConflictError(key, expect, None)
        with self._lock.held():
            yield

    def _tail(self, key: str, path: Path, expect: Version) -> _Tail:
        """The file at `path`, open and known to hold exactly `expect`: as we left it, or else read whole."""
        tail = self._tails.get(key)
        if tail and os.fstat(tail.descriptor).st_size == tail.size and is_at(tail.descriptor, path):
            if tail.content.hexdigest() != expect:
                raise ConflictError(key, expect, tail.content.hexdigest())
            return tail
        self._forget(key)
        data = _content(path)
        _require(key, expect, data)
        assert data is not None
        tail = _Tail(
            self._disk.open(path, os.O_WRONLY | os.O_APPEND), len(data), hashlib.sha256(data)
        )
        self._tails[key] = tail
        return tail

    def _forget(self, key: str) -> None:
        if tail := self._tails.pop(key, None):
            os.close(tail.descriptor)


class LocalLocker:
    """`engine.ports.ProcessLocker` by a file that is held locked for the whole operation, and its record beside it.

    The kernel frees the lock when its holder dies, so a free lock proves a stale record. Taking over from a process that
    is stopped replaces the lock file; a holder whose file is no longer the one at the path has lost.
    """

    def __init__(self, directory: Path, disk: Disk | None = None) -> None:
        self._root, self._disk = directory, disk or Disk()
        self._lock = ShortLock(directory / SWAP_LOCK)
        self._held: dict[str, int] = {}
        self._dead: dict[str, LockInfo | None] = {}

    def read(self, key: str) -> LockRecord | None:
        """See `engine.ports.Locker.read`; makes no file."""
        path = self._path(key)
        with _errors(path):
            if not path.exists():
                return None
            with self._lock.held():
                return self._holder(key)

    def put(self, key: str, info: LockInfo, *, expect: LockRecord | None) -> LockRecord:
        """See `engine.ports.Locker.put`."""
        path = self._path(key)
        with _errors(path):
            make_directories(self._disk, path.parent)
            with self._lock.held():
                holder = self._holder(key)
                if holder and (expect is None or holder.version != expect.version):
                    raise LockHeldError(holder)
                if expect and not holder:
                    raise LockError(f"the lock on {key} is gone: somebody removed it")
                if not self._is_ours(key):
                    self._dead[key] = (
                        None if holder else LockInfo.from_json(_content(self._record(key)) or b"")
                    )
                    self._seize(key)
                data = info.to_json()
                replace(
                    self._disk, self._record(key), data, durable=False
                )  # after a power cut nobody holds it anyway
        return LockRecord(info, _version(data))

    def remove(self, key: str, *, expect: LockRecord, leaving: LockInfo | None = None) -> None:
        """See `engine.ports.ProcessLocker.remove`."""
        path = self._path(key)
        with _errors(path):
            if not path.exists():
                self._let_go(key)
                raise LockError(f"{key} is not locked")
            with self._lock.held():
                holder = self._holder(key)
                if holder and holder.version == expect.version:
                    self._clear(key, leaving)
                    return
                if not self._is_ours(key):
                    self._let_go(key)
                elif holder and holder.version == _version(
                    b""
                ):  # our record was deleted by hand: tidy up, then say so
                    self._clear(key)
                    holder = None
        if holder:
            raise LockHeldError(holder)
        raise LockError(f"{key} is not locked")

    def died(self, key: str) -> LockInfo | None:
        """See `engine.ports.ProcessLocker.died`."""
        return self._dead.get(key)

    def close(self) -> None:
        """Let go of every lock, as the kernel does when the process ends."""
        for key in list(self._held):
            self._let_go(key)
        self._lock.close()

    __del__ = close

    def _path(self, key: str) -> Path:
        path = self._root / key
        return path.with_name(f".{path.name.removeprefix('.')}.lock")

    def _record(self, key: str) -> Path:
        path = self._path(key)
        return path.with_name(path.name + ".info")

    def _holder(self, key: str) -> LockRecord | None:
        """Whoever holds the lock file, None if nobody does. A held lock without a record is an unreadable one."""
        if not self._is_ours(key) and not self._is_locked(key):
            return None
        data = _content(self._record(key)) or b""
        return LockRecord(LockInfo.from_json(data), _version(data))

    def _is_ours(self, key: str) -> bool:
        return key in self._held and is_at(self._held[key], self._path(key))

    def _is_locked(self, key: str) -> bool:
        from filelock import lock_descriptor

        try:
            descriptor = self._disk.open(self._path(key), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return not lock_descriptor(descriptor, blocking=False)
        finally:
            os.close(descriptor)

    def _seize(self, key: str) -> None:
        """Lock a new file at the path: whoever holds an older one holds nothing any more."""
        from filelock import lock_descriptor

        self._let_go(key)
        path = self._path(key)
        with suppress(FileNotFoundError):
            self._disk.unlink(path)
        self._held[key] = self._disk.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        lock_descriptor(self._held[key], blocking=False)

    def _clear(self, key: str, leaving: LockInfo | None = None) -> None:
        record, lock = self._record(key), self._path(key)
        if leaving:
            replace(self._disk, record, leaving.to_json(), durable=False)
        for path in (lock,) if leaving else (record, lock):
            with suppress(FileNotFoundError):
                self._disk.unlink(path)
        self._let_go(key)

    def _let_go(self, key: str) -> None:
        if key in self._held:
            os.close(self._held.pop(key))


def _version(data: bytes) -> Version:
    return hashlib.sha256(data).hexdigest()


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _require(key: str, expect: Version | None, found: bytes | None) -> None:
    version = None if found is None else _version(found)
    if version != expect:
        raise ConflictError(key, expect, version)


def _unless_absent(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _files(folder: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(folder, onerror=_unless_absent):
        for name in names:
            if name != SWAP_LOCK and not (
                name.startswith(".") and name.endswith((".tmp", ".lock", ".lock.info"))
            ):
                yield Path(directory, name)


@contextmanager
def _errors(path: Path) -> Generator[None]:
    """The file system's errors in the words of `engine.errors`."""
    try:
        yield
    except SyncError as error:
        raise OutcomeUnknownError(
            f"{path}: written, but perhaps not for good: {error.strerror}"
        ) from error
    except TimeoutError as error:
        raise StoreUnavailableError(
            f"{error.filename}: {error.strerror}",
            hint="a stopped process holds it; end or continue that process",
        ) from error
    except OSError as error:
        place = Path(error.filename or path)
        if error.errno in _CLOSED:
            raise _denied(place, error) from error
        raise StoreError(
            f"{place}: {error.strerror}", hint=_HINTS.get(error.errno or 0, "")
        ) from error


def _denied(place: Path, error: OSError) -> StoreAccessError:
    """What may not be done, and how it could be; a file that is not there could not be made in its directory."""
    why = f"{error.strerror}, as {_user()}"
    if os.path.lexists(
        place
    ):  # unlike Path.exists it raises nothing where not even that may be asked
        return StoreAccessError(
            f"{place}: {why}",
            hint=f"ls -ld {place} shows who may do what; or put the state elsewhere with --state",
        )
    return StoreAccessError(
        f"the state's directory {place.parent} is not writable: {why}",
        hint=f"chmod u+w {place.parent} makes it writable for its owner; or put the state elsewhere with --state",
    )


def _user() -> str:
    """Who we are, for a message about what we may not do."""
    import getpass

    try:
        return f"user {getpass.getuser()}"
    except (OSError, KeyError):  # no such name in this system
        return f"user id {os.getuid()}"
