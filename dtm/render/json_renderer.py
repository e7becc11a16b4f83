"""The renderer for programs: one JSON object per line on stdout, as `json_types` describes them."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from threading import RLock
from typing import TYPE_CHECKING, Final, cast

import msgspec

from dtm import __version__
from dtm.render import json_types as types
from dtm.render.json_lines import (
    ChangeTally,
    diagnostic_line,
    event_line,
    field_difference,
    planned_change,
)
from dtm.render.plan import count_line, found_line
from dtm.render.port import Operation
from dtm.render.screen import Screen
from dtm.render.sentences import nothing_to_do, other_session
from dtm.render.text import Clean, Level
from dtm.render.values import ValueText
from engine.errors import ConfigError, DtmError, LockHeldError, PlanError
from engine.events import Event, Notice
from engine.lock import LockRecord, format_timestamp
from engine.plan import Action, Plan
from engine.values import Attributes, Digest, Secret, Value, iter_leaves

if TYPE_CHECKING:
    from dtm.app.comparison import Difference

FIXED_WORD_KEYS: Final = frozenset(
    {
        "type",
        "timestamp",
        "action",
        "reason",
        "operation",
        "severity",
        "status",
        "source",
        "difference",
    }
)
"""The keys whose values are fixed words of the format."""


class JsonRenderer:
    """A renderer that writes whole JSON lines.

    An apply always ends with a `change_summary`, even if an error ends it.
    """

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.show = ValueText(screen.clean, everything=True)
        self._lock = RLock()  # events come from the threads of the executor and of the lease
        self._is_first = True
        self._tally = ChangeTally()

    def plan(self, plan: Plan, *, operation: Operation = "plan", nothing: str = "") -> None:
        """Write the changes, a `change_summary`, and the outputs if they change.

        Each change is a `planned_change` line.
        """
        now = self._now()
        if plan.in_progress:
            self.notice("warning", other_session(plan))
        changes = [
            planned_change(c, self.show, now, operation)
            for c in plan.changes
            if c.action is not Action.KEEP or c.rewrite
        ]
        last = count_line(plan) if operation == "plan" else found_line(plan, operation)
        message = (nothing or nothing_to_do(plan)) if plan.is_empty else last.text
        self._write(*changes, ChangeTally(done=plan.counts()).summary(now, message, operation))
        if plan.output_changes:
            self.outputs(plan.outputs)

    def event(self, event: Event) -> None:
        """Write one line."""
        with self._lock:
            self._tally.count_event(event)
            self._write(event_line(event, self._now()))

    def error(self, error: BaseException, *, debug: bool = False) -> None:
        """Write a `diagnostic` per problem."""
        now = self._now()
        match error:
            case ConfigError() | PlanError():
                lines = [
                    diagnostic_line("error", each.message, each.hint, each.where, now)
                    for each in error.problems
                ]
            case DtmError():
                lines = [diagnostic_line("error", error.message, error.hint, error.where, now)]
            case _:
                lines = [diagnostic_line("error", f"{type(error).__name__}: {error}", "", "", now)]
        if isinstance(error, LockHeldError):
            lines = [msgspec.structs.replace(each, lock=error.record.info) for each in lines]
        if debug:
            trace = "".join(traceback.format_exception(error))
            lines = [msgspec.structs.replace(each, traceback=trace) for each in lines]
        self._write(*lines)

    def notice(self, level: Level, message: str, *, hint: str = "") -> None:
        """Write a `diagnostic`."""
        if level != "debug" or self.screen.verbose:
            self._write(event_line(Notice(level, message, hint), self._now()))

    def outputs(self, outputs: Mapping[str, Value]) -> None:
        """Write one `outputs` line."""
        shown = {
            self.screen.clean(name): types.Output(sensitive=_sensitive(v), value=self.show.json(v))
            for name, v in outputs.items()
        }
        self._write(types.OutputsLine(timestamp=self._now(), message="Outputs", outputs=shown))

    def value(self, value: Value) -> None:
        """Write a `data` line."""
        self._write(self._data("", value))

    def table(self, rows: Sequence[Mapping[str, Value]]) -> None:
        """Write a `data` line per row."""
        self._write(*[self._data("", dict(row)) for row in rows])

    def data(self, text: str, value: Value = None) -> None:
        """Write a `data` line."""
        self._write(self._data("", text if value is None else value))

    def document(self, value: Attributes, *, title: str = "") -> None:
        """Write a `data` line."""
        self._write(self._data(title, dict(value)))

    def differences(self, differences: Sequence[Difference]) -> None:
        """Write a `data` line per tool, or one with an empty list if nothing differs."""
        if not differences:
            self._write(self._data("No differences.", []))
        for each in differences:
            fields = [field_difference(change, self.show) for change in each.fields]
            row = {"address": str(each.address), "difference": each.kind, "fields": fields}
            self._write(
                types.Data(timestamp=self._now(), message=f"{each.address} {each.kind}", data=row)
            )

    def lock(self, record: LockRecord | None) -> None:
        """Write a `lock_acquire` line with the status held or free."""
        message = "The state is locked." if record else "The state is not locked."
        info = record.info if record else None
        self._write(
            types.LockAcquire(
                timestamp=self._now(),
                message=message,
                status="held" if record else "free",
                lock=info,
            )
        )

    def version(self, version: str) -> None:
        """Write nothing more than the first line of every stream, which holds the version."""
        del version
        self._write()

    def close(self) -> None:
        """Write the `change_summary` of an apply that was cut short."""
        with self._lock:
            if self._tally.running:
                self._write(self._tally.summary(self._now(), "The run was cut short.", "apply"))
                self._tally = ChangeTally()
        self.screen.out.flush()

    def _now(self) -> str:
        return format_timestamp(self.screen.clock())

    def _data(self, title: str, value: Value) -> types.Data:
        return types.Data(timestamp=self._now(), message=title, data=self.show.json(value))

    def _write(self, *lines: types.AnyLine) -> None:
        with self._lock:
            if self._is_first:
                self._is_first = False
                now, message = self._now(), f"dtm {__version__}"
                lines = (types.VersionLine(timestamp=now, message=message, dtm=__version__), *lines)
            self.screen.out.write("".join([self._encode(each) for each in lines]))
            # A program that follows the run must not wait for a full buffer.
            self.screen.out.flush()

    def _encode(self, each: types.AnyLine) -> str:
        return (
            msgspec.json.encode(_clean_texts(msgspec.to_builtins(each), self.screen.clean)).decode()
            + "\n"
        )


def _clean_texts(value: object, clean: Clean) -> object:
    """Redact secrets in every text except the fixed words of the format.

    A secret that equals such a word must not break the format.
    """
    match value:
        case str():
            text = clean(value)
            # UTF-8 cannot encode a lone surrogate.
            return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
        case dict():
            items = cast("dict[str, object]", value).items()  # what msgspec makes of a Struct
            return {
                name: item
                if name in FIXED_WORD_KEYS and isinstance(item, str)
                else _clean_texts(item, clean)
                for name, item in items
            }
        case list():
            return [_clean_texts(item, clean) for item in cast("list[object]", value)]
        case _:
            return value


def _sensitive(value: Value) -> bool:
    return any(isinstance(leaf, Secret | Digest) for leaf in iter_leaves(value))
