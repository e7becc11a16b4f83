from __future__ import annotations

import pytest

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


def test_an_apply_reads_as_devstream_tells_it() -> None:
    assert log(
        ApplyStart(DATA, Action.CREATE, 1, 2),
        ApplyComplete(DATA, Action.CREATE, "data.a", 0.2),
        ApplyStart(WEB, Action.DELETE, 2, 2),
        ApplyComplete(WEB, Action.DELETE, "", 0.2),
        ApplySummary({Action.CREATE: 1, Action.DELETE: 1}, (), (), 72.0, "/w/devstream.state"),
    ) == [
        "ℹ [INFO]  Start executing the plan.",
        "ℹ [INFO]  Changes count: 2.",
        "ℹ [INFO]  -------------------- [  Processing progress: 1/2.  ] --------------------",
        "ℹ [INFO]  Processing: (data/a) -> Create ...",
        "✔ [SUCCESS]  Tool (data/a) Create done.",
        "ℹ [INFO]  -------------------- [  Processing progress: 2/2.  ] --------------------",
        "ℹ [INFO]  Processing: (repo-scaffolding/web) -> Delete ...",
        "ℹ [INFO]  Prepare to delete 'repo-scaffolding_web' from States.",
        "✔ [SUCCESS]  Tool (repo-scaffolding/web) delete done.",
        "ℹ [INFO]  -------------------- [  Processing done.  ] --------------------",
        "✔ [SUCCESS]  Done: 1 created, 1 deleted in 1m 12s.",
        "ℹ [INFO]  State: /w/devstream.state",
    ]


def test_the_summary_says_what_failed_and_why_and_what_was_skipped_because_of_it() -> None:
    lines = log(
        ApplyStart(DATA, Action.UPDATE, 1, 2),
        ApplyErrored(
            DATA, Action.UPDATE, "disk full:\n  no room", "free some space", 0.2, attempts=3
        ),
        ApplySkipped(WEB, Action.CREATE, DATA),
        ApplySummary({Action.DELETE: 2}, (DATA,), (WEB,), 2.0, "s3://b/k", operation="apply"),
    )
    assert lines[4:] == [
        "!! [ERROR]  data/a Update failed with error: disk full: no room (after 3 tries)",
        "ℹ [INFO]  -------------------- [  Processing aborted.  ] --------------------",
        "!! [ERROR]  Apply failed => 2 deleted, 1 failed, 1 skipped in 2.0s.",
        "  Failed:",
        "    data/a update: disk full:",
        "        no room",
        "      → free some space",
        "  Skipped:",
        "    repo-scaffolding/web create, because data/a failed",
        "  State: s3://b/k",
        "  → run the command again to go on; what is done stays done",
    ]


def test_what_was_cut_off_is_not_said_to_have_ended() -> None:
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
        "⚠ [WARN]  data/a Create cancelled: create was stopped",
        "⚠ [WARN]  Destroy interrupted => 1 cancelled, 2 skipped in 2.0s.",
        "  Cancelled, what became of it is not known yet:",
        "    data/a",
        "  Skipped:",
        "    repo-scaffolding/web create, because data/a was cancelled",
        "    data/c create, because the run was stopped",
        "  State: s",
        "  → run the command again to go on; what is done stays done",
    ]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            ApplySummary({Action.CREATE: 1}, (), (), 1.0, "s"),
            "✔ [SUCCESS]  Done: 1 created in 1.0s.",
        ),
        (ApplySummary({}, (), (), 1.0, "s"), "ℹ [INFO]  Done: nothing in 1.0s."),
        (
            ApplySummary({Action.CREATE: 1}, (), (), 1.0, "s", unresolved=("x",)),
            "!! [ERROR]  Apply failed => 1 created, 1 output not worked out in 1.0s.",
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
            "⚠ [WARN]  Apply interrupted => nothing in 1.0s.",
        ),
    ],
)
def test_success_is_only_said_where_everything_was_done(event: ApplySummary, line: str) -> None:
    lines = log(event)
    assert lines[0] == line
    assert any("SUCCESS" in each for each in lines) is (event.complete and bool(event.done))


@pytest.mark.parametrize(("verbose", "named"), [(False, 20), (True, 500)])
def test_many_failures_do_not_bury_the_end_of_the_summary(verbose: bool, named: int) -> None:
    tools = tuple(Address("data", f"t{i}") for i in range(500))
    failures = [ApplyErrored(each, Action.CREATE, "no", "", 1.0) for each in tools]
    lines = log(*failures, ApplySummary({}, tools, (), 1.0, "s"), verbose=verbose)
    assert sum(each.endswith("create: no") for each in lines) == named
    assert ("    … 480 more, -v shows all" in lines) is not verbose


