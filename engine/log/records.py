"""The records that a session writes into the commit log: one Struct for each kind.

`key` is a tool's key in the state file (`name_instanceID`), `seq` counts the records of a session,
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

    A snapshot without `lineage`, `salt` and `home` gets these. `lock` is the id of the session's
    lock, "" without one. `lease` is after how many seconds of silence others may take the session
    for dead, 0 where it did not say.
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

    `tool` is its entry meanwhile, None for the one that is recorded already.
    """

    seq: int
    key: str
    action: str
    since: str
    deadline: str | None = None
    tool: ToolForm | None = None
    digest: str = ""
    token: str = ""


class Done(msgspec.Struct, frozen=True, omit_defaults=True, tag="done"):
    """An operation ended well.

    It holds the new entry, or the new resource alone, or neither where the resource is gone.
    """

    seq: int
    key: str
    answers: int
    tool: ToolForm | None = None
    resource: dict[str, Any] | None = None


class Failed(msgspec.Struct, frozen=True, omit_defaults=True, tag="failed"):
    """An operation failed and stays unfinished; `tool` is its entry, None for the recorded one."""

    seq: int
    key: str
    answers: int
    message: str
    tool: ToolForm | None = None


class Cancelled(msgspec.Struct, frozen=True, omit_defaults=True, tag="cancelled"):
    """A begun operation was never called; `tool` is the entry from before it, None for none."""

    seq: int
    key: str
    answers: int
    tool: ToolForm | None = None


class Moved(msgspec.Struct, frozen=True, tag="moved"):
    """The entry under `old` now is `tool`.

    Where `old` is the key of `tool` itself, only its edges changed.
    """

    seq: int
    old: str
    tool: ToolForm


class OutputsSet(msgspec.Struct, frozen=True, tag="outputs"):
    """The root outputs, all of them."""

    seq: int
    outputs: dict[str, Any]


class End(msgspec.Struct, frozen=True, tag="end"):
    """The session ended in good order; an operation that is pending then stays pending."""

    at: str


Record: TypeAlias = Claim | Begin | Done | Failed | Cancelled | Moved | OutputsSet | End

ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(list[Record])


def encode_records(records: Iterable[Record]) -> bytes:
    """Encode records as JSON, separated by commas, without brackets around them."""
    return b",".join(map(ENCODER.encode, records))


def decode_records(records: bytes, location: str) -> list[Record]:
    """Decode what `encode_records` made. Raises StateError."""
    try:
        return _DECODER.decode(b"[" + records + b"]")
    except msgspec.DecodeError as error:
        raise StateError(f"no valid commit log: {error}", where=location) from error
