"""Events as log sentences: one story for people, whether a terminal or a log file shows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from dtm.render import sentences
from dtm.render.text import Level, count, duration, listed
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
    InProgress,
    LockAcquired,
    LockReleased,
    LockWaiting,
    Notice,
    Retrying,
    Stopping,
    WillRefuse,
)
from engine.lock import LockRecord
from engine.plan import Action


class LogLine(NamedTuple):
    """One message: level, sentence, next step, and the place that it is about.

    Lines of the sentence after its first belong below it.
    """

    level: Level
    message: str
    hint: str = ""
    where: str = ""

    @property
    def text(self) -> str:
        """The sentence behind the place that it is about."""
        return f"{self.where}: {self.message}" if self.where else self.message


PULSE: Final = 10.0
"""Seconds between two lines about the same long operation."""
SLOW_LOCK: Final = 0.4
"""Seconds after which waiting for a lock is worth a word."""
MAX_NAMED: Final = 20
"""Failures and skips that the summary names one by one unless everything was asked for."""
HEADLINE: Final = 200
"""Characters of an error that the log shows when it happens; the summary has it whole."""
GO_ON: Final = "run the command again to go on; what is done stays done"


def describe_event(event: Event) -> LogLine:
    """Say what one event means, by itself."""
    match event:
        case LockWaiting() | LockAcquired() | LockReleased():
            return _lock(event)
        case Notice() | WillRefuse() | InProgress():
            return _notice(event)
        case Stopping():
            return LogLine("warning", _stopping(event))
        case Retrying():
            return LogLine("warning", _retrying(event))
        case ApplySummary():
            return LogLine(_verdict(event), _headline(event), "" if event.complete else GO_ON)
        case _:
            return _change(event)


def _change(
    event: ApplyStart | ApplyProgress | ApplyComplete | ApplyErrored | ApplySkipped | ApplyMilder,
) -> LogLine:
    match event:
        case ApplyStart():
            return LogLine("info", sentences.processing(event.address, event.action))
        case ApplyProgress():
            return LogLine("info", _progress(event))
        case ApplyComplete():
            return LogLine("success", sentences.done(event.address, event.action))
        case ApplyErrored():
            text = sentences.change_failed(event.address, event.action, event.message)
            return LogLine("error", text, event.hint)
        case ApplySkipped():
            return LogLine("warning", f"Skipped: {_skipped(event)}")
        case ApplyMilder():
            return LogLine("info", _milder(event))


def _notice(event: Notice | WillRefuse | InProgress) -> LogLine:
    match event:
        case Notice():
            return LogLine(_level(event), event.message, event.hint, event.where)
        case WillRefuse():
            text = sentences.will_refuse(event.operation, event.message)
            return LogLine("warning", text, event.hint, event.where)
        case InProgress():
            text = sentences.under_way(event.action, event.by)
            return LogLine("warning", text, where=str(event.address))


def _lock(event: LockWaiting | LockAcquired | LockReleased) -> LogLine:
    match event:
        case LockWaiting():
            return LogLine("info", _waiting(event))
        case LockAcquired():
            return _acquired(event)
        case LockReleased():
            return LogLine("debug", "Released the state lock.")


class RunLog(msgspec.Struct):
    """A memory of what a run did.

    With it lines about long operations are rare, and the summary says why things failed.
    """

    everything: bool = False
    begun: bool = False
    cancelling: bool = False
    failures: list[ApplyErrored] = msgspec.field(default_factory=list[ApplyErrored])
    skips: list[ApplySkipped] = msgspec.field(default_factory=list[ApplySkipped])
    _last: dict[Address, float] = msgspec.field(default_factory=dict[Address, float])
    _waited: float = -PULSE

    def lines_for(self, event: Event) -> Iterator[LogLine]:
        """The lines this event is worth, none for many."""
        match event:
            case ApplyStart():
                yield from self._start(event)
            case ApplyProgress():
                yield from self._progress(event)
            case ApplyComplete():
                yield from self._complete(event)
            case ApplyErrored():
                yield self._errored(event)
            case ApplySkipped():
                self.skips.append(event)
            case LockWaiting():
                yield from self._waiting(event)
            case ApplySummary():
                yield from self._summary(event)
            case _:
                self.cancelling = self.cancelling or (
                    isinstance(event, Stopping) and event.cancelling
                )
                yield describe_event(event)

    def _start(self, event: ApplyStart) -> Iterator[LogLine]:
        if not self.begun:
            self.begun = True
            yield LogLine("info", sentences.EXECUTING)
            yield LogLine("info", f"Changes count: {event.total}.")
        self._last[event.address] = 0.0
        yield LogLine(
            "info", sentences.separator(f"Processing progress: {event.index}/{event.total}.")
        )
        yield describe_event(event)

    def _progress(self, event: ApplyProgress) -> Iterator[LogLine]:
        due = event.elapsed - self._last.get(event.address, 0.0) >= PULSE
        if not due and not (self.everything and event.text):
            return
        self._last[event.address] = event.elapsed
        yield describe_event(event)

    def _complete(self, event: ApplyComplete) -> Iterator[LogLine]:
        self._last.pop(event.address, None)
        if event.action is Action.DELETE:
            yield LogLine("info", f"Prepare to delete '{event.address.key}' from States.")
        yield describe_event(event)

    def _errored(self, event: ApplyErrored) -> LogLine:
        """On one line: what belongs to it and what to do about it is said at the end, once."""
        self._last.pop(event.address, None)
        self.failures.append(event)
        text = " ".join(event.message.split())
        text = text if len(text) <= HEADLINE else f"{text[: HEADLINE - 1]}…"
        if self.cancelling:
            return LogLine(
                "warning", f"{event.address} {event.action.value.capitalize()} cancelled: {text}"
            )
        tries = f" (after {event.attempts} tries)" if event.attempts > 1 else ""
        return LogLine("error", sentences.change_failed(event.address, event.action, text) + tries)

    def _waiting(self, event: LockWaiting) -> Iterator[LogLine]:
        # A smaller number means that waiting began anew, behind another holder.
        if event.waited - self._waited >= PULSE or event.waited < self._waited:
            self._waited = event.waited
            yield describe_event(event)

    def _summary(self, event: ApplySummary) -> Iterator[LogLine]:
        if self.begun:
            yield LogLine(
                "info",
                sentences.separator(
                    "Processing done." if event.complete else "Processing aborted."
                ),
            )
        yield from self.summary(event)

    def summary(self, event: ApplySummary) -> Iterator[LogLine]:
        """Tell what was done, what failed and why, and what was skipped because of it.

        Then where the state is, and how long it took.
        """
        verdict, location = describe_event(event), f"State: {event.location}"
        if event.complete:
            yield verdict
            yield LogLine("info", location)
            return
        cut = set(event.cancelled)
        sections = (
            ("Failed", [_failure(each) for each in self.failures if each.address not in cut]),
            ("Cancelled, what became of it is not known yet", [f"{a}" for a in event.cancelled]),
            ("Skipped", [_skipped(each, cancelled=each.because in cut) for each in self.skips]),
        )
        lines = [row for title, texts in sections if texts for row in self._section(title, texts)]
        yield LogLine(verdict.level, "\n".join([verdict.message, *lines, location]), verdict.hint)

    def _section(self, title: str, texts: Sequence[str]) -> list[str]:
        # One more than the limit is shown: the line that counts it would be as long.
        shown = texts if self.everything or len(texts) <= MAX_NAMED + 1 else texts[:MAX_NAMED]
        hidden = (
            [f"… {len(texts) - len(shown):,} more, -v shows all"] if len(shown) < len(texts) else []
        )
        return [
            f"{title}:",
            *(f"  {row}" for text in (*shown, *hidden) for row in text.split("\n")),
        ]


def _verdict(event: ApplySummary) -> Level:
    if event.unresolved or set(event.failed) - set(event.cancelled):
        return "error"
    return (
        "success"
        if event.complete and any(event.done.values())
        else "info"
        if event.complete
        else "warning"
    )


def _headline(event: ApplySummary) -> str:
    """`Done: 3 created in 12s.`, `Apply failed => 1 created, 1 failed, 2 skipped in 12s.`."""
    cancelled = len(event.cancelled)
    numbers = [(number, sentences.DONE[action]) for action, number in event.done.items()]
    numbers += [
        (len(event.failed) - cancelled, "failed"),
        (cancelled, "cancelled"),
        (len(event.skipped), "skipped"),
    ]
    counts = [f"{number:,} {word}" for number, word in numbers if number]
    if event.unresolved:
        counts.append(f"{count(len(event.unresolved), 'output')} not worked out")
    text = f"{', '.join(counts) or 'nothing'} in {duration(event.elapsed)}"
    if event.interrupted:
        return sentences.interrupted(event.operation, text)
    return f"Done: {text}." if event.complete else sentences.failed(event.operation, text)


def _failure(event: ApplyErrored) -> str:
    first, *rest = event.message.split("\n")
    hint = [f"→ {event.hint}"] if event.hint else []
    return "\n  ".join([f"{event.address} {event.action.value}: {first}", *rest, *hint])


def _skipped(event: ApplySkipped, *, cancelled: bool = False) -> str:
    """Name what was not tried, and why."""
    what = "was cancelled" if cancelled else "failed"
    why = f"because {event.because} {what}" if event.because else "because the run was stopped"
    return f"{event.address} {event.action.value}, {why}"


def _progress(event: ApplyProgress) -> str:
    """A sign of life: `Tool (n/i) still creating, 20s so far: text (40 %)`."""
    text = f": {event.text}" if event.text else ""
    share = f" ({event.fraction:.0%})" if event.fraction is not None else ""
    doing, so_far = sentences.DOING[event.action], duration(event.elapsed)
    return f"Tool ({event.address}) still {doing}, {so_far} so far{text}{share}"


def _stopping(event: Stopping) -> str:
    """Say what a request to stop sets going, and what another one would."""
    names = listed([str(each) for each in event.running])
    running = f"{count(len(event.running), 'running operation')} ({names})"
    if not event.running:
        return "Stopping: nothing is running any more."
    if event.cancelling:
        return f"Stopping now: cancelling {running}."
    them = "it" if len(event.running) == 1 else "them"
    return f"Stopping: waiting for {running}; Ctrl-C again cancels {them}."


def _milder(event: ApplyMilder) -> str:
    """Less had to be done than planned."""
    actual = (
        "nothing has to be done"
        if event.actual is Action.KEEP
        else f"it is {sentences.DONE[event.actual]}"
    )
    planned = sentences.DONE[event.planned]
    return f"Tool ({event.address}) was planned to be {planned}; with all values known {actual}."


def _retrying(event: Retrying) -> str:
    """A try failed and why, and when the next comes."""
    text = event.message.rstrip(".")
    what = f"{event.address} {event.action.value.capitalize()} try {event.attempt}"
    return f"{what} failed: {text}; next in {duration(event.delay)}"


def _holder(record: LockRecord) -> str:
    """Name the lock holder."""
    return record.info.run if record.info else record.holder


def _waiting(event: LockWaiting) -> str:
    """Name the lock holder, the wait so far, and the time until a takeover."""
    over = (
        f", taken over in {duration(event.takeover_in)} if it stays silent"
        if event.takeover_in is not None
        else ""
    )
    holder, so_far = _holder(event.record), duration(event.waited)
    return f"Waiting for the state lock held by {holder}, {so_far} so far{over}"


def _acquired(event: LockAcquired) -> LogLine:
    """A take-over is a warning, a long wait worth a word, the rest detail."""
    if event.taken_from:
        why = (
            "whose process ended without giving it back"
            if event.ended
            else "silent for a whole lease"
        )
        return LogLine("warning", f"Took over the state lock of {event.taken_from.run}, {why}.")
    if event.waited >= SLOW_LOCK:
        return LogLine("info", f"Got the state lock after {duration(event.waited)}.")
    return LogLine("debug", "Got the state lock.")


def _level(event: Notice) -> Level:
    """Its level; what is not known is information."""
    match event.level:
        case "warning" | "error":
            return event.level
        case _:
            return "info"
