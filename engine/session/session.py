"""A session: what one run records in a state. `engine.session.opening` opens it.

The order is claim (once a plan is approved), begin and done per operation, close. A session that never claims writes
nothing at all.
"""

from __future__ import annotations

import secrets as randomness
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from hashlib import sha256
from threading import RLock

import msgspec
from msgspec.structs import replace

from engine.address import Address
from engine.errors import DtmError, OutcomeUnknownError, StateError, StoreError, SupersededError
from engine.events import Notice
from engine.log import rescue_file
from engine.log.group_commit import GroupCommit, Ticket
from engine.log.probe import Probe
from engine.log.records import Begin, Cancelled, Done, Failed, Moved, Opened, OutputsSet, Record
from engine.log.rescue_file import Rescued
from engine.log.view import AUTO, View, where
from engine.log.writer import LogWriter
from engine.plan import Action
from engine.ports import Emit, Store
from engine.runtime.environment import Environment
from engine.secrets.marking import blotted, secrets_of
from engine.secrets.sealing import OUTPUTS, Redactor, Sealer
from engine.state import Pending, Resource, State, StateEntry, Written, same_content
from engine.stored.document import document_of, no_gc, state_of
from engine.stored.forms import plain_map, resource_form, tool_form
from engine.values import Attributes

OUTCOMES = (Done, Failed, Cancelled, Moved, OutputsSet)
"""Records worth rescuing: what happened, as opposed to what was about to."""


