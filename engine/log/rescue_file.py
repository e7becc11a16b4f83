"""The rescue file: outcomes that could not be committed, kept where they can be found again."""

from __future__ import annotations

import msgspec

from engine.errors import StateError
from engine.log.records import Record

FORMAT = 1


class Rescued(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a session could not commit. `lineage` is that of the state it belongs to, `session` the one that did the work."""

    format: int
    lineage: str
    session: str
    location: str
    at: str
    records: list[Record]


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
