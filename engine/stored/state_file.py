"""State <-> bytes: a JSON document, sorted and indented, so that equal bytes mean an equal state.

DevStream's YAML is read too. A document that cannot be understood whole is an error with its place.
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
from engine.state import State, StateId, WriterInfo
from engine.stored.forms import ToolForm, decode_map, encode_map, entry_from_form, tool_form

FORMAT = 1


class WriterForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The writer of a snapshot."""

    at: str
    who: str
    command: str


class LogForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The commit log where it stands inside the document, see `engine.log.head.Head`."""

    session: str
    seq: int
    at: str
    records: msgspec.Raw

    def record_bytes(self) -> bytes:
        """Give the records, comma separated: the same bytes however the document is laid out."""
        return bytes(self.records).strip()[1:-1].strip()


class StateFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The document as stored; `tools` keys are `name_instanceID`.

    `dtm` is the version that wrote it, "" in DevStream's files. `log` is only there while the
    commit log stands inside.
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
    written: WriterForm | None = None
    log: LogForm | None = None


EMPTY_STATE_FILE = StateFile("", FORMAT, "", 0, "", "", "", {}, {})
"""The document of a state that was never written."""


class _Format(msgspec.Struct):
    format: Any = msgspec.UNSET
    dtm: Any = "unknown"


def encode(state: State) -> bytes:
    """Write the state's document: UTF-8 JSON with sorted keys, 2 spaces, a final newline.

    Raises StateError for what cannot be stored, see `forms.encode_value`.
    """
    with paused_gc():
        return encode_state_file(build_state_file(state))


def decode(data: bytes, location: str) -> State:
    """Read a state from its bytes; blank bytes are the empty state.

    `location` is for messages. Raises StateError naming location and place where the content is
    invalid, of a format newer than this program knows, or holds records of a commit log that are
    not part of the snapshot yet.
    """
    try:
        with paused_gc():
            document = decode_state_file(data, location)
            if document.log is not None and document.log.record_bytes():
                raise StateError(
                    "this document was taken while a run was at work: it holds a commit log",
                    hint="dtm state pull gives the whole state at any time",
                    where=location,
                )
            # If no key begins with $, nothing was escaped: values are taken without a walk.
            return build_state(document, location, unescaped=b'"$' not in data)
    except RecursionError as error:
        raise StateError("no valid state: it is nested too deep", where=location) from error


def to_devstream(state: State) -> bytes:
    """Write the state in DevStream's own layout, see `devstream.to_devstream`."""
    from engine.stored import devstream

    return devstream.to_devstream(state)


def encode_state_file(document: StateFile) -> bytes:
    """Write the stored form, as `encode` does."""
    try:
        data = msgspec.json.encode(document, order="sorted")
    except UnicodeEncodeError as error:
        raise StateError(
            f"a text that is no valid Unicode cannot be stored in a state: {error}"
        ) from error
    return msgspec.json.format(data, indent=2) + b"\n"


def decode_state_file(data: bytes, location: str) -> StateFile:
    """Read the stored form. A DevStream document is identified by its content."""
    if not data.strip():
        return EMPTY_STATE_FILE
    if not data.lstrip().startswith(b"{") or _is_devstream(data, location):
        # YAML is only needed for files that another program wrote.
        from engine.stored import devstream

        # DevStream's files have no id; that of the content changes when DevStream writes.
        return msgspec.structs.replace(
            EMPTY_STATE_FILE,
            id=sha256(data).hexdigest()[:32],
            tools=devstream.read_tools(data, location),
        )
    try:
        document = msgspec.json.decode(data, type=StateFile)
    except msgspec.DecodeError as error:
        raise _invalid(data, location, error) from error
    for key, tool in document.tools.items():
        if key != tool.key:
            raise StateError(
                f"no valid state: tool {key} says that it is {tool.key}", where=location
            )
    return document


