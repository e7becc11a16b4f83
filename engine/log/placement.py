"""The two placements of the commit log: a separate object, or a part of the state file.

Both have the same methods. Each method that writes swaps the object that holds the head. It raises
ConflictError if another session swapped it first, and store errors.
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
from engine.ports import StoredObject, Version
from engine.stored.state_file import StateFile, decode_state_file, encode_state_file


class ChunkWriter:
    """Writes the records of a head into a chunk, in a thread, while commits go on.

    The head keeps its records until `replace_records`, so it does not matter how long the write
    takes. Without `background` the chunk is written by the constructor.
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
        """True while the chunk is being written."""
        return self._thread is not None and self._thread.is_alive()

    def replace_records(self, head: Head) -> Head:
        """Return a later head of the same base, with the records of the chunk replaced by its name.

        Waits for the write. Raises the error that the write ended with.
        """
        if self._thread:
            self._thread.join()
        if self._error:
            raise self._error
        # Later commits only added records, so those of the chunk are still the first ones.
        left = head.records[self._length :].removeprefix(b",")
        return replace(head, chunks=(*head.chunks, self._name), records=left)

    def _run(self) -> None:
        try:
            self._write()
        except Exception as error:  # noqa: BLE001 - a chunk that may be missing must not be named
            self._error = error


class CommitLog(ABC):
    """The log head as one session knows it, and the snapshot that it continues.

    `version` is the version of the object that holds the head, None if that object does not exist.
    """

    inline: ClassVar[bool]

    def __init__(
        self, state_store: StateStore, session: str, head: Head, snapshot: StoredObject | None
    ) -> None:
        self._state_store, self._session = state_store, session
        self.head, self.snapshot = head, snapshot
        self.version: Version | None = None

    @abstractmethod
    def swap(self, head: Head) -> None:
        """Replace the head, if it still has the version that this session knows."""

    @abstractmethod
    def commit(self, data: bytes, *, first: bool = False) -> None:
        """Add encoded records to the log; durable on return. `first` is true for a claim."""

    @abstractmethod
    def seal(self, records: Sequence[Record]) -> str:
        """Commit the last records before a compaction; return the ID of the next snapshot."""

    @abstractmethod
    def replace_snapshot(self, state_file: StateFile, records: bytes) -> None:
        """Write the next snapshot, and a head that continues it with these encoded records."""

    @abstractmethod
    def reset(self, records: bytes) -> None:
        """Replace all records by these; the old ones must not change the state."""

    @property
    @abstractmethod
    def size(self) -> int:
        """The size of the snapshot in bytes, without the log."""

    def _numbered(self, head: Head) -> Head:
        """Return the head with this session and the next `seq`."""
        # Two equal heads would have the same version on stores that use a digest as the version.
        # A session that slept could then replace the head of another one.
        now = self._state_store.environment.now()
        return replace(head, session=self._session, seq=self.head.seq + 1, at=now)


class InlineLog(CommitLog):
    """A log inside the state file: each commit writes the whole state file."""

    inline = True

    def __init__(
        self,
        state_store: StateStore,
        session: str,
        head: Head,
        snapshot: StoredObject | None,
        state_file: StateFile,
    ) -> None:
        super().__init__(state_store, session, head, snapshot)
        self.version = snapshot.version if snapshot else None
        self._state_file = state_file

    @cached_property
    def body(self) -> bytes:
        """The bytes of the state file without the head."""
        return encode_state_file(self._state_file)

    @property
    def size(self) -> int:
        """See `CommitLog.size`."""
        return len(self.body)

    def swap(self, head: Head) -> None:
        """See `CommitLog.swap`."""
        head = self._numbered(head)
        data = encode_inline(self.body, head)
        self.version = self._state_store.swap(self._state_store.key, data, expect=self.version)
        self.head, self.snapshot = head, StoredObject(data, self.version)

    def commit(self, data: bytes, *, first: bool = False) -> None:  # noqa: ARG002 - the protocol's
        """See `CommitLog.commit`."""
        self.swap(self.head.append(data))

    def seal(self, records: Sequence[Record]) -> str:  # noqa: ARG002 - the protocol's
        """See `CommitLog.seal`."""
        # Nothing to write: one swap will replace head and snapshot together, so no other session
        # can meet an unfinished compaction.
        return self._state_store.environment.token()

    def replace_snapshot(self, state_file: StateFile, records: bytes) -> None:
        """See `CommitLog.replace_snapshot`."""
        self.body = encode_state_file(state_file)
        self.swap(Head(state_file.id, self._session, 0, records=records))

    def reset(self, records: bytes) -> None:
        """See `CommitLog.reset`."""
        self.swap(replace(self.head, records=records))


