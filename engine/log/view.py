"""Reading and extending the commit log on a store: consistent views without a lock, and one swap of the head per commit.

Why this is safe: the head is never deleted and no two heads are equal, so a version of it that was seen once never comes
back. Whoever's swap is refused has lost. A snapshot is bound to its head by its random id, never by its serial.

The document says where its head is: inside it, if there is a log in it, else beside it. A log comes to stand beside a document
only after a swap of the document itself, so that two sessions which want it in different places meet at the same object.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256

import msgspec

from engine.errors import (
    ConditionRefusedError,
    ConflictError,
    OutcomeUnknownError,
    StateError,
    StoreAccessError,
    StoreUnavailableError,
)
from engine.log.records import Head, Replay, decode_chunk, decode_head, decode_records, split
from engine.ports import AppendStore, Snapshot, Store, Version
from engine.runtime.environment import Environment
from engine.stored.document import EMPTY, Document, decode_document, is_newer

TRIES = 5
FIRST_PAUSE, LONGEST_PAUSE, PATIENCE = 0.2, 5.0, 30.0
"""Seconds between two tries to find out what became of a request without an answer, and in all."""
READS = 200
"""Times a reader starts over while others commit; each one means that somebody else got something done."""
INSIDE, BESIDE, AUTO = "inline", "beside", "auto"
"""Where the head is to stand. AUTO: where the document has it; beside a new one, inside if that is denied."""


def head_key(key: str) -> str:
    """Where the head of this state is."""
    return f"{key}.log"


def chunk_prefix(key: str, base: str) -> str:
    """What the keys of all chunks of one base start with."""
    return f"{key}.log.d/{short(base)}-"


def short(document: str) -> str:
    """Eight characters of a snapshot's id for use in keys; zeros where there is no snapshot."""
    return document[:8] or "0" * 8


def write_once(store: Store, key: str, data: bytes, environment: Environment) -> None:
    """Create an immutable object; finding these very bytes there is success. Raises ConflictError otherwise."""
    swap(store, key, data, expect=None, environment=environment)


def swap(
    store: Store,
    key: str,
    data: bytes,
    *,
    expect: Version | None,
    environment: Environment,
) -> Version:
    """Compare-and-swap that survives lost answers: what is there is compared with our bytes, which nobody else writes.

    Raises ConflictError if somebody else's bytes are there, ConditionRefusedError if what is expected is, and yet refused,
    OutcomeUnknownError if no answer came in five tries, and what `Store.write` raises.
    """
    return _sent(
        store,
        key,
        lambda: store.write(key, data, expect=expect),
        lambda there: there == data,
        expect,
        environment,
    )


def grow(
    store: AppendStore, key: str, data: bytes, *, expect: Version, environment: Environment
) -> Version:
    """`swap` for an append: `data` is one line that nobody else writes, so finding it at the end is success."""
    return _sent(
        store,
        key,
        lambda: store.append(key, data, expect=expect),
        lambda there: there.endswith(data),
        expect,
        environment,
    )


def _sent(
    store: Store,
    key: str,
    send: Callable[[], Version],
    ours: Callable[[bytes], bool],
    expect: Version | None,
    environment: Environment,
) -> Version:
    started, tries, doubtful = environment.clock(), 0, False
    while tries < TRIES:
        tries += 1
        try:
            return environment.retry(send)
        except (ConflictError, OutcomeUnknownError) as error:
            doubtful = doubtful or isinstance(error, OutcomeUnknownError)
            found = environment.retry(lambda: store.read(key))
            if found is not None and ours(found.data):
                return found.version
            version = found.version if found else None
            if isinstance(error, ConflictError) and version == expect is not None:
                raise ConditionRefusedError(
                    f"{where(store, key)}: the very version that is there was refused"
                ) from error
            if isinstance(error, ConflictError) or version != expect:
                raise ConflictError(key, expect, version, doubtful=doubtful) from error
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (tries - 1)) * environment.rng.uniform(
                0.5, 1.0
            )
            if environment.clock() - started + pause > PATIENCE:
                break
            environment.sleep(pause)
    raise OutcomeUnknownError(f"{store.location}: no answer to {tries} attempts to write {key}")


class View(msgspec.Struct, frozen=True):
    """A state at one moment: the snapshot's bytes and version, the head's, and the records replayed.

    `records` are those not yet in the snapshot. `replaced`: the snapshot is neither the one that the head continues nor
    the next one, so somebody put it there by other means; the records belong to another snapshot and are not applied.
    `inside`: the head stands in the document, which then is `snapshot` and has the head's version.
    `damaged`: nothing but `snapshot` and `unread`, the bytes of document and head, is known.
    """

    head: Head | None
    head_version: Version | None
    snapshot: Snapshot | None
    document: Document
    replay: Replay
    records: bytes = b""
    replaced: bool = False
    inside: bool = False
    damaged: bool = False
    unread: bytes = b""

    @property
    def compacted(self) -> bool:
        """Whether the records of a sealed head are already inside the snapshot."""
        return self.head is not None and bool(self.head.next) and self.head.next == self.document.id


