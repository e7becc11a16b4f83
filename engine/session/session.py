"""A session: what one run records in a state. `engine.session.opening` opens one.

The order is: claim once a plan is approved, begin and done for each operation, leave. A session
that never claims writes nothing.
"""

from __future__ import annotations

import secrets as randomness
from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec
from msgspec.structs import replace

from engine.address import Address
from engine.errors import DtmError, OutcomeUnknownError, StateError, StoreError, SupersededError
from engine.events import Notice
from engine.log import rescue_file
from engine.log.group_commit import GroupCommit, Ticket
from engine.log.history import prune_history
from engine.log.probe import Probe
from engine.log.records import Begin, Cancelled, Claim, Done, Failed, Moved, OutputsSet, Record
from engine.log.rescue_file import RescueFile
from engine.log.state_store import INLINE, StateStore
from engine.log.view import View
from engine.log.writer import LogWriter
from engine.plan import Action
from engine.ports import Emit
from engine.secrets.redaction import Redactor
from engine.secrets.sealing import Sealer
from engine.session.locking import LockOptions
from engine.session.working_state import SecretFilter, WorkingState
from engine.state import State, StateEntry, WriterInfo, has_same_content
from engine.stored.state_file import build_state, build_state_file, paused_gc
from engine.values import Attributes

OUTCOMES = (Done, Failed, Cancelled, Moved, OutputsSet)
"""The kinds of records that go to a rescue file: those of something that has happened."""


class SessionOptions(msgspec.Struct, frozen=True):
    """Options of a session: the user, the operation, and how the session behaves.

    `operation` is the command, such as `apply`; `who` is `user@host`; `version` is that of dtm.
    `history` is the number of earlier snapshots to keep. `probe` is as for `LogWriter`. `over` are
    the IDs of sessions that are known to be over, so that opening does not wait for them.
    """

    operation: str
    who: str
    version: str
    lock: LockOptions = LockOptions()
    history: int = 30
    probe: Probe | None = None
    redactor: Redactor | None = None
    over: Collection[str] = ()


class Recorder(msgspec.Struct, frozen=True):
    """The parts of a claimed session: the queue to the log, and the filter for secrets."""

    queue: GroupCommit
    secrets: SecretFilter


