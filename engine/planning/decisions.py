"""One tool as the config, the state and the world see it: what is to be done with it. The rows of the planner's table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum
from typing import Final

import msgspec
from msgspec.structs import replace

from engine.address import Address
from engine.config import ToolSpec
from engine.errors import UsageError
from engine.language.references import origins
from engine.options.decode import canonical
from engine.plan import Action, Change, FieldChange, Reason, Source
from engine.planning.diff import diff
from engine.plugins.calls import Operations
from engine.secrets.marking import inherit_sensitivity, sensitive
from engine.secrets.redaction import Redactor
from engine.secrets.sealing import Sealer
from engine.state import Pending, Resource, StateEntry
from engine.values import (
    HIDDEN,
    UNKNOWN,
    Attributes,
    Digest,
    Unknown,
    Value,
    holds_unknown,
    leaves,
    reveal,
    same,
    same_map,
)

_NOUNS: Final = {
    "create": "creation",
    "update": "update",
    "replace": "replacement",
    "delete": "deletion",
}


class Verdict(Enum):
    """What a person says of an operation whose outcome nobody can find out."""

    ADOPT = "adopt"
    RETRY = "retry"
    FORGET = "forget"


class Resolution(msgspec.Struct, frozen=True):
    """`--resolve ADDR=adopt:ID | retry | forget`: it is there under that id; do it again; it is not there."""

    verdict: Verdict
    id: str = ""

    @classmethod
    def parse(cls, text: str) -> tuple[Address, Resolution]:
        """Read the flag's value. Raises UsageError with the expected form."""
        address, _, answer = text.partition("=")
        word, _, found = answer.partition(":")
        try:
            verdict = Verdict(word)
            if bool(found) is not (verdict is Verdict.ADOPT):
                raise ValueError(answer)
            return Address.parse(address), cls(verdict, found)
        except ValueError:
            raise UsageError(
                f'"{text}" resolves nothing',
                hint="expected: name.instanceID=adopt:ID, ...=retry or ...=forget",
            ) from None


class Subject(msgspec.Struct, frozen=True):
    """What state and world say of one tool.

    `findable`: its plugin has an identity for what is recorded. `before` is what the recorded options show, where the config
    has others by now and these show something else only because they are others; None where that was not read.
    """

    entry: StateEntry
    live: Resource | None
    findable: bool = True
    resolution: Resolution | None = None
    before: Resource | None = None

    @property
    def unclear(self) -> bool:
        """Whether nobody can know, without a person's word, what an interrupted create or delete did."""
        pending = self.entry.pending
        risky = (
            pending is not None
            and pending.message is None
            and pending.action != Action.UPDATE.value
        )
        return risky and not self.findable and self.resolution is None


def absent(
    spec: ToolSpec, options: Attributes, reason: Reason, entry: StateEntry | None = None
) -> Change:
    """The change that makes a tool."""
    before = entry.resource if entry else None
    return Change(
        spec.address,
        Action.CREATE,
        reason,
        before,
        after=options,
        depends_on=spec.depends_on,
        protected=spec.lifecycle.prevent_destroy,
    )


def decide(
    spec: ToolSpec, options: Attributes, subject: Subject, operations: Operations, sealer: Sealer
) -> Change:
    """What to do with a wanted tool that the state knows. `options` are resolved; leaves may be Unknown or Secret."""
    return _truthful(_decided(spec, options, subject, operations, sealer), subject.entry)


def _truthful(change: Change, entry: StateEntry) -> Change:
    """The change, saying of an operation that is known to have failed that it did, and how."""
    pending = entry.pending
    if change.reason is not Reason.INTERRUPTED or pending is None or pending.message is None:
        return change
    told = unfinished(pending)
    return replace(
        change, reason=Reason.FAILED, note=f"{change.note}\n{told}" if change.note else told
    )


def unfinished(pending: Pending) -> str:
    """What is known of an operation that did not end well."""
    how = (
        "was begun, and how it ended is not known"
        if pending.message is None
        else f"failed: {pending.message}"
    )
    return f"its {_NOUNS.get(pending.action, pending.action)} {how}"


