"""State <-> bytes: one JSON document, sorted and indented, so that equal bytes mean an equal state.

Reads DevStream's YAML of both spellings too. Whatever cannot be understood whole is an error with its place.
"""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import msgspec

from engine.address import Address
from engine.errors import StateError
from engine.state import State, StateId, Written
from engine.stored.forms import ToolForm, entry_of, plain_map, rich_map, tool_form

FORMAT = 1


class WrittenForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who wrote a snapshot."""

    at: str
    who: str
    command: str


class LogForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The commit log where it stands inside the document, see `log.Head`."""

    session: str
    seq: int
    at: str
    records: msgspec.Raw

    def inner(self) -> bytes:
        """The records, comma separated; whoever laid out the document anew changed nothing about them."""
        return bytes(self.records).strip()[1:-1].strip()


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The document as stored. `dtm` is the version that wrote it, "" in others' files; `tools` keys are `name_instanceID`.

    `log` is only there while the commit log stands inside: `log.split` takes it out.
    """

    dtm: str
    format: int
    lineage: str
    serial: int
    id: str
    home: str
    salt: str
    tools: dict[str, ToolForm]
    outputs: dict[str, Any]
    probe: dict[str, Any] = {}
    written: WrittenForm | None = None
    log: LogForm | None = None


EMPTY = Document("", FORMAT, "", 0, "", "", "", {}, {})
"""What stands where nothing was written yet."""


class _Format(msgspec.Struct):
    format: Any = msgspec.UNSET
    dtm: Any = "unknown"


def encode(state: State) -> bytes:
    """The state's document, UTF-8 JSON with sorted keys, 2 spaces and a final newline. Raises StateError (see `wire.plain`)."""
    with no_gc():
        return encode_document(document_of(state))


def decode(data: bytes, location: str) -> State:
    """The state in these bytes; blank bytes are the empty state.

    `location` is for messages. Raises StateError naming location and place where the content is invalid, its format newer
    than this program knows, or where records of a run stand inside that are not part of the document yet.
    """
    try:
        with no_gc():
            document = decode_document(data, location)
            if document.log is not None and document.log.inner():
                raise StateError(
                    "this document was taken while a run was at work: it holds a commit log",
                    hint="dtm state pull gives the whole state at any time",
                    where=location,
                )
            return state_of(document, location, literal=b'"$' not in data)
    except RecursionError as error:
        raise StateError("no valid state: it is nested too deep", where=location) from error


def to_devstream(state: State) -> bytes:
    """The state in DevStream's own layout, see `devstream.to_devstream`."""
    from engine.stored import devstream

    return devstream.to_devstream(state)


def encode_document(document: Document) -> bytes:
    """`encode` for the stored form."""
    try:
        data = msgspec.json.encode(document, order="sorted")
    except UnicodeEncodeError as error:
        raise StateError(
            f"a text that is no valid Unicode cannot be stored in a state: {error}"
        ) from error
    return msgspec.json.format(data, indent=2) + b"\n"


def decode_document(data: bytes, location: str) -> Document:
    """`decode` for the stored form. A document without an `id` (DevStream's) is identified by its content."""
    if not data.strip():
        return EMPTY
    if not data.lstrip().startswith(b"{") or _is_devstream(data, location):
        from engine.stored import (
            devstream,  # YAML is only needed for files that another program wrote
        )

        return msgspec.structs.replace(
            EMPTY, id=sha256(data).hexdigest()[:32], tools=devstream.tools(data, location)
        )
    try:
        document = msgspec.json.decode(data, type=Document)
    except msgspec.DecodeError as error:
        raise _invalid(data, location, error) from error
    for key, tool in document.tools.items():
        if key != tool.key:
            raise StateError(
                f"no valid state: tool {key} says that it is {tool.key}", where=location
            )
    return document


def _is_devstream(data: bytes, location: str) -> bool:
    """Whether this JSON is a DevStream map (JSON is YAML); raises where it is ours but of a newer format."""
    try:
        found = msgspec.json.decode(data, type=_Format)
    except msgspec.DecodeError as error:
        raise _invalid(data, location, error) from error
    if isinstance(found.format, int) and found.format > FORMAT:
        raise StateError(
            f"state format {found.format}, written by dtm {found.dtm}; this dtm knows formats up to {FORMAT}",
            hint="use that version of dtm or a newer one",
            where=location,
        )
    return found.format is msgspec.UNSET


def is_newer(data: bytes) -> bool:
    """Whether these bytes, a document or a head, say that they are of a format which this program does not know."""
    try:
        found = msgspec.json.decode(
            data.partition(b"\n")[0] if data.startswith(b'{"') else data, type=_Format
        )
    except msgspec.DecodeError:
        return False
    return isinstance(found.format, int) and found.format > FORMAT


def _invalid(data: bytes, location: str, error: msgspec.DecodeError) -> StateError:
    """What is wrong and where: line and column of broken JSON, the tool and path of a wrong value."""
    text = str(error)
    if isinstance(error, msgspec.ValidationError):
        return StateError(f"no valid state: {_wrong_value(data, text)}", where=location)
    reason, _, offset = text.partition(" (byte ")
    line, column = line_column(
        data, int(offset.rstrip(")")) if offset else len(data)
    )  # no offset: it ends too early
    return StateError(f"no valid state: {reason}", where=f"{location}:{line}:{column}")


def line_column(data: bytes, offset: int) -> tuple[int, int]:
    """Line and column, from 1, of a byte offset."""
    before = data[:offset]
    return before.count(b"\n") + 1, offset - (before.rfind(b"\n") + 1) + 1


class _Tools(msgspec.Struct):
    tools: dict[str, msgspec.Raw]


def _wrong_value(data: bytes, text: str) -> str:
    """The decoder's text with the tool named, which it leaves out of its paths."""
    if "$.tools[...]" not in text:
        return text
    for key, raw in msgspec.json.decode(data, type=_Tools).tools.items():
        try:
            msgspec.json.decode(raw, type=ToolForm)
        except msgspec.ValidationError:
            return text.replace("$.tools[...]", f"$.tools.{key}")
    return text


def document_of(state: State) -> Document:
    """The stored form of a state."""
    written = state.written
    return Document(
        written.version,
        FORMAT,
        state.id.lineage,
        state.id.serial,
        state.document,
        state.home,
        state.salt,
        {entry.address.key: tool_form(entry) for entry in state.entries.values()},
        plain_map(state.outputs),
        plain_map(state.probe),
        WrittenForm(written.at, written.who, written.command) if written.at else None,
    )


def state_of(document: Document, location: str, *, literal: bool = False) -> State:
    """The state behind its stored form; `literal` as in `wire.entry_of`. Raises StateError naming the location."""
    known = {
        f"{tool.name}.{tool.instance}": Address(tool.name, tool.instance)
        for tool in document.tools.values()
    }
    written = document.written
    try:
        entries = [entry_of(tool, known, literal=literal) for tool in document.tools.values()]
        return State(
            StateId(document.lineage, document.serial),
            {entry.address: entry for entry in entries},
            rich_map(document.outputs),
            document.id,
            document.home,
            document.salt,
            rich_map(document.probe),
            Written(document.dtm, written.at, written.who, written.command)
            if written
            else Written(document.dtm),
        )
    except StateError as error:
        raise StateError(f"no valid state: {error.message}", where=location) from error


@contextmanager
def no_gc() -> Generator[None]:
    """Keep the garbage collector from walking again and again over the many objects of a state that is being built."""
    active = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if active:
            gc.enable()
