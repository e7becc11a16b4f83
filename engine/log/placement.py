"""Where the log head stands: beside the state file, or inside it.

Both placements answer the same calls. Each call is one compare-and-swap of the object that holds
the head, and raises ConflictError if another session's came first, as well as store errors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property, partial
from threading import Thread
from typing import ClassVar

from msgspec.structs import replace

from engine.errors import ConflictError, OutcomeUnknownError, StateError, StoreError
from engine.log.head import Head, encode_chunk, encode_head, encode_inline, encode_line
from engine.log.records import Record, encode_records
from engine.log.state_store import AUTO, INLINE, SEPARATE, StateStore
from engine.log.view import View, read_view
from engine.ports import Snapshot, Version
from engine.stored.state_file import StateFile, decode_state_file, encode_state_file


class ChunkWriter:
    """Copies what a head holds into a chunk, in a thread of its own while commits go on.

    The head keeps its records until `replace_records` finds the chunk, so it does not
    matter when the write ends. Without `background` the chunk is written at once.
    """

    def __init__(
        self, head: Head, name: str, write: Callable[[], None], *, background: bool
    ) -> None:
        self._length, self._name, self._write = len(head.records), name, write
        self._error: Exception | None = None
        self._thread = (
            Thread(target=self._run, name="dtm-chunk", daemon=True) if background else None
        )
        if self._thread:
            self._thread.start()
        else:
            self._run()

    @property
    def running(self) -> bool:
        """Tell whether the chunk is still being written."""
        return self._thread is not None and self._thread.is_alive()

    def replace_records(self, head: Head) -> Head:
        """Put the chunk in place of the records in it. Raises what went wrong with writing it.

        `head` is a later head of the same base.
        """
        if self._thread:
            self._thread.join()
        if self._error:
            raise self._error
        left = head.records[self._length :].removeprefix(b",")
        return replace(head, chunks=(*head.chunks, self._name), records=left)

    def _run(self) -> None:
        try:
            self._write()
        except Exception as error:  # noqa: BLE001 - a chunk that may be missing must not be named
            self._error = error


class CommitLog(ABC):
    """The head of the log as one session has it, and the snapshot that it continues.

    `version` is that of the object which holds the head, None while there is none.
    """

    inline: ClassVar[bool]

    def __init__(
        self, place: StateStore, session: str, head: Head, snapshot: Snapshot | None
    ) -> None:
        self._place, self._session = place, session
        self.head, self.snapshot = head, snapshot
        self.version: Version | None = None

    @abstractmethod
    def swap(self, head: Head) -> None:
        """Replace the head."""

    @abstractmethod
    def commit(self, data: bytes, *, first: bool = False) -> None:
        """Make encoded records durable; `first` for a claim, which makes room in a full head."""

    @abstractmethod
    def seal(self, records: Sequence[Record]) -> str:
        """Commit the last records before a compaction and return the id of the next snapshot."""

    @abstractmethod
    def replace_snapshot(self, document: StateFile, records: bytes) -> None:
        """Make the document the snapshot, and these records the first that continue it."""

    @abstractmethod
    def reset(self, records: bytes) -> None:
        """Drop what the head holds, which makes no difference, and start with these records."""

    @property
    @abstractmethod
    def size(self) -> int:
        """The snapshot's bytes, without the log."""

    def _numbered(self, head: Head) -> Head:
        """Make a head that was never there before: by this session, with the next number."""
        now = self._place.environment.now()
        return replace(head, session=self._session, seq=self.head.seq + 1, at=now)


