"""Fallback files: bytes that could not be stored where they belong, saved on this machine.

An example:

    path = save_fallback_file("devstream.state.rescue", data)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

STDOUT = "standard output"
"""Returned in place of a path if no directory was writable."""


def fallback_directories() -> list[Path]:
    """Return the directories to try: the current one, then dtm's folder in the user's home."""
    places: list[Path] = []
    for find in (
        Path.cwd,
        lambda: Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "dtm",
    ):
        try:
            places.append(find())
        except (OSError, RuntimeError):
            continue  # the current directory was removed, or the user has no home
    return places


def save_fallback_file(
    name: str, data: bytes, places: Callable[[], Sequence[Path]] = fallback_directories
) -> str:
    """Write the file to the first writable directory, readable only by its owner.

    Return its path. If no directory is writable, print the data to standard output and return
    STDOUT: the data must not get lost.
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
    """Write a new file with all of the data; leave no file if that fails."""
    # "x" refuses to overwrite: an older file of the same name may still be needed.
    with open(path, "xb", opener=lambda file, flags: os.open(file, flags, 0o600)) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            # A partial file could later be mistaken for a complete one.
            path.unlink()
            raise
