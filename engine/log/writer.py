"""The writes of one session to the commit log: claim, append, compact, move the log.

Every method may raise SupersededError: another session wrote first, and this one may write nothing
more.
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
    """The writer of one session. Not safe for concurrent use.

    `probe` is the result of testing the store. The state records it; None leaves what is recorded.
    If it has no trials, `claim` makes one with the state file itself.
    """

    def __init__(
        self,
        state_store: StateStore,
        view: View,
        session: str,
        *,
        probe: Probe | None = None,
        emit: Emit = lambda _: None,
    ) -> None:
        self._state_store, self._view, self.session = state_store, view, session
        self._probe, self._emit = probe, emit
        self._archive = Archive(state_store, session, emit)
        self._log = open_log(state_store, view, session)
        self._replay = view.replay
        self._claim: Claim | None = None
        self._logged = 0
        self._old_head_version = None if view.inline else view.head_version
        # Damaged bytes stay untouched until `replace` has another state to write in their place.
        self._replaces_damage = view.damage is not None

    @property
    def serial(self) -> int:
        """The serial of the snapshot that the log continues."""
        return self._replay.snapshot.serial

    @property
    def inline(self) -> bool:
        """True if the log is inside the state file."""
        return self._log.inline

    @property
    def is_placement_pending(self) -> bool:
        """True if the log is not placed yet, see `placement.is_placement_pending`."""
        return is_placement_pending(self._view)

    def claim(self, claim: Claim, move: str = "") -> None:
        """Commit the claim: from now on the writes of every earlier session are refused.

        `move` is the placement that the log moves to, INLINE or SEPARATE, "" to leave it. Raises
        also StoreError, see `engine.log.probe`. For a damaged state nothing is written before
        `replace`.
        """
        self._claim = claim
        if refusal := self._probe and self._probe.refusal(lock_native=False):
            raise refusal
        if self._probe and self._probe.trials:
            self._replay.probe = self._probe.record()
        if self._replaces_damage:
            self._replay.apply([claim])
            return
        with self._fence(), explain_refused_swaps(self._state_store):
            if self._view.inline and (self.is_placement_pending or move == SEPARATE):
                # Read before the claim. After the claim another session may have taken over and
                # written this head; this session would read that version and replace it.
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
        """Make the head ready for the claim; return whether its placement is still to be chosen."""
        view = self._view
        if view.inline:
            return self.is_placement_pending
        if view.head is None or view.replaced:
            # A new log starts inside the state file, whatever the settings say. Two first sessions
            # with different settings then swap the same object, and one of them is refused.
            self._archive.keep_replaced(view)
            self._start_inline(
                replace(view.state_file, dtm=claim.version, probe=self._replay.probe)
            )
            return True
        if view.head.next:
            assert isinstance(self._log, SeparateLog)  # an inline head is never sealed
            # The session that sealed it died. Its snapshot must be written before anything else,
            # since commits to a sealed head could be lost.
            if not view.compacted and view.snapshot:
                self._archive.keep_snapshot(self._replay.snapshot, view.snapshot.data)
            self._replay = self._log.finish_compaction(view).replay
        return False

    def append(self, records: Sequence[Record], data: bytes) -> None:
        """Commit records; they are durable on return. `data` is their encoding."""
        with self._fence():
            self._log.commit(data)
            self._logged += len(data)
            self._replay.apply(records)

    def compact_if_long(self) -> None:
        """Compact during the session if the log has grown too long."""
        # Wait until the log is at least as long as the snapshot: compactions then write no more
        # bytes than the commits did.
        if self._logged > max(self._state_store.environment.limits.compact_after, self._log.size):
            with self._fence():
                self._compact(ended=False)

    def compact(self) -> None:
        """End the session; write the next snapshot if the records changed anything."""
        with self._fence():
            self._replay.apply([End(self._state_store.environment.now())])
            self._compact(ended=True)

    def replace(self, state_file: StateFile) -> None:
        """Write this state file as the next snapshot, whatever was recorded.

        Its ID is set here, its serial is kept. A session that dies on the way leaves the old state
        or the new one, never a mixture.
        """
        with self._fence():
            state_file = replace(state_file, probe=self._replay.probe)
            damaged, self._replaces_damage = self._replaces_damage, False
            if damaged:
                self._archive.keep_replaced(self._view)
                self._start_inline(state_file)
            token = self._log.seal([])
            self._write_snapshot(replace(state_file, id=token), ended=False)
            if damaged:
                self._place_new_log()

    # Placement

    def _start_inline(self, state_file: StateFile) -> None:
        """Continue with an inline log in this state file; the next swap writes both."""
        # `seq` goes on from the old head, whose records are left behind: they belong to another
        # snapshot, and `Archive.keep_replaced` has saved them.
        head = Head(state_file.id, self.session, self._log.head.seq)
        self._log = InlineLog(
            self._state_store, self.session, head, self._view.snapshot, state_file
        )
        self._replay = Replay(state_file)

    def _place_new_log(self) -> None:
        """Move a new log to the placement in the settings.

        With AUTO it stays inline if access to a separate log is denied. Any other error is raised.
        """
        state_store = self._state_store
        if state_store.log == INLINE:
            return
        try:
            self._move_to_separate()
        except StoreAccessError as error:
            if state_store.log == SEPARATE:
                raise
            self._emit(_inline_notice(state_store, error))

    def _find_old_head(self) -> None:
        """Read the version of the separate head that an earlier move inline left behind."""
        # A separate head is never deleted, so a move back has to replace it. Denied access is
        # ignored here: the write will be denied too, and is handled there.
        with suppress(StoreAccessError):
            old = self._state_store.read(self._state_store.head_key)
            self._old_head_version = old.version if old else None

    def _move_to_separate(self) -> None:
        """Write an empty separate head, then the state file without a log, then the claim."""
        inline = self._log
        assert isinstance(inline, InlineLog)
        state_file = self._replay.with_new_id(self._state_store.environment.token())
        if self._replay.changed:
            self._archive.keep_snapshot(self._replay.snapshot, inline.body)
        separate = SeparateLog(
            self._state_store, self.session, inline.head, inline.snapshot, self._old_head_version
        )
        # The head comes first. A crash before the second write leaves the inline log in charge; in
        # the other order it would leave a state file whose log is missing.
        separate.swap(Head(state_file.id, self.session, 0))
        separate.write_state_file(state_file)
        self._log = separate
        separate.swap(separate.head.append(_encode_claim(self._claim)))
        self._restart(state_file)

    def _move_to_inline(self) -> None:
        """Seal the separate head, then write the state file with an inline log.

        A session that dies in between leaves an unfinished compaction.
        """
        separate = self._log
        assert isinstance(separate, SeparateLog)
        state_file = self._replay.with_new_id(separate.seal([]))
        inline = InlineLog(
            self._state_store, self.session, separate.head, separate.snapshot, state_file
        )
        inline.swap(Head(state_file.id, self.session, 0))
        separate.delete_chunks(separate.head)
        self._log = inline
        inline.commit(_encode_claim(self._claim))
        self._restart(state_file)

    def _restart(self, state_file: StateFile, *, ended: bool = False) -> None:
        """Continue from a new snapshot; the log holds only the claim of a running session."""
        self._replay, self._logged = Replay(state_file), 0
        if not ended and self._claim:
            self._replay.apply([self._claim])

    def _test_stale_swap(self) -> None:
        """Check that the store refuses a stale swap, if it was not probed. Raises StoreError.

        The claim has shown that the store accepts a current version.
        """
        snapshot = self._log.snapshot
        if self._probe is None or self._probe.trials or snapshot is None:
            return
        if isinstance(self._log, InlineLog):
            # The claim may have created the state file, which shows nothing about replacing it.
            self._log.swap(self._log.head)
            snapshot = self._log.snapshot or snapshot
        trial = try_stale_swap(self._state_store, snapshot)
        verdict = replace(self._probe, at=self._state_store.environment.now(), trials=(trial,))
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
            # The records are only claims, or operations that were all cancelled. The next snapshot
            # would equal this one.
            self._log.reset(b"" if ended else _encode_claim(self._claim))
            self._logged = 0

    def _write_snapshot(self, state_file: StateFile, *, ended: bool) -> None:
        """Copy the old snapshot to the history, then write this one."""
        # The copy comes first: in the other order a crash would lose the old snapshot.
        if not self._log.inline and self._log.snapshot:
            self._archive.keep_snapshot(self._replay.snapshot, self._log.snapshot.data)
        self._log.replace_snapshot(state_file, b"" if ended else _encode_claim(self._claim))
        self._restart(state_file, ended=ended)

    @contextmanager
    def _fence(self) -> Generator[None]:
        """Turn a refused swap into SupersededError."""
        try:
            yield
        except ConflictError as error:
            lost = superseded_error(self._state_store, self.session, self._replay.snapshot.id)
            lost.outcome_unknown = error.outcome_unknown
            raise lost from error


def _encode_claim(claim: Claim | None) -> bytes:
    """Encode the claim, which is the first record of each new head; return b"" without one."""
    return encode_records([claim]) if claim else b""


def _inline_notice(state_store: StateStore, error: StoreAccessError) -> Notice:
    separate = f"{state_store.head_key}* and {state_store.history_prefix}*"
    return Notice(
        "warning",
        "the commit log is kept inside the state file, because access to a separate log is denied: "
        f"each commit writes the whole state file, and there is no history ({error.message})",
        f"allow reading, writing and deleting {separate}, then run dtm state move-log beside; "
        "or set state.log: inline to keep it so without this warning",
        state_store.location,
    )