class Session:
    """Recording methods may be called from several threads; each returns a Ticket to wait for.

    `state` is what all records queued so far make of it. It may be read while nobody records; `entry` at any time.
    `damage` is why the state that stands there cannot be read; such a session can only replace it.
    """

    def __init__(
        self,
        store: Store,
        key: str,
        view: View,
        opening: Opened,
        environment: Environment,
        *,
        emit: Emit,
        redactor: Redactor | None = None,
        lock_lost: Callable[[], DtmError | None] = lambda: None,
        damage: StateError | None = None,
        log: str = AUTO,
        probe: Probe | None = None,
    ) -> None:
        self.location = where(store, key)
        self.id, self.command = opening.session, opening.command
        self._opening, self._environment, self._emit, self._redactor = (
            opening,
            environment,
            emit,
            redactor,
        )
        self._lock_lost, self.damage = lock_lost, damage
        self._writer = LogWriter(
            store, key, view, self.id, environment, log=log, probe=probe, emit=emit
        )
        self._base = state_of(view.replay.document(), self.location)
        self._entries = dict(self._base.entries)
        self._queue: GroupCommit | None = None
        self._sealer = Sealer(self._base.salt)
        self._before: dict[Address, StateEntry | None] = {}
        self._lock = RLock()
        self._seq = 0

    @property
    def state(self) -> State:
        """The state after all queued records. Raises StateError if the one that stands there is damaged."""
        if self.damage:
            raise self.damage
        return replace(self._base, entries=dict(self._entries))

    @property
    def lost(self) -> DtmError | None:
        """Why nothing more may be started: somebody took over, or commits fail for good."""
        return (self._queue.error if self._queue else None) or self._lock_lost()

    @property
    def serial(self) -> int:
        """That of the snapshot that now stands there, as far as this session knows."""
        return self._writer.serial

    @property
    def remembers(self) -> bool:
        """Whether earlier snapshots are kept: not by a log that stands inside the document."""
        return not self._writer.inside

    @property
    def claimed(self) -> bool:
        """Whether this session may record."""
        return self._queue is not None

    def entry(self, address: Address) -> StateEntry | None:
        """The entry after all queued records."""
        with self._lock:
            return self._entries.get(address)

    def waits_for(self, session: str) -> bool:
        """Whether that session left an operation begun, as far as can be read."""
        return any(
            entry.pending and entry.pending.session == session for entry in self._entries.values()
        )

    def claim(self, plan_digest: str = "", *, adopt: bool = False, mend: bool = False) -> None:
        """Become the one that may write: call it once a plan is approved, before the first record.

        `adopt`: make this place home of a copy. `mend`: go on where a damaged state stands, to replace it. Raises
        StateError for a copy or a damaged state, SupersededError if the state was changed since it was read.
        """
        if self.damage and not mend:
            raise self.damage
        if not adopt:
            self.refuse_copy()
        opened = self._opening
        lineage, salt = (
            self._base.id.lineage or str(uuid.uuid4()),
            self._base.salt or randomness.token_hex(16),
        )
        opened = msgspec.structs.replace(
            opened,
            at=self._environment.now(),
            lineage=lineage,
            salt=salt,
            home=self.location,
            plan=plan_digest,
        )
        self._writer.claim(opened)
        self._base = replace(
            self._base, id=replace(self._base.id, lineage=lineage), salt=salt, home=self.location
        )
        self._sealer, self.damage = Sealer(salt), None
        self._queue = GroupCommit(
            self._writer.append, self._writer.settle, background=self._environment.background
        )

    def refuse_copy(self) -> None:
        """Raise StateError if this is a copy: worth asking before a person is asked."""
        if self._base.home not in ("", self.location):
            raise copied(self._base, self.location)

    def begin(
        self,
        address: Address,
        action: Action,
        *,
        entry: StateEntry | None = None,
        deadline: str | None = None,
        digest: str = "",
    ) -> Ticket:
        """Say that an operation is about to be called; call it only once the ticket is durable.

        `entry` is what stands in the state meanwhile (for a create: options and edges), None leaves the present one.
        `deadline` is RFC 3339, `digest` that of the input. Raises what `lost` says.
        """
        sealed = self._sealed(entry) if entry else None
        with self._lock:
            if self.lost:
                raise self.lost
            current = self._entries.get(address)
            base = sealed or current or StateEntry(address)
            pending = Pending(
                action.value, self._environment.now(), self.id, self._next_seq(), None, deadline
            )
            pending = replace(pending, token=self._token(address, pending, current))
            form = (
                None
                if current and _same(base, current) and base.resource == current.resource
                else tool_form(base)
            )
            self._before[address] = current
            record = Begin(
                pending.seq,
                address.key,
                pending.action,
                pending.since,
                deadline,
                form,
                digest,
                pending.token,
            )
            return self._put(address, replace(base, pending=pending), record)

    def _token(self, address: Address, pending: Pending, before: StateEntry | None) -> str:
        """That of the operation which this one continues, else a new one."""
        old = before.pending if before else None
        first = old if old and old.action == pending.action else pending
        name = f"{self._base.id.lineage} {address} {first.action} {first.session} {first.seq}"
        return first.token or sha256(name.encode()).hexdigest()[:32]

    def done(self, address: Address, entry: StateEntry | None) -> Ticket:
        """Say that the operation ended well; `entry` is the new entry, None if the thing is gone.

        Never raises for a lost session: the outcome then goes to the rescue file.
        """
        sealed = replace(self._sealed(entry), pending=None) if entry else None
        with self._lock:
            current = self._entries.get(address)
            tool = resource = None
            if (
                sealed is not None
                and current is not None
                and sealed.resource
                and _same(sealed, current)
            ):
                resource = resource_form(sealed.resource)
            elif sealed is not None:
                tool = tool_form(sealed)
            return self._put(
                address,
                sealed,
                Done(self._next_seq(), address.key, self._answers(current), tool, resource),
            )

    def failed(self, address: Address, message: str, entry: StateEntry | None = None) -> Ticket:
        """Say that the operation failed and stays unfinished; `entry` is what is known of it now, None as it stands."""
        sealed, text = self._sealed(entry) if entry else None, self._clean(message)
        with self._lock:
            current = self._entries.get(address)
            base = sealed or current or StateEntry(address)
            pending = current.pending if current else None
            unfinished = replace(base, pending=replace(pending, message=text) if pending else None)
            form = tool_form(unfinished) if sealed else None
            return self._put(
                address,
                unfinished,
                Failed(self._next_seq(), address.key, self._answers(current), text, form),
            )

    def cancelled(self, address: Address) -> Ticket:
        """Say that a begun operation was never called: the entry is again what it was before."""
        return self.restored(address, self._before.get(address))

    def restored(self, address: Address, before: StateEntry | None) -> Ticket:
        """`cancelled` for who knows the entry from before."""
        with self._lock:
            answers = self._answers(self._entries.get(address))
            form = tool_form(before) if before else None
            return self._put(
                address, before, Cancelled(self._next_seq(), address.key, answers, form)
            )

    def moved(self, old: Address, entry: StateEntry, dependents: Iterable[Address] = ()) -> Ticket:
        """Say that the thing known as `old` now goes by `entry.address`.

        What depends on it says so in the same commit: an edge that leads nowhere would be forgotten by a destroy.
        """
        new, sealed = entry.address, self._sealed(entry)
        with self._lock:
            queue = self._claimed()
            self._entries.pop(old, None)
            self._entries[new] = sealed
            records = [Moved(self._next_seq(), old.key, tool_form(sealed))]
            for address in dependents:
                other = self._entries[address]
                other = replace(
                    other,
                    depends_on=tuple(new if edge == old else edge for edge in other.depends_on),
                )
                self._entries[address] = other
                records.append(Moved(self._next_seq(), address.key, tool_form(other)))
            return queue.add(*records)

    def set_outputs(self, outputs: Attributes) -> Ticket:
        """Record the root outputs, whole; unchanged ones cost nothing."""
        sealed = self._sealer.seal_map(outputs, OUTPUTS)
        with self._lock:
            if sealed == self._base.outputs:
                return Ticket.finished()
            self._base = replace(self._base, outputs=sealed)
            return self._claimed().add(OutputsSet(self._next_seq(), plain_map(sealed)))

    def flush(self) -> None:
        """Return once everything recorded so far is durable. Raises what `lost` says."""
        if self._queue:
            self._queue.flush()

    def replace(self, state: State, *, exact: bool = False) -> None:
        """Make these tools and outputs the next snapshot, whole or not at all (mv, rm, rollback, push).

        `exact` takes serial and lineage as they are given; otherwise equal content costs nothing and the serial is the
        next one. The session must have claimed.
        """
        queue = self._claimed()
        queue.flush()
        with self._lock:
            if not exact and same_content(state, self.state):
                return
            opening, base = self._opening, self._base
            written = Written(
                opening.version, self._environment.now(), opening.who, opening.command
            )
            number = state.id if exact else replace(base.id, serial=base.id.serial + 1)
            whole = replace(
                state, id=number, home=self.location, salt=state.salt or base.salt, written=written
            )
            with no_gc():
                queue.exclusively(lambda: self._writer.replace(document_of(whole)))
            self._base, self._entries = whole, dict(whole.entries)

    def _put(self, address: Address, entry: StateEntry | None, record: Record) -> Ticket:
        queue = self._claimed()
        if entry is None:
            self._entries.pop(address, None)
        else:
            self._entries[address] = entry
        return queue.add(record)

    def _claimed(self) -> GroupCommit:
        if self._queue is None:
            raise StateError("nothing can be recorded before the state is claimed")
        return self._queue

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def _answers(self, current: StateEntry | None) -> int:
        pending = current.pending if current else None
        return pending.seq if pending and pending.session == self.id else 0

    def _sealed(self, entry: StateEntry) -> StateEntry:
        """The entry without secrets: sealed where they are known as such, blotted out where they turn up in facts."""
        options = self._sealer.seal_map(entry.options, entry.address)
        resource = entry.resource
        if resource is not None:
            if self._redactor:
                resource = self._redactor.conceal_resource(resource)
            resource = self._sealer.seal_resource(
                replace(resource, id=_telling_nothing(resource, entry)), entry.address
            )
        return replace(entry, options=options, resource=resource)

    def _clean(self, text: str) -> str:
        return self._redactor.clean(text) if self._redactor else text

    def leave(self) -> DtmError | None:
        """Flush and compact; `engine.session.opening` calls it. Returns what went wrong, its hint naming the rescue file."""
        queue = self._queue
        if queue is None:
            return None
        queue.close()
        lost = self._lock_lost()
        if queue.error is None and lost is None:
            self._compact()
        outcomes = _outcomes(queue.rejected, queue.unsettled)
        if queue.error is not None and outcomes:
            path = self._rescue(outcomes)
            count = "1 outcome was" if len(outcomes) == 1 else f"{len(outcomes)} outcomes were"
            queue.error.hint = f"{count} saved to {path}: dtm state recover {path}"
        return queue.error or lost

    def _rescue(self, outcomes: Sequence[Record]) -> str:
        at, lineage = self._environment.now(), self._base.id.lineage
        name = f"errored-{lineage[:8]}-{at[:19].replace(':', '')}-{self.id[:4]}.dtm"
        rescued = Rescued(rescue_file.FORMAT, lineage, self.id, self.location, at, list(outcomes))
        return self._environment.keep(name, rescue_file.encode(rescued))

    def _compact(self) -> None:
        """Everything is durable by now: if this fails, the next session does it."""
        try:
            self._writer.compact()
        except (StoreError, OutcomeUnknownError, SupersededError) as error:
            self._emit(
                Notice(
                    "warning",
                    f"the log was not compacted, the next run will do it: {error.message}",
                    where=self.location,
                )
            )


