"""The decision table of the planner: which action one tool needs, and for which reason.

`decide` is for a tool of the config that the state has recorded, `create_change` for a new one,
`decide_removal` for a recorded tool that is to be deleted. `update_or_replace` chooses the action
for a tool with changed fields.
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
    """The user's decision on an operation with an unknown outcome.

    ADOPT: the resource exists, with an ID that the user gives. RETRY: run the operation again.
    FORGET: the resource does not exist.
    """

    ADOPT = "adopt"
    RETRY = "retry"
    FORGET = "forget"


class Resolution(msgspec.Struct, frozen=True):
    """The value of `--resolve ADDR=adopt:ID`, `ADDR=retry` or `ADDR=forget`.

    `id` is the ID of the resource to adopt:

        Resolution.parse("command.mail=retry")
        # (Address("command", "mail"), Resolution(ResolutionKind.RETRY))
    """

    kind: ResolutionKind
    id: str = ""

    @classmethod
    def parse(cls, text: str) -> tuple[Address, Resolution]:
        """Parse the value of the flag. Raises UsageError with the expected form."""
        address, _, given = text.partition("=")
        word, _, found = given.partition(":")
        try:
            kind = ResolutionKind(word)
            if bool(found) is not (kind is ResolutionKind.ADOPT):
                raise ValueError(given)
            return Address.parse(address), cls(kind, found)
        except ValueError:
            raise UsageError(
                f'Invalid --resolve value "{text}": '
                "expected ADDR=adopt:ID, ADDR=retry or ADDR=forget.",
                hint="write for example --resolve command.mail=retry",
            ) from None


Resolutions: TypeAlias = Mapping[Address, Resolution]


class RecordedTool(msgspec.Struct, frozen=True):
    """A tool that the state has recorded, with what is known about its resource.

    `findable`: the plugin can look up the resource by the recorded options. `live` is read with the
    options of the config, `as_recorded` with the recorded ones, because options may change what a
    provider reports. If the options have not changed, `as_recorded` is None.
    """

    entry: StateEntry
    live: Resource | None
    findable: bool = True
    resolution: Resolution | None = None
    as_recorded: Resource | None = None

    @property
    def needs_resolution(self) -> bool:
        """True if only the user can know the outcome of the interrupted operation."""
        pending = self.entry.pending
        # A recorded failure is a known outcome, and an update can safely be repeated.
        risky = (
            pending is not None
            and pending.message is None
            and pending.action != Action.UPDATE.value
        )
        return risky and not self.findable and self.resolution is None


def create_change(
    spec: ToolSpec, options: Attributes, reason: Reason, entry: StateEntry | None = None
) -> Change:
    """Return the change that creates a tool. `entry` is its record, if there is one."""
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
    """Decide the action for a tool that is in the config and in the state.

    `options` are resolved; values may be Unknown or Secret. An Unknown value counts as changed, so
    that the decision can only become milder when it is made again with the real values.
    """
    entry = tool.entry
    if _is_unchanged(spec, options, entry, tool.live):
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
    # The order matters: without `--resolve`, a create with an unknown outcome must not be repeated,
    # or the resource might exist twice. With it, the user's decision overrides what was read.
    if tool.needs_resolution:
        change = replace(change, action=Action.RECOVER, note=unresolved_note(tool))
    elif tool.resolution and tool.resolution.kind is not ResolutionKind.ADOPT:
        change = _apply_resolution(change, tool)
    elif tool.live is not None:
        change = _compare(change, spec, tool, memory)
    return _with_failure(change, entry)


def _with_failure(change: Change, entry: StateEntry) -> Change:
    """Add the recorded failure to the reason and the note of a change."""
    pending = entry.pending
    if change.reason is not Reason.INTERRUPTED or pending is None or pending.message is None:
        return change
    failure = describe_pending(pending)
    return replace(
        change, reason=Reason.FAILED, note=f"{change.note}\n{failure}" if change.note else failure
    )


def describe_pending(pending: Pending) -> str:
    """Describe an operation that did not succeed, in one sentence."""
    how = (
        "has begun, and its outcome is unknown"
        if pending.message is None
        else f"failed: {pending.message}"
    )
    return f"its {_NOUNS.get(pending.action, pending.action)} {how}"


def _is_unchanged(
    spec: ToolSpec, options: Attributes, entry: StateEntry, live: Resource | None
) -> bool:
    """Check whether nothing differs. This check is cheap, and most tools pass it."""
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


def _apply_resolution(change: Change, tool: RecordedTool) -> Change:
    """Apply the user's `--resolve` to the change."""
    assert tool.resolution is not None
    # The user states that no resource exists, so the recorded one must not be shown as `before`.
    if tool.resolution.kind is ResolutionKind.FORGET:
        return replace(change, reason=Reason.NEW, before=None)
    # A repeated create has nothing to delete first.
    if tool.entry.resource is None:
        return change
    return replace(change, action=Action.REPLACE, live=tool.live)


