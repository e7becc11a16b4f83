from __future__ import annotations

import pytest

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
from tests.dtm.render.rendering import DATA, HOLDER, RECORD, WEB, Shown

DATE = "2022-05-30 17:08:08"
APP = Address("argocdapp", "web")


def log(*events: Event, verbose: bool = False, quiet: bool = False) -> list[str]:
    """The log lines without their date."""
    shown = Shown("plain", verbose=verbose, quiet=quiet)
    for event in events:
        shown.renderer.event(event)
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert all(each.startswith((DATE, "  ")) for each in lines)
    return [each.removeprefix(f"{DATE} ") for each in lines]


def test_apply_log_keeps_devstream_lines() -> None:
    assert log(
        RunStarted("apply"),
        BackendUsed("local", "file:///w/devstream.state"),
        ApplyStart(DATA, Action.CREATE, 1, 2),
        ApplyComplete(DATA, Action.CREATE, "data.a", 0.2),
        ApplyStart(WEB, Action.DELETE, 2, 2),
        ApplyComplete(WEB, Action.DELETE, "", 0.2),
        ApplySummary({Action.CREATE: 1, Action.DELETE: 1}, (), (), 72.0, "/w/devstream.state"),
    ) == [
        "ℹ [INFO]  Apply started.",
        "ℹ [INFO]  Using local backend. State: file:///w/devstream.state",
        "ℹ [INFO]  Start executing the plan.",
        "ℹ [INFO]  Changes count: 2.",
        "ℹ [INFO]  -------------------- [  Processing progress: 1/2.  ] --------------------",
        "ℹ [INFO]  Processing: (data/a) -> Create ...",
        "✔ [SUCCESS]  Tool (data/a) Create done.",
        "ℹ [INFO]  -------------------- [  Processing progress: 2/2.  ] --------------------",
        "ℹ [INFO]  Processing: (repo-scaffolding/web) -> Delete ...",
        "✔ [SUCCESS]  Tool (repo-scaffolding/web) delete done.",
        "✔ [SUCCESS]  All plugins applied successfully.",
        "✔ [SUCCESS]  Apply finished. 1 created, 1 deleted in 1m 12s.",
    ]


def test_summary_explains_failed_and_skipped_tools() -> None:
    lines = log(
        ApplyStart(DATA, Action.UPDATE, 1, 2),
        ApplyErrored(
            DATA, Action.UPDATE, "disk full:\n  no room", "free some space", 0.2, attempts=3
        ),
        ApplySkipped(WEB, Action.CREATE, DATA),
        ApplySummary({Action.DELETE: 2}, (DATA,), (WEB,), 2.0, "s3://b/k", operation="apply"),
    )
    assert lines[4:] == [
        "!! [ERROR]  data/a Update failed after 3 tries.",
        "!! [ERROR]  Apply failed => 2 deleted, 1 failed, 1 skipped in 2.0s.",
        "  Failed:",
        "    data/a update: disk full:",
        "        no room",
        "      → free some space",
        "  Skipped:",
        "    repo-scaffolding/web create, because data/a failed",
        "  → remove the cause, then run the same command again: it continues with what is left",
    ]


