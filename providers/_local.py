"""What the plugins for this machine share: where a path is, how a mode is spelled, how its errors read."""

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
FOREIGN = "remove it, or choose another path"
AT_FDCWD: Final = -100
RENAME_NOREPLACE: Final = 1


def canonical(path: str) -> str:
    """One spelling per path as a person wrote it: `./out//a` is `out/a`; neither the base nor a home is looked up."""
    return os.path.normpath(path)


def place(path: str, call: Call) -> Path:
    """Where that is on this machine: relative to the configuration, `~` expanded."""
    return call.base_dir / Path(canonical(path)).expanduser()


def octal(status: os.stat_result) -> str:
    """Permissions as four octal digits."""
    return f"{stat.S_IMODE(status.st_mode):04o}"


@contextmanager
def reported(verb: str, path: Path) -> Generator[None, None, None]:
    """Turn what the system says into an error that names the path."""
    try:
        yield
    except OSError as error:
        raise ProviderError(f"cannot {verb} {path}: {error.strerror or error}") from error


def rename_new(source: Path, target: Path) -> None:
    """Give a file its name in one step, never over one that is there. Raises FileExistsError, OSError.

    Where the system has no such call it takes two, and a death between them leaves both names.
    """
    rename = _renameat2()
    if rename is not None:
        number = rename(
            AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), RENAME_NOREPLACE
        )
        if number == 0:
            return
        if number not in (
            errno.EINVAL,
            errno.ENOSYS,
        ):  # which say that this file system or kernel cannot
            raise OSError(number, os.strerror(number), str(target))
    target.hardlink_to(source)
    source.unlink()


@cache
def _renameat2() -> Callable[..., int] | None:
    """The C function, answering with the error's number, 0 for success."""
    if sys.platform != "linux":
        return None
    import ctypes

    found = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if found is None:
        return None

    def call(*arguments: object) -> int:
        return ctypes.get_errno() if found(*arguments) else 0

    return call
