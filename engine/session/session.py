"""A session: what one run records in a state. `engine.session.opening` opens it.

The order is claim (once a plan is approved), begin and done for each operation, leave. A session
that never claims writes nothing at all.
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
"""Records worth rescuing: they say what happened, not what was about to."""


class SessionOptions(msgspec.Struct, frozen=True):
    """The person who opens a session, and how the session goes about it.

    `who` is `user@host`. `history` is how many earlier snapshots are kept. `probe` is what was
    tried on this store, to be recorded; one without trials is completed on the state file itself.
    `over` are ids of sessions known to have ended, whose silence need not be waited for.
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
    """The parts of a session that has claimed: the way into the log, and what conceals secrets."""

    queue: GroupCommit
    secrets: SecretFilter


class Session:
    """One run that may write. Recording methods may be called from several threads.

    Each of them returns a Ticket to wait for. `state` is what all records queued so far make of the
    state; ask for it while nothing records, since it copies all entries. `entry` may be asked at
    any time. `damage` is why the state that stands there cannot be read: such a session can only
    replace it.
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
        self._recording: Recorder | None = None

    @property
    def state(self) -> State:
        """The state after all queued records; raises StateError if a damaged one stands there."""
        if self.damage:
            raise self.damage
        with self._working.lock:
            return self._working.state

    @property
    def lost(self) -> DtmError | None:
        """Why nothing more may be started: another session took over, or commits fail for good."""
        return (self._recording and self._recording.queue.error) or self._lock_lost()

    @property
    def serial(self) -> int:
        """The serial of the snapshot that stands there, as far as this session knows."""
        return self._writer.serial

    @property
    def claimed(self) -> bool:
        """Tell whether this session may record."""
        return self._recording is not None

    def entry(self, address: Address) -> StateEntry | None:
        """Return the entry after all queued records."""
        with self._working.lock:
            return self._working.get(address)

    def claim(
        self, plan_digest: str = "", *, adopt: bool = False, repair: bool = False, move: str = ""
    ) -> None:
        """Become the session that may write: once a plan is approved, before the first record.

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
        self._working.set_identity(lineage, salt, self.location)
        self.damage = None
        writer, background = self._writer, environment.background
        self._recording = Recorder(
            GroupCommit(writer.append, writer.compact_if_long, background=background),
            SecretFilter(Sealer(salt), self._options.redactor),
        )

    def check_not_copy(self) -> None:
        """Raise StateError if this is a copy: worth asking before the user is asked."""
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
        digest: str = "",
    ) -> Ticket:
        """Record that an operation is about to be called; call it only once the ticket is durable.

        `entry` is what stands in the state meanwhile (for a create: options and edges), None leaves
        the present one. `deadline` is RFC 3339, `digest` that of the input. Raises what `lost`
        says.
        """
        recorder = self._recorder()
        entry = recorder.secrets.filter_optional(entry)
        with self._working.lock:
            if self.lost:
                raise self.lost
            return recorder.queue.add(self._working.begin(address, action, entry, deadline, digest))

    def done(self, address: Address, entry: StateEntry | None) -> Ticket:
        """Record that the operation ended well, with its new entry; None if the resource is gone.

        Never raises for a lost session: the outcome then goes to the rescue file.
        """
        recorder = self._recorder()
        entry = recorder.secrets.filter_optional(entry)
        with self._working.lock:
            return recorder.queue.add(self._working.done(address, entry))

    def failed(self, address: Address, message: str, entry: StateEntry | None = None) -> Ticket:
        """Record that the operation failed and stays unfinished.

        `entry` is what is known of it now, None as it stands.
        """
        recorder = self._recorder()
        entry, text = recorder.secrets.filter_optional(entry), recorder.secrets.filter_text(message)
        with self._working.lock:
            return recorder.queue.add(self._working.failed(address, text, entry))

    def cancelled(self, address: Address) -> Ticket:
        """Record that a begun operation was never called: the entry is what it was before."""
        return self.cancelled_to(address, self._working.entry_before(address))

    def cancelled_to(self, address: Address, before: StateEntry | None) -> Ticket:
        """Record that an operation was never called, where the entry from before it is known."""
        queue = self._recorder().queue
        with self._working.lock:
            return queue.add(self._working.cancelled(address, before))

    def moved(self, old: Address, entry: StateEntry, dependents: Iterable[Address] = ()) -> Ticket:
        """Record that the resource known as `old` now goes by `entry.address`.

        The edges of its `dependents` follow in the same commit: an edge that leads nowhere would be
        forgotten by a destroy.
        """
        recorder = self._recorder()
        entry = recorder.secrets.filter_entry(entry)
        with self._working.lock:
            return recorder.queue.add(*self._working.moved(old, entry, dependents))

    def set_outputs(self, outputs: Attributes) -> Ticket:
        """Record the root outputs, all of them; unchanged ones cost nothing."""
        recorder = self._recorder()
        concealed = recorder.secrets.filter_outputs(outputs)
        with self._working.lock:
            record = self._working.set_outputs(concealed)
            return recorder.queue.add(record) if record else Ticket.finished()

    def flush(self) -> None:
        """Return once everything recorded so far is durable. Raises what `lost` says."""
        if self._recording:
            self._recording.queue.flush()

    def replace(self, state: State, *, exact: bool = False) -> None:
        """Make these tools and outputs the next snapshot, or change nothing (mv, rm, push...).

        `exact` takes serial and lineage as they are given; otherwise equal content costs nothing
        and the serial is the next one. The session must have recorder.
        """
        queue = self._recorder().queue
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
        """Claim, and move the commit log INLINE the state file or SEPARATE it.

        Returns whether it stood elsewhere; where it did not, and in a dry run, nothing is recorder.
        Raises StateError for a damaged state, a copy, and where there is no state.
        """
        state = self.state
        self.check_not_copy()
        if not state.id.lineage and not state.entries:
            raise StateError(f"there is no state at {self.location}", hint="dtm apply makes one")
        if self._writer.inline is (log == INLINE) and not self._writer.is_placement_pending:
            return False
        if not dry_run:
            self.claim(move=log)
        return True

    def _recorder(self) -> Recorder:
        if self._recording is None:
            raise StateError("nothing can be recorded before the state is claimed")
        return self._recording

    def leave(self, *, clean: bool) -> DtmError | None:
        """Flush and compact; return what went wrong, its hint naming the rescue file.

        A run that ended `clean` drops old history, too.
        """
        if self._recording is None:
            return None
        queue = self._recording.queue
        queue.close()
        lost = self._lock_lost()
        if queue.error is None and lost is None:
            _compact(self._writer, self.location, self._emit)
            if clean and not self._writer.inline:  # a log inside the state file has no history
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
    import uuid  # takes 2 ms, and only a new state needs it

    return str(uuid.uuid4())


