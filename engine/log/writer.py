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
from engine.log.placement import InlineLog, SeparateLog, is_placement_pending, open_log
from engine.log.probe import Probe, explain_refused_swaps, try_stale_swap
from engine.log.records import Claim, End, Record, encode_records
from engine.log.replay import Replay
from engine.log.state_store import INLINE, SEPARATE, StateStore
from engine.log.view import View, superseded_error
from engine.ports import Emit
from engine.stored.state_file import StateFile, paused_gc


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
        self._log = open_log(place, view, session)
        self._replay = view.replay
        self._claim: Claim | None = None
        self._logged = 0
        self._old_head_version = None if view.inline else view.head_version
        # Damaged bytes stay untouched until there is another state to put in their place.
        self._replaces_damage = view.damage is not None

    @property
    def serial(self) -> int:
        """The serial of the snapshot which the log continues."""
        return self._replay.snapshot.serial

    @property
    def inline(self) -> bool:
        """Tell whether the log stands inside the state file."""
        return self._log.inline

    @property
    def is_placement_pending(self) -> bool:
        """See `placement.is_placement_pending`."""
        return is_placement_pending(self._view)

    def claim(self, claim: Claim, move: str = "") -> None:
        """Make the first swap: from here on every earlier session is refused.

        `move` is where the log stands from now on, INLINE or SEPARATE, "" for where
        it is already. Raises also StoreError, see `engine.log.probe`. Where a damaged state
        file stands nothing is swapped before `replace`.
        """
        self._claim = claim
        if refusal := self._probe and self._probe.refusal(lock_native=False):
            raise refusal
        if self._probe and self._probe.trials:
            self._replay.probe = self._probe.record()
        if self._replaces_damage:
            self._replay.apply([claim])
            return
        with self._fence(), explain_refused_swaps(self._place):
            if self._view.inline and (self.is_placement_pending or move == SEPARATE):
                self._find_old_head()
            new = self._prepare_head(claim)
            self._log.commit(encode_records([claim]), first=True)
            self._replay.apply([claim])
            if new and move != INLINE:
                self._place_new_log()
            if move == INLINE and not self.inline:
                self._move_to_inline()
            elif move == SEPARATE and self.inline:
                self._move_to_separate()
            self._test_stale_swap()

    def _prepare_head(self, claim: Claim) -> bool:
        """Find the head where it can be swapped; return whether its place is still to choose."""
        view = self._view
        if view.inline:
            return self.is_placement_pending
        if view.head is None or view.replaced:
            self._archive.keep_replaced(view)
            self._start_inline(replace(view.document, dtm=claim.version, probe=self._replay.probe))
            return True
        if view.head.next:
            assert isinstance(self._log, SeparateLog)  # only a head beside is ever sealed
            if not view.compacted and view.snapshot:
                self._archive.keep_snapshot(self._replay.snapshot, view.snapshot.data)
            self._replay = self._log.finish_compaction(view).replay
        return False

    def append(self, records: Sequence[Record], data: bytes) -> None:
        """Make records durable; `data` is their encoding."""
        with self._fence():
            self._log.commit(data)
            self._logged += len(data)
            self._replay.apply(records)

    def compact_if_long(self) -> None:
        """Compact in mid-session if the log has grown too long; nothing waits for it."""
        if self._logged > max(self._place.environment.limits.compact_after, self._log.size):
            with self._fence():
                self._compact(ended=False)

    def compact(self) -> None:
        """End the session: what was recorded becomes the next snapshot, if that differs."""
        with self._fence():
            self._replay.apply([End(self._place.environment.now())])
            self._compact(ended=True)

    def replace(self, document: StateFile) -> None:
        """Make this document the next snapshot, whatever was recorded.

        Its id is set here, its serial is not. A session that dies in between leaves the old state,
        never a mixture.
        """
        with self._fence():
            document = replace(document, probe=self._replay.probe)
            deferred, self._replaces_damage = self._replaces_damage, False
            if deferred:
                self._archive.keep_replaced(self._view)
                self._start_inline(document)
            token = self._log.seal([])
            self._write_snapshot(replace(document, id=token), ended=False)
            if deferred:
                self._place_new_log()

    # Where the log stands

    def _start_inline(self, document: StateFile) -> None:
        """Have the next swap write this document with the head inside it.

        The records of a head that belongs to another snapshot are not taken along.
        """
        head = Head(document.id, self.session, self._log.head.seq)
        self._log = InlineLog(self._place, self.session, head, self._view.snapshot, document)
        self._replay = Replay(document)

    def _place_new_log(self) -> None:
        """Bring a new log to where it is to stand; it stays inside where beside is denied."""
        place = self._place
        if place.log == INLINE:
            return
        try:
            self._move_to_separate()
        except StoreAccessError as error:
            if place.log == SEPARATE:
                raise
            self._emit(_inline_notice(place, error))

    def _find_old_head(self) -> None:
        """Note the head that was left beside a state file when its log moved inside.

        A head is replaced, never deleted. Its version must be from before the claim: a session that
        has lost the state since, and does not know it, would else replace the head of its
        successor.
        """
        with suppress(StoreAccessError):  # a client that must not read it cannot write it either
            old = self._place.read(self._place.head_key)
            self._old_head_version = old.version if old else None

    def _move_to_separate(self) -> None:
        """Write an empty head, then the state file that refers to it, then the claim."""
        inline = self._log
        assert isinstance(inline, InlineLog)
        document = self._replay.with_new_id(self._place.environment.token())
        if self._replay.changed:
            self._archive.keep_snapshot(self._replay.snapshot, inline.body)
        separate = SeparateLog(
            self._place, self.session, inline.head, inline.snapshot, self._old_head_version
        )
        separate.swap(Head(document.id, self.session, 0))
        separate.write_state_file(document)
        self._log = separate
        separate.swap(separate.head.append(_encode_claim(self._claim)))
        self._restart(document)

    def _move_to_inline(self) -> None:
        """Seal the head beside, which ends it for every session, then write it inside.

        A session that dies in between leaves an unfinished compaction.
        """
        separate = self._log
        assert isinstance(separate, SeparateLog)
        document = self._replay.with_new_id(separate.seal([]))
        inline = InlineLog(self._place, self.session, separate.head, separate.snapshot, document)
        inline.swap(Head(document.id, self.session, 0))
        separate.delete_chunks(separate.head)
        self._log = inline
        inline.commit(_encode_claim(self._claim))
        self._restart(document)

    def _restart(self, document: StateFile, *, ended: bool = False) -> None:
        """Begin again with an empty log, or with the claim of the session that is still at work."""
        self._replay, self._logged = Replay(document), 0
        if not ended and self._claim:
            self._replay.apply([self._claim])

    def _test_stale_swap(self) -> None:
        """See that a stale swap is refused, if nothing else was tried here. Raises StoreError.

        That the right one gets through the claim has shown, unless the claim made the state file.
        """
        snapshot = self._log.snapshot
        if self._probe is None or self._probe.trials or snapshot is None:
            return
        if isinstance(self._log, InlineLog):
            self._log.swap(self._log.head)
            snapshot = self._log.snapshot or snapshot
        trial = try_stale_swap(self._place, snapshot)
        verdict = replace(self._probe, at=self._place.environment.now(), trials=(trial,))
        if refusal := verdict.refusal(lock_native=False):
            raise refusal
        self._replay.probe = verdict.record()

    # Compaction

    def _compact(self, *, ended: bool) -> None:
        if self._replay.changed:
            token = self._log.seal([End(self._replay.ended)] if ended else [])
            with paused_gc():
                self._write_snapshot(self._replay.next_snapshot(token), ended=ended)
        else:
            self._log.reset(b"" if ended else _encode_claim(self._claim))
            self._logged = 0

    def _write_snapshot(self, document: StateFile, *, ended: bool) -> None:
        """Keep the snapshot in the history, then put this one in its place."""
        if not self._log.inline and self._log.snapshot:
            self._archive.keep_snapshot(self._replay.snapshot, self._log.snapshot.data)
        self._log.replace_snapshot(document, b"" if ended else _encode_claim(self._claim))
        self._restart(document, ended=ended)

    @contextmanager
    def _fence(self) -> Generator[None]:
        """Turn a refused swap into the error of a session that lost its state."""
        try:
            yield
        except ConflictError as error:
            lost = superseded_error(self._place, self.session, self._replay.snapshot.id)
            lost.outcome_unknown = error.outcome_unknown
            raise lost from error


def _encode_claim(claim: Claim | None) -> bytes:
    """Return the first records of a head while a session is at work: its claim."""
    return encode_records([claim]) if claim else b""


def _inline_notice(place: StateStore, error: StoreAccessError) -> Notice:
    separate = f"{place.head_key}* and {place.history_prefix}*"
    return Notice(
        "warning",
        "the commit log is kept inside the state, since one beside it is denied: each commit "
        f"writes the whole state, and there is no history ({error.message})",
        f"to change that, allow {separate} to be read, written and deleted, and run "
        "dtm state move-log beside; `state.log: inline` says that this is meant",
        place.location,
    )
