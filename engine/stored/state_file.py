"""The state file: JSON with sorted keys and indentation, so that equal states have equal bytes.

State files of DevStream (YAML) can be read as well.

    state = decode(data, "s3://bucket/devstream.state")
    data = encode(state)
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
"""The format that this version writes. It reads no newer one."""


class WriterForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The writer of a snapshot."""

    at: str
    who: str
    command: str


class LogForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An inline log: the log head as a part of the state file, see `engine.log.head.Head`."""

    session: str
    seq: int
    at: str
    records: msgspec.Raw

    def record_bytes(self) -> bytes:
        """Return the records, separated by commas, independent of the layout of the state file."""
        return bytes(self.records).strip()[1:-1].strip()


class StateFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The parsed state file.

    `dtm` is the version that wrote it, "" in files of DevStream. `id` is the random ID of the
    snapshot. The keys of `tools` are `name_instanceID`. `log` is the log head of an inline log.
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
"""The state file of a state that was never written."""


class _Format(msgspec.Struct):
    format: Any = msgspec.UNSET
    dtm: Any = "unknown"


def encode(state: State) -> bytes:
    """Return the state file of a state: UTF-8 JSON with sorted keys, 2 spaces, a final newline.

    Raises StateError for a value that cannot be stored, see `forms.encode_value`.
    """
    with paused_gc():
        return encode_state_file(build_state_file(state))


def decode(data: bytes, location: str) -> State:
    """Return the state in a state file; blank bytes are the empty state.

    `location` is for messages. Raises StateError with the location if the content is invalid, if
    its format is newer than this version reads, or if it contains records of an inline log, which
    are not a part of the snapshot yet.
    """
    try:
        with paused_gc():
            state_file = decode_state_file(data, location)
            if state_file.log is not None and state_file.log.record_bytes():
                raise StateError(
                    "this state file was copied during a run: it contains changes in progress",
                    hint="run dtm state pull: it prints a complete state at any time",
                    where=location,
                )
            # If no key begins with $, no key is escaped, and values need no conversion.
            return build_state(state_file, location, has_no_dollar_keys=b'"$' not in data)
    except RecursionError as error:
        raise StateError(
            "not a valid state file: it is nested too deeply", where=location
        ) from error


def to_devstream(state: State) -> bytes:
    """Return the state in the layout of DevStream, see `devstream.to_devstream`."""
    from engine.stored import devstream

    return devstream.to_devstream(state)


def encode_state_file(state_file: StateFile) -> bytes:
    """Return the bytes of a parsed state file, as `encode` does."""
    try:
        data = msgspec.json.encode(state_file, order="sorted")
    except UnicodeEncodeError as error:
        raise StateError(
            f"a text that is not valid Unicode cannot be stored in a state: {error}"
        ) from error
    return msgspec.json.format(data, indent=2) + b"\n"


def decode_state_file(data: bytes, location: str) -> StateFile:
    """Parse a state file of dtm or of DevStream; its content shows which of the two it is."""
    if not data.strip():
        return EMPTY_STATE_FILE
    if not data.lstrip().startswith(b"{") or _is_devstream(data, location):
        # Imported here: most states were written by dtm and need no YAML parser.
        from engine.stored import devstream

        # A file of DevStream has no ID. A hash of its content changes when DevStream writes it.
        return msgspec.structs.replace(
            EMPTY_STATE_FILE,
            id=sha256(data).hexdigest()[:32],
            tools=devstream.read_tools(data, location),
        )
    try:
        state_file = msgspec.json.decode(data, type=StateFile)
    except msgspec.DecodeError as error:
        raise _invalid(data, location, error) from error
    for key, tool in state_file.tools.items():
        if key != tool.key:
            raise StateError(
                f"not a valid state file: the entry {key} is named {tool.key}", where=location
            )
    return state_file


def _is_devstream(data: bytes, location: str) -> bool:
    """Return whether JSON is a state file of DevStream, which may be JSON since that is YAML, too.

    Raises StateError if it is a state file of dtm in a newer format.
    """
    try:
        # Decode two fields only: a newer format may have fields that `StateFile` refuses without
        # naming the version.
        found = msgspec.json.decode(data, type=_Format)
    except msgspec.DecodeError as error:
        raise _invalid(data, location, error) from error
    if isinstance(found.format, int) and found.format > FORMAT:
        raise StateError(
            f"state format {found.format} was written by dtm {found.dtm}; "
            f"this version of dtm reads formats up to {FORMAT}",
            hint="use that version of dtm or a newer one",
            where=location,
        )
    return found.format is msgspec.UNSET


def has_newer_format(data: bytes) -> bool:
    """Return whether a state file or log head has a newer format than this version reads."""
    try:
        # A log head is one line, followed by records. A state file is JSON over many lines.
        found = msgspec.json.decode(
            data.partition(b"\n")[0] if data.startswith(b'{"') else data, type=_Format
        )
    except msgspec.DecodeError:
        return False
    return isinstance(found.format, int) and found.format > FORMAT


def _invalid(data: bytes, location: str, error: msgspec.DecodeError) -> StateError:
    """Return an error with the place: line and column in broken JSON, else tool and path."""
    text = str(error)
    if isinstance(error, msgspec.ValidationError):
        return StateError(f"not a valid state file: {_wrong_value(data, text)}", where=location)
    reason, _, offset = text.partition(" (byte ")
    # An error without an offset means that the file ends too early.
    line, column = line_column(data, int(offset.rstrip(")")) if offset else len(data))
    return StateError(f"not a valid state file: {reason}", where=f"{location}:{line}:{column}")


def line_column(data: bytes, offset: int) -> tuple[int, int]:
    """Return line and column, counted from 1, of a byte offset."""
    before = data[:offset]
    return before.count(b"\n") + 1, offset - (before.rfind(b"\n") + 1) + 1


class _Tools(msgspec.Struct):
    tools: dict[str, msgspec.Raw]


def _wrong_value(data: bytes, text: str) -> str:
    """Return the decoder's message with the key of the tool, which msgspec writes as `[...]`."""
    if "$.tools[...]" not in text:
        return text
    for key, raw in msgspec.json.decode(data, type=_Tools).tools.items():
        try:
            msgspec.json.decode(raw, type=ToolForm)
        except msgspec.ValidationError:
            return text.replace("$.tools[...]", f"$.tools.{key}")
    return text


