"""Paths, modes and errors of this machine, shared by `file`, `directory` and `command`."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec

from engine.errors import ProviderError
from engine.ports import Call

PathText: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, pattern=r"^[^\x00]*$")]
ModeText: TypeAlias = Annotated[str, msgspec.Meta(pattern="^[0-7]{3,4}$")]
PATH_TAKEN_HINT = "remove it, or choose another path"
AT_FDCWD: Final = -100
RENAME_NOREPLACE: Final = 1


def normalize_path(path: str) -> str:
    """Spell a path as the user wrote it in one way: `./out//a` is `out/a`. Pure.

    Neither the base directory nor a home is looked up.
    """
    return os.path.normpath(path)


def resolve_path(path: str, call: Call) -> Path:
    """Find the path on this machine: relative to the configuration, `~` expanded."""
    return call.base_dir / Path(normalize_path(path)).expanduser()


def format_mode(status: os.stat_result) -> str:
    """Spell the permissions as four octal digits."""
    return f"{stat.S_IMODE(status.st_mode):04o}"


@contextmanager
def map_os_errors(verb: str, path: Path) -> Generator[None, None, None]:
    """Turn an OSError of the block into a ProviderError that names the path."""
    try:
        yield
    except OSError as error:
        raise ProviderError(f"cannot {verb} {path}: {error.strerror or error}") from error


def rename_without_replacing(source: Path, target: Path) -> None:
    """Give a file its name in one step, never over one that is there.

    Where the system has no such call it takes two steps, and a process that dies between them
    leaves both names. Raises FileExistsError, OSError.
    """
    rename = _load_renameat2()
    if rename is not None:
        old, new = os.fsencode(source), os.fsencode(target)
        number = rename(AT_FDCWD, old, AT_FDCWD, new, RENAME_NOREPLACE)
        if number == 0:
            return
        # These two mean that this file system or kernel does not offer it.
        if number not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(number, os.strerror(number), str(target))
    target.hardlink_to(source)
    source.unlink()


@cache
def _load_renameat2() -> Callable[..., int] | None:
    """Find the C function, made to return the error's number, 0 for success; None without it."""
    if sys.platform != "linux":
        return None
    import ctypes

    found = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if found is None:
        return None

    def call(*arguments: object) -> int:
        return ctypes.get_errno() if found(*arguments) else 0

    return call
