"""The working state: the entries that a session changes, and the record of each change."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from threading import RLock

import msgspec
from msgspec.structs import replace

from engine.address import Address
from engine.log.records import Begin, Cancelled, Done, Failed, Moved, OutputsSet
from engine.plan import Action
from engine.runtime.environment import Environment
from engine.secrets.redaction import Redactor, redact
from engine.secrets.sealing import OUTPUTS_ADDRESS, Sealer
from engine.state import Pending, Resource, State, StateEntry
from engine.stored.forms import encode_map, resource_form, tool_form
from engine.values import Attributes, Secret, Value, find_leaves


class SecretFilter(msgspec.Struct, frozen=True):
    """The filter that keeps secrets out of what a session records.

    Values that are known to be secret become digests (sealing). Known secrets inside attributes and
    texts are replaced by `(sensitive)` (redaction).
    """

    sealer: Sealer
    redactor: Redactor | None = None

    def filter_optional(self, entry: StateEntry | None) -> StateEntry | None:
        """Filter an entry, if there is one."""
        return self.filter_entry(entry) if entry else None

    def filter_entry(self, entry: StateEntry) -> StateEntry:
        """Return the entry without secrets."""
        # Sealing a new secret takes long, so callers filter before they take the lock of the
        # working state: under it all other workers would wait.
        options = self.sealer.seal_map(entry.options, entry.address)
        resource = entry.resource
        if resource is not None:
            if self.redactor:
                resource = self.redactor.mark_resource(resource)
            resource = replace(resource, id=_filtered_id(resource, entry))
            resource = self.sealer.seal_resource(resource, entry.address)
        return replace(entry, options=options, resource=resource)

    def filter_outputs(self, outputs: Attributes) -> dict[str, Value]:
        """Return the root outputs without secrets."""
        return self.sealer.seal_map(outputs, OUTPUTS_ADDRESS)

    def filter_text(self, text: str) -> str:
        """Return a text without known secrets."""
        return self.redactor.redact(text) if self.redactor else text


def _filtered_id(resource: Resource, entry: StateEntry) -> str:
    """Return the ID without secrets."""
    # A redacted ID no longer finds the resource; its identity does. An ID that is the address holds
    # no secret, even if a secret happens to be a part of it.
    secrets = find_leaves(entry.options, Secret) + find_leaves(resource.outputs, Secret)
    if secrets and resource.id != entry.address.dotted:
        return redact(resource.id, secrets)
    return resource.id


class WorkingState:
    """The entries after all changes of this session, durable or not.

    Each method that changes an entry returns the record of the change. Entries that are passed in
    must have no secrets. Callers hold `lock` until they have queued the record, so that records
    reach the log in the order of the changes.

        with working.lock:
            queue.add(working.done(address, entry))
    """

    def __init__(self, base: State, session: str, environment: Environment) -> None:
        self.base, self.lock = base, RLock()
        # One dict that only this object changes: a copy for each change would make a run quadratic.
        self._entries = dict(base.entries)
        self._session, self._environment = session, environment
        self._before: dict[Address, StateEntry | None] = {}
        self._seq = 0

    @property
    def state(self) -> State:
        """The state as a value. It is a copy: the cost is linear in the number of tools."""
        return replace(self.base, entries=dict(self._entries))

    def get(self, address: Address) -> StateEntry | None:
        """Return the entry of a tool, None if it has none."""
        return self._entries.get(address)

    def reset(self, state: State) -> None:
        """Continue from another state, whatever was changed before."""
        self.base, self._entries = state, dict(state.entries)

    def set_claimed(self, lineage: str, salt: str, home: str) -> None:
        """Set what the claim gave to the state: lineage, salt and home."""
        state_id = replace(self.base.id, lineage=lineage)
        self.base = replace(self.base, id=state_id, salt=salt, home=home)

    def set_outputs(self, outputs: dict[str, Value]) -> OutputsSet | None:
        """Set all root outputs; return None if they are unchanged."""
        if outputs == self.base.outputs:
            return None
        self.base = replace(self.base, outputs=outputs)
        return OutputsSet(self._next_seq(), encode_map(outputs))

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def begin(
        self,
        address: Address,
        action: Action,
        entry: StateEntry | None,
        deadline: str | None,
    ) -> Begin:
        """Mark an operation as begun; a provider is about to be called."""
        current = self._entries.get(address)
        base = entry or current or StateEntry(address)
        pending = Pending(
            action.value, self._environment.now(), self._session, self._next_seq(), None, deadline
        )
        pending = replace(pending, token=self._token(address, pending, current))
        unchanged = current and _same(base, current) and base.resource == current.resource
        # Most operations leave the rest of the entry alone. Repeating it in each record would make
        # the log several times as large.
        form = None if unchanged else tool_form(base)
        self._before[address] = current
        self._put(address, replace(base, pending=pending))
        return Begin(
            pending.seq,
            address.key,
            pending.action,
            pending.since,
            deadline,
            form,
            pending.token,
        )

    def _token(self, address: Address, pending: Pending, before: StateEntry | None) -> str:
        """Return the token of the operation that this one continues, or else a new token."""
        # The token stays the same however many sessions an operation takes. A provider that gave
        # it to a system recognizes what an earlier attempt created.
        old = before.pending if before else None
        first = old if old and old.action == pending.action else pending
        name = f"{self.base.id.lineage} {address} {first.action} {first.session} {first.seq}"
        return first.token or sha256(name.encode()).hexdigest()[:32]

    def done(self, address: Address, entry: StateEntry | None) -> Done:
        """Mark an operation as done; `entry` is None if the resource is gone."""
        current = self._entries.get(address)
        answers = self._begin_seq(current)
        tool = resource = None
        if entry is not None:
            entry = replace(entry, pending=None)
            if current is not None and entry.resource and _same(entry, current):
                resource = resource_form(entry.resource)  # the rest is recorded already
            else:
                tool = tool_form(entry)
        self._put(address, entry)
        return Done(self._next_seq(), address.key, answers, tool, resource)

    def failed(self, address: Address, message: str, entry: StateEntry | None) -> Failed:
        """Mark an operation as failed; it stays unfinished."""
        current = self._entries.get(address)
        base = entry or current or StateEntry(address)
        pending = current.pending if current else None
        unfinished = replace(base, pending=pending and replace(pending, message=message))
        self._put(address, unfinished)
        form = tool_form(unfinished) if entry else None
        return Failed(self._next_seq(), address.key, self._begin_seq(current), message, form)

    def entry_before(self, address: Address) -> StateEntry | None:
        """Return the entry of a tool from before its last operation began."""
        return self._before.get(address)

    def cancelled(self, address: Address, before: StateEntry | None) -> Cancelled:
        """Mark an operation as never called: restore the entry `before`."""
        answers = self._begin_seq(self._entries.get(address))
        self._put(address, before)
        form = tool_form(before) if before else None
        return Cancelled(self._next_seq(), address.key, answers, form)

    def moved(self, old: Address, entry: StateEntry, dependents: Iterable[Address]) -> list[Moved]:
        """Move an entry from `old` to `entry.address`, also in the dependencies of `dependents`."""
        new = entry.address
        self._put(old, None)
        self._put(new, entry)
        records = [Moved(self._next_seq(), old.key, tool_form(entry))]
        for address in dependents:
            other = self._entries[address]
            edges = tuple(new if edge == old else edge for edge in other.depends_on)
            other = replace(other, depends_on=edges)
            self._put(address, other)
            records.append(Moved(self._next_seq(), address.key, tool_form(other)))
        return records

    def _put(self, address: Address, entry: StateEntry | None) -> None:
        if entry is None:
            self._entries.pop(address, None)
        else:
            self._entries[address] = entry

    def _begin_seq(self, current: StateEntry | None) -> int:
        """Return the `seq` of the begin record of this session for an entry, 0 if it has none."""
        pending = current.pending if current else None
        return pending.seq if pending and pending.session == self._session else 0


def _same(one: StateEntry, other: StateEntry) -> bool:
    """Return whether two entries are equal apart from resource and pending operation."""
    return (one.options, one.depends_on, one.protected) == (
        other.options,
        other.depends_on,
        other.protected,
    )