class SeparateLog(CommitLog):
    """A log in an object of its own; a full head moves its records into chunks.

    On a store that can append, a commit appends a line to a head that this session has swapped.
    `_lines` are the records of those lines.
    """

    inline = False

    def __init__(
        self,
        state_store: StateStore,
        session: str,
        head: Head,
        snapshot: StoredObject | None,
        version: Version | None,
    ) -> None:
        super().__init__(state_store, session, head, snapshot)
        self.version = version
        self._appends, self._can_append = state_store.appends, False
        self._lines: list[bytes] = []
        self._chunk: ChunkWriter | None = None

    @property
    def size(self) -> int:
        """See `CommitLog.size`."""
        return len(self.snapshot.data) if self.snapshot else 0

    def swap(self, head: Head) -> None:
        """See `CommitLog.swap`."""
        head = self._numbered(head)
        self.version = self._state_store.swap(
            self._state_store.head_key, encode_head(head), expect=self.version
        )
        self.head = head
        self._lines.clear()
        # Never append to a sealed head: its records may be in the next snapshot already, so a
        # record appended now would be lost.
        self._can_append = self._appends and not head.next

    def commit(self, data: bytes, *, first: bool = False) -> None:
        """See `CommitLog.commit`; a full head costs one more write."""
        if self._can_append:
            self._append_line(data)
        else:
            # A claim counts as 0 bytes, which sets the lowest limit: a session must not start with
            # a head that others left full.
            self.swap(self._make_room(0 if first else len(data)).append(data))

    def _append_line(self, data: bytes) -> None:
        assert self.version is not None
        seq, at = self.head.seq + 1, self._state_store.environment.now()
        line = encode_line(self._session, seq, at, data)
        self.version = self._state_store.append(
            self._state_store.head_key, line, expect=self.version
        )
        self.head = replace(self.head, seq=seq, at=at)
        self._lines.append(data)

    def _full_head(self) -> Head:
        """Return the head with the records of all lines that were appended to it."""
        parts = (self.head.records, *self._lines)
        return replace(self.head, records=b",".join(part for part in parts if part))

    def _make_room(self, coming: int) -> Head:
        """Return the head with room for `coming` bytes; the records of a full head move to a chunk.

        Commits go on while the chunk is written, until the head has twice its size limit.
        """
        limit = self._state_store.environment.limits.chunk_after
        # The limit grows with the size of the commit. Otherwise each large one would write a chunk.
        head, most = self._full_head(), max(limit, min(16 * coming, 8 * limit))
        if self._chunk is None and len(head.records) > most:
            prefix = self._state_store.chunk_prefix(head.base)
            name = f"{prefix}{head.seq}-{self._session[:8]}"
            write = partial(self._state_store.create, name, encode_chunk(head))
            background = self._state_store.environment.background
            self._chunk = ChunkWriter(head, name, write, background=background)
        if self._chunk is not None and self._chunk.running and len(head.records) <= 2 * most:
            return head
        return self._with_chunk(head)

    def _with_chunk(self, head: Head) -> Head:
        """Wait for the chunk that is being written, if any, and return the head that names it."""
        chunk, self._chunk = self._chunk, None
        return chunk.replace_records(head) if chunk else head

    def seal(self, records: Sequence[Record]) -> str:
        """See `CommitLog.seal`."""
        token = self._state_store.environment.token()
        sealed = self._with_chunk(self._full_head()).append(encode_records(records))
        self.swap(replace(sealed, next=token))
        return token

    def replace_snapshot(self, state_file: StateFile, records: bytes) -> None:
        """See `CommitLog.replace_snapshot`."""
        # The order matters: a crash between the two writes leaves a sealed head, and any later
        # session can finish the compaction from it.
        old = self.head
        self.write_state_file(state_file)
        self.swap(Head(state_file.id, self._session, 0, records=records))
        self.delete_chunks(old)

    def reset(self, records: bytes) -> None:
        """See `CommitLog.reset`."""
        stale = self._with_chunk(self._full_head()).chunks
        self.swap(replace(self.head, chunks=(), records=records))
        self._delete(stale)

    def write_state_file(self, state_file: StateFile) -> None:
        """Write this state file in place of the current one."""
        data = encode_state_file(state_file)
        # This version comes from the same consistent read as the head. A version that was read
        # later could belong to the next snapshot, whose records this write would undo.
        expect = self.snapshot.version if self.snapshot else None
        self.snapshot = StoredObject(
            data, self._state_store.swap(self._state_store.key, data, expect=expect)
        )

    def finish_compaction(self, view: View) -> View:
        """Finish the compaction of a session that died during it; return a view of the result.

        Raises ConflictError if the result differs from `view`, which the plan was made for.
        """
        sealed, before = self.head, view.replay
        if not view.compacted:
            try:
                self.write_state_file(before.next_snapshot(sealed.next))
            except ConflictError:
                # Another session may be finishing the same compaction; it writes the same bytes.
                if _current_id(self._state_store) != sealed.next:
                    raise
        self.swap(Head(sealed.next, self._session, sealed.seq))
        return self._check_same(view, sealed)

    def _check_same(self, before: View, sealed: Head) -> View:
        view = read_view(self._state_store)
        same = view.replay.tools == before.replay.tools
        if view.inline or not same or view.replay.outputs != before.replay.outputs:
            raise ConflictError(self._state_store.key, self.version, view.head_version)
        self.snapshot = view.snapshot
        # Delete only now: before the swap of the head the other session may have needed them.
        self._delete(sealed.chunks)
        return view

    def delete_chunks(self, old: Head) -> None:
        """Delete all chunks of a base that no head continues any longer."""
        self._delete(old.chunks)
        # By prefix too: a session that died while it wrote a chunk left one that no head names.
        with suppress(StoreError, OutcomeUnknownError):
            self._delete(self._state_store.list(self._state_store.chunk_prefix(old.base)))

    def _delete(self, names: Sequence[str]) -> None:
        """Delete chunks that no head names; ignore errors, since a chunk that stays is harmless."""
        for name in dict.fromkeys(names):
            with suppress(StoreError, OutcomeUnknownError):
                self._state_store.delete(name)


