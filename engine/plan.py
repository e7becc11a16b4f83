"""The plan as a value: it can be shown, compared and saved, and refused if it is out of date.

An example:

    for change in plan:
        print(change.address, change.action.value, change.reason.value)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum

import msgspec

from engine.address import Address
from engine.state import Resource, StateId
from engine.values import Attributes, Value, ValuePath


class Action(Enum):
    """The operation of a change. Its value is used in the state file and in the JSON output."""

    KEEP = "keep"
    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    MOVE = "move"
    FORGET = "forget"
    RECOVER = "recover"


class Reason(Enum):
    """The cause of a change, for the user.

    REQUESTED: by `dtm destroy` or `dtm delete`. FAILED: the last operation on the tool failed.
    INPUT: see `ChangeSource`. DEPENDENCY: only options with outputs not known yet may change.
    """

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
    """The origin of a difference in a field.

    OPTION: the user changed an option. LIVE: the resource was changed outside dtm (drift). INPUT: a
    file or template that an option names has changed.
    """

    OPTION = "option"
    LIVE = "live"
    INPUT = "input"


class FieldChange(msgspec.Struct, frozen=True):
    """A difference in one field.

    `path` leads into maps by key and into lists by index. `old_absent` and `new_absent` mark a side
    that does not have the field. For `ChangeSource.LIVE` and `ChangeSource.INPUT`, `old` is the
    recorded value and `new` the live one. `replaces`: this change forces a replacement.
    """

    path: ValuePath
    old: Value
    new: Value
    source: ChangeSource = ChangeSource.OPTION
    replaces: bool = False
    old_absent: bool = False
    new_absent: bool = False


class Change(msgspec.Struct, frozen=True):
    """The planned change of one tool.

    `before`: the recorded resource, or the one that `--resolve ADDR=adopt:ID` names; None if there
    is none.
    `live`: the resource as it was read, None if it is absent or was not read.
    `after`: the options after the change, with Unknown and Secret leaves; None for a delete or
    forget.
    `outputs`: the predicted outputs.
    `depends_on`: the tools that it depends on, as in the config or (for a delete) in the state.
    Their changes come before this one, but a delete comes before the deletes of its dependencies.
    `previous`: the old address of a move.
    `rewrite`: apply calls no provider, but updates the dependencies, the protection or the spelling
    of options in the entry.
    `note`: an explanation for the user, usually one line.
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
    """A root output that will change. `new` is Unknown if it depends on a change of a tool."""

    name: str
    old: Value
    new: Value


class Plan(msgspec.Struct, frozen=True):
    """The changes that turn one state into what the config asks for.

    `changes` are in order: dependencies first, deletes last, KEEPs included. `base` and
    `config_digest` identify its inputs: if one of them differs now, the plan is out of date.
    `outputs` are the root outputs after the plan. `in_progress` names another session that is
    working on this state, "" if there is none.
    """

    base: StateId
    config_digest: str
    changes: tuple[Change, ...]
    outputs: Mapping[str, Value] = {}
    output_changes: tuple[OutputChange, ...] = ()
    in_progress: str = ""
    destroy: bool = False

    def __iter__(self) -> Iterator[Change]:
        """Yield all changes except KEEPs."""
        return (c for c in self.changes if c.action is not Action.KEEP)

    @property
    def is_empty(self) -> bool:
        """True if apply would call no provider, rewrite no entry and change no output."""
        # A rewrite counts: the entry in the state differs, although no provider is called.
        return not self.output_changes and not any(
            c.action is not Action.KEEP or c.rewrite for c in self.changes
        )

    def counts(self) -> dict[Action, int]:
        """Return the number of changes by action."""
        counts = dict.fromkeys(Action, 0)
        for change in self.changes:
            counts[change.action] += 1
        return counts