class InlineLog(CommitLog):
    """The head stands in the state file: both are one object, and a commit writes the whole."""

    inline = True

    def __init__(
        self,
        place: StateStore,
        session: str,
        head: Head,
        snapshot: Snapshot | None,
        document: StateFile,
    ) -> None:
        super().__init__(place, session, head, snapshot)
        self.version = snapshot.version if snapshot else None
        self._document = document

    @cached_property
    def body(self) -> bytes:
        """The document's bytes without the head in it."""
        return encode_state_file(self._document)

    @property
    def size(self) -> int:
        """See `CommitLog.size`."""
        return len(self.body)

    def swap(self, head: Head) -> None:
        """See `CommitLog.swap`."""
        head = self._numbered(head)
        data = encode_inline(self.body, head)
        self.version = self._place.swap(self._place.key, data, expect=self.version)
        self.head, self.snapshot = head, Snapshot(data, self.version)

    def commit(self, data: bytes, *, first: bool = False) -> None:  # noqa: ARG002 - the protocol's
        """See `CommitLog.commit`."""
        self.swap(self.head.append(data))

    def seal(self, records: Sequence[Record]) -> str:  # noqa: ARG002 - the protocol's
        """See `CommitLog.seal`; head and snapshot are replaced together, so nothing is written."""
        return self._place.environment.token()

    def replace_snapshot(self, document: StateFile, records: bytes) -> None:
        """See `CommitLog.replace_snapshot`."""
        self.body = encode_state_file(document)
        self.swap(Head(document.id, self._session, 0, records=records))

    def reset(self, records: bytes) -> None:
        """See `CommitLog.reset`."""
        self.swap(replace(self.head, records=records))


class SeparateLog(CommitLog):
    """The head is an object of its own; full heads move their records into chunks.

    On a store that can append, a commit adds a line to a head that this session has swapped once:
    `_lines` are the records in those lines.
    """

    inline = False

    def __init__(
        self,
        place: StateStore,
        session: str,
        head: Head,
        snapshot: Snapshot | None,
        version: Version | None,
    ) -> None:
        super().__init__(place, session, head, snapshot)
        self.version = version
        self._appends, self._can_append = place.appends, False
        self._lines: list[bytes] = []
        self._chunk: ChunkWriter | None = None

    @property
    def size(self) -> int:
        """See `CommitLog.size`."""
        return len(self.snapshot.data) if self.snapshot else 0

    def swap(self, head: Head) -> None:
        """See `CommitLog.swap`."""
        head = self._numbered(head)
        self.version = self._place.swap(
            self._place.head_key, encode_head(head), expect=self.version
        )
        self.head = head
        self._lines.clear()
        self._can_append = self._appends and not head.next

    def commit(self, data: bytes, *, first: bool = False) -> None:
        """See `CommitLog.commit`; one write more when the head is full."""
        if self._can_append:
            self._append_line(data)
        else:
            self.swap(self._make_room(0 if first else len(data)).append(data))

    def _append_line(self, data: bytes) -> None:
        assert self.version is not None
        seq, at = self.head.seq + 1, self._place.environment.now()
        line = encode_line(self._session, seq, at, data)
        self.version = self._place.append(self._place.head_key, line, expect=self.version)
        self.head = replace(self.head, seq=seq, at=at)
        self._lines.append(data)

    def _full_head(self) -> Head:
        """Return the head with all lines that were appended to it."""
        parts = (self.head.records, *self._lines)
        return replace(self.head, records=b",".join(part for part in parts if part))

    def _make_room(self, coming: int) -> Head:
        """Return the head with room for as many bytes: if it is full its records move to a chunk.

        The chunk is written while commits go on, unless the head grows to twice its size meanwhile.
        """
        limit = self._place.environment.limits.chunk_after
        head, most = self._full_head(), max(limit, min(16 * coming, 8 * limit))
        if self._chunk is None and len(head.records) > most:
            prefix = self._place.chunk_prefix(head.base)
            name = f"{prefix}{head.seq}-{self._session[:8]}"
            write = partial(self._place.create, name, encode_chunk(head))
            background = self._place.environment.background
            self._chunk = ChunkWriter(head, name, write, background=background)
        if self._chunk is not None and self._chunk.running and len(head.records) <= 2 * most:
            return head
        return self._with_chunk(head)

    def _with_chunk(self, head: Head) -> Head:
        """Return the head with the chunk that is being written, if one is."""
        chunk, self._chunk = self._chunk, None
        return chunk.replace_records(head) if chunk else head

    def seal(self, records: Sequence[Record]) -> str:
        """See `CommitLog.seal`."""
        token = self._place.environment.token()
        sealed = self._with_chunk(self._full_head()).append(encode_records(records))
        self.swap(replace(sealed, next=token))
        return token

    def replace_snapshot(self, document: StateFile, records: bytes) -> None:
        """See `CommitLog.replace_snapshot`."""
        old = self.head
        self.write_state_file(document)
        self.swap(Head(document.id, self._session, 0, records=records))
        self.delete_chunks(old)

    def reset(self, records: bytes) -> None:
        """See `CommitLog.reset`."""
        stale = self._with_chunk(self._full_head()).chunks
        self.swap(replace(self.head, chunks=(), records=records))
        self._delete(stale)

    def write_state_file(self, document: StateFile) -> None:
        """Replace the state file."""
        data = encode_state_file(document)
        expect = self.snapshot.version if self.snapshot else None
        self.snapshot = Snapshot(data, self._place.swap(self._place.key, data, expect=expect))

    def finish_compaction(self, view: View) -> View:
        """Finish the compaction of a session that died in it; return the view of what is there.

        Raises ConflictError where that is not what `view` showed, which was planned against.
        """
        sealed, before = self.head, view.replay
        if not view.compacted:
            try:
                self.write_state_file(before.next_snapshot(sealed.next))
            except ConflictError:
                if _current_id(self._place) != sealed.next:
                    raise
        self.swap(Head(sealed.next, self._session, sealed.seq))
        return self._check_same(view, sealed)

    def _check_same(self, before: View, sealed: Head) -> View:
        view = read_view(self._place)
        same = view.replay.tools == before.replay.tools
        if view.inline or not same or view.replay.outputs != before.replay.outputs:
            raise ConflictError(self._place.key, self.version, view.head_version)
        self.snapshot = view.snapshot
        self._delete(sealed.chunks)
        return view

    def delete_chunks(self, old: Head) -> None:
        """Remove the chunks of a head that is no more, named or not."""
        self._delete(old.chunks)
        with suppress(StoreError, OutcomeUnknownError):
            self._delete(self._place.list(self._place.chunk_prefix(old.base)))

    def _delete(self, names: Sequence[str]) -> None:
        """Remove chunks that no head names; one that stays behind is rubbish, not damage."""
        for name in dict.fromkeys(names):
            with suppress(StoreError, OutcomeUnknownError):
                self._place.delete(name)