def _decided(
    spec: ToolSpec, options: Attributes, subject: Subject, operations: Operations, sealer: Sealer
) -> Change:
    entry, live = subject.entry, subject.live
    if _settled(spec, options, entry, live):
        return Change(
            spec.address,
            Action.KEEP,
            Reason.UNCHANGED,
            entry.resource,
            live,
            after=options,
            depends_on=spec.depends_on,
            protected=entry.protected,
        )
    if live is not None and entry.resource is not None:
        live = inherit_sensitivity(live, entry.resource)
    change = replace(absent(spec, options, Reason.VANISHED, entry), previous=_previous(spec, entry))
    if subject.unclear:
        return replace(
            change, action=Action.RECOVER, reason=Reason.INTERRUPTED, note=unresolved(subject)
        )
    if subject.resolution and subject.resolution.verdict is not Verdict.ADOPT:
        return _resolved(change, subject)
    if live is None:
        return replace(change, reason=Reason.INTERRUPTED) if entry.pending else change
    fields = option_changes(entry, options, operations, sealer)
    found = (
        inherit_sensitivity(subject.before, entry.resource)
        if fields and subject.before and entry.resource
        else live
    )
    derived = operations.derived(entry.address)
    drift = (
        () if entry.pending else drifted(entry, found, sealer, operations.redactor, derived, fields)
    )
    change = replace(change, before=entry.resource or live, live=live, fields=fields + drift)
    if fields or drift:
        return _differing(change, fields, drift, interrupted=entry.pending is not None)
    return _equal(change, spec, options, entry, operations, sealer)


def _settled(spec: ToolSpec, options: Attributes, entry: StateEntry, live: Resource | None) -> bool:
    """Whether nothing at all differs: what most tools are, so it costs little to find out."""
    return (
        live is not None
        and entry.resource is not None
        and entry.pending is None
        and entry.address == spec.address
        and entry.protected is spec.lifecycle.prevent_destroy
        and entry.depends_on == spec.depends_on
        and same_map(entry.options, options)
        and (live is entry.resource or alike(entry.resource, live))
    )


def _previous(spec: ToolSpec, entry: StateEntry) -> Address | None:
    return None if entry.address == spec.address else entry.address


def _resolved(change: Change, subject: Subject) -> Change:
    assert subject.resolution is not None
    if subject.resolution.verdict is Verdict.FORGET:
        return replace(change, reason=Reason.NEW, before=None)
    if subject.entry.resource is None:
        return replace(change, reason=Reason.INTERRUPTED)
    return replace(change, action=Action.REPLACE, reason=Reason.INTERRUPTED, live=subject.live)


def _differing(
    change: Change,
    fields: tuple[FieldChange, ...],
    drift: tuple[FieldChange, ...],
    *,
    interrupted: bool,
) -> Change:
    action = Action.REPLACE if any(field.replaces for field in fields) else Action.UPDATE
    if interrupted:
        return replace(change, action=action, reason=Reason.INTERRUPTED)
    if not fields:
        live = any(field.source is Source.LIVE for field in drift)
        return replace(change, action=action, reason=Reason.DRIFTED if live else Reason.INPUT)
    waiting = all(holds_unknown(field.new) for field in fields) and not drift
    return replace(change, action=action, reason=Reason.DEPENDENCY if waiting else Reason.CHANGED)


def _equal(
    change: Change,
    spec: ToolSpec,
    options: Attributes,
    entry: StateEntry,
    operations: Operations,
    sealer: Sealer,
) -> Change:
    """Options and world agree: nothing is called, unless an interrupted operation left something undone."""
    pending = entry.pending
    if pending is not None:
        undone = (
            _undone(change, options, operations) if pending.action == Action.CREATE.value else ""
        )
        failed = pending.message is not None and pending.action != Action.DELETE.value
        if failed or undone or pending.action == Action.UPDATE.value:
            return replace(change, action=Action.UPDATE, reason=Reason.INTERRUPTED, note=undone)
        return replace(change, action=Action.RECOVER, reason=Reason.INTERRUPTED)
    if change.previous is not None:
        return replace(change, action=Action.MOVE, reason=Reason.RENAMED)
    notes = _rewrites(spec, options, entry, sealer)
    if entry.resource and operations.redactor.conceal_resource(entry.resource) != entry.resource:
        notes.append("a secret stands in the state, and was not known as one")
    return replace(
        change,
        action=Action.KEEP,
        reason=Reason.UNCHANGED,
        rewrite=bool(notes),
        note="; ".join(notes),
    )