def build_state_file(state: State) -> StateFile:
    """Return the parsed state file of a state."""
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


def build_state(state_file: StateFile, location: str, *, has_no_dollar_keys: bool = False) -> State:
    """Return the state in a parsed state file; `has_no_dollar_keys` as in `forms.entry_from_form`.

    Raises StateError with the location.
    """
    known = {
        f"{tool.name}.{tool.instance}": Address(tool.name, tool.instance)
        for tool in state_file.tools.values()
    }
    written = state_file.written
    try:
        entries = [
            entry_from_form(tool, known, has_no_dollar_keys=has_no_dollar_keys)
            for tool in state_file.tools.values()
        ]
        return State(
            StateId(state_file.lineage, state_file.serial),
            {entry.address: entry for entry in entries},
            decode_map(state_file.outputs),
            state_file.id,
            state_file.home,
            state_file.salt,
            decode_map(state_file.probe),
            WriterInfo(state_file.dtm, written.at, written.who, written.command)
            if written
            else WriterInfo(state_file.dtm),
        )
    except StateError as error:
        raise StateError(f"not a valid state file: {error.message}", where=location) from error


@contextmanager
def paused_gc() -> Generator[None]:
    """Pause the garbage collector while a state is built.

    Otherwise it visits the growing number of objects again and again.
    """
    active = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if active:
            gc.enable()