def _outcomes(rejected: Sequence[Record], unsettled: Collection[Record]) -> list[Record]:
    """What is worth saving of what was not committed.

    An operation whose begin was refused too was never called: that is worth saving only where this begin may yet arrive,
    and would be waited for.
    """
    uncalled = {
        record.seq for record in rejected if isinstance(record, Begin) and record not in unsettled
    }
    return [
        record
        for record in rejected
        if isinstance(record, OUTCOMES)
        and not (isinstance(record, Cancelled) and record.answers in uncalled)
    ]


def _telling_nothing(resource: Resource, entry: StateEntry) -> str:
    """The id without secrets of the tool: the thing is then only found by its identity."""
    secrets = [
        secret for values in (entry.options, resource.outputs) for secret in secrets_of(values)
    ]
    return (
        blotted(resource.id, secrets)
        if secrets and resource.id != entry.address.dotted
        else resource.id
    )


def _same(one: StateEntry, other: StateEntry) -> bool:
    """Whether two entries are equal apart from resource and pending."""
    return (one.options, one.depends_on, one.protected) == (
        other.options,
        other.depends_on,
        other.protected,
    )


def copied(state: State, location: str) -> StateError:
    """The error of who wants to change a copy."""
    return StateError(
        f"this state is a copy: it stands at {location} and belongs to {state.home}",
        hint="to make this place its home: dtm state pull > copy.json, then dtm state push --adopt copy.json",
        where=location,
    )
