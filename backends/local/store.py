"""State in a directory of this machine, and a lock that ends with its holder's process.

Files are replaced whole or appended to.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import msgspec

from backends.keys import is_path
from backends.local.disk import (
    Disk,
    ShortLock,
    SyncError,
    is_file_at,
    make_directories,
    replace,
    sync_directory,
    write_all,
)
from backends.lockers.refusals import release_error
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
from engine.ports import OpenedBackend, Snapshot, Version
from engine.schema import Field, Options
from engine.values import Value

SWAP_LOCK = ".dtm.swap"
"""The file of a directory's short lock; it stays there, empty."""
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


def open_backend(
    options: Mapping[str, Value],
    base_dir: Path,
    env: Mapping[str, str],  # noqa: ARG001 - a Backend
) -> OpenedBackend:
    """See `engine.ports.Backend`. Makes nothing before the first write.

    Links are followed, so that a linked state file is replaced at its real place. Raises
    UsageError for a directory.
    """
    name = str(options.get("stateFile") or "devstream.state")
    # Resolved once, here: a link that is changed during a run must not move the state.
    path = (base_dir / Path(name).expanduser()).resolve()
    if path.is_dir():
        raise UsageError(
            f"the state file {path} is a directory",
            hint=f"name a file in it: {path / 'devstream.state'}",
        )
    return OpenedBackend(
        LocalStore(path.parent),
        path.name,
        {"native": lambda: LocalLocker(path.parent)},
        trusted=True,
    )


class _Tail(msgspec.Struct):
    """A file kept open for appending.

    While it stands at its path with this size, its content is what `content` has hashed.
    """

    descriptor: int
    size: int
    # typeshed has no public name for the class
    content: hashlib._Hash  # pyright: ignore[reportPrivateUsage]