def read_view(store: Store, key: str, environment: Environment, log: str = AUTO) -> View:
    """A consistent view without any lock. With INSIDE nothing but the document is read, unless its log stands beside it.

    A snapshot with a given id, and a chunk, never change: once the snapshot is found to be the one that the head
    names, it does not matter when each part was read. Else neither may have moved meanwhile, or all starts over.
    Raises StateError if the content is damaged, and what `Store.read` raises.
    """
    for _ in range(READS):
        with damage():
            view = _view(store, key, environment, log)
        if view is not None:
            return view
    raise StoreUnavailableError(f"{store.location}: {key} kept changing while it was read")


@contextmanager
def damage() -> Generator[None]:
    """Give an error about what a state holds its next step."""
    try:
        yield
    except StateError as error:
        error.hint = error.hint or (
            "nothing was overwritten; dtm state history lists earlier states, dtm state rollback SERIAL puts one back, "
            "dtm state push --force FILE another document"
        )
        raise


def damaged_view(
    store: Store,
    key: str,
    error: StateError,
    serial: int,
    environment: Environment,
    log: str = AUTO,
) -> View:
    """A view of a state that cannot be read, for who puts another in its place: what is there goes to the history whole.

    The document stands for the bytes: their digest is its id, `serial` is its serial. Raises `error` itself where a newer
    program wrote them.
    """
    snapshot = environment.retry(lambda: store.read(key))
    head = None if log == INSIDE else _beside(store, key, environment, needed=False)
    if any(part is not None and is_newer(part.data) for part in (head, snapshot)):
        raise error
    name = sha256(snapshot.data if snapshot else b"").hexdigest()[:32]
    document = msgspec.structs.replace(EMPTY, id=name, serial=serial)
    version, unread = (head.version, head.data) if head else (None, b"")
    return View(
        None,
        version,
        snapshot,
        document,
        Replay(document),
        replaced=True,
        damaged=True,
        unread=unread,
    )


def _view(store: Store, key: str, environment: Environment, log: str) -> View | None:
    """One try; None if the parts do not fit because somebody committed meanwhile."""
    location = where(store, key)
    snapshot = environment.retry(lambda: store.read(key))
    document, inside = split(decode_document(snapshot.data if snapshot else b"", location))
    replay = Replay(document)
    if inside is not None and snapshot is not None:
        replay.apply(decode_records(inside.records, location))
        return View(
            inside, snapshot.version, snapshot, document, replay, inside.records, inside=True
        )
    found = (
        None
        if log == INSIDE and not document.dtm
        else _beside(store, key, environment, needed=bool(document.dtm))
    )
    if found is None:
        return View(None, None, snapshot, document, replay)
    head = decode_head(found.data, f"{location}.log")
    if head.next and head.next == document.id:
        return View(head, found.version, snapshot, document, replay)
    records = _records(store, head, environment)
    if head.base == document.id and records is not None:
        replay.apply(decode_records(records, f"{location}.log"))
        return View(head, found.version, snapshot, document, replay, records)
    if _moved(store, key, snapshot, environment) or _moved(
        store, head_key(key), found, environment
    ):
        return None
    if head.base == document.id:
        raise StateError("the commit log names a part that is missing", where=f"{location}.log")
    return View(
        head, found.version, snapshot, document, replay, records or head.records, replaced=True
    )


def _moved(store: Store, key: str, seen: Snapshot | None, environment: Environment) -> bool:
    now = environment.retry(lambda: store.read(key))
    return (now.version if now else None) != (seen.version if seen else None)


def _beside(store: Store, key: str, environment: Environment, *, needed: bool) -> Snapshot | None:
    """The head beside a document. Who may not read it need not, unless the document is one that a log can stand beside."""
    try:
        return environment.retry(lambda: store.read(head_key(key)))
    except StoreAccessError as error:
        if not needed:
            return None
        error.hint = (
            f"the commit log of this state is {head_key(key)}, which must be read too; "
            "a run with `state.log: inline` by somebody who may moves it into the document"
        )
        raise


def _records(store: Store, head: Head, environment: Environment) -> bytes | None:
    """All records of a head, those in chunks first; None if a chunk is gone."""
    parts: list[bytes] = []
    for name in head.chunks:
        chunk = environment.retry(partial(store.read, name))
        if chunk is None:
            return None
        parts.append(decode_chunk(chunk.data, f"{store.location}/{name}"))
    return b",".join(part for part in (*parts, head.records) if part)


def where(store: Store, key: str) -> str:
    """A state's URL without credentials: its `home`."""
    return f"{store.location.rstrip('/')}/{key}"
