"""One session's hold on the commit log: claim it, append to it, compact it into the next snapshot.

Every method may raise SupersededError: somebody else's swap came first, and nothing more may be written.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

import msgspec
from msgspec.structs import replace

from engine.errors import (
    ConflictError,
    OutcomeUnknownError,
    StateError,
    StoreAccessError,
    StoreError,
    SupersededError,
)
from engine.events import Notice
from engine.log.archive import Archive
from engine.log.probe import Probe, judged, stale_swap
from engine.log.records import (
    End,
    Head,
    Opened,
    Record,
    Replay,
    encode_chunk,
    encode_head,
    encode_inside,
    encode_line,
    encode_records,
)
from engine.log.spill import Spill
from engine.log.view import (
    AUTO,
    BESIDE,
    INSIDE,
    View,
    chunk_prefix,
    grow,
    head_key,
    read_view,
    swap,
    where,
    write_once,
)
from engine.ports import AppendStore, Emit, Snapshot, Store, Version
from engine.runtime.environment import Environment
from engine.stored.document import Document, decode_document, encode_document, no_gc


class LogWriter:
    """The commit path of one session; not safe for concurrent use. `log` says where the head is to stand, see `engine.log.view`.

    While the head stands inside the document its version and the document's are the same, and a commit writes the whole.
    """

    def __init__(
        self,
        store: Store,
        key: str,
        view: View,
        session: str,
        environment: Environment,
        *,
        log: str = AUTO,
        probe: Probe | None = None,
        emit: Emit = lambda _: None,
    ) -> None:
        self._store, self._key, self._view, self.session = store, key, view, session
        self._environment, self._limits, self._emit = environment, environment.limits, emit
        self._log, self._probe = log, probe
        self._archive = Archive(store, key, session, log, emit, environment)
        self._inside = view.inside
        self._head = view.head or Head(view.document.id, "", 0)
        self._version = self._beside = view.head_version
        self._snapshot: Snapshot | None = view.snapshot
        self._replay = view.replay
        self._body = b""
        self._unborn = view.damaged
        self._opened: Opened | None = None
        self._logged = 0
        self._appending = store if isinstance(store, AppendStore) else None
        self._growing = False
        self._grown: list[bytes] = []
        self._spill: Spill | None = None

    @property
    def serial(self) -> int:
        """That of the snapshot which the log continues."""
        return self._replay.snapshot.serial

    @property
    def inside(self) -> bool:
        """Whether the head stands inside the document."""
        return self._inside

    def claim(self, opened: Opened) -> None:
        """The first swap: from here on every earlier session is refused. Raises also StoreError, see `engine.log.probe`.

        Where a damaged document stands nothing is swapped before `replace`.
        """
        self._opened = opened
        if refusal := self._probe and self._probe.refusal(lock_native=False):
            raise refusal
        if self._probe and self._probe.trials:
            self._replay.probe = self._probe.record()
        if self._unborn:
            self._replay.apply([opened])
            return
        with self._fenced(), judged(self._store, self._key, self._environment):
            born = self._ready(opened)
            self._swap(self._spilled(0).append(encode_records([opened])))
            self._replay.apply([opened])
            self._place(born)
            self._try_out()

    def _ready(self, opened: Opened) -> bool:
        """Find the head where it can be swapped; where there is none, one inside the document. Returns whether it is new."""
        view = self._view
        if view.inside:
            self._body, self._beside = encode_document(view.document), self._left_beside()
        elif view.head is None or view.replaced:
            self._archive.others(self._view)
            self._move_in(
                msgspec.structs.replace(view.document, dtm=opened.version, probe=self._replay.probe)
            )
            return True
        elif self._head.next:
            self._finish_for_another()
        return False

    def append(self, records: Sequence[Record], data: bytes) -> None:
        """Make records durable: one swap, and one more write when the head is full. `data` is their encoding."""
        with self._fenced():
            self._commit(records, data)

    def settle(self) -> None:
        """Compact in mid-session if the log has grown too long; nobody waits for it."""
        if self._logged > max(self._limits.compact, self._size()):
            with self._fenced():
                self._compact(ended=False)

    def compact(self) -> None:
        """End the session: what was recorded becomes the next snapshot, if it makes a difference."""
        with self._fenced():
            self._replay.apply([End(self._environment.now())])
            self._compact(ended=True)

    def replace(self, document: Document) -> None:
        """Make this document the next snapshot, whatever was recorded; its id is set here, its serial is not.

        A session that dies in between leaves the old state, never a mixture.
        """
        with self._fenced():
            document = msgspec.structs.replace(document, probe=self._replay.probe)
            born, self._unborn = self._unborn, False
            if born:
                self._archive.others(self._view)
                self._move_in(document)
            token = self._environment.token() if self._inside else self._seal([])
            self._advance(msgspec.structs.replace(document, id=token), ended=False)
            if born:
                self._place(born)

    # Where the head stands

    def _left_beside(self) -> Version | None:
        """What a head beside would replace; asked before the claim, so that whoever writes one later is noticed."""
        if self._log != BESIDE:
            return None
        found = self._environment.retry(lambda: self._store.read(head_key(self._key)))
        return found.version if found else None

    def _move_in(self, document: Document) -> None:
        """The next swap writes this document with the head inside it, in place of what stands there."""
        self._inside, self._body = True, encode_document(document)
        self._version = self._snapshot.version if self._snapshot else None
        self._replay = Replay(document)

    def _place(self, born: bool) -> None:
        """Bring the claimed head to where it is to stand; a new one stays inside where one beside is denied."""
        if self._log == INSIDE:
            if not self._inside:
                self._go_inside()
        elif self._inside and (born or self._log == BESIDE):
            try:
                self._go_beside()
            except StoreAccessError as error:
                if self._log == BESIDE:
                    raise
                self._emit(self._denied(error))

    def _denied(self, error: StoreAccessError) -> Notice:
        beside = f"{head_key(self._key)}* and {self._key}.history/*"
        return Notice(
            "warning",
            "the commit log is kept inside the state, since one beside it is denied: each commit writes the whole state, "
            f"and there is no history ({error.message})",
            f"to change that, allow {beside} to be read, written and deleted, and run once with `state.log: beside`; "
            "`state.log: inline` says that this is meant",
            where(self._store, self._key),
        )

    def _go_beside(self) -> None:
        """An empty head is written before the document that refers to it; then the claim moves there, as its first swap."""
        document = self._folded(self._environment.token())
        if self._replay.changed:
            self._keep_snapshot()
        head = Head(document.id, self.session, self._head.seq + 1, self._environment.now())
        version = swap(
            self._store,
            head_key(self._key),
            encode_head(head),
            expect=self._beside,
            environment=self._environment,
        )
        self._snapshot = self._write_snapshot(encode_document(document))
        self._inside, self._head, self._version = False, head, version
        self._swap(head.append(self._claims()))
        self._restart(document)

    def _go_inside(self) -> None:
        """The head beside is sealed first, which ends it for everybody; dying in between leaves an unfinished compaction."""
        document = self._folded(self._seal([]))
        old = self._head
        self._inside, self._body = True, encode_document(document)
        self._version = self._snapshot.version if self._snapshot else None
        self._swap(Head(document.id, self.session, old.seq))
        self._sweep(old)
        self._swap(self._head.append(self._claims()))
        self._restart(document)

    def _folded(self, token: str) -> Document:
        """The document with what was recorded; nothing recorded is no new serial."""
        if self._replay.changed:
            return self._replay.next(token)
        return msgspec.structs.replace(self._replay.snapshot, id=token, probe=self._replay.probe)

    def _restart(self, document: Document, *, ended: bool = False) -> None:
        """A log with nothing in it, or only the claim of the session that is still at work."""
        self._replay, self._logged = Replay(document), 0
        if not ended and self._opened:
            self._replay.apply([self._opened])

    def _try_out(self) -> None:
        """See that a stale swap of the document is refused, if nothing else was tried on this store. Raises StoreError.

        That the right one gets through the claim has shown, unless the claim made the document.
        """
        if self._probe is None or self._probe.trials or self._snapshot is None:
            return
        if self._inside:
            self._swap(self._head)
        trial = stale_swap(self._store, self._key, self._snapshot, self._environment)
        verdict = replace(self._probe, at=self._environment.now(), trials=(trial,))
        if refusal := verdict.refusal(lock_native=False):
            raise refusal
        self._replay.probe = verdict.record()

    # Swaps

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
        seq, at = self._head.seq + 1, self._environment.now()
        line = encode_line(self.session, seq, at, data)
        self._version = grow(
            self._appending,
            head_key(self._key),
            line,
            expect=self._version,
            environment=self._environment,
        )
        self._head = replace(self._head, seq=seq, at=at)
        self._grown.append(data)

    def _whole(self) -> Head:
        """The head with all lines that were appended to it."""
        return replace(
            self._head,
            records=b",".join(part for part in (self._head.records, *self._grown) if part),
        )

    def _spilled(self, coming: int) -> Head:
        """The head with room for as many bytes more: if it is full its records move to a chunk.

        That is written while commits go on, unless the head has become twice as long meanwhile.
        """
        head, most = (
            self._whole(),
            max(self._limits.spill, min(16 * coming, 8 * self._limits.spill)),
        )
        if self._spill is None and not self._inside and len(head.records) > most:
            name = f"{chunk_prefix(self._key, head.base)}{head.seq}-{self.session[:8]}"
            write = partial(write_once, self._store, name, encode_chunk(head), self._environment)
            self._spill = Spill(head, name, write, background=self._environment.background)
        if self._spill is not None and self._spill.running and len(head.records) <= 2 * most:
            return head
        return self._named(head)

    def _named(self, head: Head) -> Head:
        """The head with the chunk that is being written, if one is."""
        spill, self._spill = self._spill, None
        return spill.into(head) if spill else head

    def _swap(self, head: Head) -> None:
        head = replace(
            head, session=self.session, seq=self._head.seq + 1, at=self._environment.now()
        )
        data = encode_inside(self._body, head) if self._inside else encode_head(head)
        key = self._key if self._inside else head_key(self._key)
        self._version = swap(
            self._store, key, data, expect=self._version, environment=self._environment
        )
        if self._inside:
            self._snapshot = Snapshot(data, self._version)
        self._head = head
        self._grown.clear()
        self._growing = self._appending is not None and not self._inside and not head.next

    def _seal(self, records: Sequence[Record]) -> str:
        token = self._environment.token()
        self._swap(replace(self._named(self._whole()).append(encode_records(records)), next=token))
        return token

    def _compact(self, *, ended: bool) -> None:
        if self._replay.changed:
            token = (
                self._environment.token()
                if self._inside
                else self._seal([End(self._replay.ended)] if ended else [])
            )
            with no_gc():
                self._advance(self._replay.next(token), ended=ended)
        else:
            stale = self._named(self._whole()).chunks
            self._swap(replace(self._head, chunks=(), records=b"" if ended else self._claims()))
            self._drop(stale)
            self._logged = 0

    def _claims(self) -> bytes:
        """What a head says at its start of the session that is still at work."""
        return encode_records([self._opened]) if self._opened else b""

    def _advance(self, document: Document, *, ended: bool) -> None:
        """Steps two to four of a compaction: history, snapshot, head, chunks of the old base; inside there is but one."""
        old, head = (
            self._head,
            Head(document.id, self.session, 0, records=b"" if ended else self._claims()),
        )
        if self._inside:
            self._body = encode_document(document)
            self._swap(head)
        else:
            self._keep_snapshot()
            self._snapshot = self._write_snapshot(encode_document(document))
            self._swap(head)
            self._sweep(old)
        self._restart(document, ended=ended)

    def _write_snapshot(self, data: bytes) -> Snapshot:
        expect = self._snapshot.version if self._snapshot else None
        return Snapshot(
            data, swap(self._store, self._key, data, expect=expect, environment=self._environment)
        )

    def _keep_snapshot(self) -> None:
        """Copy the snapshot to the history before it is replaced."""
        if self._snapshot is not None:
            self._archive.snapshot(
                self._replay.snapshot, self._body if self._inside else self._snapshot.data
            )

    def _size(self) -> int:
        """Of the snapshot in bytes, without the log."""
        return (
            len(self._body) if self._inside else len(self._snapshot.data) if self._snapshot else 0
        )

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
        view = read_view(self._store, self._key, self._environment, self._log)
        if (
            view.inside
            or view.replay.tools != before.tools
            or view.replay.outputs != before.outputs
        ):
            raise ConflictError(self._key, self._version, view.head_version)
        self._snapshot, self._replay = view.snapshot, view.replay
        self._drop(sealed.chunks)

    def _found_id(self) -> str:
        found = self._environment.retry(lambda: self._store.read(self._key))
        return decode_document(found.data if found else b"", where(self._store, self._key)).id

    def _sweep(self, old: Head) -> None:
        """Remove the chunks of a head that is no more, named or not."""
        self._drop(old.chunks)
        prefix = chunk_prefix(self._key, old.base)
        with suppress(StoreError, OutcomeUnknownError):
            self._drop(self._environment.retry(lambda: list(self._store.list(prefix))))

    def _drop(self, names: Sequence[str]) -> None:
        """Remove chunks that no head names any more; one that stays behind is rubbish, not damage."""
        for name in dict.fromkeys(names):
            with suppress(StoreError, OutcomeUnknownError):
                self._environment.retry(partial(self._store.delete, name))

    @contextmanager
    def _fenced(self) -> Generator[None]:
        try:
            yield
        except ConflictError as error:
            superseded = self._superseded()
            superseded.doubtful = error.doubtful
            raise superseded from error

    def _superseded(self) -> SupersededError:
        """Say who took over, as far as the log tells."""
        location = where(self._store, self._key)
        by = "somebody else"
        with suppress(StoreError, StateError, OutcomeUnknownError):
            view = read_view(self._store, self._key, self._environment, self._log)
            opened, written = view.replay.opened, view.document.written
            if opened and opened.session != self.session:
                by = f"{opened.who} (dtm {opened.command}, since {opened.at})"
            elif written and view.document.id != self._replay.snapshot.id:
                by = f"{written.who} (dtm {written.command}, at {written.at})"
        return SupersededError(
            f"{location} was taken over by {by}: nothing more is written by this run",
            where=location,
        )
