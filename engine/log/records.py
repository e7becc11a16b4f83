"""The records of the commit log: one Struct for each kind.

`key` is a tool's key in the state file (`name_instanceID`). `seq` numbers the records of a session.
`answers` is the `seq` of the begin record that an outcome belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec

from engine.errors import StateError
from engine.stored.forms import ToolForm


class Claim(msgspec.Struct, frozen=True, omit_defaults=True, tag="session"):
    """The first record of a session.

    A state that has no lineage and salt yet takes those of the claim; every state takes its `home`.
    `lock` is the ID of the session's lock, "" if it has none. `lease` is the number of
    seconds without a commit after which others may take the session for dead, 0 if unknown.
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
    """An operation is about to be called.

    `tool` is the entry during the operation, None if the recorded entry stays. `since` is the time
    of this record. `token` stays the same in every attempt of the operation, so that a provider can
    recognize what an earlier attempt created.
    """

    seq: int
    key: str
    action: str
    since: str
    deadline: str | None = None
    tool: ToolForm | None = None
    token: str = ""


class Done(msgspec.Struct, frozen=True, omit_defaults=True, tag="done"):
    """An operation succeeded.

    It has the new entry (`tool`), or only the new resource, or neither if the resource is gone.
    """

    seq: int
    key: str
    answers: int
    tool: ToolForm | None = None
    resource: dict[str, Any] | None = None


class Failed(msgspec.Struct, frozen=True, omit_defaults=True, tag="failed"):
    """An operation failed and stays unfinished.

    `tool` is the new entry, None if the recorded entry stays.
    """

    seq: int
    key: str
    answers: int
    message: str
    tool: ToolForm | None = None


class Cancelled(msgspec.Struct, frozen=True, omit_defaults=True, tag="cancelled"):
    """An operation was recorded as begun, but never called.

    `tool` is the entry from before the operation, None if there was none.
    """

    seq: int
    key: str
    answers: int
    tool: ToolForm | None = None


class Moved(msgspec.Struct, frozen=True, tag="moved"):
    """The entry with the key `old` is replaced by `tool`, which may have another key.

    If both keys are equal, only the dependencies of the entry changed.
    """

    seq: int
    old: str
    tool: ToolForm


class OutputsSet(msgspec.Struct, frozen=True, tag="outputs"):
    """All root outputs, after a change of at least one."""

    seq: int
    outputs: dict[str, Any]


class End(msgspec.Struct, frozen=True, tag="end"):
    """The session ended normally; operations that are still pending stay pending."""

    at: str


Record: TypeAlias = Claim | Begin | Done | Failed | Cancelled | Moved | OutputsSet | End

ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(list[Record])


def encode_records(records: Iterable[Record]) -> bytes:
    """Encode records as JSON, separated by commas, without brackets around them."""
    # Without brackets the encoded records of several commits are joined, never decoded and encoded
    # again: a commit then costs the same however many records there are.
    return b",".join(map(ENCODER.encode, records))


def decode_records(records: bytes, location: str) -> list[Record]:
    """Decode the result of `encode_records`. Raises StateError."""
    try:
        return _DECODER.decode(b"[" + records + b"]")
    except msgspec.DecodeError as error:
        raise StateError(f"the commit log is damaged: {error}", where=location) from error
