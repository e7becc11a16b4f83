"""The rows of the planner's table: what to do with one tool, and why.

`decide` decides about a tool that is in the config and in the state, `create_change` about a
new one,
`decide_removal` about one that left the config. `update_or_replace` chooses between the two
actions for a tool with changed fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final, TypeAlias

import msgspec
from msgspec.structs import replace

from engine.address import Address
from engine.config import ToolSpec
from engine.errors import UsageError
from engine.plan import Action, Change, ChangeSource, FieldChange, Reason
from engine.planning.drift import equal_resources, live_changes, option_changes
from engine.plugins.calls import Operations
from engine.plugins.recall import SecretRecall
from engine.secrets.marking import inherit_sensitivity
from engine.secrets.sealing import Sealer
from engine.state import Pending, Resource, StateEntry
from engine.values import (
    UNKNOWN,
    Attributes,
    Unknown,
    Value,
    has_unknown,
    is_equal,
    is_equal_map,
    reveal,
)

_NOUNS: Final = {
    "create": "creation",
    "update": "update",
    "replace": "replacement",
    "delete": "deletion",
}


class ResolutionKind(Enum):
    """The user's choice for an operation whose outcome cannot be found out."""

    ADOPT = "adopt"
    RETRY = "retry"
    FORGET = "forget"


class Resolution(msgspec.Struct, frozen=True):
    """`--resolve ADDR=adopt:ID | retry | forget`.

    The resource exists with that id; the operation is made again; the resource does not exist.
    """

    kind: ResolutionKind
    id: str = ""

    @classmethod
    def parse(cls, text: str) -> tuple[Address, Resolution]:
        """Read the flag's value. Raises UsageError with the expected form."""
        address, _, given = text.partition("=")
        word, _, found = given.partition(":")
        try:
            kind = ResolutionKind(word)
            if bool(found) is not (kind is ResolutionKind.ADOPT):
                raise ValueError(given)
            return Address.parse(address), cls(kind, found)
        except ValueError:
            raise UsageError(
                f'"{text}" resolves nothing',
                hint="expected: name.instanceID=adopt:ID, ...=retry or ...=forget",
            ) from None


Resolutions: TypeAlias = Mapping[Address, Resolution]


class RecordedTool(msgspec.Struct, frozen=True):
    """One recorded tool: its entry, and what is known of it besides.

    `findable`: its plugin has an identity for the recorded options. `before` is the live resource
    as the recorded options show it; it is read where the config has other options by now, since
    these may show the same resource otherwise. None where it was not read.
    """

    entry: StateEntry
    live: Resource | None
    findable: bool = True
    resolution: Resolution | None = None
    before: Resource | None = None

    @property
    def unclear(self) -> bool:
        """True if only the user can say what an interrupted create or delete did."""
        pending = self.entry.pending
        # A recorded failure is an outcome, and an update can be made again without harm.
        risky = (
            pending is not None
            and pending.message is None
            and pending.action != Action.UPDATE.value
        )
        return risky and not self.findable and self.resolution is None


def create_change(
    spec: ToolSpec, options: Attributes, reason: Reason, entry: StateEntry | None = None
) -> Change:
    """Make the change that creates a tool, with the record of it if there is one."""
    return Change(
        spec.address,
        Action.CREATE,
        reason,
        entry.resource if entry else None,
        after=options,
        depends_on=spec.depends_on,
        protected=spec.lifecycle.prevent_destroy,
        previous=entry.address if entry and entry.address != spec.address else None,
    )


def decide(spec: ToolSpec, options: Attributes, tool: RecordedTool, memory: SecretRecall) -> Change:
    """Decide what to do with a wanted tool that the state knows.

    `options` are resolved; leaves may be Unknown or Secret. An Unknown leaf counts as the worst
    that it could be, so that the decision only gets milder when it is made again with real values.
    """
    entry = tool.entry
    if _settled(spec, options, entry, tool.live):
        return Change(
            spec.address,
            Action.KEEP,
            Reason.UNCHANGED,
            entry.resource,
            tool.live,
            options,
            depends_on=spec.depends_on,
            protected=entry.protected,
        )
    reason = Reason.INTERRUPTED if entry.pending else Reason.VANISHED
    change = create_change(spec, options, reason, entry)
    # The order matters: a user's word counts before what was read, and without it a create that
    # cannot be looked up must not be made again, since the resource might exist twice then.
    if tool.unclear:
        change = replace(change, action=Action.RECOVER, note=unresolved_note(tool))
    elif tool.resolution and tool.resolution.kind is not ResolutionKind.ADOPT:
        change = _resolved(change, tool)
    elif tool.live is not None:
        change = _compared(change, spec, tool, memory)
    return _truthful(change, entry)