def _compare(change: Change, spec: ToolSpec, tool: RecordedTool, memory: SecretRecall) -> Change:
    """Compare the options with the recorded ones, and the live resource with the recorded one."""
    entry, live, options = tool.entry, tool.live, change.after
    assert live is not None and options is not None
    fields = option_changes(entry, options, memory)
    drift: tuple[FieldChange, ...] = ()
    if entry.resource is not None:
        # A value that was secret when it was recorded is still secret: the plan must not print it.
        live = inherit_sensitivity(live, entry.resource)
        if entry.pending is None:
            # Changed options may change what the provider reports. That is not drift. So the
            # resource that was read with the recorded options is compared.
            as_recorded = tool.as_recorded if fields else None
            shown = inherit_sensitivity(as_recorded, entry.resource) if as_recorded else live
            drift = live_changes(entry, shown, memory, fields)
    change = replace(change, before=entry.resource or live, live=live, fields=fields + drift)
    if change.fields:
        return update_or_replace(change, interrupted=entry.pending is not None)
    if entry.pending is not None:
        return _finish_interrupted(change, entry.pending, memory.operations)
    return _keep_or_move(change, spec, entry, memory)


def update_or_replace(change: Change, *, interrupted: bool) -> Change:
    """Choose between update and replace for a tool with changed fields.

    A changed option replaces the tool if its plugin declares it with `Field(replace=True)`.
    """
    action = Action.REPLACE if any(field.replaces for field in change.fields) else Action.UPDATE
    reason = Reason.INTERRUPTED if interrupted else _reason_of(change.fields)
    return replace(change, action=action, reason=reason)


def _reason_of(fields: Sequence[FieldChange]) -> Reason:
    """Return the reason for an update, by the sources of the changed fields."""
    sources = {field.source for field in fields}
    if ChangeSource.OPTION not in sources:
        return Reason.DRIFTED if ChangeSource.LIVE in sources else Reason.INPUT
    waiting = sources == {ChangeSource.OPTION} and all(has_unknown(field.new) for field in fields)
    return Reason.DEPENDENCY if waiting else Reason.CHANGED


def _finish_interrupted(change: Change, pending: Pending, operations: Operations) -> Change:
    """Decide whether an interrupted operation must be repeated although its result looks right."""
    creating = pending.action == Action.CREATE.value
    # A create may have stopped halfway, with a repository but without its first commit for
    # example. An existing resource may thus be incomplete. Its outputs show whether it is.
    unfinished = _describe_unfinished(change, operations) if creating else ""
    # A failed delete of a tool that is in the config again: if the resource still matches, the
    # delete has removed nothing, and there is nothing to repeat.
    failed = pending.message is not None and pending.action != Action.DELETE.value
    if failed or unfinished or pending.action == Action.UPDATE.value:
        return replace(change, action=Action.UPDATE, note=unfinished)
    return replace(change, action=Action.RECOVER)


