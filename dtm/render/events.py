"""Events as log sentences: one story for people, whether a terminal or a log file shows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from dtm.render import sentences
from dtm.render.text import Level, count, duration
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
from engine.lock import LockRecord
from engine.plan import Action


class Said(NamedTuple):
    """One message: its level, its sentence (further lines belong below the first), and the next step or ""."""

    level: Level
    message: str
    hint: str = ""


RELEASED: Final = "Released the state lock."
PULSE: Final = 10.0
"""Seconds between two lines about the same long operation."""
SLOW_LOCK: Final = 0.4
"""Seconds after which waiting for a lock is worth a word."""
MAX_NAMED: Final = 20
"""Failures and skips that the summary names one by one unless everything was asked for."""


@dataclass(slots=True)
class Narrator:
    """Remembers what a run did, so that lines about long operations are rare and the summary says why things failed."""

    everything: bool = False
    begun: bool = False
    failures: list[ApplyErrored] = field(default_factory=list[ApplyErrored])
    skips: list[ApplySkipped] = field(default_factory=list[ApplySkipped])
    _last: dict[Address, float] = field(default_factory=dict[Address, float])
    _waited: float = -PULSE

    def tell(self, event: Event) -> Iterator[Said]:  # noqa: C901 - one flat case per event
        """The lines this event is worth, none for many."""
        match event:
            case ApplyStart():
                yield from self._start(event)
            case ApplyProgress():
                yield from self._progress(event)
            case ApplyComplete():
                yield from self._complete(event)
            case ApplyErrored():
                yield from self._errored(event)
            case ApplySkipped():
                self.skips.append(event)
            case ApplyMilder():
                yield Said("info", milder(event))
            case Retrying():
                yield Said("warning", retrying(event))
            case Notice():
                yield _notice(event)
            case LockWaiting():
                yield from self._waiting(event)
            case LockAcquired():
                yield acquired(event)
            case LockReleased():
                yield Said("debug", RELEASED)
            case ApplySummary():
                yield from self._summary(event)

    def _start(self, event: ApplyStart) -> Iterator[Said]:
        if not self.begun:
            self.begun = True
            yield Said("info", sentences.EXECUTING)
            yield Said("info", f"Changes count: {event.total}.")
        self._last[event.address] = 0.0
        yield Said("info", sentences.separator(f"Processing progress: {event.index}/{event.total}."))
        yield Said("info", sentences.processing(event.address, event.action))

    def _progress(self, event: ApplyProgress) -> Iterator[Said]:
        due = event.elapsed - self._last.get(event.address, 0.0) >= PULSE
        if not due and not (self.everything and event.text):
            return
        self._last[event.address] = event.elapsed
        yield Said("info", progress(event))

    def _complete(self, event: ApplyComplete) -> Iterator[Said]:
        self._last.pop(event.address, None)
        if event.action is Action.DELETE:
            yield Said("info", f"Prepare to delete '{event.address.key}' from States.")
        yield Said("success", sentences.done(event.address, event.action))

    def _errored(self, event: ApplyErrored) -> Iterator[Said]:
        self._last.pop(event.address, None)
        self.failures.append(event)
        tries = f" (after {event.attempts} tries)" if event.attempts > 1 else ""
        yield Said("error", sentences.change_failed(event.address, event.action, event.message) + tries, event.hint)

    def _waiting(self, event: LockWaiting) -> Iterator[Said]:
        if event.waited - self._waited >= PULSE or event.waited < self._waited:
            self._waited = event.waited
            yield Said("info", waiting(event))

    def _summary(self, event: ApplySummary) -> Iterator[Said]:
        if self.begun:
            clean_run = not (event.failed or event.skipped or event.interrupted)
            yield Said("info", sentences.separator("Processing done." if clean_run else "Processing aborted."))
        yield from summary(event, self.failures, self.skips, self.everything)


def summary(
    event: ApplySummary, failures: Sequence[ApplyErrored], skips: Sequence[ApplySkipped], everything: bool
) -> Iterator[Said]:
    """What was done, what failed and why, what was skipped because of it, where the state is, how long it took."""
    if event.interrupted:
        yield Said("warning", "Interrupted: nothing new was started, what was running has ended.")
    yield Said("success" if any(event.done.values()) else "info", counted(event))
    if event.failed:
        yield Said("error", _named("Failed", len(event.failed), [_failure(each) for each in failures], everything))
    if event.skipped:
        yield Said("warning", _named("Skipped", len(event.skipped), [skipped(each) for each in skips], everything))
    yield Said("info", f"State: {event.location}")


def counted(event: ApplySummary) -> str:
    """`Done: 3 created, 1 deleted in 12s.`."""
    counts = [f"{number:,} {sentences.DONE[action]}" for action, number in event.done.items() if number]
    return f"Done: {', '.join(counts) or 'nothing'} in {duration(event.elapsed)}."


def _named(what: str, number: int, texts: Sequence[str], everything: bool) -> str:
    shown = texts if everything or len(texts) <= MAX_NAMED + 1 else texts[:MAX_NAMED]
    hidden = [f"… {len(texts) - len(shown):,} more, -v shows all"] if len(shown) < len(texts) else []
    return "\n".join([f"{what}: {count(number, 'tool')}.", *shown, *hidden])


def _failure(event: ApplyErrored) -> str:
    hint = f"\n  → {event.hint}" if event.hint else ""
    return f"{event.address} {event.action.value}: {event.message}{hint}"


def skipped(event: ApplySkipped) -> str:
    """What was not tried, and why."""
    why = f"because {event.because} failed" if event.because else "because the run was stopped"
    return f"{event.address} {event.action.value}, {why}"


def progress(event: ApplyProgress) -> str:
    """A sign of life: `Tool (n/i) still creating, 20s so far: text (40 %)`."""
    text = f": {event.text}" if event.text else ""
    share = f" ({event.fraction:.0%})" if event.fraction is not None else ""
    return f"Tool ({event.address}) still {sentences.DOING[event.action]}, {duration(event.elapsed)} so far{text}{share}"


def milder(event: ApplyMilder) -> str:
    """Less had to be done than planned."""
    actual = "nothing has to be done" if event.actual is Action.KEEP else f"it is {sentences.DONE[event.actual]}"
    return f"Tool ({event.address}) was planned to be {sentences.DONE[event.planned]}; with all values known {actual}."


def retrying(event: Retrying) -> str:
    """A try failed and why, and when the next comes."""
    text = event.message.rstrip(".")
    return (
        f"{event.address} {event.action.value.capitalize()} try {event.attempt} failed: {text}; next in {duration(event.delay)}"
    )


def holder(record: LockRecord) -> str:
    """Whom we wait for."""
    info = record.info
    return f"{info.who} ({info.operation}, {info.id})" if info else "an unreadable record"


def waiting(event: LockWaiting) -> str:
    """Who holds the lock, how long we wait, and when it may be taken over."""
    over = f", taken over in {duration(event.takeover_in)} if it stays silent" if event.takeover_in is not None else ""
    return f"Waiting for the state lock held by {holder(event.record)}, {duration(event.waited)} so far{over}"


def acquired(event: LockAcquired) -> Said:
    """A take-over is a warning, a long wait worth a word, the rest detail."""
    if event.taken_from:
        old = event.taken_from
        why = "whose process ended without giving it back" if event.ended else "silent for a whole lease"
        return Said("warning", f"Took over the state lock of {old.who} ({old.operation}, {old.id}), {why}.")
    if event.waited >= SLOW_LOCK:
        return Said("info", f"Got the state lock after {duration(event.waited)}.")
    return Said("debug", "Got the state lock.")


def level(event: Notice) -> Literal["info", "warning", "error"]:
    """Its level; what is not known is information."""
    match event.level:
        case "warning" | "error":
            return event.level
        case _:
            return "info"


def _notice(event: Notice) -> Said:
    return Said(level(event), f"{event.where}: {event.message}" if event.where else event.message, event.hint)