def _is_devstream(data: bytes, location: str) -> bool:
    """Check whether this JSON is a DevStream map (JSON is YAML).

    Raises StateError where it is dtm's but of a newer format.
    """
    try:
        # Two fields only: a newer format may have others, which `Document` refuses unexplained.
        found = msgspec.json.decode(data, type=_Format)
    except msgspec.DecodeError as error:
        raise _invalid(data, location, error) from error
    if isinstance(found.format, int) and found.format > FORMAT:
        raise StateError(
            f"state format {found.format}, written by dtm {found.dtm}; "
            f"this dtm knows formats up to {FORMAT}",
            hint="use that version of dtm or a newer one",
            where=location,
        )
    return found.format is msgspec.UNSET


def has_newer_format(data: bytes) -> bool:
    """Check whether a document or log head has a format newer than this program knows."""
    try:
        # A log head is its first line; a document is indented over many lines.
        found = msgspec.json.decode(
            data.partition(b"\n")[0] if data.startswith(b'{"') else data, type=_Format
        )
    except msgspec.DecodeError:
        return False
    return isinstance(found.format, int) and found.format > FORMAT


def _invalid(data: bytes, location: str, error: msgspec.DecodeError) -> StateError:
    """Add the place: line and column of broken JSON, tool and path of a wrong value."""
    text = str(error)
    if isinstance(error, msgspec.ValidationError):
        return StateError(f"no valid state: {_wrong_value(data, text)}", where=location)
    reason, _, offset = text.partition(" (byte ")
    # Without an offset it ends too early.
    line, column = line_column(data, int(offset.rstrip(")")) if offset else len(data))
    return StateError(f"no valid state: {reason}", where=f"{location}:{line}:{column}")


def line_column(data: bytes, offset: int) -> tuple[int, int]:
    """Count line and column, from 1, of a byte offset."""
    before = data[:offset]
    return before.count(b"\n") + 1, offset - (before.rfind(b"\n") + 1) + 1


class _Tools(msgspec.Struct):
    tools: dict[str, msgspec.Raw]


def _wrong_value(data: bytes, text: str) -> str:
    """Name the tool in the decoder's text, which leaves it out of its paths."""
    if "$.tools[...]" not in text:
        return text
    for key, raw in msgspec.json.decode(data, type=_Tools).tools.items():
        try:
            msgspec.json.decode(raw, type=ToolForm)
        except msgspec.ValidationError:
            return text.replace("$.tools[...]", f"$.tools.{key}")
    return text


def build_state_file(state: State) -> StateFile:
    """Put a state into its stored form."""
    written = state.writer
    return StateFile(
        written.version,
        FORMAT,
        state.id.lineage,
        state.id.serial,
        state.snapshot_id,
        state.home,
        state.salt,
        {entry.address.key: tool_form(entry) for entry in state.entries.values()},
        encode_map(state.outputs),
        encode_map(state.probe),
        WriterForm(written.at, written.who, written.command) if written.at else None,
    )


def build_state(document: StateFile, location: str, *, unescaped: bool = False) -> State:
    """Take a state out of its stored form; `literal` as in `forms.entry_from_form`.

    Raises StateError naming the location.
    """
    known = {
        f"{tool.name}.{tool.instance}": Address(tool.name, tool.instance)
        for tool in document.tools.values()
    }
    written = document.written
    try:
        entries = [
            entry_from_form(tool, known, unescaped=unescaped) for tool in document.tools.values()
        ]
        return State(
            StateId(document.lineage, document.serial),
            {entry.address: entry for entry in entries},
            decode_map(document.outputs),
            document.id,
            document.home,
            document.salt,
            decode_map(document.probe),
            WriterInfo(document.dtm, written.at, written.who, written.command)
            if written
            else WriterInfo(document.dtm),
        )
    except StateError as error:
        raise StateError(f"no valid state: {error.message}", where=location) from error


@contextmanager
def paused_gc() -> Generator[None]:
    """Switch the garbage collector off while a state is built.

    It would walk over the growing number of objects again and again.
    """
    active = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if active:
            gc.enable()
