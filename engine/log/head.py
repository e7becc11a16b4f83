"""The head of the commit log and its chunks, as values and as bytes.

The head is an object of its own (separate log) or a part of the state file (inline log).
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

    `base` is the ID of the snapshot that the records continue. `next` is the ID of the next
    snapshot once the head is sealed, "" before. `session`, `seq` and `at` name the last commit; a
    session never repeats a `seq`, so that no two heads are equal. `chunks` are the keys of the
    chunks in their order. `records` is JSON, separated by commas.
    """

    base: str
    session: str
    seq: int
    at: str = ""
    next: str = ""
    chunks: tuple[str, ...] = ()
    records: bytes = b""

    def append(self, records: bytes) -> Head:
        """Return the head with these records after its own."""
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
    """Encode the head of a separate log as one line."""
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
    """Encode further records as one more line, for a store that can append."""
    return ENCODER.encode(_LineForm(session, seq, at, _raw(records))) + b"\n"


def decode_head(data: bytes, location: str) -> Head:
    """Decode a separate head and the lines appended to it. Raises StateError."""
    first, _, rest = data.partition(b"\n")
    try:
        form = msgspec.json.decode(first, type=_HeadForm)
        # The last part is empty, or a line that was cut off by a crash. Such a line was never
        # acknowledged, so leaving it out loses nothing.
        lines = [_LINES.decode(line) for line in rest.split(b"\n")[:-1]]
    except msgspec.DecodeError as error:
        raise StateError(f"the commit log is damaged: {error}", where=location) from error
    if form.format > FORMAT:
        raise StateError(
            f"the commit log has format {form.format}, this dtm reads formats up to {FORMAT}",
            hint="use the dtm version that wrote it, or a later one",
            where=location,
        )
    last = lines[-1] if lines else form
    parts = [_inner(form.records), *(_inner(line.records) for line in lines)]
    records = b",".join(part for part in parts if part)
    return Head(form.base, form.session, last.seq, last.at, form.next, form.chunks, records)


def encode_inline(state_file: bytes, head: Head) -> bytes:
    """Insert a head into an encoded state file, on a line of its own between the other keys."""
    form = LogForm(head.session, head.seq, head.at, _raw(head.records))
    # The bytes are split, since encoding the whole state for every commit would be slow. JSON
    # strings hold no raw newline, so only the key itself can match.
    before, outputs, after = state_file.partition(b'\n  "outputs": ')
    return b"".join((before, b'\n  "log": ', ENCODER.encode(form), b",", outputs, after))


def split_head(state_file: StateFile) -> tuple[StateFile, Head | None]:
    """Return a state file without its head, and the head; None if the log is separate."""
    form = state_file.log
    if form is None:
        return state_file, None
    head = Head(state_file.id, form.session, form.seq, form.at, records=form.record_bytes())
    return replace(state_file, log=None), head


def encode_chunk(head: Head) -> bytes:
    """Encode the records of a head as a chunk."""
    form = _ChunkForm(head.base, head.session, head.seq, _raw(head.records))
    return ENCODER.encode(form) + b"\n"


def decode_chunk(data: bytes, location: str) -> bytes:
    """Return the records of a chunk in the form of `Head.records`. Raises StateError."""
    try:
        return _inner(msgspec.json.decode(data, type=_ChunkForm).records)
    except msgspec.DecodeError as error:
        raise StateError(f"a part of the commit log is damaged: {error}", where=location) from error
