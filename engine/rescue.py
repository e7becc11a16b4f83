"""The rescue file: outcomes that could not be committed, kept where they can be found again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from engine.errors import StateError
from engine.log import Record

FORMAT = 1
STDOUT = "standard output"


class Rescued(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a session could not commit. `lineage` is that of the state it belongs to, `session` the one that did the work."""

    format: int
    lineage: str
    session: str
    location: str
    at: str
    records: list[Record]


def directories() -> list[Path]:
    """Where to try, in this order: the current directory, the user's state directory."""
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


def keep(name: str, data: bytes, places: Callable[[], Sequence[Path]] = directories) -> str:
    """Write the file where it can be written, readable by its owner only; returns its path.

    Where no directory takes it, it goes to standard output: the last place that is left.
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
    """A new file with all of the data, or none at all."""
    with open(path, "xb", opener=lambda file, flags: os.open(file, flags, 0o600)) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            path.unlink()
            raise


def encode(rescued: Rescued) -> bytes:
    """The file's bytes, one JSON object."""
    return msgspec.json.format(msgspec.json.encode(rescued), indent=2) + b"\n"


def decode(data: bytes, location: str) -> Rescued:
    """The inverse of `encode`. Raises StateError."""
    try:
        rescued = msgspec.json.decode(data, type=Rescued)
    except msgspec.DecodeError as error:
        raise StateError(
            f"no rescue file, or not the whole of it: {error}",
            hint="if it was printed too, or another errored-*.dtm of that time lies elsewhere, use that; "
            "else dtm plan reads what became of the unfinished tools",
            where=location,
        ) from error
    if rescued.format > FORMAT:
        raise StateError(
            f"{location} has rescue format {rescued.format}; this dtm knows formats up to {FORMAT}",
            where=location,
        )
    return rescued