def _current_id(state_store: StateStore) -> str:
    found = state_store.read()
    return decode_state_file(found.data if found else b"", state_store.location).id


def open_log(state_store: StateStore, view: View, session: str) -> CommitLog:
    """Return the log of this view; without a head, a new separate log that is not written yet."""
    head = view.head or Head(view.state_file.id, "", 0)
    if view.inline:
        return InlineLog(state_store, session, head, view.snapshot, view.state_file)
    return SeparateLog(state_store, session, head, view.snapshot, view.head_version)


def is_placement_pending(view: View) -> bool:
    """Return whether the first session of a state died before it placed the log.

    A new log starts inside the state file, whatever the settings say, and moves from there. Until
    then the state has serial 0 and its session has not ended.
    """
    replay = view.replay
    first = view.inline and view.state_file.serial == 0
    return first and replay.claim is not None and not replay.ended


def placement_conflict(state_store: StateStore, view: View) -> StateError | None:
    """Return an error if the setting `log` contradicts the placement of the state's log."""
    if state_store.log == AUTO or view.head is None or view.replaced:
        return None  # nothing is requested, or the next claim creates a new log
    if is_placement_pending(view):
        return None  # the next claim moves the log as requested
    found = INLINE if view.inline else SEPARATE
    if state_store.log == found:
        return None
    where = "inside the state file" if view.inline else "in an object of its own"
    return StateError(
        f"state.log is {state_store.log}, but the commit log of this state is {where}",
        hint=f"move it with dtm state move-log {state_store.log}, or set state.log: {found}",
        where=state_store.location,
    )
