"""Plans and events as the Structs of `json_types`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from dtm.render import json_types as types
from dtm.render import sentences
from dtm.render.events import describe_event
from dtm.render.port import Operation
from dtm.render.text import Level
from dtm.render.values import ValueText
from engine import events
from engine.address import Address
from engine.events import Event
from engine.plan import Action, Change, FieldChange


class ChangeTally(msgspec.Struct):
    """Counts of planned or finished changes. `running` is True during an apply."""

    running: bool = False
    done: dict[Action, int] = msgspec.field(default_factory=dict[Action, int])
    failed: list[Address] = msgspec.field(default_factory=list[Address])
    skipped: list[Address] = msgspec.field(default_factory=list[Address])

    def count_event(self, event: Event) -> None:
        """Count the result that an event reports."""
        match event:
            case events.ApplyStart():
                self.running = True
            case events.ApplyComplete():
                self.done[event.action] = self.done.get(event.action, 0) + 1
            case events.ApplyErrored():
                self.failed.append(event.address)
            case events.ApplySkipped():
                self.skipped.append(event.address)
            case events.ApplySummary():
                self.running = False
            case _:
                pass

    def summary(
        self, now: str, message: str, operation: Operation | Literal["apply"]
    ) -> types.ChangeSummary:
        """Return the summary of a plan, or of an apply that was cut short."""
        return types.ChangeSummary(
            timestamp=now,
            message=message,
            operation=operation,
            changes=counts(self.done),
            failed=[str(each) for each in self.failed],
            skipped=[str(each) for each in self.skipped],
            cancelled=[],
            elapsed_seconds=None,
            state=None,
            interrupted=self.running,
        )


def counts(done: Mapping[Action, int]) -> types.Counts:
    """Return the numbers by action. KEEP is called unchanged."""
    named = {action.value: number for action, number in done.items() if action is not Action.KEEP}
    return types.Counts(**named, unchanged=done.get(Action.KEEP, 0))


def planned_change(
    change: Change, show: ValueText, now: str, operation: Operation
) -> types.PlannedChange:
    """Return one planned change, with secrets hidden."""
    sentence = sentences.planned(change) if operation == "plan" else sentences.found(change)
    return types.PlannedChange(
        timestamp=now,
        message=f"{change.address} {sentence}",
        address=str(change.address),
        action=change.action.value,
        reason=change.reason.value,
        previous=str(change.previous) if change.previous else None,
        depends_on=[str(each) for each in change.depends_on],
        protected=change.protected,
        fields=[field_difference(each, show) for each in change.fields],
        options=None if change.after is None else show.attributes(change.after),
        note=change.note,
    )


def field_difference(change: FieldChange, show: ValueText) -> types.FieldDifference:
    """Return one changed field, with secrets hidden."""
    return types.FieldDifference(
        path=list(change.path),
        old=show.json(change.old),
        new=show.json(change.new),
        old_absent=change.old_absent,
        new_absent=change.new_absent,
        source=change.source.value,
        replaces=change.replaces,
    )


def event_line(event: Event, now: str) -> types.AnyLine:
    """Return the line of an event. Its message is the text that users see."""
    match event:
        case (
            events.RunStarted()
            | events.BackendUsed()
            | events.Notice()
            | events.RefusalWarning()
            | events.InProgress()
            | events.ActionDowngraded()
            | events.Retrying()
            | events.Stopping()
        ):
            return _diagnostic(event, now)
        case events.LockWaiting() | events.LockAcquired() | events.LockReleased():
            return _lock(event, now)
        case events.ApplySummary():
            return _summary(event, now)
        case _:
            return _apply(event, now)


def _apply(
    event: events.ApplyStart
    | events.ApplyProgress
    | events.ApplyComplete
    | events.ApplyErrored
    | events.ApplySkipped,
    now: str,
) -> types.AnyLine:
    head = _head(event, now, address=str(event.address), action=event.action.value)
    match event:
        case events.ApplyStart():
            return types.ApplyStarted(**head, index=event.index, total=event.total)
        case events.ApplyProgress():
            return types.ApplyRunning(
                **head, text=event.text, fraction=event.fraction, elapsed_seconds=event.elapsed
            )
        case events.ApplyComplete():
            return types.ApplyCompleted(**head, id=event.id, elapsed_seconds=event.elapsed)
        case events.ApplyErrored():
            head |= {"error": event.message, "hint": event.hint, "attempts": event.attempts}
            return types.ApplyFailed(**head, elapsed_seconds=event.elapsed)
        case events.ApplySkipped():
            return types.ApplyNotStarted(
                **head, because=str(event.because) if event.because else None
            )


def _lock(
    event: events.LockWaiting | events.LockAcquired | events.LockReleased, now: str
) -> types.AnyLine:
    head = _head(event, now)
    match event:
        case events.LockWaiting():
            head |= {"waited_seconds": event.waited, "takeover_seconds": event.takeover_in}
            return types.LockAcquire(**head, status="waiting", lock=event.record.info)
        case events.LockAcquired():
            head |= {"waited_seconds": event.waited, "taken_from": event.taken_from}
            return types.LockAcquire(**head, status="acquired", lock=event.info)
        case events.LockReleased():
            return types.LockRelease(**head, lock=event.info)


def _head(event: Event, now: str, **more: Any) -> dict[str, Any]:
    return {"timestamp": now, "message": describe_event(event).message, **more}


def _diagnostic(
    event: events.RunStarted
    | events.BackendUsed
    | events.Notice
    | events.RefusalWarning
    | events.InProgress
    | events.ActionDowngraded
    | events.Retrying
    | events.Stopping,
    now: str,
) -> types.Diagnostic:
    line = describe_event(event)
    found = diagnostic_line(_severity(line.level), line.message, line.hint, line.where, now)
    if isinstance(event, events.ActionDowngraded | events.Retrying):
        # Only the text of these events names the tool, and a program needs the address as a field.
        return replace(found, where=str(event.address))
    return found


def _severity(level: Level) -> types.Severity:
    return level if level in ("warning", "error") else "info"


def diagnostic_line(
    severity: types.Severity, text: str, hint: str, where: str, now: str
) -> types.Diagnostic:
    """Return a line that users must see."""
    message = f"{where}: {text}" if where else text
    return types.Diagnostic(
        timestamp=now, message=message, severity=severity, summary=text, hint=hint, where=where
    )


def _summary(event: events.ApplySummary, now: str) -> types.ChangeSummary:
    return types.ChangeSummary(
        **_head(event, now, operation=event.operation),
        changes=counts(event.done),
        failed=[str(each) for each in event.failed],
        skipped=[str(each) for each in event.skipped],
        cancelled=[str(each) for each in event.cancelled],
        elapsed_seconds=event.elapsed,
        state=event.location,
        interrupted=event.interrupted,
    )
