"""The plan as a value: it can be shown, compared, saved, and refused when stale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum

import msgspec

from engine.address import Address
from engine.state import Resource, StateId
from engine.values import Attributes, Value, ValuePath


class Action(Enum):
    """The operation of a change. Its value is what the state and the JSON output say."""

    KEEP = "keep"
    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    MOVE = "move"
    FORGET = "forget"
    RECOVER = "recover"


class Reason(Enum):
    """The cause of a change; it is shown, and nothing acts on it."""

    UNCHANGED = "unchanged"
    NEW = "new"
    CHANGED = "changed"
    DRIFTED = "drifted"
    VANISHED = "vanished"
    REMOVED = "removed"
    REQUESTED = "requested"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    INPUT = "input"
    DEPENDENCY = "dependency"
    RENAMED = "renamed"


class ChangeSource(Enum):
    """The origin of a field's difference.

    OPTION: the user changed an option. LIVE: the resource was changed outside dtm. INPUT: a file or
    template that an option names has changed.
    """

    OPTION = "option"
    LIVE = "live"
    INPUT = "input"


class FieldChange(msgspec.Struct, frozen=True):
    """One differing field.

    `path` goes into maps by key and lists by index; `old_absent` and `new_absent` mark a side that
    has nothing there. For `Source.LIVE` and `Source.INPUT`, `old` is the recorded value and `new`
    the live one. `replaces`: the option forces replacement.
    """

    path: ValuePath
    old: Value
    new: Value
    source: ChangeSource = ChangeSource.OPTION
    replaces: bool = False
    old_absent: bool = False
    new_absent: bool = False


class Change(msgspec.Struct, frozen=True):
    """One planned step.

    `before`: the recorded or adopted resource, None if there is none.
    `live`: the resource as it was read, None if absent or not read.
    `after`: the options after the change, Unknown and Secret leaves included; None for a delete or
    forget.
    `outputs`: predicted outputs.
    `depends_on`: the direct edges that this change waits for; for a delete the recorded edges,
    waited for in reverse.
    `previous`: the old address of a move.
    `rewrite`: no provider is called, but the entry's edges, protection or spelling of options are
    rewritten at apply.
    `note`: an explanation to show, mostly one line.
    """

    address: Address
    action: Action
    reason: Reason
    before: Resource | None = None
    live: Resource | None = None
    after: Attributes | None = None
    outputs: Attributes = {}
    fields: tuple[FieldChange, ...] = ()
    depends_on: tuple[Address, ...] = ()
    protected: bool = False
    previous: Address | None = None
    rewrite: bool = False
    note: str = ""


class OutputChange(msgspec.Struct, frozen=True):
    """A root output whose value will differ; Unknown until apply where it depends on a change."""

    name: str
    old: Value
    new: Value


class Plan(msgspec.Struct, frozen=True):
    """Ordered changes against one state: dependencies first, deletes last; KEEPs are included.

    `outputs` are the root outputs as they will be. `in_progress` names the other session that works
    on this state, "" if there is none.
    """

    base: StateId
    config_digest: str
    changes: tuple[Change, ...]
    outputs: Mapping[str, Value] = {}
    output_changes: tuple[OutputChange, ...] = ()
    in_progress: str = ""
    destroy: bool = False

    def __iter__(self) -> Iterator[Change]:
        """Yield the changes that do something: everything but KEEP."""
        return (c for c in self.changes if c.action is not Action.KEEP)

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to call and nothing to rewrite, and no output differs."""
        return not self.output_changes and not any(
            c.action is not Action.KEEP or c.rewrite for c in self.changes
        )

    def counts(self) -> dict[Action, int]:
        """Count the changes of each action."""
        found = dict.fromkeys(Action, 0)
        for change in self.changes:
            found[change.action] += 1
        return found