def _current_id(place: StateStore) -> str:
    found = place.read()
    return decode_state_file(found.data if found else b"", place.location).id


def open_log(place: StateStore, view: View, session: str) -> CommitLog:
    """Return the head where this view found it; one that would stand beside where there is none."""
    head = view.head or Head(view.document.id, "", 0)
    if view.inline:
        return InlineLog(place, session, head, view.snapshot, view.document)
    return SeparateLog(place, session, head, view.snapshot, view.head_version)


def is_placement_pending(view: View) -> bool:
    """Tell whether the first session of a state died before it brought the log to its place.

    A new log is claimed inside the state file, whatever the settings say, and moves from there. Its
    state has no snapshot yet, and its session did not end.
    """
    replay = view.replay
    first = view.inline and view.document.serial == 0
    return first and replay.claim is not None and not replay.ended


def placement_conflict(place: StateStore, view: View) -> StateError | None:
    """Return the error of a setting that contradicts where the log of this state stands."""
    if place.log == AUTO or view.head is None or view.replaced:
        return None  # nothing is contradicted, or the log is made anew
    if is_placement_pending(view):
        return None  # the next claim brings the log to its place
    found = INLINE if view.inline else SEPARATE
    if place.log == found:
        return None
    where = "inside the state file" if view.inline else "beside the state file"
    return StateError(
        f"state.log is {place.log}, but the commit log of this state stands {where}",
        hint=f"dtm state move-log {place.log} moves it; or set state.log: {found}",
        where=place.location,
    )
