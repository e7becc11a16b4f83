"""Fallback files: bytes that could not be stored where they belong, kept on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

STDOUT = "standard output"


def fallback_directories() -> list[Path]:
    """Return where to try, in this order: the current directory, the user's state directory."""
    places: list[Path] = []
    for find in (
        Path.cwd,
        lambda: Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "dtm",
    ):
        try:
            places.append(find())
        except (OSError, RuntimeError):
            continue  # the directory was removed, or there is no home
    return places


def save_fallback_file(
    name: str, data: bytes, places: Callable[[], Sequence[Path]] = fallback_directories
) -> str:
    """Write the file where it can be written, readable by its owner only; return its path.

    If no directory takes it, it goes to standard output: the last place that is left.
    """
    for place in places():
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(place / name, data)
        except OSError:
            continue
        return str(place / name)
    sys.stdout.write(data.decode())
    sys.stdout.flush()
    return STDOUT


def _write(path: Path, data: bytes) -> None:
    """Write a new file with all of the data, or none at all."""
    with open(path, "xb", opener=lambda file, flags: os.open(file, flags, 0o600)) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            path.unlink()
            raise