def _undone(change: Change, options: Attributes, operations: Operations) -> str:
    """Which predicted output an interrupted create did not get to."""
    assert change.live is not None
    for key, value in value_of(operations.predict(change.address, options, None)).items():
        if not holds_unknown(value) and not same(
            reveal(value), reveal(change.live.outputs.get(key))
        ):
            return f"it is not finished: {key} is not yet as it will be"
    return ""


def _rewrites(spec: ToolSpec, options: Attributes, entry: StateEntry, sealer: Sealer) -> list[str]:
    """What an entry says otherwise than the config without any difference for the world."""
    notes: list[str] = []
    if entry.depends_on != spec.depends_on and set(entry.depends_on) != set(spec.depends_on):
        gone = [f"- {address}" for address in entry.depends_on if address not in spec.depends_on]
        new = [f"+ {address}" for address in spec.depends_on if address not in entry.depends_on]
        notes.append("dependsOn: " + ", ".join(gone + new))
    if entry.protected is not spec.lifecycle.prevent_destroy:
        notes.append(
            "lifecycle.preventDestroy: "
            + ("off → on" if spec.lifecycle.prevent_destroy else "on → off")
        )
    if options != entry.options and sealer.seal_map(options, entry.address) != entry.options:
        notes.append("options: recorded in another spelling")
    return notes


def option_changes(
    entry: StateEntry, options: Attributes, operations: Operations, sealer: Sealer
) -> tuple[FieldChange, ...]:
    """How the options differ from the recorded ones; Unknown leaves differ from anything."""
    if same_map(entry.options, options):
        return ()
    sealed = sealer.seal_map(options, entry.address)
    marks = operations.replacing(entry.address)
    found = diff(entry.options, sealed, replaces=marks)
    if not found:
        return found
    spelled = canonical(entry.options, operations.struct(entry.address))
    recorded = sealer.seal_map(sensitive(spelled, options), entry.address)
    return found if recorded == entry.options else diff(recorded, sealed, replaces=marks)


def drifted(
    entry: StateEntry,
    live: Resource,
    sealer: Sealer,
    redactor: Redactor,
    derived: Collection[str],
    changed: Sequence[FieldChange] = (),
) -> tuple[FieldChange, ...]:
    """How the world differs from what was recorded; an output that only repeats an attribute's difference is left out.

    Attributes that are `derived` from inputs differ because of those, not of the world. So may what holds a secret, if an
    option of the tool that holds it is among the `changed`: the old one is not known any more, so nobody can tell.
    In both sides the secrets known by now are sealed: which were known when they were read or recorded depends on chance.
    """
    if live is entry.resource or entry.resource is None or alike(entry.resource, live):
        return ()
    recorded = sealer.seal_resource(redactor.conceal_resource(entry.resource), entry.address)
    now = sealer.seal_resource(redactor.conceal_resource(live), entry.address)
    if HIDDEN in recorded.id:
        now = replace(now, id=recorded.id)  # its identity found it
    attributes = diff(
        {"id": recorded.id, **recorded.attributes},
        {"id": now.id, **now.attributes},
        source=Source.LIVE,
    )
    attributes = tuple(
        replace(field, source=Source.INPUT) if field.path[0] in derived else field
        for field in attributes
    )
    told = {field.path: field for field in attributes}
    outputs = (
        replace(field, path=("outputs", *field.path))
        for field in diff(recorded.outputs, now.outputs, source=Source.LIVE)
        if not (field.path in told and _repeats(told[field.path], field))
    )
    return tuple(field for field in (*attributes, *outputs) if not _explained(field, changed))


