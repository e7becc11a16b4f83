"""The form of a rescue file, which holds outcomes that could not be committed."""

from __future__ import annotations

import msgspec

from engine.errors import StateError
from engine.log.records import Record

FORMAT = 1


class RescueFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Records that a session could not commit.

    `lineage` and `location` are those of its state; `at` is RFC 3339.
    """

    format: int
    lineage: str
    session: str
    location: str
    at: str
    records: list[Record]


def encode(rescued: RescueFile) -> bytes:
    """Encode a rescue file as one indented JSON object, so that people can read it too."""
    return msgspec.json.format(msgspec.json.encode(rescued), indent=2) + b"\n"


def decode(data: bytes, location: str) -> RescueFile:
    """Decode a rescue file. Raises StateError."""
    try:
        rescued = msgspec.json.decode(data, type=RescueFile)
    except msgspec.DecodeError as error:
        raise StateError(
            f"this is not a complete rescue file: {error}",
            hint="use another copy if there is one: the output of that run, or another "
            "errored-*.dtm file of that time; otherwise run dtm plan, which examines the "
            "unfinished tools",
            where=location,
        ) from error
    if rescued.format > FORMAT:
        raise StateError(
            f"the file has rescue format {rescued.format}, this dtm reads formats up to {FORMAT}",
            where=location,
        )
    return rescued
