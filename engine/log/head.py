"""The head of the commit log and its chunks, as values and as bytes.

The head stands beside the state file or inside it. Every commit is one compare-and-swap of the
object that holds it.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from engine.errors import StateError
from engine.log.records import ENCODER
from engine.stored.state_file import LogForm, StateFile

FORMAT = 1


class Head(msgspec.Struct, frozen=True):
    """The mutable part of the log.

    `base` is the id of the snapshot that the records continue; `next`, once the head is sealed, the
    id of the coming one. `seq` counts commits and never repeats for a session, so that no two heads
    are equal. `records` is JSON, separated by commas.
    """

    base: str
    session: str
    seq: int
    at: str = ""
    next: str = ""
    chunks: tuple[str, ...] = ()
    records: bytes = b""

    def append(self, records: bytes) -> Head:
        """Put these records behind those that are there."""
        return replace(self, records=b",".join(part for part in (self.records, records) if part))


class _HeadForm(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    base: str
    next: str
    session: str
    seq: int
    at: str
    chunks: tuple[str, ...]
    records: msgspec.Raw


class _LineForm(msgspec.Struct, forbid_unknown_fields=True):
    session: str
    seq: int
    at: str
    records: msgspec.Raw


class _ChunkForm(msgspec.Struct, forbid_unknown_fields=True):
    base: str
    session: str
    seq: int
    records: msgspec.Raw


_LINES = msgspec.json.Decoder(_LineForm)


def _raw(records: bytes) -> msgspec.Raw:
    return msgspec.Raw(b"[" + records + b"]")


def _inner(raw: msgspec.Raw) -> bytes:
    return bytes(raw)[1:-1]


def encode_head(head: Head) -> bytes:
    """Encode a head that stands beside the state file: one line."""
    form = _HeadForm(
        FORMAT,
        head.base,
        head.next,
        head.session,
        head.seq,
        head.at,
        head.chunks,
        _raw(head.records),
    )
    return ENCODER.encode(form) + b"\n"


def encode_line(session: str, seq: int, at: str, records: bytes) -> bytes:
    """Encode more records for a head on a store that can append: one more line."""
    return ENCODER.encode(_LineForm(session, seq, at, _raw(records))) + b"\n"


def decode_head(data: bytes, location: str) -> Head:
    """Decode a head and the lines appended to it. Raises StateError.

    A torn last line was never acknowledged and is left out.
    """
    first, _, rest = data.partition(b"\n")
    try:
        form = msgspec.json.decode(first, type=_HeadForm)
        lines = [_LINES.decode(line) for line in rest.split(b"\n")[:-1]]
    except msgspec.DecodeError as error:
        raise StateError(f"no valid commit log: {error}", where=location) from error
    if form.format > FORMAT:
        raise StateError(
            f"log format {form.format}; this dtm knows formats up to {FORMAT}", where=location
        )
    last = lines[-1] if lines else form
    parts = [_inner(form.records), *(_inner(line.records) for line in lines)]
    records = b",".join(part for part in parts if part)
    return Head(form.base, form.session, last.seq, last.at, form.next, form.chunks, records)


def encode_inline(document: bytes, head: Head) -> bytes:
    """Put a head into an encoded document, on a line of its own between the other keys."""
    form = LogForm(head.session, head.seq, head.at, _raw(head.records))
    # No text of a document holds a newline, so that only the key itself is found.
    before, outputs, after = document.partition(b'\n  "outputs": ')
    return b"".join((before, b'\n  "log": ', ENCODER.encode(form), b",", outputs, after))


def split_head(document: StateFile) -> tuple[StateFile, Head | None]:
    """Take the head out of a document; None where the log stands beside it."""
    form = document.log
    if form is None:
        return document, None
    head = Head(document.id, form.session, form.seq, form.at, records=form.record_bytes())
    return replace(document, log=None), head


def encode_chunk(head: Head) -> bytes:
    """Encode the records of a head as the immutable object that they move to."""
    form = _ChunkForm(head.base, head.session, head.seq, _raw(head.records))
    return ENCODER.encode(form) + b"\n"


def decode_chunk(data: bytes, location: str) -> bytes:
    """Return the records of a chunk as they stand in `Head.records`. Raises StateError."""
    try:
        return _inner(msgspec.json.decode(data, type=_ChunkForm).records)
    except msgspec.DecodeError as error:
        raise StateError(f"no valid part of a commit log: {error}", where=location) from error