def test_summary_lists_cancelled_tools_separately() -> None:
    lines = log(
        Stopping((DATA, APP)),
        Stopping((DATA,), cancelling=True),
        ApplyErrored(DATA, Action.CREATE, "create was stopped", "", 0.2),
        ApplySkipped(WEB, Action.CREATE, DATA),
        ApplySkipped(Address("data", "c"), Action.CREATE, None),
        ApplySummary(
            {}, (DATA,), (WEB, Address("data", "c")), 2.0, "s", True, "destroy", cancelled=(DATA,)
        ),
    )
    assert lines == [
        "⚠ [WARN]  Stopping: waiting for 2 running operations (data/a, argocdapp/web); "
        "Ctrl-C again cancels them.",
        "⚠ [WARN]  Stopping now: cancelling 1 running operation (data/a).",
        "⚠ [WARN]  data/a Create cancelled.",
        "⚠ [WARN]  Destroy interrupted => 1 cancelled, 2 skipped in 2.0s.",
        "  Cancelled, outcome unknown:",
        "    data/a",
        "  Skipped:",
        "    repo-scaffolding/web create, because data/a was cancelled",
        "    data/c create, because the run was stopped",
        "  → run the same command again: it continues with what is left",
    ]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            ApplySummary({Action.CREATE: 1}, (), (), 1.0, "s"),
            "✔ [SUCCESS]  All plugins applied successfully.",
        ),
        (ApplySummary({}, (), (), 1.0, "s"), "✔ [SUCCESS]  All plugins applied successfully."),
        (
            ApplySummary({Action.CREATE: 1}, (), (), 1.0, "s", unresolved=("x",)),
            "!! [ERROR]  Apply failed => 1 created, 1 output could not be evaluated in 1.0s.",
        ),
        (
            ApplySummary({Action.DELETE: 1}, (DATA,), (), 1.0, "s", operation="delete"),
            "!! [ERROR]  Delete error: 1 deleted, 1 failed in 1.0s.",
        ),
        (
            ApplySummary({Action.DELETE: 1}, (DATA,), (), 1.0, "s", interrupted=True),
            "!! [ERROR]  Apply interrupted => 1 deleted, 1 failed in 1.0s.",
        ),
        (
            ApplySummary({}, (), (), 1.0, "s", interrupted=True),
            "⚠ [WARN]  Apply interrupted => 0 changes in 1.0s.",
        ),
    ],
)
def test_success_means_that_everything_is_done(event: ApplySummary, line: str) -> None:
    lines = log(event)
    assert lines[0] == line
    assert any("SUCCESS" in each for each in lines) is event.is_complete


def test_summary_without_changes() -> None:
    assert log(ApplySummary({}, (), (), 1.0, "s"))[1:] == [
        "ℹ [INFO]  Apply finished. 0 changes in 1.0s."
    ]


@pytest.mark.parametrize(("verbose", "named"), [(False, 20), (True, 500)])
def test_long_list_of_failures_is_cut(verbose: bool, named: int) -> None:
    tools = tuple(Address("data", f"t{i}") for i in range(500))
    failures = [ApplyErrored(each, Action.CREATE, "no", "", 1.0) for each in tools]
    lines = log(*failures, ApplySummary({}, tools, (), 1.0, "s"), verbose=verbose)
    assert sum(each.endswith("create: no") for each in lines) == named
    assert ("    … 480 more, -v shows all" in lines) is not verbose


def test_long_operation_is_reported_every_ten_seconds() -> None:
    events = [
        ApplyProgress(DATA, Action.CREATE, "", None, float(second)) for second in range(1, 36)
    ]
    assert [
        each for each in log(ApplyStart(DATA, Action.CREATE, 1, 1), *events) if "still" in each
    ] == [f"ℹ [INFO]  data/a still creating, {second}s so far" for second in (10, 20, 30)]