def test_a_long_operation_gives_a_sign_of_life_every_ten_seconds() -> None:
    events = [
        ApplyProgress(DATA, Action.CREATE, "", None, float(second)) for second in range(1, 36)
    ]
    assert [
        each for each in log(ApplyStart(DATA, Action.CREATE, 1, 1), *events) if "still" in each
    ] == [f"ℹ [INFO]  Tool (data/a) still creating, {second}s so far" for second in (10, 20, 30)]


def test_verbose_shows_each_word_of_a_provider() -> None:
    spoken = ApplyProgress(DATA, Action.UPDATE, "3 of 4 pods", 0.75, 1.5)
    assert log(spoken) == []
    assert log(spoken, verbose=True) == [
        "ℹ [INFO]  Tool (data/a) still updating, 1.5s so far: 3 of 4 pods (75%)"
    ]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            ApplyMilder(DATA, Action.REPLACE, Action.UPDATE),
            "ℹ [INFO]  Tool (data/a) was planned to be replaced; "
            "with all values known it is updated.",
        ),
        (
            ApplyMilder(DATA, Action.UPDATE, Action.KEEP),
            "ℹ [INFO]  Tool (data/a) was planned to be updated; "
            "with all values known nothing has to be done.",
        ),
        (
            Retrying(DATA, Action.CREATE, 2, 1.5, "503 from the API."),
            "⚠ [WARN]  data/a Create try 2 failed: 503 from the API; next in 1.5s",
        ),
        (Stopping(()), "⚠ [WARN]  Stopping: nothing is running any more."),
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
            WillRefuse("destroy", "data/a is protected", where="c.yaml:3:1"),
            "⚠ [WARN]  c.yaml:3:1: Destroy will refuse this plan: data/a is protected",
        ),
        (
            InProgress(DATA, "create", "anna@host since 2026-01-01T09:00:05.123Z"),
            "⚠ [WARN]  data/a: Create in progress by anna@host since 2026-01-01T09:00:05Z",
        ),
        (Notice("info", "fine"), "ℹ [INFO]  fine"),
        (Notice("unheard of", "fine"), "ℹ [INFO]  fine"),
        (
            LockWaiting(RECORD, 0.0, 26.0),
            "ℹ [INFO]  Waiting for the state lock held by anna@build-7 (apply, 92417f49-68a4), "
            "0.0s so far,"
            " taken over in 26s if it stays silent",
        ),
        (
            LockWaiting(LockRecord(None, "1"), 0.0, None),
            "ℹ [INFO]  Waiting for the state lock held by an unreadable record, 0.0s so far",
        ),
        (LockAcquired(HOLDER, 12.0), "ℹ [INFO]  Got the state lock after 12s."),
        (
            LockAcquired(HOLDER, 31.0, HOLDER),
            "⚠ [WARN]  Took over the state lock of anna@build-7 (apply, 92417f49-68a4), "
            "silent for a whole lease.",
        ),
        (
            LockAcquired(HOLDER, 0.0, HOLDER, ended=True),
            "⚠ [WARN]  Took over the state lock of anna@build-7 (apply, 92417f49-68a4),"
            " whose process ended without giving it back.",
        ),
    ],
)
def test_one_event_one_line(event: Event, line: str) -> None:
    assert log(event)[0] == line


def test_a_lock_that_costs_no_time_is_not_worth_a_word() -> None:
    quick: list[Event] = [LockAcquired(HOLDER, 0.0), LockReleased(HOLDER)]
    assert log(*quick) == []
    assert log(*quick, verbose=True) == [
        "λ [DEBUG]  Got the state lock.",
        "λ [DEBUG]  Released the state lock.",
    ]


def test_waiting_for_a_lock_gives_a_sign_of_life_every_ten_seconds() -> None:
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
        "!! [ERROR]  data/a Create failed with error: c",
        "!! [ERROR]  Apply failed => 1 failed in 1.0s.",
        "  Failed:",
        "    data/a create: c",
        "  State: s",
        "  → run the command again to go on; what is done stays done",
    ]


def test_a_long_error_is_cut_where_it_happens_and_whole_at_the_end() -> None:
    long = "x" * 500
    first, *rest = log(
        ApplyErrored(DATA, Action.CREATE, long, "", 1.0), ApplySummary({}, (DATA,), (), 1.0, "s")
    )
    assert first.endswith("x…") and len(first) < 300
    assert f"    data/a create: {long}" in rest


def test_a_message_cannot_steer_the_terminal_nor_forge_a_log_line() -> None:
    lines = log(
        Notice(
            "error", "\x1b[2J\n2022-05-30 17:08:08 ✔ [SUCCESS]  All plugins applied successfully."
        )
    )
    assert lines == [
        "!! [ERROR]  \\u001b[2J",
        "  2022-05-30 17:08:08 ✔ [SUCCESS]  All plugins applied successfully.",
    ]
