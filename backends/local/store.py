"""State in a directory of this machine, and a lock that ends with the process of its holder."""

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
from engine.ports import OpenedBackend, StoredObject, Version
from engine.schema import Field, Options
from engine.values import Value

SWAP_LOCK = ".dtm.swap"
"""The name of the short lock's file. The file is empty and is never deleted."""
_ACCESS_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
_HINTS = {
    errno.ENOSPC: "free some disk space and try again; the previous content is intact",
    errno.EDQUOT: "free some of your disk quota and try again; the previous content is intact",
    errno.EISDIR: "a directory is in the way; name another file with --state",
}


class LocalOptions(Options, frozen=True, kw_only=True):
    """Options of `backend: local`."""

    state_file: Annotated[str, Field("path of the state file", example="devstream.state")] = (
        "devstream.state"
    )


OPTIONS = LocalOptions


def open_backend(
    options: Mapping[str, Value],
    base_dir: Path,
    env: Mapping[str, str],  # noqa: ARG001 - a Backend
) -> OpenedBackend:
    """See `engine.ports.Backend`. No file is created before the first write.

    Symbolic links are followed: the file that a link points to is replaced, and the link stays.
    Raises UsageError for a directory.
    """
    name = str(options.get("stateFile") or "devstream.state")
    # Resolved only once: a link that changes during a run must not move the state.
    path = (base_dir / Path(name).expanduser()).resolve()
    if path.is_dir():
        raise UsageError(
            f"the state file {path} is a directory",
            hint=f"use a file in it: --state {path / 'devstream.state'}",
        )
    return OpenedBackend(
        LocalStore(path.parent),
        path.name,
        {"native": lambda: LocalLocker(path.parent)},
        trusted=True,
    )


class _Tail(msgspec.Struct):
    """A file that is kept open for appending.

    As long as it is the file at its path and has this size, `sha256` is the hash of its content.
    """

    descriptor: int
    size: int
    # typeshed has no public name for the class
    sha256: hashlib._Hash  # pyright: ignore[reportPrivateUsage]


