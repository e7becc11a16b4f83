"""The form of a rescue file, which holds outcomes that could not be committed."""

from __future__ import annotations

import msgspec

from engine.errors import StateError
from engine.log.records import Record

FORMAT = 1


class RescueFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Records that a session could not commit; `lineage` is that of its state."""

    format: int
    lineage: str
    session: str
    location: str
    at: str
    records: list[Record]


def encode(rescued: RescueFile) -> bytes:
    """Encode a rescue file: one JSON object."""
    return msgspec.json.format(msgspec.json.encode(rescued), indent=2) + b"\n"


def decode(data: bytes, location: str) -> RescueFile:
    """Decode what `encode` made. Raises StateError."""
    try:
        rescued = msgspec.json.decode(data, type=RescueFile)
    except msgspec.DecodeError as error:
        raise StateError(
            f"no rescue file, or not the whole of it: {error}",
            hint="if it was printed too, or another errored-*.dtm of that time lies elsewhere, "
            "use that; else dtm plan reads what became of the unfinished tools",
            where=location,
        ) from error
    if rescued.format > FORMAT:
        raise StateError(
            f"{location} has rescue format {rescued.format}; this dtm knows formats up to {FORMAT}",
            where=location,
        )
    return rescued
