"""The commit log as values: records, the head and its chunks, and replaying them onto a snapshot. No I/O.

The head is one small object beside the snapshot, or stands inside it; every commit is one compare-and-swap of it (see
`engine.log.view`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from engine.errors import StateError
from engine.stored.document import Document, LogForm, WrittenForm
from engine.stored.forms import PendingForm, ToolForm

FORMAT = 1


class Opened(msgspec.Struct, frozen=True, omit_defaults=True, tag="session"):
    """A session's claim. `lineage`, `salt` and `home` are what a snapshot without them gets; `lock` is "" without a lock.

    `lease` in seconds is after how long a silence others may believe it dead, 0: it did not say.
    """

    session: str
    at: str
    who: str
    command: str
    version: str
    lineage: str
    salt: str
    home: str
    lock: str = ""
    plan: str = ""
    lease: float = 0.0


class Begin(msgspec.Struct, frozen=True, omit_defaults=True, tag="begin"):
    """An operation is about to be called; `tool` is its entry meanwhile, None: the one that is there."""

    seq: int
    key: str
    action: str
    since: str
    deadline: str | None = None
    tool: ToolForm | None = None
    digest: str = ""
    token: str = ""


class Done(msgspec.Struct, frozen=True, omit_defaults=True, tag="done"):
    """The operation begun as `answers` ended well: the new entry, or only its resource, or neither (it is gone)."""

    seq: int
    key: str
    answers: int
    tool: ToolForm | None = None
    resource: dict[str, Any] | None = None


class Failed(msgspec.Struct, frozen=True, omit_defaults=True, tag="failed"):
    """The operation begun as `answers` failed and stays unfinished; `tool` is its entry, None: the one that is there."""

    seq: int
    key: str
    answers: int
    message: str
    tool: ToolForm | None = None


class Cancelled(msgspec.Struct, frozen=True, omit_defaults=True, tag="cancelled"):
    """The operation begun as `answers` was never called; `tool` is the entry from before it, None: there was none."""

    seq: int
    key: str
    answers: int
    tool: ToolForm | None = None


class Moved(msgspec.Struct, frozen=True, tag="moved"):
    """The entry under `old` now is this one; `old` may be its own key, where only its edges are renamed."""

    seq: int
    old: str
    tool: ToolForm


class OutputsSet(msgspec.Struct, frozen=True, tag="outputs"):
    """The root outputs, whole."""

    seq: int
    outputs: dict[str, Any]


class End(msgspec.Struct, frozen=True, tag="end"):
    """The session ended in good order; what is pending then stays pending."""

    at: str


Record: TypeAlias = Opened | Begin | Done | Failed | Cancelled | Moved | OutputsSet | End
Outcome: TypeAlias = Done | Failed

ENCODER = msgspec.json.Encoder()
RECORDS = msgspec.json.Decoder(list[Record])


class Head(msgspec.Struct, frozen=True):
    """The head object. `base` is the `id` of the snapshot that it continues, `next` that of the coming one once sealed.

    `seq` counts commits and never repeats for a session, so no two heads are ever equal. `records` is JSON, comma
    separated.
    """

    base: str
    session: str
    seq: int
    at: str = ""
    next: str = ""
    chunks: tuple[str, ...] = ()
    records: bytes = b""

    def append(self, records: bytes) -> Head:
        """The head with these records behind those that are there."""
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


LINES = msgspec.json.Decoder(_LineForm)


class _ChunkForm(msgspec.Struct, forbid_unknown_fields=True):
    base: str
    session: str
    seq: int
    records: msgspec.Raw


def encode_records(records: Iterable[Record]) -> bytes:
    """JSON, comma separated, without brackets."""
    return b",".join(map(ENCODER.encode, records))


def decode_records(records: bytes, location: str) -> list[Record]:
    """The inverse of `encode_records`. Raises StateError."""
    try:
        return RECORDS.decode(b"[" + records + b"]")
    except msgspec.DecodeError as error:
        raise StateError(f"no valid commit log: {error}", where=location) from error


def encode_head(head: Head) -> bytes:
    """The head's bytes: one line."""
    raw = msgspec.Raw(b"[" + head.records + b"]")
    form = _HeadForm(
        FORMAT, head.base, head.next, head.session, head.seq, head.at, head.chunks, raw
    )
    return ENCODER.encode(form) + b"\n"


def encode_inside(document: bytes, head: Head) -> bytes:
    """The bytes of a document with the head inside it, on a line of its own between the other keys."""
    form = LogForm(head.session, head.seq, head.at, msgspec.Raw(b"[" + head.records + b"]"))
    before, outputs, after = document.partition(
        b'\n  "outputs": '
    )  # no text holds a newline: only the key is found
    return b"".join((before, b'\n  "log": ', ENCODER.encode(form), b",", outputs, after))


def split(document: Document) -> tuple[Document, Head | None]:
    """A document without the head inside it, and that head."""
    form = document.log
    if form is None:
        return document, None
    head = Head(document.id, form.session, form.seq, form.at, records=form.inner())
    return msgspec.structs.replace(document, log=None), head


def encode_line(session: str, seq: int, at: str, records: bytes) -> bytes:
    """More records for a head on a store that can append: one line more."""
    return ENCODER.encode(_LineForm(session, seq, at, msgspec.Raw(b"[" + records + b"]"))) + b"\n"