class Session:
    """One run that may write. Its methods may be called from several threads.

    Methods that record return a Ticket; its `wait` returns once the record is durable. `state` and
    `entry` include all records queued so far. `damage` is why the state cannot be read, None if it
    can; a session on a damaged state can only replace it.
    """

    def __init__(
        self,
        state_store: StateStore,
        view: View,
        claim: Claim,
        options: SessionOptions,
        emit: Emit,
        lock_lost: Callable[[], DtmError | None] = lambda: None,
    ) -> None:
        self.location, self.id, self.command = state_store.location, claim.session, claim.command
        self.damage = view.damage
        self._state_store, self._claim, self._options = state_store, claim, options
        self._emit, self._lock_lost = emit, lock_lost
        self._writer = LogWriter(state_store, view, self.id, probe=options.probe, emit=emit)
        base = build_state(view.replay.state_file(), self.location)
        self._working = WorkingState(base, self.id, state_store.environment)
        self._recorder: Recorder | None = None

    @property
    def state(self) -> State:
        """The state after all queued records. Raises StateError if the state is damaged.

        This copies all entries: use `entry` for a single tool.
        """
        if self.damage:
            raise self.damage
        with self._working.lock:
            return self._working.state

    @property
    def lost(self) -> DtmError | None:
        """The error because of which nothing more may start; None while all is well.

        Either another session took over, or commits fail.
        """
        return (self._recorder and self._recorder.queue.error) or self._lock_lost()

    @property
    def serial(self) -> int:
        """The serial of the current snapshot, as far as this session knows."""
        return self._writer.serial

    @property
    def claimed(self) -> bool:
        """True once this session has claimed the state and may record."""
        return self._recorder is not None

    def entry(self, address: Address) -> StateEntry | None:
        """Return the entry after all queued records."""
        with self._working.lock:
            return self._working.get(address)

    def claim(
        self, plan_digest: str = "", *, adopt: bool = False, repair: bool = False, move: str = ""
    ) -> None:
        """Claim the state: from now on the writes of other sessions are refused.

        Call it once a plan is approved, before the first record. `plan_digest` is recorded.

        `adopt` makes this location the home of a copy. `repair` accepts a damaged state, to replace
        it. `move` moves the commit log, see `LogWriter.claim`. Raises StateError for a copy or a
        damaged state, SupersededError if the state was changed since it was read.
        """
        if self.damage and not repair:
            raise self.damage
        if not adopt:
            self.check_not_copy()
        base = self._working.base
        lineage = base.id.lineage or _new_lineage()
        salt = base.salt or randomness.token_hex(16)
        environment = self._state_store.environment
        self._claim = replace(
            self._claim,
            at=environment.now(),
            lineage=lineage,
            salt=salt,
            home=self.location,
            plan=plan_digest,
        )
        self._writer.claim(self._claim, move)
        # Only after the claim: a refused session must not show a lineage that was never written.
        self._working.set_claimed(lineage, salt, self.location)
        self.damage = None
        writer, background = self._writer, environment.background
        # Last, since it allows recording: everything else must be in place by then.
        self._recorder = Recorder(
            GroupCommit(writer.append, writer.compact_if_long, background=background),
            SecretFilter(Sealer(salt), self._options.redactor),
        )

    def check_not_copy(self) -> None:
        """Raise StateError if the state is a copy, which only `claim(adopt=True)` accepts."""
        base = self._working.base
        if base.home not in ("", self.location):
            raise copy_error(base, self.location)

    def begin(
        self,
        address: Address,
        action: Action,
        *,
        entry: StateEntry | None = None,
        deadline: str | None = None,
    ) -> Ticket:
        """Record that an operation is about to be called; call it once the ticket is durable.

        `entry` is the entry during the operation (for a create: options and dependencies), None to
        keep the current one. `deadline` is RFC 3339. Raises `lost`,
        if it is set.

            session.begin(address, Action.CREATE, entry=entry).wait()
            resource = provider.create(options, call)
        """
        recorder = self._require_claim()
        entry = recorder.secrets.filter_optional(entry)
        with self._working.lock:
            # Under the lock, so that no operation begins after another thread saw the loss.
            if self.lost:
                raise self.lost
            return recorder.queue.add(self._working.begin(address, action, entry, deadline))

    def done(self, address: Address, entry: StateEntry | None) -> Ticket:
        """Record that an operation succeeded; `entry` is None if the resource is gone."""
        # `lost` is not raised: the call was made. If the session is lost, the outcome goes to the
        # rescue file.
        recorder = self._require_claim()
        entry = recorder.secrets.filter_optional(entry)
        with self._working.lock:
            return recorder.queue.add(self._working.done(address, entry))

    def failed(self, address: Address, message: str, entry: StateEntry | None = None) -> Ticket:
        """Record that an operation failed and stays unfinished.

        `entry` is the new entry, None to keep the current one.
        """
        recorder = self._require_claim()
        entry, text = recorder.secrets.filter_optional(entry), recorder.secrets.filter_text(message)
        with self._working.lock:
            return recorder.queue.add(self._working.failed(address, text, entry))

    def cancelled(self, address: Address) -> Ticket:
        """Record that a begun operation was never called; restore the entry from before it."""
        return self.cancelled_to(address, self._working.entry_before(address))

    def cancelled_to(self, address: Address, before: StateEntry | None) -> Ticket:
        """Record that an operation was never called; restore the entry `before`, None for none.

        This is `cancelled` for an operation that another session began.
        """
        queue = self._require_claim().queue
        with self._working.lock:
            return queue.add(self._working.cancelled(address, before))

    def moved(self, old: Address, entry: StateEntry, dependents: Iterable[Address] = ()) -> Ticket:
        """Record that the tool `old` has moved to `entry.address`.

        `dependents` are the tools whose dependencies change with it.
        """
        recorder = self._require_claim()
        entry = recorder.secrets.filter_entry(entry)
        with self._working.lock:
            # All in one commit: a dependency on an address that no longer exists would be ignored
            # by a destroy, which would then delete in the wrong order.
            return recorder.queue.add(*self._working.moved(old, entry, dependents))

    def set_outputs(self, outputs: Attributes) -> Ticket:
        """Record all root outputs; do nothing if they are unchanged."""
        recorder = self._require_claim()
        filtered = recorder.secrets.filter_outputs(outputs)
        with self._working.lock:
            record = self._working.set_outputs(filtered)
            return recorder.queue.add(record) if record else Ticket.finished()

    def flush(self) -> None:
        """Return once everything recorded so far is durable. Raises the error of the log."""
        if self._recorder:
            self._recorder.queue.flush()

    def replace(self, state: State, *, exact: bool = False) -> None:
        """Write these tools and outputs as the next snapshot (`state mv`, `rm`, `push` and others).

        Do nothing if the content is unchanged. With `exact` write it in any case, with the serial
        and lineage of `state`. The session must have claimed.
        """
        queue = self._require_claim().queue
        # Records that are still queued would be written behind the new snapshot, and applied to it.
        queue.flush()
        with self._working.lock:
            if not exact and has_same_content(state, self.state):
                return
            claim, base, now = self._claim, self._working.base, self._state_store.environment.now()
            number = state.id if exact else replace(base.id, serial=base.id.serial + 1)
            whole = replace(
                state,
                id=number,
                home=self.location,
                salt=state.salt or base.salt,
                writer=WriterInfo(claim.version, now, claim.who, claim.command),
            )
            with paused_gc():
                queue.run_exclusively(lambda: self._writer.replace(build_state_file(whole)))
            self._working.reset(whole)

    def move_log(self, log: str, *, dry_run: bool = False) -> bool:
        """Claim the state and move its commit log to the placement `log`, INLINE or SEPARATE.

        Return whether there is anything to move. With `dry_run` only return that.
        Raises StateError for a damaged state, for a copy, and if there is no state.
        """
        state = self.state
        self.check_not_copy()
        if not state.id.lineage and not state.entries:
            raise StateError(
                f"there is no state at {self.location}", hint="create one with dtm apply"
            )
        if self._writer.inline is (log == INLINE) and not self._writer.is_placement_pending:
            return False
        if not dry_run:
            self.claim(move=log)
        return True

    def _require_claim(self) -> Recorder:
        if self._recorder is None:
            raise StateError("nothing can be recorded before the state is claimed")
        return self._recorder

    def leave(self, *, clean: bool) -> DtmError | None:
        """Flush, compact, and save outcomes that could not be committed; return the error, if any.

        The hint of the error names the rescue file. With `clean`, after a run without an error, the
        history is pruned, too.
        """
        if self._recorder is None:
            return None
        queue = self._recorder.queue
        queue.close()
        lost = self._lock_lost()
        # A session that lost its lock leaves the compaction to the session that comes after it.
        if queue.error is None and lost is None:
            _compact(self._writer, self.location, self._emit)
            if clean and not self._writer.inline:  # an inline log has no history
                _prune(self._state_store, self._options.history, self.serial, self._emit)
        outcomes = _worth_saving(queue.rejected, queue.maybe_committed)
        if queue.error is not None and outcomes:
            lineage = self._working.base.id.lineage
            path = _write_rescue_file(
                self._state_store,
                RescueFile(
                    rescue_file.FORMAT,
                    lineage,
                    self.id,
                    self.location,
                    self._state_store.environment.now(),
                    outcomes,
                ),
            )
            count = "1 outcome was" if len(outcomes) == 1 else f"{len(outcomes)} outcomes were"
            queue.error.hint = f"{count} saved to {path}: dtm state recover {path}"
        return queue.error or lost


