"""The JSON lines of `--json`, one Struct per type. These Structs are the published schema."""

from __future__ import annotations

import json
from typing import Any, Literal, TypeAlias

import msgspec

from engine.lock import LockInfo

Severity: TypeAlias = Literal["info", "warning", "error"]
ActionName: TypeAlias = Literal[
    "keep", "create", "update", "replace", "delete", "move", "forget", "recover"
]
ReasonName: TypeAlias = Literal[
    "unchanged",
    "new",
    "changed",
    "drifted",
    "vanished",
    "removed",
    "requested",
    "interrupted",
    "failed",
    "input",
    "dependency",
    "renamed",
]


class JsonLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type"):
    """The fields of every line. `timestamp` is RFC 3339 in UTC, `message` is for users."""

    timestamp: str
    message: str


class VersionLine(JsonLine, frozen=True, tag="version"):
    """The first line of every stream.

    `format` is raised when a line changes in a way that breaks readers.
    """

    dtm: str
    format: str = "1"


class FieldDifference(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One changed field.

    `source` is `option` if the user changed the option, `live` for drift, and `input` if a file or
    template that an option names has changed. For `input`, `old` is the recorded value.
    """

    path: list[str | int]
    old: Any
    new: Any
    old_absent: bool
    new_absent: bool
    source: Literal["option", "live", "input"]
    replaces: bool


class PlannedChange(JsonLine, frozen=True, tag="planned_change"):
    """One change of a plan. `options` are the new ones, null for a delete or forget."""

    address: str
    action: ActionName
    reason: ReasonName
    previous: str | None
    depends_on: list[str]
    protected: bool
    fields: list[FieldDifference]
    options: dict[str, Any] | None
    note: str


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """The number of changes of each action."""

    create: int = 0
    update: int = 0
    replace: int = 0
    delete: int = 0
    move: int = 0
    forget: int = 0
    recover: int = 0
    unchanged: int = 0


class ChangeSummary(JsonLine, frozen=True, tag="change_summary"):
    """The end of a plan, drift or verify (planned changes), or of a run (finished changes).

    `cancelled` lists those tools of `failed` whose operation was cut off, so that its outcome is
    unknown.
    """

    operation: Literal["plan", "drift", "verify", "apply", "delete", "destroy"]
    changes: Counts
    failed: list[str]
    skipped: list[str]
    cancelled: list[str]
    elapsed_seconds: float | None
    state: str | None
    interrupted: bool


class ApplyStarted(JsonLine, frozen=True, tag="apply_start"):
    """The first provider call of a change is about to start."""

    address: str
    action: ActionName
    index: int
    total: int


class ApplyRunning(JsonLine, frozen=True, tag="apply_progress"):
    """An operation is still running. `fraction` is 0 to 1 or null."""

    address: str
    action: ActionName
    text: str
    fraction: float | None
    elapsed_seconds: float


class ApplyCompleted(JsonLine, frozen=True, tag="apply_complete"):
    """A change succeeded. `id` is the resource's, "" after a delete."""

    address: str
    action: ActionName
    id: str
    elapsed_seconds: float


class ApplyFailed(JsonLine, frozen=True, tag="apply_errored"):
    """A change failed after `attempts` calls."""

    address: str
    action: ActionName
    error: str
    hint: str
    elapsed_seconds: float
    attempts: int


class ApplyNotStarted(JsonLine, frozen=True, tag="apply_skipped"):
    """A change was not tried.

    `because` names the failed tool that it depends on, null if the run was stopped.
    """

    address: str
    action: ActionName
    because: str | None


class Diagnostic(JsonLine, frozen=True, tag="diagnostic"):
    """A message that users must see.

    `where` is file:line:column or an address. `lock` is the record of the lock holder.
    """

    severity: Severity
    summary: str
    hint: str
    where: str
    lock: LockInfo | None = None
    traceback: str = ""


class LockAcquire(JsonLine, frozen=True, tag="lock_acquire"):
    """A run waits for the lock or acquired it; or the state of the lock, for `dtm lock`."""

    status: Literal["waiting", "acquired", "held", "free"]
    lock: LockInfo | None
    waited_seconds: float = 0.0
    takeover_seconds: float | None = None
    taken_from: LockInfo | None = None


class LockRelease(JsonLine, frozen=True, tag="lock_release"):
    """A run released the lock."""

    lock: LockInfo


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """One root output.

    `sensitive` is true if any part of the value is; the value is then hidden.
    """

    sensitive: bool
    value: Any


class OutputsLine(JsonLine, frozen=True, tag="outputs"):
    """The root outputs by name."""

    outputs: dict[str, Output]


class Data(JsonLine, frozen=True, tag="data"):
    """The result of a command: a row of a table, a nested value, or a text."""

    data: Any


AnyLine: TypeAlias = (
    VersionLine
    | PlannedChange
    | ChangeSummary
    | ApplyStarted
    | ApplyRunning
    | ApplyCompleted
    | ApplyFailed
    | ApplyNotStarted
    | Diagnostic
    | LockAcquire
    | LockRelease
    | OutputsLine
    | Data
)


def schema() -> str:
    """Return the JSON Schema of one line, as in docs/reference/events.schema.json."""
    found = msgspec.json.schema(AnyLine)
    return (
        json.dumps(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "title": "dtm --json",
                **found,
            },
            indent=2,
        )
        + "\n"
    )
