"""Consistent reads of a state, without a lock.

They are safe because a separate head is never deleted and no two heads are equal: a version seen
once never comes back. Snapshot and head are tied by the random ID of the snapshot, not by its
serial.

A state file that contains a log has an inline log; every other one has a separate log or none. A
log becomes separate only after a swap of the state file. So two sessions that want different
placements meet at the same object, and one of them is refused.
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
from engine.ports import StoredObject, Version
from engine.stored.state_file import (
    EMPTY_STATE_FILE,
    StateFile,
    decode_state_file,
    has_newer_format,
)

MAX_READS = 200
"""Reads before a reader gives up. It starts over only if another client has just committed."""


class View(msgspec.Struct, frozen=True):
    """A state at one moment: snapshot, head, and the snapshot with the records applied.

    `records` are those that are not in the snapshot yet. `inline` is true if the head is in the
    state file; `head_version` is then the version of the state file. `replaced` is true if the
    snapshot is neither the one that the head continues nor the next one: something other than dtm
    wrote it, and the records, which belong to another snapshot, are not applied. `damage` is why
    the state cannot be read; then only `snapshot` and `raw_head` (the bytes of the head) are known.
    """

    head: Head | None
    head_version: Version | None
    snapshot: StoredObject | None
    state_file: StateFile
    replay: Replay
    records: bytes = b""
    replaced: bool = False
    inline: bool = False
    damage: StateError | None = None
    raw_head: bytes = b""

    @property
    def compacted(self) -> bool:
        """True if the head is sealed and its records are already in the snapshot."""
        return (
            self.head is not None and bool(self.head.next) and self.head.next == self.state_file.id
        )


def read_view(state_store: StateStore) -> View:
    """Read a consistent view without a lock.

    With INLINE only the state file is read, unless dtm wrote it without a log in it. Raises
    StateError if the content is damaged, and as `Store.read`.
    """
    for _ in range(MAX_READS):
        with explain_damage():
            view = _read_once(state_store)
        if view is not None:
            return view
    raise StoreUnavailableError(
        f"{state_store.store.location}: {state_store.key} kept changing while it was read"
    )


@contextmanager
def explain_damage() -> Generator[None]:
    """Add a hint to a StateError about the content of a state: how to repair it."""
    try:
        yield
    except StateError as error:
        error.hint = error.hint or (
            "nothing was overwritten; list the earlier states with dtm state history, restore one "
            "with dtm state rollback SERIAL, or replace the state with dtm state push --force FILE"
        )
        raise


def read_damaged_view(state_store: StateStore, error: StateError, serial: int) -> View:
    """Read the bytes of a damaged state, so that a session can replace it.

    The view has an empty state file with a digest of the bytes as its ID, and with this `serial`.
    Raises `error` itself if a newer version of dtm wrote the state: it is not damaged.
    """
    snapshot = state_store.read()
    head = None if state_store.log == INLINE else _read_separate_head(state_store, needed=False)
    if any(part is not None and has_newer_format(part.data) for part in (head, snapshot)):
        raise error
    # A digest, so that replacing the same bytes twice keeps one copy of them in the history.
    name = sha256(snapshot.data if snapshot else b"").hexdigest()[:32]
    state_file = replace(EMPTY_STATE_FILE, id=name, serial=serial)
    return View(
        None,
        head.version if head else None,
        snapshot,
        state_file,
        Replay(state_file),
        replaced=True,
        damage=error,
        raw_head=head.data if head else b"",
    )


def superseded_error(state_store: StateStore, session: str, snapshot: str) -> SupersededError:
    """Return the error of a superseded session; it names the other session if that is known.

    `snapshot` is the ID of the snapshot that the session continued.
    """
    by = "another session"
    # This read is only for the message: its errors must not hide that the session was superseded.
    with suppress(StoreError, StateError, OutcomeUnknownError):
        view = read_view(state_store)
        claim, written = view.replay.claim, view.state_file.written
        if claim and claim.session != session:
            by = f"{claim.who} (dtm {claim.command}, since {claim.at})"
        elif written and view.state_file.id != snapshot:
            by = f"{written.who} (dtm {written.command}, at {written.at})"
    location = state_store.location
    return SupersededError(
        f"{location} was taken over by {by}, so this run writes nothing more", where=location
    )


def _read_once(state_store: StateStore) -> View | None:
    """Read once; return None if the parts do not fit because another client has just committed.

    A chunk never changes, nor does the snapshot with a given ID. So if the snapshot is the one
    that the head names, it does not matter when each part was read.
    """
    # The state file first: it says where the head is.
    snapshot = state_store.read()
    state_file, inline = split_head(
        decode_state_file(snapshot.data if snapshot else b"", state_store.location)
    )
    replay = Replay(state_file)
    if inline is not None and snapshot is not None:
        replay.apply(decode_records(inline.records, state_store.location))
        return View(
            inline, snapshot.version, snapshot, state_file, replay, inline.records, inline=True
        )
    # Only a state file that dtm wrote can have a separate log. For any other one, denied access to
    # `K.log` is ignored, since there is no log to read.
    written_by_dtm = bool(state_file.dtm)
    if state_store.log == INLINE and not written_by_dtm:
        return View(None, None, snapshot, state_file, replay)
    found = _read_separate_head(state_store, needed=written_by_dtm)
    if found is None:
        return View(None, None, snapshot, state_file, replay)
    return _with_head(state_store, found, View(None, found.version, snapshot, state_file, replay))


def _with_head(state_store: StateStore, found: StoredObject, view: View) -> View | None:
    """Add a separate head to the view of a state file; return None as `_read_once`."""
    where = f"{state_store.location}.log"
    head = decode_head(found.data, where)
    view = replace(view, head=head)
    if view.compacted:
        return view
    records = _read_records(state_store, head)
    # The head names this very snapshot, so they fit whatever happened between the reads.
    if head.base == view.state_file.id and records is not None:
        view.replay.apply(decode_records(records, where))
        return replace(view, records=records)
    # The parts do not fit. If one of them has changed meanwhile, a session is at work and the next
    # read will fit. Otherwise the state is damaged, or something other than dtm replaced it.
    if _has_changed(state_store, state_store.key, view.snapshot) or _has_changed(
        state_store, state_store.head_key, found
    ):
        return None
    if head.base == view.state_file.id:
        raise StateError("a part of the commit log is missing", where=where)
    return replace(view, records=records or head.records, replaced=True)


def _has_changed(state_store: StateStore, key: str, seen: StoredObject | None) -> bool:
    now = state_store.read(key)
    return (now.version if now else None) != (seen.version if seen else None)


def _read_separate_head(state_store: StateStore, *, needed: bool) -> StoredObject | None:
    """Read a separate head; return None if access is denied, unless it is `needed`."""
    try:
        return state_store.read(state_store.head_key)
    except StoreAccessError as error:
        if not needed:
            return None
        error.hint = (
            f"allow reading {state_store.head_key}, the commit log of this state; or have a user "
            "with access run dtm state move-log inline, which moves the log into the state file"
        )
        raise


def _read_records(state_store: StateStore, head: Head) -> bytes | None:
    """Return all records of a head, those in chunks first; None if a chunk is missing."""
    parts: list[bytes] = []
    for name in head.chunks:
        chunk = state_store.read(name)
        if chunk is None:
            return None
        parts.append(decode_chunk(chunk.data, f"{state_store.store.location}/{name}"))
    return b",".join(part for part in (*parts, head.records) if part)
