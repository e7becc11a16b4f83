"""One session's hold on the commit log: claim it, append to it, compact it into the next snapshot.

Every method may raise SupersededError: somebody else's swap came first, and nothing more may be written.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from hashlib import sha256

import msgspec

from engine.commit import View, chunk_prefix, grow, head_key, read_view, short, swap, where, write_once
from engine.errors import ConflictError, OutcomeUnknownError, StateError, StoreError, SupersededError
from engine.log import End, Head, Opened, Record, Replay, encode_chunk, encode_head, encode_line, encode_records
from engine.ports import AppendStore, Snapshot, Store
from engine.statefile import Document, decode_document, encode_document, no_gc
from engine.world import World


class LogWriter:
    """The commit path of one session; not safe for concurrent use."""

    def __init__(self, store: Store, key: str, view: View, session: str, world: World) -> None:
        self._store, self._key, self._view, self.session = store, key, view, session
        self._world, self._limits = world, world.limits
        self._head = view.head or Head(view.document.id, "", 0)
        self._version = view.head_version
        self._snapshot: Snapshot | None = view.snapshot
        self._replay = view.replay
        self._opened: Opened | None = None
        self._logged = 0
        self._appending = store if isinstance(store, AppendStore) else None
        self._growing = False
        self._grown: list[bytes] = []

    @property
    def serial(self) -> int:
        """That of the snapshot which the log continues."""
        return self._replay.snapshot.serial

    def claim(self, opened: Opened) -> None:
        """The first swap: from here on every earlier session is refused. Raises also StateError where K is damaged."""
        with self._fenced():
            if self._view.replaced:
                self._keep_head()
                self._head = Head(self._view.document.id, "", self._head.seq)
            elif self._head.next:
                self._finish_for_another()
            self._opened = opened
            self._swap(self._spilled(0).append(encode_records([opened])))
            self._replay.apply([opened])

    def append(self, records: Sequence[Record], data: bytes) -> None:
        """Make records durable: one swap, and one more write when the head is full. `data` is their encoding."""
        with self._fenced():
            self._commit(records, data)

    def settle(self) -> None:
        """Compact in mid-session if the log has grown too long; nobody waits for it."""
        if self._logged > max(self._limits.compact, len(self._snapshot.data) if self._snapshot else 0):
            with self._fenced():
                self._compact(ended=False)

    def compact(self) -> None:
        """End the session: what was recorded becomes the next snapshot, if it makes a difference."""
        with self._fenced():
            self._replay.apply([End(self._world.now())])
            self._compact(ended=True)

    def replace(self, document: Document) -> None:
        """Make this document the next snapshot, whatever was recorded; its id is set here, its serial is not.

        A session that dies in between leaves the old state, never a mixture.
        """
        with self._fenced():
            token = self._seal([])
            self._advance(msgspec.structs.replace(document, id=token), ended=False)

    def _commit(self, records: Sequence[Record], data: bytes) -> None:
        if self._growing:
            self._grow(data)
        else:
            self._swap(self._spilled(len(data)).append(data))
        self._logged += len(data)
        self._replay.apply(records)

    def _grow(self, data: bytes) -> None:
        """Commit by appending a line to a head that this session wrote itself."""
        assert self._appending is not None and self._version is not None
        seq, at = self._head.seq + 1, self._world.now()
        line = encode_line(self.session, seq, at, data)
        self._version = grow(self._appending, head_key(self._key), line, expect=self._version, world=self._world)
        self._head = replace(self._head, seq=seq, at=at)
        self._grown.append(data)

    def _whole(self) -> Head:
        """The head with all lines that were appended to it."""
        return replace(self._head, records=b",".join(part for part in (self._head.records, *self._grown) if part))

    def _spilled(self, coming: int) -> Head:
        """The head with room for as many bytes more: if it is full its records move to a chunk."""
        head = self._whole()
        if len(head.records) <= max(self._limits.spill, min(16 * coming, 8 * self._limits.spill)):
            return head
        name = f"{chunk_prefix(self._key, head.base)}{head.seq}-{self.session[:8]}"
        write_once(self._store, name, encode_chunk(head), self._world)
        return replace(head, chunks=(*head.chunks, name), records=b"")

    def _swap(self, head: Head) -> None:
        head = replace(head, session=self.session, seq=self._head.seq + 1, at=self._world.now())
        data = encode_head(head)
        self._version = swap(self._store, head_key(self._key), data, expect=self._version, world=self._world)
        self._head = head
        self._grown.clear()
        self._growing = self._appending is not None and not head.next

    def _seal(self, records: Sequence[Record]) -> str:
        token = self._world.token()
        self._swap(replace(self._whole().append(encode_records(records)), next=token))
        return token

    def _compact(self, *, ended: bool) -> None:
        if self._replay.changed:
            token = self._seal([End(self._replay.ended)] if ended else [])
            with no_gc():
                self._advance(self._replay.next(token), ended=ended)
        else:
            stale = self._head.chunks
            self._swap(replace(self._head, chunks=(), records=b"" if ended else encode_records(self._claims())))
            self._drop(stale)
            self._logged = 0

    def _claims(self) -> list[Record]:
        """What a head says at its start of the session that is still at work."""
        return [self._opened] if self._opened else []

    def _advance(self, document: Document, *, ended: bool) -> None:
        """Steps two to four of a compaction: history, snapshot, head, chunks of the old base."""
        self._keep_snapshot()
        data = encode_document(document)
        found = self._write_snapshot(data)
        old, records = self._head, b"" if ended else encode_records(self._claims())
        self._swap(Head(document.id, self.session, old.seq, records=records))
        self._snapshot, self._replay = found, Replay(document)
        if not ended:
            self._replay.apply(self._claims())
        self._logged = 0
        self._drop([*old.chunks, *self._store.list(chunk_prefix(self._key, old.base))])

    def _write_snapshot(self, data: bytes) -> Snapshot:
        expect = self._snapshot.version if self._snapshot else None
        return Snapshot(data, swap(self._store, self._key, data, expect=expect, world=self._world))

    def _keep_snapshot(self) -> None:
        """Copy the snapshot to the history before it is replaced."""
        if self._snapshot is not None and self._snapshot.data.strip():
            document = self._replay.snapshot
            name = f"{self._key}.history/{document.serial}-{short(document.id)}"
            write_once(self._store, name, self._snapshot.data, self._world)

    def _keep_head(self) -> None:
        """Keep the records of a log whose snapshot is gone: nothing is silently merged or dropped."""
        if self._view.head is None:
            data = self._view.unread
            name = f"{self._key}.history/log-{sha256(data).hexdigest()[:8]}"
        else:
            head = replace(self._head, chunks=(), records=self._view.records)
            data, name = encode_head(head), f"{self._key}.history/log-{short(head.base)}-{head.seq}"
        if data:
            write_once(self._store, name, data, self._world)

    def _finish_for_another(self) -> None:
        """Complete the compaction of a session that died in it; what was planned against must not have changed by that."""
        sealed, before = self._head, self._replay
        if not self._view.compacted:
            self._keep_snapshot()
            try:
                self._write_snapshot(encode_document(before.next(sealed.next)))
            except ConflictError:
                if self._found_id() != sealed.next:
                    raise
        self._swap(Head(sealed.next, self.session, sealed.seq))
        view = read_view(self._store, self._key, self._world)
        if view.replay.tools != before.tools or view.replay.outputs != before.outputs:
            raise ConflictError(self._key, self._version, view.head_version)
        self._snapshot, self._replay = view.snapshot, view.replay
        self._drop(sealed.chunks)

    def _found_id(self) -> str:
        found = self._world.retry(lambda: self._store.read(self._key))
        return decode_document(found.data if found else b"", where(self._store, self._key)).id

    def _drop(self, names: Sequence[str]) -> None:
        """Remove chunks that no head names any more; one that stays behind is rubbish, not damage."""
        for name in dict.fromkeys(names):
            with suppress(StoreError, OutcomeUnknownError):
                self._world.retry(partial(self._store.delete, name))

    @contextmanager
    def _fenced(self) -> Generator[None]:
        try:
            yield
        except ConflictError as error:
            raise self._superseded() from error

    def _superseded(self) -> SupersededError:
        """Say who took over, as far as the log tells."""
        location = where(self._store, self._key)
        by = "somebody else"
        with suppress(StoreError, StateError, OutcomeUnknownError):
            view = read_view(self._store, self._key, self._world)
            opened, written = view.replay.opened, view.document.written
            if opened and opened.session != self.session:
                by = f"{opened.who} (dtm {opened.command}, since {opened.at})"
            elif written and view.document.id != self._replay.snapshot.id:
                by = f"{written.who} (dtm {written.command}, at {written.at})"
        return SupersededError(f"{location} was taken over by {by}: nothing more is written by this run", where=location)