def _compact(writer: LogWriter, location: str, emit: Emit) -> None:
    """Compact. If that fails the next session does it: everything is durable by now."""
    try:
        writer.compact()
    except (StoreError, OutcomeUnknownError, SupersededError) as error:
        text = f"the log was not compacted, the next run will do it: {error.message}"
        emit(Notice("warning", text, where=location))


def _prune(state_store: StateStore, keep: int, serial: int, emit: Emit) -> None:
    """Drop what is too old; the run is done, so a failure is only a warning."""
    try:
        prune_history(state_store, keep, serial)
    except (StoreError, OutcomeUnknownError) as error:
        emit(Notice("warning", f"old snapshots were not dropped: {error.message}", error.hint))


def _write_rescue_file(state_store: StateStore, rescued: RescueFile) -> str:
    """Save outcomes that could not be committed; return the path of the rescue file."""
    at = rescued.at[:19].replace(":", "")
    name = f"errored-{rescued.lineage[:8]}-{at}-{rescued.session[:4]}.dtm"
    return state_store.environment.save_fallback(name, rescue_file.encode(rescued))


def _worth_saving(rejected: Sequence[Record], maybe_committed: Collection[Record]) -> list[Record]:
    """Return what is worth saving of what was not committed.

    An operation whose begin record was refused too was never called: that is worth saving only
    where the begin record may yet arrive, and would be waited for.
    """
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
        f"this state is a copy: it stands at {location} and belongs to {state.home}",
        hint="to make this place its home: dtm state pull > copy.json, "
        "then dtm state push --adopt copy.json",
        where=location,
    )