def _new_lineage() -> str:
    import uuid  # the import takes 2 ms, and only a new state needs it

    return str(uuid.uuid4())


def _compact(writer: LogWriter, location: str, emit: Emit) -> None:
    """Compact the log; a failure is only a warning."""
    # Everything is durable, so nothing is lost: the next session compacts.
    try:
        writer.compact()
    except (StoreError, OutcomeUnknownError, SupersededError) as error:
        text = f"the commit log was not compacted, so the next run compacts it: {error.message}"
        emit(Notice("warning", text, where=location))


def _prune(state_store: StateStore, keep: int, serial: int, emit: Emit) -> None:
    """Prune the history; a failure is only a warning, since the run itself has succeeded."""
    try:
        prune_history(state_store, keep, serial)
    except (StoreError, OutcomeUnknownError) as error:
        emit(Notice("warning", f"old snapshots were not deleted: {error.message}", error.hint))


def _write_rescue_file(state_store: StateStore, rescued: RescueFile) -> str:
    """Save outcomes that could not be committed; return the path of the rescue file."""
    at = rescued.at[:19].replace(":", "")
    name = f"errored-{rescued.lineage[:8]}-{at}-{rescued.session[:4]}.dtm"
    return state_store.environment.save_fallback(name, rescue_file.encode(rescued))


def _worth_saving(rejected: Sequence[Record], maybe_committed: Collection[Record]) -> list[Record]:
    """Return the uncommitted records that belong in the rescue file."""
    # An operation whose begin record was refused was never called, and the log does not know of
    # it. If the begin record may have reached the log after all, the next run would take the
    # operation for interrupted, so its cancellation is saved.
    uncalled = {
        record.seq
        for record in rejected
        if isinstance(record, Begin) and record not in maybe_committed
    }
    return [
        record
        for record in rejected
        if isinstance(record, OUTCOMES)
        and not (isinstance(record, Cancelled) and record.answers in uncalled)
    ]


def copy_error(state: State, location: str) -> StateError:
    """Return the error of a session that would change a copy."""
    return StateError(
        f"this state is a copy: it belongs to {state.home}",
        hint="make this location its home: dtm state pull > copy.json, "
        "then dtm state push --adopt copy.json",
        where=location,
    )