class LocalStore:
    """`engine.ports.AppendStore` over files below `directory`; the version is a SHA-256.

    A key cannot be both a file and a folder (`a` and `a/b`).
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
        """See `engine.ports.AppendStore.append`.

        The file stays open, so that a second append costs one write and one sync.
        """
        path = self._path(key)
        with _errors(path), self._swap_lock(key, expect):
            tail = self._tail(key, path, expect)
            try:
                write_all(self._disk, tail.descriptor, data)
            except OSError:
                # Cut off what was written, so that the next append follows a whole record.
                self._disk.truncate(tail.descriptor, tail.size)
                raise
            try:
                self._disk.sync_data(tail.descriptor)
            except OSError as error:
                # After a failed sync the kernel may drop the pages: what the file holds now is not
                # known, so it is read again before the next append.
                self._forget(key)
                raise SyncError(error.errno, error.strerror, str(path)) from error
            # Only now: a tail stands for bytes that are known to be on the medium.
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
                # A file that is gone is what the caller wants, whatever version it expects.
                if expect is not None and (found := _content(path)) is not None:
                    _require(key, expect, found)
                with suppress(FileNotFoundError):
                    self._disk.unlink(path)
                    sync_directory(self._disk, path.parent)

    def list(self, prefix: str) -> Iterator[str]:
        """See `engine.ports.Store.list`. Leaves out lock files and temporary files."""
        folder = self._path(prefix.rpartition("/")[0]) if "/" in prefix else self._root
        with _errors(folder):
            keys = (path.relative_to(self._root).as_posix() for path in _files(folder))
            return iter(sorted(key for key in keys if key.startswith(prefix)))

    def close(self) -> None:
        """Close the files kept open; the store stays usable."""
        for key in list(self._tails):
            self._forget(key)
        self._lock.close()

    __del__ = close

    def _path(self, key: str) -> Path:
        if not is_path(key) or "\0" in key:
            raise StoreError(f'"{key}" is no key of {self.location}')
        return self._root / key

    @contextmanager
    def _swap_lock(self, key: str, expect: Version) -> Generator[None]:
        """Hold the short lock; a missing directory holds no file to append to."""
        if not self._root.is_dir():
            raise ConflictError(key, expect, None)
        with self._lock.held():
            yield

    def _tail(self, key: str, path: Path, expect: Version) -> _Tail:
        """Return the file at `path`, open and known to hold exactly `expect`."""
        tail = self._tails.get(key)
        # As the last append left it: it need not be read again.
        # A write makes another file and an append another size, so this test is enough.
        if (
            tail
            and os.fstat(tail.descriptor).st_size == tail.size
            and is_file_at(tail.descriptor, path)
        ):
            if tail.content.hexdigest() != expect:
                raise ConflictError(key, expect, tail.content.hexdigest())
            return tail
        self._forget(key)
        data = _content(path)
        _require(key, expect, data)
        assert data is not None
        descriptor = self._disk.open(path, os.O_WRONLY | os.O_APPEND)
        self._tails[key] = _Tail(descriptor, len(data), hashlib.sha256(data))
        return self._tails[key]

    def _forget(self, key: str) -> None:
        if tail := self._tails.pop(key, None):
            os.close(tail.descriptor)


class LocalLocker:
    """`engine.ports.ProcessLocker` by a file kept locked for the whole operation, and a record.

    The kernel frees the lock when its holder dies, so a free lock proves that the record beside it
    is stale. A takeover from a stopped process replaces the lock file: a holder whose file is no
    longer the one at the path has lost the lock.
    """

    def __init__(self, directory: Path, disk: Disk | None = None) -> None:
        self._root, self._disk = directory, disk or Disk()
        self._lock = ShortLock(directory / SWAP_LOCK)
        self._held: dict[str, int] = {}
        self._dead: dict[str, LockInfo | None] = {}

    def read(self, key: str) -> LockRecord | None:
        """See `engine.ports.Locker.read`. Makes no file."""
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
                    # A record without a lock: its process ended without releasing it.
                    self._dead[key] = (
                        None if holder else LockInfo.from_json(_content(self._record(key)) or b"")
                    )
                    self._seize(key)
                data = info.to_json()
                # Not synced to the medium: a power cut ends every holder.
                replace(self._disk, self._record(key), data, durable=False)
        return LockRecord(info, _version(data))

    def remove(self, key: str, *, expect: LockRecord, dead_holder: LockInfo | None = None) -> None:
        """See `engine.ports.ProcessLocker.remove`."""
        path = self._path(key)
        with _errors(path):
            if not path.exists():
                self._let_go(key)
                raise LockError(f"{key} is not locked")
            with self._lock.held():
                holder = self._holder(key)
                if holder and holder.version == expect.version:
                    self._clear(key, dead_holder)
                    return
                if not self._is_ours(key):
                    self._let_go(key)
                elif holder and holder.version == _version(b""):
                    # Our record was deleted by hand: release the lock all the same, then say so.
                    self._clear(key)
                    holder = None
        raise release_error(key, holder)

    def dead_holder(self, key: str) -> LockInfo | None:
        """See `engine.ports.ProcessLocker.dead_holder`."""
        return self._dead.get(key)

    def close(self) -> None:
        """Release every lock, as the kernel does when the process ends."""
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
        """Return the record of the lock, None if it is free; one without a record is unreadable."""
        if not self._is_ours(key) and not self._is_locked(key):
            return None
        data = _content(self._record(key)) or b""
        return LockRecord(LockInfo.from_json(data), _version(data))

    def _is_ours(self, key: str) -> bool:
        return key in self._held and is_file_at(self._held[key], self._path(key))

    def _is_locked(self, key: str) -> bool:
        from filelock import lock_descriptor

        try:
            descriptor = self._disk.open(self._path(key), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            # A free lock is taken for a moment; the short lock keeps other clients away meanwhile.
            return not lock_descriptor(descriptor, blocking=False)
        finally:
            os.close(descriptor)

    def _seize(self, key: str) -> None:
        """Lock a new file at the path: a lock on an older file counts for nothing."""
        from filelock import lock_descriptor

        self._let_go(key)
        path = self._path(key)
        with suppress(FileNotFoundError):
            self._disk.unlink(path)
        self._held[key] = self._disk.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        # Cannot fail: the file is new, and the short lock is held.
        lock_descriptor(self._held[key], blocking=False)

    def _clear(self, key: str, dead_holder: LockInfo | None = None) -> None:
        record, lock = self._record(key), self._path(key)
        if dead_holder:
            replace(self._disk, record, dead_holder.to_json(), durable=False)
        # The record first: a crash in between must not leave the record of a holder that released
        # its lock, since the next one would report it as dead.
        for path in (lock,) if dead_holder else (record, lock):
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
    """Raise the errors of the file system as those of `engine.errors`."""
    try:
        yield
    # SyncError and TimeoutError are OSErrors too, so they come before it.
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
    """Describe a refused access: to the file, or to its directory if there is no file yet."""
    why = f"{error.strerror}, as {_user()}"
    # Unlike Path.exists it raises nothing where the directory may not be searched.
    if os.path.lexists(place):
        return StoreAccessError(
            f"{place}: {why}",
            hint=f"ls -ld {place} shows who may do what; or put the state elsewhere with --state",
        )
    return StoreAccessError(
        f"the state's directory {place.parent} is not writable: {why}",
        hint=f"chmod u+w {place.parent} makes it writable for its owner; "
        "or put the state elsewhere with --state",
    )


def _user() -> str:
    """Describe the user of this process for a message."""
    import getpass

    try:
        return f"user {getpass.getuser()}"
    except (OSError, KeyError):  # no such name in this system
        return f"user id {os.getuid()}"