def _truthful(change: Change, entry: StateEntry) -> Change:
    """Add to the change how the interrupted operation failed, where that is known."""
    pending = entry.pending
    if change.reason is not Reason.INTERRUPTED or pending is None or pending.message is None:
        return change
    told = describe_pending(pending)
    return replace(
        change, reason=Reason.FAILED, note=f"{change.note}\n{told}" if change.note else told
    )


def describe_pending(pending: Pending) -> str:
    """Say in one sentence how an operation ended that did not succeed."""
    how = (
        "was begun, and how it ended is not known"
        if pending.message is None
        else f"failed: {pending.message}"
    )
    return f"its {_NOUNS.get(pending.action, pending.action)} {how}"


def _settled(spec: ToolSpec, options: Attributes, entry: StateEntry, live: Resource | None) -> bool:
    """Check whether nothing at all differs; cheap, since most tools are like that."""
    return (
        live is not None
        and entry.resource is not None
        and entry.pending is None
        and entry.address == spec.address
        and entry.protected is spec.lifecycle.prevent_destroy
        and entry.depends_on == spec.depends_on
        and is_equal_map(entry.options, options)
        and (live is entry.resource or equal_resources(entry.resource, live))
    )


def _resolved(change: Change, tool: RecordedTool) -> Change:
    """Change the tool as the user's `--resolve` says."""
    assert tool.resolution is not None
    # The user says that no resource exists, so nothing recorded may count as `before`.
    if tool.resolution.kind is ResolutionKind.FORGET:
        return replace(change, reason=Reason.NEW, before=None)
    # A create that is made again has nothing to delete first.
    if tool.entry.resource is None:
        return change
    return replace(change, action=Action.REPLACE, live=tool.live)


def _compared(change: Change, spec: ToolSpec, tool: RecordedTool, memory: SecretRecall) -> Change:
    """Compare the options with the recorded ones, and the live resource with the recorded one."""
    entry, live, options = tool.entry, tool.live, change.after
    assert live is not None and options is not None
    fields = option_changes(entry, options, memory)
    drift: tuple[FieldChange, ...] = ()
    if entry.resource is not None:
        # What was secret when it was recorded is secret now, or the plan would print it.
        live = inherit_sensitivity(live, entry.resource)
        if entry.pending is None:
            # What the changed options make of the resource is not drift: see `RecordedTool.before`.
            as_recorded = tool.before if fields else None
            shown = inherit_sensitivity(as_recorded, entry.resource) if as_recorded else live
            drift = live_changes(entry, shown, memory, fields)
    change = replace(change, before=entry.resource or live, live=live, fields=fields + drift)
    if change.fields:
        return update_or_replace(change, interrupted=entry.pending is not None)
    if entry.pending is not None:
        return _completed(change, entry.pending, memory.operations)
    return _unchanged(change, spec, entry, memory)


def update_or_replace(change: Change, *, interrupted: bool) -> Change:
    """Decide between update and replace by the fields that differ.

    A changed option replaces the tool if its plugin declared it with `Field(replace=True)`.
    """
    action = Action.REPLACE if any(field.replaces for field in change.fields) else Action.UPDATE
    reason = Reason.INTERRUPTED if interrupted else _reason(change.fields)
    return replace(change, action=action, reason=reason)


def _reason(fields: Sequence[FieldChange]) -> Reason:
    sources = {field.source for field in fields}
    if ChangeSource.OPTION not in sources:
        return Reason.DRIFTED if ChangeSource.LIVE in sources else Reason.INPUT
    waiting = sources == {ChangeSource.OPTION} and all(has_unknown(field.new) for field in fields)
    return Reason.DEPENDENCY if waiting else Reason.CHANGED


def _completed(change: Change, pending: Pending, operations: Operations) -> Change:
    """Decide whether an interrupted operation whose result looks right has to be made again."""
    creating = pending.action == Action.CREATE.value
    # A create may have died between making the resource and finishing it (a repository without
    # its first commit): that it exists does not show that it is complete. Its outputs do.
    undone = _undone(change, operations) if creating else ""
    # After a failed delete of a tool that is wanted again, a resource that fits is complete.
    failed = pending.message is not None and pending.action != Action.DELETE.value
    if failed or undone or pending.action == Action.UPDATE.value:
        return replace(change, action=Action.UPDATE, note=undone)
    return replace(change, action=Action.RECOVER)