def _repeats(attribute: FieldChange, output: FieldChange) -> bool:
    """Whether an output tells no more than the attribute of the same name; digests differ by their place."""
    return type(attribute.new) is type(output.new) is Digest or same(attribute.new, output.new)


def _explained(field: FieldChange, changed: Sequence[FieldChange]) -> bool:
    """Whether a secret may well be another because an option's is."""
    if not (isinstance(field.old, Digest) and isinstance(field.new, Digest)):
        return False
    came = _came_from(field.old)
    return any(
        not came.isdisjoint(_came_from(change.old) | _came_from(change.new)) for change in changed
    )


def _came_from(value: Value) -> set[str]:
    """The origins of the secrets in a value; "" for one without any."""
    hidden = [leaf for leaf in leaves(value) if isinstance(leaf, Digest)]
    return {
        origin for leaf in hidden for source in leaf.sources or ("",) for origin in origins(source)
    }


def alike(one: Resource, other: Resource) -> bool:
    """Whether two resources are equal, secrets by their digests."""
    return (
        one.id == other.id
        and same_map(one.attributes, other.attributes)
        and same_map(one.outputs, other.outputs)
    )


def unresolved(subject: Subject) -> str:
    """What to tell a person who must say what became of an operation."""
    pending = subject.entry.pending
    assert pending is not None
    address = subject.entry.address.dotted
    return (
        f"nobody knows how its {_NOUNS.get(pending.action, pending.action)} ended, and it cannot be looked up: say so with "
        f"--resolve {address}=adopt:ID, {address}=retry or {address}=forget"
    )


def removal(subject: Subject, reason: Reason) -> Change:
    """What to do with a recorded tool that is not wanted any more. Raises UsageError for a retry of what nobody wants."""
    return _truthful(_removal(subject, reason), subject.entry)


def _removal(subject: Subject, reason: Reason) -> Change:
    entry, live, resolution = subject.entry, subject.live, subject.resolution
    change = Change(
        entry.address,
        Action.DELETE,
        reason,
        entry.resource or live,
        live,
        depends_on=entry.depends_on,
        protected=entry.protected,
    )
    if entry.pending is None:
        return change
    change = replace(change, reason=Reason.INTERRUPTED)
    if resolution and resolution.verdict is Verdict.FORGET:
        return replace(change, action=Action.FORGET)
    if entry.resource is None and resolution and resolution.verdict is Verdict.RETRY:
        raise UsageError(
            f"{entry.address} is not wanted any more, so its create is not tried again",
            hint=f"--resolve {entry.address.dotted}=adopt:ID deletes it, {entry.address.dotted}=forget leaves it alone",
        )
    if subject.unclear and entry.resource is None:
        return replace(change, action=Action.RECOVER, note=unresolved(subject))
    if live is None and (subject.findable or entry.resource is None):
        left = "" if subject.findable else "what its creation left behind cannot be looked up"
        return replace(change, action=Action.FORGET, note=left)
    return change


def predicted(change: Change, operations: Operations, sealer: Sealer) -> Attributes | Unknown:
    """Outputs as references see them while this change is still to come."""
    assert change.after is not None
    if change.action in (Action.CREATE, Action.REPLACE):
        return operations.predict(change.address, change.after, None)
    if change.action is Action.UPDATE:
        return operations.predict(change.address, change.after, change.live or change.before)
    if change.live is None:
        return UNKNOWN
    return operations.outputs(change.address, change.after, change.live, sealer)


def severity(action: Action) -> int:
    """How much an action changes: with real values a change may only get milder."""
    return {Action.REPLACE: 2, Action.CREATE: 2, Action.UPDATE: 1}.get(action, 0)


def value_of(outputs: Attributes | Unknown) -> dict[str, Value]:
    """What a change shows of its outputs."""
    return {} if isinstance(outputs, Unknown) else dict(outputs)
