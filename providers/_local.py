"""What the plugins for this machine share: where a path is, how a mode is spelled, how its errors read."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec

from engine.errors import ProviderError
from engine.ports import Call

PathText: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, pattern=r"^[^\x00]*$")]
ModeText: TypeAlias = Annotated[str, msgspec.Meta(pattern="^[0-7]{3,4}$")]
FOREIGN = "remove it, or choose another path"


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