def test_verbose_shows_progress_texts() -> None:
    spoken = ApplyProgress(DATA, Action.UPDATE, "3 of 4 pods", 0.75, 1.5)
    assert log(spoken) == []
    assert log(spoken, verbose=True) == [
        "ℹ [INFO]  data/a still updating, 1.5s so far: 3 of 4 pods (75%)"
    ]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            ActionDowngraded(DATA, Action.REPLACE, Action.UPDATE),
            "ℹ [INFO]  data/a was planned to be replaced; "
            "with all values known, it is only updated.",
        ),
        (
            ActionDowngraded(DATA, Action.UPDATE, Action.KEEP),
            "ℹ [INFO]  data/a was planned to be updated; "
            "with all values known, no change is needed.",
        ),
        (
            Retrying(DATA, Action.CREATE, 2, 1.5, "503 from the API."),
            "⚠ [WARN]  data/a Create try 2 failed: 503 from the API; trying again in 1.5s",
        ),
        (Stopping(()), "⚠ [WARN]  Stopping: no operation is running."),
        (
            Stopping((DATA,)),
            "⚠ [WARN]  Stopping: waiting for 1 running operation (data/a); "
            "Ctrl-C again cancels it.",
        ),
        (
            Stopping(tuple(Address("data", f"t{i}") for i in range(12)), cancelling=True),
            "⚠ [WARN]  Stopping now: cancelling 12 running operations "
            "(data/t0, data/t1, data/t2, data/t3, data/t4,"
            " data/t5, data/t6, data/t7, data/t8, data/t9 and 2 more).",
        ),
        (Notice("warning", "no lock", "set one", "c.yaml:3:1"), "⚠ [WARN]  c.yaml:3:1: no lock"),
        (Notice("error", "gone"), "!! [ERROR]  gone"),
        (
            RefusalWarning("destroy", "data/a is protected", where="c.yaml:3:1"),
            "⚠ [WARN]  c.yaml:3:1: Destroy will refuse this plan: data/a is protected",
        ),
        (
            InProgress(DATA, "create", "anna@host since 2026-01-01T09:00:05.123Z"),
            "⚠ [WARN]  data/a: Create in progress by anna@host since 2026-01-01T09:00:05Z",
        ),
        (Notice("info", "fine"), "ℹ [INFO]  fine"),
        (Notice("unknown level", "fine"), "ℹ [INFO]  fine"),
        (
            LockWaiting(RECORD, 0.0, 26.0),
            "ℹ [INFO]  Waiting for the state lock held by anna@build-7 (apply, 92417f49-68a4), "
            "0.0s so far; "
            "takeover in 26s unless its holder renews it",
        ),
        (
            LockWaiting(LockRecord(None, "1"), 0.0, None),
            "ℹ [INFO]  Waiting for the state lock held by an unreadable record, 0.0s so far",
        ),
        (LockAcquired(HOLDER, 12.0), "ℹ [INFO]  Got the state lock after 12s."),
        (
            LockAcquired(HOLDER, 31.0, HOLDER),
            "⚠ [WARN]  Took over the state lock of anna@build-7 (apply, 92417f49-68a4), "
            "which did not renew it for a whole lease.",
        ),
        (
            LockAcquired(HOLDER, 0.0, HOLDER, ended=True),
            "⚠ [WARN]  Took over the state lock of anna@build-7 (apply, 92417f49-68a4),"
            " whose process has ended.",
        ),
    ],
)
def test_event_message(event: Event, line: str) -> None:
    assert log(event)[0] == line


def test_quick_lock_is_reported_only_if_verbose() -> None:
    quick: list[Event] = [LockAcquired(HOLDER, 0.0), LockReleased(HOLDER)]
    assert log(*quick) == []
    assert log(*quick, verbose=True) == [
        "λ [DEBUG]  Got the state lock.",
        "λ [DEBUG]  Released the state lock.",
    ]


def test_lock_wait_is_reported_every_ten_seconds() -> None:
    assert len(log(*(LockWaiting(RECORD, second / 2, None) for second in range(61)))) == 4


def test_quiet_keeps_warnings_and_errors() -> None:
    assert log(
        Notice("info", "a"),
        ApplyStart(DATA, Action.CREATE, 1, 1),
        Notice("warning", "b"),
        ApplyErrored(DATA, Action.CREATE, "c", "", 1.0),
        ApplySummary({}, (DATA,), (), 1.0, "s"),
        quiet=True,
    ) == [
        "⚠ [WARN]  b",
        "!! [ERROR]  data/a Create failed.",
        "!! [ERROR]  Apply failed => 1 failed in 1.0s.",
        "  Failed:",
        "    data/a create: c",
        "  → remove the cause, then run the same command again: it continues with what is left",
    ]


def test_failure_is_explained_once() -> None:
    first, *rest = log(
        ApplyErrored(DATA, Action.CREATE, "no room", "free some", 1.0),
        ApplySummary({}, (DATA,), (), 1.0, "s"),
    )
    assert "no room" not in first
    assert sum("no room" in row for row in rest) == sum("free some" in row for row in rest) == 1


def test_message_cannot_forge_a_log_line() -> None:
    lines = log(
        Notice(
            "error", "\x1b[2J\n2022-05-30 17:08:08 ✔ [SUCCESS]  All plugins applied successfully."
        )
    )
    assert lines == [
        "!! [ERROR]  \\u001b[2J",
        "  2022-05-30 17:08:08 ✔ [SUCCESS]  All plugins applied successfully.",
    ]
