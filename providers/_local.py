"""Paths, permissions and OS errors, shared by the `file`, `directory` and `command` providers."""

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
PATH_TAKEN_HINT = "move it away, or choose another path"
AT_FDCWD: Final = -100
RENAME_NOREPLACE: Final = 1


def normalize_path(path: str) -> str:
    """Return one spelling for all spellings of a path: `./out//a` becomes `out/a`.

    The result is the identity of a tool, so it must not depend on the machine: a relative path
    stays relative and `~` is not expanded.
    """
    return os.path.normpath(path)


def resolve_path(path: str, call: Call) -> Path:
    """Return the absolute path: relative to the config file's directory, `~` expanded."""
    return call.base_dir / Path(normalize_path(path)).expanduser()


def format_mode(status: os.stat_result) -> str:
    """Format the permissions as four octal digits."""
    return f"{stat.S_IMODE(status.st_mode):04o}"


@contextmanager
def map_os_errors(verb: str, path: Path) -> Generator[None, None, None]:
    """Raise an OSError of the block as a ProviderError: `cannot VERB PATH: reason`."""
    try:
        yield
    except OSError as error:
        hint = (
            "make sure that your user has access to it"
            if isinstance(error, PermissionError)
            else ""
        )
        raise ProviderError(
            f"cannot {verb} {path}: {error.strerror or error}", hint=hint
        ) from error


def rename_without_replacing(source: Path, target: Path) -> None:
    """Rename a file, but never replace an existing target. Raises FileExistsError, OSError.

    The rename is atomic where the system offers `renameat2`. Elsewhere it is a hard link followed
    by an unlink: a process that is killed between the two leaves the file under both names.
    """
    rename = _load_renameat2()
    if rename is not None:
        old, new = os.fsencode(source), os.fsencode(target)
        number = rename(AT_FDCWD, old, AT_FDCWD, new, RENAME_NOREPLACE)
        if number == 0:
            return
        # EINVAL: the file system does not support the flag. ENOSYS: the kernel has no such call.
        if number not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(number, os.strerror(number), str(target))
    # A plain rename would silently replace a file that another program created just now.
    target.hardlink_to(source)
    source.unlink()


@cache
def _load_renameat2() -> Callable[..., int] | None:
    """Return the C function as a callable that returns errno (0: success); None if absent."""
    if sys.platform != "linux":
        return None
    import ctypes

    found = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if found is None:
        return None

    def call(*arguments: object) -> int:
        return ctypes.get_errno() if found(*arguments) else 0

    return call
