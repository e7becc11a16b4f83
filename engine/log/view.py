"""Consistent views of a state without a lock.

This is safe because the head is never deleted and no two heads are equal: a version of it that was
seen once never comes back. A snapshot is bound to its head by its random id, never by its serial.

The state file says where its head is: inside it, if there is a log in it, else beside it. A log
comes to stand beside a state file only after a swap of the file itself, so that two sessions which
want it in different places meet at the same object.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from hashlib import sha256

import msgspec
from msgspec.structs import replace

from engine.errors import (
    OutcomeUnknownError,
    StateError,
    StoreAccessError,
    StoreError,
    StoreUnavailableError,
    SupersededError,
)
from engine.log.head import Head, decode_chunk, decode_head, split_head
from engine.log.records import decode_records
from engine.log.replay import Replay
from engine.log.state_store import INLINE, StateStore
from engine.ports import Snapshot, Version
from engine.stored.state_file import (
    EMPTY_STATE_FILE,
    StateFile,
    decode_state_file,
    has_newer_format,
)

READS = 200
"""How often a reader starts over; each time another client got a commit done."""


class View(msgspec.Struct, frozen=True):
    """A state at one moment: its snapshot, its head, and the records replayed.

    `records` are those not yet in the snapshot. `inline`: the head stands in the state file, which
    then is `snapshot` and has the head's version. `replaced`: the snapshot is neither the one that
    the head continues nor the next one, so other means put it there; the records belong to another
    snapshot and are not applied. `damage` is why the state cannot be read: then nothing is known
    but `snapshot` and `raw_head`, the bytes of state file and head.
    """

    head: Head | None
    head_version: Version | None
    snapshot: Snapshot | None
    document: StateFile
    replay: Replay
    records: bytes = b""
    replaced: bool = False
    inline: bool = False
    damage: StateError | None = None
    raw_head: bytes = b""

    @property
    def compacted(self) -> bool:
        """Tell whether the records of a sealed head are already in the snapshot."""
        return self.head is not None and bool(self.head.next) and self.head.next == self.document.id


def read_view(place: StateStore) -> View:
    """Read a consistent view without a lock.

    With INLINE nothing but the state file is read, unless its log stands beside it. Raises
    StateError if the content is damaged, and what `Store.read` raises.
    """
    for _ in range(READS):
        with explain_damage():
            view = _read_once(place)
        if view is not None:
            return view
    raise StoreUnavailableError(
        f"{place.store.location}: {place.key} kept changing while it was read"
    )


@contextmanager
def explain_damage() -> Generator[None]:
    """Give an error about the content of a state its next step."""
    try:
        yield
    except StateError as error:
        error.hint = error.hint or (
            "nothing was overwritten; dtm state history lists earlier states, "
            "dtm state rollback SERIAL puts one back, dtm state push --force FILE another document"
        )
        raise


def read_damaged_view(place: StateStore, error: StateError, serial: int) -> View:
    """Read a state that cannot be understood, so that another can be put in its place.

    The view's document stands for the bytes: its id is their digest, its serial is `serial`. Raises
    `error` itself where a newer program wrote them.
    """
    snapshot = place.read()
    head = None if place.log == INLINE else _read_separate_head(place, needed=False)
    if any(part is not None and has_newer_format(part.data) for part in (head, snapshot)):
        raise error
    name = sha256(snapshot.data if snapshot else b"").hexdigest()[:32]
    document = replace(EMPTY_STATE_FILE, id=name, serial=serial)
    return View(
        None,
        head.version if head else None,
        snapshot,
        document,
        Replay(document),
        replaced=True,
        damage=error,
        raw_head=head.data if head else b"",
    )


def superseded_error(place: StateStore, session: str, snapshot: str) -> SupersededError:
    """Return the error of a session that lost its state, naming who took over where the log tells.

    `snapshot` is the id of the snapshot that the session worked on.
    """
    by = "somebody else"
    with suppress(StoreError, StateError, OutcomeUnknownError):
        view = read_view(place)
        claim, written = view.replay.claim, view.document.written
        if claim and claim.session != session:
            by = f"{claim.who} (dtm {claim.command}, since {claim.at})"
        elif written and view.document.id != snapshot:
            by = f"{written.who} (dtm {written.command}, at {written.at})"
    location = place.location
    return SupersededError(
        f"{location} was taken over by {by}: nothing more is written by this run", where=location
    )


def _read_once(place: StateStore) -> View | None:
    """Read once; None if the parts do not fit because another client committed meanwhile.

    A snapshot with a given id, and a chunk, never change: where the snapshot is the one that the
    head names, it does not matter when each part was read. Else neither may have moved meanwhile.
    """
    snapshot = place.read()
    document, inline = split_head(
        decode_state_file(snapshot.data if snapshot else b"", place.location)
    )
    replay = Replay(document)
    if inline is not None and snapshot is not None:
        replay.apply(decode_records(inline.records, place.location))
        return View(
            inline, snapshot.version, snapshot, document, replay, inline.records, inline=True
        )
    ours = bool(document.dtm)  # only a state file of ours can have a log beside it
    found = None if place.log == INLINE and not ours else _read_separate_head(place, needed=ours)
    if found is None:
        return View(None, None, snapshot, document, replay)
    return _with_head(place, found, View(None, found.version, snapshot, document, replay))


def _with_head(place: StateStore, found: Snapshot, view: View) -> View | None:
    """Add the head that stands beside a state file to the view of it; None as `_read_once`."""
    where = f"{place.location}.log"
    head = decode_head(found.data, where)
    view = replace(view, head=head)
    if view.compacted:
        return view
    records = _read_records(place, head)
    if head.base == view.document.id and records is not None:
        view.replay.apply(decode_records(records, where))
        return replace(view, records=records)
    if _has_changed(place, place.key, view.snapshot) or _has_changed(place, place.head_key, found):
        return None
    if head.base == view.document.id:
        raise StateError("the commit log names a part that is missing", where=where)
    return replace(view, records=records or head.records, replaced=True)


def _has_changed(place: StateStore, key: str, seen: Snapshot | None) -> bool:
    now = place.read(key)
    return (now.version if now else None) != (seen.version if seen else None)


def _read_separate_head(place: StateStore, *, needed: bool) -> Snapshot | None:
    """Read the head beside a state file; ignore missing permission unless it is `needed`."""
    try:
        return place.read(place.head_key)
    except StoreAccessError as error:
        if not needed:
            return None
        error.hint = (
            f"the commit log of this state is {place.head_key}, which must be read too; "
            "dtm state move-log inline, run by somebody who may, moves it into the state file"
        )
        raise


def _read_records(place: StateStore, head: Head) -> bytes | None:
    """Return all records of a head, those in chunks first; None if a chunk is gone."""
    parts: list[bytes] = []
    for name in head.chunks:
        chunk = place.read(name)
        if chunk is None:
            return None
        parts.append(decode_chunk(chunk.data, f"{place.store.location}/{name}"))
    return b",".join(part for part in (*parts, head.records) if part)
