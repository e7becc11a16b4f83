"""One session's hold on the commit log: claim it, append to it, compact it into the next snapshot.

Every method may raise SupersededError: another session's swap came first, and nothing more may be
written.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

from msgspec.structs import replace

from engine.errors import ConflictError, StoreAccessError
from engine.events import Notice
from engine.log.head import Head
from engine.log.history import Archive
from engine.log.placement import Beside, Inside, placed, unplaced
from engine.log.probe import Probe, judged, stale_swap
from engine.log.records import Claim, End, Record, encode_records
from engine.log.replay import Replay
from engine.log.state_store import BESIDE, INSIDE, StateStore
from engine.log.view import View, superseded
from engine.ports import Emit
from engine.stored.document import Document, no_gc


class LogWriter:
    """The commit path of one session; not safe for concurrent use.

    `probe` is what was tried on this store, to be recorded; one without trials is completed on the
    state file itself.
    """

    def __init__(
        self,
        place: StateStore,
        view: View,
        session: str,
        *,
        probe: Probe | None = None,
        emit: Emit = lambda _: None,
    ) -> None:
        self._place, self._view, self.session = place, view, session
        self._probe, self._emit = probe, emit
        self._archive = Archive(place, session, emit)
        self._log = placed(place, view, session)
        self._replay = view.replay
        self._claim: Claim | None = None
        self._logged = 0
        self._left = None if view.inside else view.head_version
        # Damaged bytes stay untouched until there is another state to put in their place.
        self._deferred = view.damage is not None

    @property
    def serial(self) -> int:
        """The serial of the snapshot which the log continues."""
        return self._replay.snapshot.serial

    @property
    def inside(self) -> bool:
        """Tell whether the log stands inside the state file."""
        return self._log.inside

    @property
    def unplaced(self) -> bool:
        """Tell whether the log is not yet where it is to stand, see `placement.unplaced`."""
        return unplaced(self._view)

    def claim(self, claim: Claim, move: str = "") -> None:
        """Make the first swap: from here on every earlier session is refused.

        `move` is where the log stands from now on, INSIDE the state file or BESIDE it, "" for where
        it stands already. Raises also StoreError, see `engine.log.probe`. Where a damaged state
        file stands nothing is swapped before `replace`.
        """
        self._claim = claim
        if refusal := self._probe and self._probe.refusal(lock_native=False):
            raise refusal
        if self._probe and self._probe.trials:
            self._replay.probe = self._probe.record()
        if self._deferred:
            self._replay.apply([claim])
            return
        with self._fenced(), judged(self._place):
            if self._view.inside and (self.unplaced or move == BESIDE):
                self._look_beside()
            new = self._prepare(claim)
            self._log.commit(encode_records([claim]), first=True)
            self._replay.apply([claim])
            if new and move != INSIDE:
                self._place_new()
            if move == INSIDE and not self.inside:
                self._go_inside()
            elif move == BESIDE and self.inside:
                self._go_beside()
            self._try_swap()

    def _prepare(self, claim: Claim) -> bool:
        """Find the head where it can be swapped; return whether its place is still to choose."""
        view = self._view
        if view.inside:
            return self.unplaced
        if view.head is None or view.replaced:
            self._archive.foreign(view)
            self._found(replace(view.document, dtm=claim.version, probe=self._replay.probe))
            return True
        if view.head.next:
            assert isinstance(self._log, Beside)  # only a head beside is ever sealed
            if not view.compacted and view.snapshot:
                self._archive.snapshot(self._replay.snapshot, view.snapshot.data)
            self._replay = self._log.complete(view).replay
        return False

    def append(self, records: Sequence[Record], data: bytes) -> None:
        """Make records durable; `data` is their encoding."""
        with self._fenced():
            self._log.commit(data)
            self._logged += len(data)
            self._replay.apply(records)

    def settle(self) -> None:
        """Compact in mid-session if the log has grown too long; nothing waits for it."""
        if self._logged > max(self._place.environment.limits.compact, self._log.size):
            with self._fenced():
                self._compact(ended=False)

    def compact(self) -> None:
        """End the session: what was recorded becomes the next snapshot, if that differs."""
        with self._fenced():
            self._replay.apply([End(self._place.environment.now())])
            self._compact(ended=True)

    def replace(self, document: Document) -> None:
        """Make this document the next snapshot, whatever was recorded.

        Its id is set here, its serial is not. A session that dies in between leaves the old state,
        never a mixture.
        """
        with self._fenced():
            document = replace(document, probe=self._replay.probe)
            deferred, self._deferred = self._deferred, False
            if deferred:
                self._archive.foreign(self._view)
                self._found(document)
            token = self._log.seal([])
            self._advance(replace(document, id=token), ended=False)
            if deferred:
                self._place_new()

    # Where the log stands

    def _found(self, document: Document) -> None:
        """Have the next swap write this document with the head inside it.

        The records of a head that belongs to another snapshot are not taken along.
        """
        head = Head(document.id, self.session, self._log.head.seq)
        self._log = Inside(self._place, self.session, head, self._view.snapshot, document)
        self._replay = Replay(document)

    def _place_new(self) -> None:
        """Bring a new log to where it is to stand; it stays inside where beside is denied."""
        place = self._place
        if place.log == INSIDE:
            return
        try:
            self._go_beside()
        except StoreAccessError as error:
            if place.log == BESIDE:
                raise
            self._emit(_denied(place, error))

    def _look_beside(self) -> None:
        """Note the head that was left beside a state file when its log moved inside.

        A head is replaced, never deleted. Its version must be from before the claim: a session that
        has lost the state since, and does not know it, would else replace the head of its
        successor.
        """
        with suppress(StoreAccessError):  # a client that must not read it cannot write it either
            left = self._place.read(self._place.head_key)
            self._left = left.version if left else None

    def _go_beside(self) -> None:
        """Write an empty head, then the state file that refers to it, then the claim."""
        inside = self._log
        assert isinstance(inside, Inside)
        document = self._replay.renewed(self._place.environment.token())
        if self._replay.changed:
            self._archive.snapshot(self._replay.snapshot, inside.body)
        beside = Beside(self._place, self.session, inside.head, inside.snapshot, self._left)
        beside.swap(Head(document.id, self.session, 0))
        beside.write_snapshot(document)
        self._log = beside
        beside.swap(beside.head.append(_encoded(self._claim)))
        self._restart(document)

    def _go_inside(self) -> None:
        """Seal the head beside, which ends it for every session, then write it inside.

        A session that dies in between leaves an unfinished compaction.
        """
        beside = self._log
        assert isinstance(beside, Beside)
        document = self._replay.renewed(beside.seal([]))
        inside = Inside(self._place, self.session, beside.head, beside.snapshot, document)
        inside.swap(Head(document.id, self.session, 0))
        beside.sweep(beside.head)
        self._log = inside
        inside.commit(_encoded(self._claim))
        self._restart(document)

    def _restart(self, document: Document, *, ended: bool = False) -> None:
        """Begin again with an empty log, or with the claim of the session that is still at work."""
        self._replay, self._logged = Replay(document), 0
        if not ended and self._claim:
            self._replay.apply([self._claim])

    def _try_swap(self) -> None:
        """See that a stale swap is refused, if nothing else was tried here. Raises StoreError.

        That the right one gets through the claim has shown, unless the claim made the state file.
        """
        snapshot = self._log.snapshot
        if self._probe is None or self._probe.trials or snapshot is None:
            return
        if isinstance(self._log, Inside):
            self._log.swap(self._log.head)
            snapshot = self._log.snapshot or snapshot
        trial = stale_swap(self._place, snapshot)
        verdict = replace(self._probe, at=self._place.environment.now(), trials=(trial,))
        if refusal := verdict.refusal(lock_native=False):
            raise refusal
        self._replay.probe = verdict.record()

    # Compaction

    def _compact(self, *, ended: bool) -> None:
        if self._replay.changed:
            token = self._log.seal([End(self._replay.ended)] if ended else [])
            with no_gc():
                self._advance(self._replay.next(token), ended=ended)
        else:
            self._log.clear(b"" if ended else _encoded(self._claim))
            self._logged = 0

    def _advance(self, document: Document, *, ended: bool) -> None:
        """Keep the snapshot in the history, then put this one in its place."""
        if not self._log.inside and self._log.snapshot:
            self._archive.snapshot(self._replay.snapshot, self._log.snapshot.data)
        self._log.rewrite(document, b"" if ended else _encoded(self._claim))
        self._restart(document, ended=ended)

    @contextmanager
    def _fenced(self) -> Generator[None]:
        """Turn a refused swap into the error of a session that lost its state."""
        try:
            yield
        except ConflictError as error:
            lost = superseded(self._place, self.session, self._replay.snapshot.id)
            lost.doubtful = error.doubtful
            raise lost from error


def _encoded(claim: Claim | None) -> bytes:
    """Return the first records of a head while a session is at work: its claim."""
    return encode_records([claim]) if claim else b""


def _denied(place: StateStore, error: StoreAccessError) -> Notice:
    beside = f"{place.head_key}* and {place.history_prefix}*"
    return Notice(
        "warning",
        "the commit log is kept inside the state, since one beside it is denied: each commit "
        f"writes the whole state, and there is no history ({error.message})",
        f"to change that, allow {beside} to be read, written and deleted, and run "
        "dtm state move-log beside; `state.log: inline` says that this is meant",
        place.location,
    )
