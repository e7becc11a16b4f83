"""Events as messages for people, in a terminal or in a log file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from dtm.render import sentences
from dtm.render.text import Level, count, duration, listed
from engine.address import Address
from engine.events import (
    ActionDowngraded,
    ApplyComplete,
    ApplyErrored,
    ApplyProgress,
    ApplySkipped,
    ApplyStart,
    ApplySummary,
    BackendUsed,
    Event,
    InProgress,
    LockAcquired,
    LockReleased,
    LockWaiting,
    Notice,
    RefusalWarning,
    Retrying,
    RunStarted,
    Stopping,
)
from engine.lock import LockRecord
from engine.plan import Action


class LogLine(NamedTuple):
    """One message: its level, text, next step, and the place in a file that it is about.

    The first line of the text is the message, further lines are shown below it.
    """

    level: Level
    message: str
    hint: str = ""
    where: str = ""

    @property
    def text(self) -> str:
        """The message, after its place if it has one."""
        return f"{self.where}: {self.message}" if self.where else self.message


PULSE: Final = 10.0
"""Seconds between two lines about the same long operation."""
SLOW_LOCK: Final = 0.4
"""Seconds of waiting for a lock after which the wait is reported."""
MAX_NAMED: Final = 20
"""The number of failures, and of skipped tools, that a summary lists without -v."""
CONTINUE: Final = "run the same command again: it continues with what is left"
CONTINUE_AFTER_FAILURE: Final = f"remove the cause, then {CONTINUE}"


def describe_event(event: Event) -> LogLine:
    """Return the message of an event, regardless of the events before it."""
    match event:
        case LockWaiting() | LockAcquired() | LockReleased():
            return _lock(event)
        case Notice() | RefusalWarning() | InProgress():
            return _notice(event)
        case Stopping():
            return LogLine("warning", _stopping(event))
        case Retrying():
            return LogLine("warning", _retrying(event))
        case RunStarted():
            return LogLine("info", sentences.started(event.operation))
        case BackendUsed():
            text = sentences.using(event.backend, event.location)
            chosen = f" (chosen by: {event.chosen_by})" if event.chosen_by else ""
            return LogLine("info", text + chosen)
        case ApplySummary():
            return _outcome(event)
        case _:
            return _change(event)


def _change(
    event: ApplyStart
    | ApplyProgress
    | ApplyComplete
    | ApplyErrored
    | ApplySkipped
    | ActionDowngraded,
) -> LogLine:
    match event:
        case ApplyStart():
            return LogLine("info", sentences.processing(event.address, event.action))
        case ApplyProgress():
            return LogLine("info", _progress(event))
        case ApplyComplete():
            return LogLine("success", sentences.done(event.address, event.action))
        case ApplyErrored():
            text = f"{sentences.change_failed(event.address, event.action)}: {event.message}"
            return LogLine("error", text, event.hint)
        case ApplySkipped():
            return LogLine("warning", f"Skipped: {_skipped(event)}")
        case ActionDowngraded():
            return LogLine("info", _downgraded(event))


def _notice(event: Notice | RefusalWarning | InProgress) -> LogLine:
    match event:
        case Notice():
            return LogLine(_level(event), event.message, event.hint, event.where)
        case RefusalWarning():
            text = sentences.will_refuse(event.operation, event.message)
            return LogLine("warning", text, event.hint, event.where)
        case InProgress():
            text = sentences.in_progress(event.action, event.by)
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
    """Chooses the messages of a run, which depend on the events before.

    Long operations are reported every ten seconds. A failure is reported when it happens, and the
    summary explains it. `dated` is for a log file: as in DevStream, the command and the state are
    named at the start. In a terminal, the summary names the state.
    """

    everything: bool = False
    dated: bool = False
    begun: bool = False
    cancelling: bool = False
    failures: list[ApplyErrored] = msgspec.field(default_factory=list[ApplyErrored])
    skips: list[ApplySkipped] = msgspec.field(default_factory=list[ApplySkipped])
    _last: dict[Address, float] = msgspec.field(default_factory=dict[Address, float])
    _waited: float = -PULSE

    def lines_for(self, event: Event) -> Iterator[LogLine]:
        """Yield the messages of an event; many events have none."""
        match event:
            case ApplyStart():
                yield from self._start(event)
            case ApplyProgress():
                yield from self._progress(event)
            case ApplyComplete():
                self._last.pop(event.address, None)
                yield describe_event(event)
            case ApplyErrored():
                yield self._errored(event)
            case ApplySkipped():
                self.skips.append(event)
            case LockWaiting():
                yield from self._waiting(event)
            case ApplySummary():
                yield from self._summary(event)
            case _:
                yield from self._other(event)

    def _other(self, event: Event) -> Iterator[LogLine]:
        if isinstance(event, Stopping) and event.cancelling:
            self.cancelling = True
        # In a terminal the user has just typed the command, and the summary names the state.
        known = isinstance(event, RunStarted) or (
            isinstance(event, BackendUsed) and not self.everything
        )
        if self.dated or not known:
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

    def _errored(self, event: ApplyErrored) -> LogLine:
        """Report that a change failed. The reason is in the summary, so that it stays visible."""
        self._last.pop(event.address, None)
        self.failures.append(event)
        if self.cancelling:
            return LogLine(
                "warning", f"{event.address} {event.action.value.capitalize()} cancelled."
            )
        tries = f" after {event.attempts} tries" if event.attempts > 1 else ""
        return LogLine("error", sentences.change_failed(event.address, event.action) + f"{tries}.")

    def _waiting(self, event: LockWaiting) -> Iterator[LogLine]:
        # The wait starts at 0 again when another session got the lock in between.
        if event.waited - self._waited >= PULSE or event.waited < self._waited:
            self._waited = event.waited
            yield describe_event(event)

    def _summary(self, event: ApplySummary) -> Iterator[LogLine]:
        """Yield what was done, what failed and why, what was skipped because of it, and the time.

        A log file has named the state at the start of the run, a terminal names it here.
        """
        verdict, location = describe_event(event), f"State: {event.location}"
        if event.is_complete:
            if self.dated:
                yield LogLine("success", sentences.ALL_DONE[event.operation])
            yield verdict
            if not self.dated:
                yield LogLine("info", location)
            return
        cut = set(event.cancelled)
        sections = (
            ("Failed", [_failure(each) for each in self.failures if each.address not in cut]),
            ("Cancelled, outcome unknown", [f"{a}" for a in event.cancelled]),
            ("Skipped", [_skipped(each, cancelled=each.because in cut) for each in self.skips]),
        )
        lines = [row for title, texts in sections if texts for row in self._section(title, texts)]
        rows = [verdict.message, *lines, *([] if self.dated else [location])]
        yield LogLine(verdict.level, "\n".join(rows), verdict.hint)

    def _section(self, title: str, texts: Sequence[str]) -> list[str]:
        # One more than the limit is shown, since a line that counts it would not be shorter.
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
        if event.is_complete and any(event.done.values())
        else "info"
        if event.is_complete
        else "warning"
    )


def _outcome(event: ApplySummary) -> LogLine:
    level = _verdict(event)
    hint = CONTINUE_AFTER_FAILURE if level == "error" else CONTINUE
    return LogLine(level, _headline(event), "" if event.is_complete else hint)


def _headline(event: ApplySummary) -> str:
    """Return a sentence such as `Apply finished. 3 created in 12s.`."""
    cancelled = len(event.cancelled)
    numbers = [(number, sentences.DONE[action]) for action, number in event.done.items()]
    numbers += [
        (len(event.failed) - cancelled, "failed"),
        (cancelled, "cancelled"),
        (len(event.skipped), "skipped"),
    ]
    counts = [f"{number:,} {word}" for number, word in numbers if number]
    if event.unresolved:
        counts.append(f"{count(len(event.unresolved), 'output')} could not be evaluated")
    text = f"{', '.join(counts) or '0 changes'} in {duration(event.elapsed)}"
    if event.interrupted:
        return sentences.interrupted(event.operation, text)
    if event.is_complete:
        return f"{sentences.finished(event.operation)} {text}."
    return sentences.failed(event.operation, text)


def _failure(event: ApplyErrored) -> str:
    first, *rest = event.message.split("\n")
    hint = [f"→ {event.hint}"] if event.hint else []
    return "\n  ".join([f"{event.address} {event.action.value}: {first}", *rest, *hint])


def _skipped(event: ApplySkipped, *, cancelled: bool = False) -> str:
    """Return a skipped tool with the reason."""
    what = "was cancelled" if cancelled else "failed"
    why = f"because {event.because} {what}" if event.because else "because the run was stopped"
    return f"{event.address} {event.action.value}, {why}"


def _progress(event: ApplyProgress) -> str:
    """Return a line such as `file/hello still creating, 20s so far: text (40 %)`."""
    text = f": {event.text}" if event.text else ""
    share = f" ({event.fraction:.0%})" if event.fraction is not None else ""
    doing, so_far = sentences.DOING[event.action], duration(event.elapsed)
    return f"{event.address} still {doing}, {so_far} so far{text}{share}"


def _stopping(event: Stopping) -> str:
    """Describe the effect of a request to stop, and of a second one."""
    names = listed([str(each) for each in event.running])
    running = f"{count(len(event.running), 'running operation')} ({names})"
    if not event.running:
        return "Stopping: no operation is running."
    if event.cancelling:
        return f"Stopping now: cancelling {running}."
    them = "it" if len(event.running) == 1 else "them"
    return f"Stopping: waiting for {running}; Ctrl-C again cancels {them}."


def _downgraded(event: ActionDowngraded) -> str:
    """Explain why less is done than planned."""
    actual = (
        "no change is needed"
        if event.actual is Action.KEEP
        else f"it is only {sentences.DONE[event.actual]}"
    )
    planned = sentences.DONE[event.planned]
    return f"{event.address} was planned to be {planned}; with all values known, {actual}."


def _retrying(event: Retrying) -> str:
    """Explain why a call failed, and when it is tried again."""
    text = event.message.rstrip(".")
    what = f"{event.address} {event.action.value.capitalize()} try {event.attempt}"
    return f"{what} failed: {text}; trying again in {duration(event.delay)}"


def _holder(record: LockRecord) -> str:
    """Name the lock holder."""
    return record.info.description if record.info else record.holder


def _waiting(event: LockWaiting) -> str:
    """Name the lock holder, the time waited, and the time until a takeover."""
    over = (
        f"; takeover in {duration(event.takeover_in)} unless its holder renews it"
        if event.takeover_in is not None
        else ""
    )
    holder, so_far = _holder(event.record), duration(event.waited)
    return f"Waiting for the state lock held by {holder}, {so_far} so far{over}"


def _acquired(event: LockAcquired) -> LogLine:
    """Report a takeover as a warning, a long wait as information, and anything else as debug."""
    if event.taken_from:
        why = (
            "whose process has ended" if event.ended else "which did not renew it for a whole lease"
        )
        return LogLine(
            "warning", f"Took over the state lock of {event.taken_from.description}, {why}."
        )
    if event.waited >= SLOW_LOCK:
        return LogLine("info", f"Got the state lock after {duration(event.waited)}.")
    return LogLine("debug", "Got the state lock.")


def _level(event: Notice) -> Level:
    """Return the level of a notice; an unknown one counts as info."""
    match event.level:
        case "warning" | "error":
            return event.level
        case _:
            return "info"