class LocalStore:
    """`engine.ports.AppendStore` on files in `directory`; the version is the SHA-256 of a file.

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

    def read(self, key: str) -> StoredObject | None:
        """See `engine.ports.Store.read`."""
        path = self._path(key)
        with _mapped_errors(path):
            data = _read_file(path)
        return None if data is None else StoredObject(data, _version(data))

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        """See `engine.ports.Store.write`. Files get mode 0600, created directories 0700."""
        path = self._path(key)
        with _mapped_errors(path):
            make_directories(self._disk, path.parent)
            with self._lock.held():
                _require_version(key, expect, _read_file(path))
                replace(self._disk, path, data)
        return _version(data)

    def append(self, key: str, data: bytes, *, expect: Version) -> Version:
        """See `engine.ports.AppendStore.append`.

        The file stays open, so that each further append costs one write and one sync.
        """
        path = self._path(key)
        with _mapped_errors(path), self._swap_lock(key, expect):
            tail = self._tail(key, path, expect)
            try:
                write_all(self._disk, tail.descriptor, data)
            except OSError:
                # Cut off a partly written record: the next append must follow a complete one.
                self._disk.truncate(tail.descriptor, tail.size)
                raise
            try:
                self._disk.sync_data(tail.descriptor)
            except OSError as error:
                # After a failed sync the kernel may drop the written pages, and a second sync would
                # succeed without them. So the file must be read again before the next append.
                self._close_tail(key)
                raise SyncError(error.errno, error.strerror, str(path)) from error
            # Only now: the tail must describe bytes that are known to be on the disk.
            tail.size += len(data)
            tail.sha256.update(data)
            return tail.sha256.hexdigest()

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        """See `engine.ports.Store.delete`."""
        path = self._path(key)
        with _mapped_errors(path):
            if not path.exists():
                return
            with self._lock.held():
                # A missing file is what the caller wants, whatever version it expects.
                if expect is not None and (found := _read_file(path)) is not None:
                    _require_version(key, expect, found)
                with suppress(FileNotFoundError):
                    self._disk.unlink(path)
                    sync_directory(self._disk, path.parent)

    def list(self, prefix: str) -> Iterator[str]:
        """See `engine.ports.Store.list`. Lock files and temporary files are left out."""
        folder = self._path(prefix.rpartition("/")[0]) if "/" in prefix else self._root
        with _mapped_errors(folder):
            keys = (path.relative_to(self._root).as_posix() for path in _walk_files(folder))
            return iter(sorted(key for key in keys if key.startswith(prefix)))

    def close(self) -> None:
        """Close the open files; the store stays usable."""
        for key in list(self._tails):
            self._close_tail(key)
        self._lock.close()

    __del__ = close

    def _path(self, key: str) -> Path:
        if not is_path(key) or "\0" in key:
            raise StoreError(f'"{key}" is not a valid key in {self.location}')
        return self._root / key

    @contextmanager
    def _swap_lock(self, key: str, expect: Version) -> Generator[None]:
        """Hold the short lock. Raises ConflictError if the directory does not exist."""
        # Taking the short lock would create its file, but an append must not create a directory.
        if not self._root.is_dir():
            raise ConflictError(key, expect, None)
        with self._lock.held():
            yield

    def _tail(self, key: str, path: Path, expect: Version) -> _Tail:
        """Return the open file at `path`. Raises ConflictError if its version is not `expect`."""
        tail = self._tails.get(key)
        # Unchanged since our last append: the content need not be read and hashed again. The test
        # is sufficient, since a write by another client creates a new file and an append changes
        # the size.
        if (
            tail
            and os.fstat(tail.descriptor).st_size == tail.size
            and is_file_at(tail.descriptor, path)
        ):
            if tail.sha256.hexdigest() != expect:
                raise ConflictError(key, expect, tail.sha256.hexdigest())
            return tail
        self._close_tail(key)
        data = _read_file(path)
        _require_version(key, expect, data)
        assert data is not None
        descriptor = self._disk.open(path, os.O_WRONLY | os.O_APPEND)
        self._tails[key] = _Tail(descriptor, len(data), hashlib.sha256(data))
        return self._tails[key]

    def _close_tail(self, key: str) -> None:
        if tail := self._tails.pop(key, None):
            os.close(tail.descriptor)


class LocalLocker:
    """`engine.ports.ProcessLocker`: a lock file that stays locked for a whole run, and a record.

    The kernel releases the lock when its holder dies, so a record next to an unlocked lock file
    names a dead holder. A takeover from a stopped process replaces the lock file: a holder whose
    file is not the file at the path any more has lost the lock.
    """

    def __init__(self, directory: Path, disk: Disk | None = None) -> None:
        self._root, self._disk = directory, disk or Disk()
        self._lock = ShortLock(directory / SWAP_LOCK)
        self._held: dict[str, int] = {}
        self._dead_holders: dict[str, LockInfo | None] = {}

    def read(self, key: str) -> LockRecord | None:
        """See `engine.ports.Locker.read`. No file is created."""
        path = self._path(key)
        with _mapped_errors(path):
            if not path.exists():
                return None
            with self._lock.held():
                return self._read_holder(key)

    def put(self, key: str, info: LockInfo, *, expect: LockRecord | None) -> LockRecord:
        """See `engine.ports.Locker.put`."""
        path = self._path(key)
        with _mapped_errors(path):
            make_directories(self._disk, path.parent)
            with self._lock.held():
                holder = self._read_holder(key)
                if holder and (expect is None or holder.version != expect.version):
                    raise LockHeldError(holder)
                if expect and not holder:
                    raise LockError(f"the lock on {key} is gone: another client removed it")
                if not self._is_held(key):
                    # A record whose lock file is not locked: its holder died without a release.
                    self._dead_holders[key] = (
                        None
                        if holder
                        else LockInfo.from_json(_read_file(self._record_path(key)) or b"")
                    )
                    self._lock_new_file(key)
                data = info.to_json()
                # Not synced to the disk: a power cut ends every holder, so no record needs to
                # survive it.
                replace(self._disk, self._record_path(key), data, durable=False)
        return LockRecord(info, _version(data))

    def remove(self, key: str, *, expect: LockRecord, dead_holder: LockInfo | None = None) -> None:
        """See `engine.ports.ProcessLocker.remove`."""
        path = self._path(key)
        with _mapped_errors(path):
            if not path.exists():
                self._close_lock_file(key)
                raise LockError(f"{key} is not locked")
            with self._lock.held():
                holder = self._read_holder(key)
                if holder and holder.version == expect.version:
                    self._release_files(key, dead_holder)
                    return
                if not self._is_held(key):
                    self._close_lock_file(key)
                elif holder and holder.version == _version(b""):
                    # The record was deleted by hand. Release the lock all the same, so that the
                    # next run need not wait, and then report it.
                    self._release_files(key)
                    holder = None
        raise release_error(key, holder)

    def dead_holder(self, key: str) -> LockInfo | None:
        """See `engine.ports.ProcessLocker.dead_holder`."""
        return self._dead_holders.get(key)

    def close(self) -> None:
        """Release all locks, as the kernel does when the process ends."""
        for key in list(self._held):
            self._close_lock_file(key)
        self._lock.close()

    __del__ = close

    def _path(self, key: str) -> Path:
        path = self._root / key
        return path.with_name(f".{path.name.removeprefix('.')}.lock")

    def _record_path(self, key: str) -> Path:
        path = self._path(key)
        return path.with_name(path.name + ".info")

    def _read_holder(self, key: str) -> LockRecord | None:
        """Return the record of the lock, None if the lock is free.

        If the lock is held but its record file is missing, the returned record is unreadable.
        """
        if not self._is_held(key) and not self._is_locked_by_process(key):
            return None
        data = _read_file(self._record_path(key)) or b""
        return LockRecord(LockInfo.from_json(data), _version(data))

    def _is_held(self, key: str) -> bool:
        return key in self._held and is_file_at(self._held[key], self._path(key))

    def _is_locked_by_process(self, key: str) -> bool:
        from filelock import lock_descriptor

        try:
            descriptor = self._disk.open(self._path(key), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            # A free lock is acquired here and released by the close below. The short lock keeps
            # other clients from seeing it as held meanwhile.
            return not lock_descriptor(descriptor, blocking=False)
        finally:
            os.close(descriptor)

    def _lock_new_file(self, key: str) -> None:
        """Replace the lock file by a new, locked one: a lock on the old file is then void."""
        from filelock import lock_descriptor

        self._close_lock_file(key)
        path = self._path(key)
        with suppress(FileNotFoundError):
            self._disk.unlink(path)
        self._held[key] = self._disk.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        # Cannot fail: the file is new, and the short lock is held.
        lock_descriptor(self._held[key], blocking=False)

    def _release_files(self, key: str, dead_holder: LockInfo | None = None) -> None:
        record, lock = self._record_path(key), self._path(key)
        if dead_holder:
            replace(self._disk, record, dead_holder.to_json(), durable=False)
        # The record first: a crash in between must not leave the record of a holder that released
        # its lock, since the next client would report that holder as dead.
        for path in (lock,) if dead_holder else (record, lock):
            with suppress(FileNotFoundError):
                self._disk.unlink(path)
        self._close_lock_file(key)

    def _close_lock_file(self, key: str) -> None:
        if key in self._held:
            os.close(self._held.pop(key))


def _version(data: bytes) -> Version:
    return hashlib.sha256(data).hexdigest()


def _read_file(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _require_version(key: str, expect: Version | None, found: bytes | None) -> None:
    version = None if found is None else _version(found)
    if version != expect:
        raise ConflictError(key, expect, version)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _walk_files(folder: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(folder, onerror=_raise_unless_missing):
        for name in names:
            if name != SWAP_LOCK and not (
                name.startswith(".") and name.endswith((".tmp", ".lock", ".lock.info"))
            ):
                yield Path(directory, name)


@contextmanager
def _mapped_errors(path: Path) -> Generator[None]:
    """Raise errors of the file system as errors of `engine.errors`."""
    try:
        yield
    # SyncError and TimeoutError are subclasses of OSError, so they come before it.
    except SyncError as error:
        raise OutcomeUnknownError(
            f"{path}: written, but may not survive a power cut: {error.strerror}"
        ) from error
    except TimeoutError as error:
        raise StoreUnavailableError(
            f"{error.filename}: {error.strerror}",
            hint=f"find the process with fuser {error.filename}, and end or continue it",
        ) from error
    except OSError as error:
        place = Path(error.filename or path)
        if error.errno in _ACCESS_ERRORS:
            raise _access_error(place, error) from error
        raise StoreError(
            f"{place}: {error.strerror}", hint=_HINTS.get(error.errno or 0, "")
        ) from error


def _access_error(place: Path, error: OSError) -> StoreAccessError:
    """Describe a refused access: to the file, or to its directory if the file does not exist."""
    why = f"{error.strerror}, as {_describe_user()}"
    # Unlike Path.exists, lexists does not raise if the directory may not be searched.
    if os.path.lexists(place):
        return StoreAccessError(
            f"{place}: {why}",
            hint=f"check the permissions with ls -ld {place}, or name another file with --state",
        )
    return StoreAccessError(
        f"the state's directory {place.parent} is not writable: {why}",
        hint=f"make it writable with chmod u+w {place.parent}, or name another file with --state",
    )


def _describe_user() -> str:
    """Describe the user who runs dtm, for a message."""
    import getpass

    try:
        return f"user {getpass.getuser()}"
    except (OSError, KeyError):  # a user without a name, as in some containers
        return f"user id {os.getuid()}"
