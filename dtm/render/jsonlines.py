"""Plans and events as the Structs of `jsontypes`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dtm.render import events, sentences
from dtm.render import jsontypes as types
from dtm.render.values import ValueText
from engine.address import Address
from engine.events import (
    ApplyComplete,
    ApplyErrored,
    ApplyMilder,
    ApplyProgress,
    ApplySkipped,
    ApplyStart,
    ApplySummary,
    Event,
    LockAcquired,
    LockReleased,
    LockWaiting,
    Notice,
    Retrying,
)
from engine.plan import Action, Change, FieldChange


@dataclass(slots=True)
class Unfinished:
    """An apply that has begun and not been summed up: its summary, should none come."""

    running: bool = False
    done: dict[Action, int] = field(default_factory=dict[Action, int])
    failed: list[Address] = field(default_factory=list[Address])
    skipped: list[Address] = field(default_factory=list[Address])

    def follow(self, event: Event) -> None:
        """Count what happens."""
        match event:
            case ApplyStart():
                self.running = True
            case ApplyComplete():
                self.done[event.action] = self.done.get(event.action, 0) + 1
            case ApplyErrored():
                self.failed.append(event.address)
            case ApplySkipped():
                self.skipped.append(event.address)
            case ApplySummary():
                self.running = False
            case _:
                pass

    def summary(self, now: str) -> types.ChangeSummary:
        """What was done before the run broke off."""
        return types.ChangeSummary(
            timestamp=now, message="The run broke off.", operation="apply", changes=counts(self.done),
            failed=[str(each) for each in self.failed], skipped=[str(each) for each in self.skipped],
            elapsed_seconds=None, state=None, interrupted=True,
        )  # fmt: skip


def counts(done: Mapping[Action, int]) -> types.Counts:
    """The numbers by action; KEEP is called unchanged."""
    named = {action.value: number for action, number in done.items() if action is not Action.KEEP}
    return types.Counts(**named, unchanged=done.get(Action.KEEP, 0))


def planned(change: Change, show: ValueText, now: str) -> types.PlannedChange:
    """One planned change, secrets hidden."""
    return types.PlannedChange(
        timestamp=now,
        message=f"Tool ({change.address}) {sentences.about(change)[0]}",
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
    """One field, secrets hidden."""
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
    """The line that an event is."""
    match event:
        case LockWaiting() | LockAcquired() | LockReleased():
            return _lock(event, now)
        case ApplyMilder() | Retrying() | Notice():
            return _diagnostic(event, now)
        case ApplySummary():
            return _summary(event, now)
        case _:
            return _apply(event, now)


def _apply(event: ApplyStart | ApplyProgress | ApplyComplete | ApplyErrored | ApplySkipped, now: str) -> types.AnyLine:
    head: dict[str, Any] = {"timestamp": now, "address": str(event.address), "action": event.action.value}
    match event:
        case ApplyStart():
            message = sentences.processing(event.address, event.action)
            return types.ApplyStarted(**head, message=message, index=event.index, total=event.total)
        case ApplyProgress():
            head |= {"text": event.text, "fraction": event.fraction, "elapsed_seconds": event.elapsed}
            return types.ApplyRunning(**head, message=events.progress(event))
        case ApplyComplete():
            message = sentences.done(event.address, event.action)
            return types.ApplyCompleted(**head, message=message, id=event.id, elapsed_seconds=event.elapsed)
        case ApplyErrored():
            message = sentences.change_failed(event.address, event.action, event.message)
            head |= {"error": event.message, "hint": event.hint, "attempts": event.attempts}
            return types.ApplyFailed(**head, message=message, elapsed_seconds=event.elapsed)
        case ApplySkipped():
            message = f"Skipped: {events.skipped(event)}"
            return types.ApplyLeft(**head, message=message, because=str(event.because) if event.because else None)


def _lock(event: LockWaiting | LockAcquired | LockReleased, now: str) -> types.AnyLine:
    match event:
        case LockWaiting():
            return types.LockAcquire(
                timestamp=now, message=events.waiting(event), status="waiting", lock=event.record.info,
                waited_seconds=event.waited, takeover_seconds=event.takeover_in,
            )  # fmt: skip
        case LockAcquired():
            return types.LockAcquire(
                timestamp=now, message=events.acquired(event).message, status="acquired", lock=event.info,
                waited_seconds=event.waited, taken_from=event.taken_from,
            )  # fmt: skip
        case LockReleased():
            return types.LockRelease(timestamp=now, message=events.RELEASED, lock=event.info)


def _diagnostic(event: ApplyMilder | Retrying | Notice, now: str) -> types.Diagnostic:
    match event:
        case ApplyMilder():
            return diagnostic("info", events.milder(event), "", str(event.address), now)
        case Retrying():
            return diagnostic("warning", events.retrying(event), "", str(event.address), now)
        case Notice():
            return diagnostic(events.level(event), event.message, event.hint, event.where, now)


def diagnostic(severity: types.Severity, text: str, hint: str, where: str, now: str) -> types.Diagnostic:
    """Something people must see."""
    message = f"{where}: {text}" if where else text
    return types.Diagnostic(timestamp=now, message=message, severity=severity, summary=text, hint=hint, where=where)


def _summary(event: ApplySummary, now: str) -> types.ChangeSummary:
    return types.ChangeSummary(
        timestamp=now,
        message=events.counted(event),
        operation="apply",
        changes=counts(event.done),
        failed=[str(each) for each in event.failed],
        skipped=[str(each) for each in event.skipped],
        elapsed_seconds=event.elapsed,
        state=event.location,
        interrupted=event.interrupted,
    )