def decode_head(data: bytes, location: str) -> Head:
    """The head and the lines appended to it; a torn last line was never acknowledged and is left out. Raises StateError."""
    first, _, rest = data.partition(b"\n")
    try:
        form = msgspec.json.decode(first, type=_HeadForm)
        more = [LINES.decode(line) for line in rest.split(b"\n")[:-1]]
    except msgspec.DecodeError as error:
        raise StateError(f"no valid commit log: {error}", where=location) from error
    if form.format > FORMAT:
        raise StateError(
            f"log format {form.format}; this dtm knows formats up to {FORMAT}", where=location
        )
    last = more[-1] if more else form
    bodies = [bytes(form.records)[1:-1], *(bytes(line.records)[1:-1] for line in more)]
    records = b",".join(body for body in bodies if body)
    return Head(form.base, form.session, last.seq, last.at, form.next, form.chunks, records)


def encode_chunk(head: Head) -> bytes:
    """The records of a head, as the immutable object that they move to."""
    return (
        ENCODER.encode(
            _ChunkForm(head.base, head.session, head.seq, msgspec.Raw(b"[" + head.records + b"]"))
        )
        + b"\n"
    )


def decode_chunk(data: bytes, location: str) -> bytes:
    """The records in a chunk, as in `Head.records`. Raises StateError."""
    try:
        return bytes(msgspec.json.decode(data, type=_ChunkForm).records)[1:-1]
    except msgspec.DecodeError as error:
        raise StateError(f"no valid part of a commit log: {error}", where=location) from error


class Replay:
    """A snapshot with records applied, in stored form: what the next snapshot is made of.

    `opened` is the last session that claimed, `ended` says whether it ended in good order, `count` how many records
    were applied.
    """

    def __init__(self, snapshot: Document) -> None:
        self.snapshot = snapshot
        self.tools = dict(snapshot.tools)
        self.outputs = snapshot.outputs
        self.lineage, self.salt, self.home = snapshot.lineage, snapshot.salt, snapshot.home
        self.probe = snapshot.probe
        self.opened: Opened | None = None
        self.ended = ""
        self.count = 0

    def apply(self, records: Iterable[Record]) -> None:
        """Apply records in their order."""
        for record in records:
            self.count += 1
            self._apply(record)

    def _apply(self, record: Record) -> None:
        match record:
            case Begin():
                self._put(
                    record.key,
                    msgspec.structs.replace(self._tool(record), pending=self._pending(record)),
                )
            case Done():
                self._put(record.key, self._finished(record))
            case Failed():
                self._put(record.key, self._failed(record))
            case Cancelled():
                self._put(record.key, record.tool)
            case Moved():
                self.tools.pop(record.old, None)
                self._put(record.tool.key, record.tool)
            case OutputsSet():
                self.outputs = record.outputs
            case Opened():
                self._open(record)
            case End():
                self.ended = record.at

    def _put(self, key: str, tool: ToolForm | None) -> None:
        if tool is None:
            self.tools.pop(key, None)
        else:
            self.tools[key] = tool

    def _tool(self, record: Begin | Done | Failed) -> ToolForm:
        tool = record.tool or self.tools.get(record.key)
        if tool is None:
            raise StateError(f"the commit log speaks of {record.key}, which is not in the state")
        return tool

    def _pending(self, record: Begin) -> PendingForm:
        session = self.opened.session if self.opened else ""
        return PendingForm(
            record.action, record.since, session, record.seq, None, record.deadline, record.token
        )

    def _finished(self, record: Done) -> ToolForm | None:
        if record.tool is None and record.resource is None:
            return None
        tool = self._tool(record)
        return msgspec.structs.replace(
            tool, pending=None, resource=record.resource or tool.resource
        )

    def _failed(self, record: Failed) -> ToolForm:
        tool = self._tool(record)
        pending = tool.pending or getattr(self.tools.get(record.key), "pending", None)
        return msgspec.structs.replace(
            tool, pending=pending and msgspec.structs.replace(pending, message=record.message)
        )

    def _open(self, record: Opened) -> None:
        self.opened, self.ended = record, ""
        self.lineage = self.lineage or record.lineage
        self.salt = self.salt or record.salt
        self.home = record.home

    def unfinished(self, session: str) -> bool:
        """Whether that session left an operation begun."""
        return any(tool.pending and tool.pending.session == session for tool in self.tools.values())

    @property
    def changed(self) -> bool:
        """Whether tools or outputs differ from the snapshot's."""
        return self.tools != self.snapshot.tools or self.outputs != self.snapshot.outputs

    def document(self) -> Document:
        """The snapshot's document with the records applied; id and serial are still the snapshot's."""
        return msgspec.structs.replace(
            self.snapshot,
            tools=self.tools,
            outputs=self.outputs,
            lineage=self.lineage,
            salt=self.salt,
            home=self.home,
            probe=self.probe,
        )

    def next(self, document: str) -> Document:
        """The following snapshot: a function of the snapshot, the records and its id alone, whoever computes it."""
        opened = self.opened
        return msgspec.structs.replace(
            self.document(),
            id=document,
            serial=self.snapshot.serial + 1,
            dtm=opened.version if opened else self.snapshot.dtm,
            written=WrittenForm(self.ended or opened.at, opened.who, opened.command)
            if opened
            else None,
        )