def _keep_or_move(
    change: Change, spec: ToolSpec, entry: StateEntry, memory: SecretRecall
) -> Change:
    """Return a change without a provider call: a move, or a keep that may rewrite the entry."""
    if change.previous is not None:
        return replace(change, action=Action.MOVE, reason=Reason.RENAMED)
    assert change.after is not None
    notes = _entry_differences(spec, change.after, entry, memory.sealer)
    if (
        entry.resource
        # A value may become a known secret after its tool was recorded, for example when the user
        # declares a variable sensitive. It must not stay in the state.
        and memory.operations.redactor.mark_resource(entry.resource) != entry.resource
    ):
        notes.append("a secret is stored in plain text in the state and will be removed from it")
    return replace(
        change,
        action=Action.KEEP,
        reason=Reason.UNCHANGED,
        rewrite=bool(notes),
        note="; ".join(notes),
    )


def _describe_unfinished(change: Change, operations: Operations) -> str:
    """Describe the first output that differs from its prediction; "" if there is none."""
    assert change.live is not None and change.after is not None
    predicted = operations.predict(change.address, change.after, None)
    for key, value in known_outputs(predicted).items():
        if not has_unknown(value) and not is_equal(
            reveal(value), reveal(change.live.outputs.get(key))
        ):
            return f"its creation did not finish: output {key} does not have its final value yet"
    return ""


def _entry_differences(
    spec: ToolSpec, options: Attributes, entry: StateEntry, sealer: Sealer
) -> list[str]:
    """List the differences between entry and config that do not concern the resource."""
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
        notes.append("options: recorded in an older form")
    return notes


def unresolved_note(tool: RecordedTool, *, can_retry: bool = True) -> str:
    """Return the note that asks the user to resolve an operation with an unknown outcome."""
    pending = tool.entry.pending
    assert pending is not None
    address = tool.entry.address.dotted
    retry = f"--resolve {address}=retry (run the {pending.action} again)\n" if can_retry else ""
    return (
        f"the outcome of its {_NOUNS.get(pending.action, pending.action)} is unknown and cannot be "
        "looked up. Check the resource yourself, then add one of these to dtm apply, delete or "
        "destroy:\n"
        f"--resolve {address}=adopt:ID (it exists and has this ID)\n"
        f"{retry}"
        f"--resolve {address}=forget (it does not exist)"
    )


def decide_removal(tool: RecordedTool, reason: Reason) -> Change:
    """Decide the action for a recorded tool that is to be deleted.

    Raises UsageError if the user resolves its creation with `retry`.
    """
    return _with_failure(_decide_removal(tool, reason), tool.entry)


def _decide_removal(tool: RecordedTool, reason: Reason) -> Change:
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
            "its creation cannot be retried: the tool is to be deleted",
            hint=f"use --resolve {entry.address.dotted}=adopt:ID to delete the resource, "
            f"or --resolve {entry.address.dotted}=forget if it does not exist",
        )
    if tool.needs_resolution and entry.resource is None:
        note = unresolved_note(tool, can_retry=False)
        return replace(change, action=Action.RECOVER, note=note)
    # A recorded resource that cannot be looked up may still exist. It is not forgotten but deleted,
    # by its ID.
    if live is None and (tool.findable or entry.resource is None):
        left = "" if tool.findable else "leftovers of its creation cannot be looked up"
        return replace(change, action=Action.FORGET, note=left)
    return change


def predict_outputs(change: Change, memory: SecretRecall) -> Attributes | Unknown:
    """Return the outputs that references to this tool get in the plan."""
    assert change.after is not None
    operations = memory.operations
    if change.action in (Action.CREATE, Action.REPLACE):
        return operations.predict(change.address, change.after, None)
    if change.action is Action.UPDATE:
        return operations.predict(change.address, change.after, change.live or change.before)
    # A kept tool without a live resource was not read, so its outputs are not known.
    if change.live is None:
        return UNKNOWN
    return operations.outputs(change.address, change.after, change.live, memory.sealer)


def severity(action: Action) -> int:
    """Return the rank of an action. With real values, a change may only move to a lower rank."""
    # Create and replace have the same rank: both create a resource. An update must become neither.
    return {Action.REPLACE: 2, Action.CREATE: 2, Action.UPDATE: 1}.get(action, 0)


def known_outputs(outputs: Attributes | Unknown) -> dict[str, Value]:
    """Return the outputs that a change shows: none if they are unknown as a whole."""
    return {} if isinstance(outputs, Unknown) else dict(outputs)