def _unchanged(change: Change, spec: ToolSpec, entry: StateEntry, memory: SecretRecall) -> Change:
    """Call nothing, at most rewrite the entry: options and live resource agree."""
    if change.previous is not None:
        return replace(change, action=Action.MOVE, reason=Reason.RENAMED)
    assert change.after is not None
    notes = _rewrites(spec, change.after, entry, memory.sealer)
    if (
        entry.resource
        # A secret may become known only after its tool was recorded, for example as a new variable.
        and memory.operations.redactor.mark_resource(entry.resource) != entry.resource
    ):
        notes.append("a secret stands in the state, and was not known as one")
    return replace(
        change,
        action=Action.KEEP,
        reason=Reason.UNCHANGED,
        rewrite=bool(notes),
        note="; ".join(notes),
    )


def _undone(change: Change, operations: Operations) -> str:
    """Name the predicted output that an interrupted create did not get to, in one sentence."""
    assert change.live is not None and change.after is not None
    predicted = operations.predict(change.address, change.after, None)
    for key, value in known_outputs(predicted).items():
        if not has_unknown(value) and not is_equal(
            reveal(value), reveal(change.live.outputs.get(key))
        ):
            return f"it is not finished: {key} is not yet as it will be"
    return ""


def _rewrites(spec: ToolSpec, options: Attributes, entry: StateEntry, sealer: Sealer) -> list[str]:
    """List how the entry differs from the config where no resource is concerned."""
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


def unresolved_note(tool: RecordedTool) -> str:
    """Write the note for a user who must say what became of an operation."""
    pending = tool.entry.pending
    assert pending is not None
    address = tool.entry.address.dotted
    return (
        f"nobody knows how its {_NOUNS.get(pending.action, pending.action)} ended, "
        "and it cannot be looked up: say so with "
        f"--resolve {address}=adopt:ID, {address}=retry or {address}=forget"
    )


def decide_removal(tool: RecordedTool, reason: Reason) -> Change:
    """Decide what to do with a recorded tool that is not wanted any more.

    Raises UsageError if the user wants its create made again.
    """
    return _truthful(_removal(tool, reason), tool.entry)


def _removal(tool: RecordedTool, reason: Reason) -> Change:
    entry, live, resolution = tool.entry, tool.live, tool.resolution
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
    if resolution and resolution.kind is ResolutionKind.FORGET:
        return replace(change, action=Action.FORGET)
    if entry.resource is None and resolution and resolution.kind is ResolutionKind.RETRY:
        raise UsageError(
            f"{entry.address} is not wanted any more, so its create is not tried again",
            hint=f"--resolve {entry.address.dotted}=adopt:ID deletes it, "
            f"{entry.address.dotted}=forget leaves it alone",
        )
    if tool.unclear and entry.resource is None:
        return replace(change, action=Action.RECOVER, note=unresolved_note(tool))
    # A recorded resource without an identity is not forgotten because nothing was read: it is
    # deleted by its id.
    if live is None and (tool.findable or entry.resource is None):
        left = "" if tool.findable else "what its creation left behind cannot be looked up"
        return replace(change, action=Action.FORGET, note=left)
    return change


def predict_outputs(change: Change, memory: SecretRecall) -> Attributes | Unknown:
    """Give the outputs as references see them while this change is still to come."""
    assert change.after is not None
    operations = memory.operations
    if change.action in (Action.CREATE, Action.REPLACE):
        return operations.predict(change.address, change.after, None)
    if change.action is Action.UPDATE:
        return operations.predict(change.address, change.after, change.live or change.before)
    # A tool that is kept without a live resource was not read: its outputs are not known.
    if change.live is None:
        return UNKNOWN
    return operations.outputs(change.address, change.after, change.live, memory.sealer)


def severity(action: Action) -> int:
    """Rank how much an action changes: with real values a change may only get milder."""
    # A create counts like a replace: an update may become neither, since both make a resource.
    return {Action.REPLACE: 2, Action.CREATE: 2, Action.UPDATE: 1}.get(action, 0)


def known_outputs(outputs: Attributes | Unknown) -> dict[str, Value]:
    """Give the outputs that a change shows."""
    return {} if isinstance(outputs, Unknown) else dict(outputs)
