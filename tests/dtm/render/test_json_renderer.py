from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from dtm.app.comparison import Difference
from dtm.render.json_types import schema
from engine.errors import ConfigError, LockHeldError, Problem
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
from engine.plan import Action, FieldChange
from engine.values import UNKNOWN, Secret
from fixtures.plans.examples import PLANS
from tests.dtm.render.rendering import DATA, HOLDER, RECORD, WEB, Shown

PUBLISHED = Path(__file__).parents[3] / "docs" / "reference" / "events.schema.json"
EVENTS: list[tuple[Event, str]] = [
    (RunStarted("apply"), "diagnostic"),
    (BackendUsed("local", "file:///w/devstream.state"), "diagnostic"),
    (ApplyStart(DATA, Action.CREATE, 1, 2), "apply_start"),
    (ApplyProgress(DATA, Action.CREATE, "half", 0.5, 2.0), "apply_progress"),
    (ApplyComplete(DATA, Action.CREATE, "id", 2.0), "apply_complete"),
    (ApplyErrored(DATA, Action.CREATE, "no", "try", 2.0, 3), "apply_errored"),
    (ApplySkipped(DATA, Action.CREATE, WEB), "apply_skipped"),
    (ApplySkipped(DATA, Action.CREATE, None), "apply_skipped"),
    (ActionDowngraded(DATA, Action.REPLACE, Action.KEEP), "diagnostic"),
    (Retrying(DATA, Action.CREATE, 1, 1.0, "503"), "diagnostic"),
    (Stopping((DATA,), cancelling=True), "diagnostic"),
    (Notice("warning", "hm", "hint", "c.yaml:1:1"), "diagnostic"),
    (RefusalWarning("apply", "protected", "hint", "c.yaml:1:1"), "diagnostic"),
    (InProgress(DATA, "create", "anna@host"), "diagnostic"),
    (LockWaiting(RECORD, 1.0, None), "lock_acquire"),
    (LockAcquired(HOLDER, 1.0, HOLDER), "lock_acquire"),
    (LockReleased(HOLDER), "lock_release"),
    (
        ApplySummary({Action.CREATE: 1, Action.KEEP: 4}, (DATA,), (WEB,), 3.0, "s3://b/k", True),
        "change_summary",
    ),
    (ApplySummary({}, (DATA,), (), 3.0, "s", True, "destroy", (DATA,), ("x",)), "change_summary"),
]


def lines(shown: Shown) -> list[dict[str, Any]]:
    """Every line, valid by the published schema."""
    assert shown.err == ""
    found = [json.loads(each) for each in shown.out.splitlines()]
    validator = Draft202012Validator(json.loads(PUBLISHED.read_text("utf-8")))
    for each in found:
        validator.validate(each)
    assert found[0]["type"] == "version"
    return found[1:]


def test_published_schema_matches_the_types() -> None:
    assert PUBLISHED.read_text("utf-8") == schema()


@pytest.mark.parametrize(("event", "kind"), EVENTS)
def test_event_is_one_line(event: Event, kind: str) -> None:
    shown = Shown("json")
    shown.renderer.event(event)
    first = lines(shown)[0]
    assert (
        first["type"] == kind
        and first["timestamp"] == "2022-05-30T17:08:08.000000Z"
        and first["message"]
    )


@pytest.mark.parametrize("name", PLANS)
def test_plan_is_its_changes_and_a_summary(name: str) -> None:
    plan = PLANS[name]()
    shown = Shown("json")
    shown.renderer.plan(plan)
    found = lines(shown)
    planned = [each["address"] for each in found if each["type"] == "planned_change"]
    assert planned == [
        str(c.address) for c in plan.changes if c.action is not Action.KEEP or c.rewrite
    ]
    (summary,) = [each for each in found if each["type"] == "change_summary"]
    assert summary["operation"] == "plan"
    assert summary["changes"] == {
        a.value if a is not Action.KEEP else "unchanged": n for a, n in plan.counts().items()
    }


def test_planned_change_has_all_fields() -> None:
    shown = Shown("json")
    shown.renderer.plan(PLANS["drift_beside_change"]())
    option, live = lines(shown)[0]["fields"]
    assert option == {
        "path": ["content"],
        "old": "port: 80\n",
        "new": "port: 8080\n",
        "oldAbsent": False,
        "newAbsent": False,
        "source": "option",
        "replaces": False,
    }
    assert (live["source"], live["old"], live["new"]) == ("live", "0644", "0666")


def test_unknown_and_secret_values_are_texts() -> None:
    shown = Shown("json")
    shown.renderer.outputs({"url": UNKNOWN, "token": Secret("x"), "list": [1, {"a": Secret("y")}]})
    assert lines(shown)[0]["outputs"] == {
        "url": {"sensitive": False, "value": "(known after apply)"},
        "token": {"sensitive": True, "value": "(sensitive)"},
        "list": {"sensitive": True, "value": [1, {"a": "(sensitive)"}]},
    }


def test_apply_that_is_cut_short_ends_with_a_summary() -> None:
    shown = Shown("json")
    for event in (
        ApplyStart(DATA, Action.CREATE, 1, 3),
        ApplyComplete(DATA, Action.CREATE, "x", 1.0),
        ApplyErrored(WEB, Action.UPDATE, "no", "", 1.0),
    ):
        shown.renderer.event(event)
    summary = lines(shown)[-1]
    assert summary["type"] == "change_summary" and summary["interrupted"]
    assert summary["changes"]["create"] == 1 and summary["failed"] == ["repo-scaffolding/web"]


def test_summary_names_command_and_cancelled_tools() -> None:
    shown = Shown("json")
    shown.renderer.event(
        ApplySummary(
            {Action.DELETE: 1}, (DATA, WEB), (), 3.0, "s", operation="destroy", cancelled=(DATA,)
        )
    )
    (line,) = lines(shown)
    assert line["message"] == "Destroy failed => 1 deleted, 1 failed, 1 cancelled in 3.0s."
    assert (line["operation"], line["failed"], line["cancelled"]) == (
        "destroy",
        [str(DATA), str(WEB)],
        [str(DATA)],
    )


def test_summary_is_written_once() -> None:
    shown = Shown("json")
    shown.renderer.event(ApplyStart(DATA, Action.CREATE, 1, 1))
    shown.renderer.event(ApplySummary({Action.CREATE: 1}, (), (), 1.0, "s"))
    assert [each["type"] for each in lines(shown)] == ["apply_start", "change_summary"]


def test_errors_are_one_diagnostic_per_problem() -> None:
    shown = Shown("json")
    shown.renderer.error(
        ConfigError((Problem("a.yaml:1:2", "one", "hint"), Problem("a.yaml:3:4", "two")))
    )
    shown.renderer.error(LockHeldError(RECORD), debug=True)
    shown.renderer.error(LockHeldError(LockRecord(None, "1")))
    shown.renderer.error(ValueError("odd"))
    found = lines(shown)
    assert {each["type"] for each in found} == {"diagnostic"} and {
        each["severity"] for each in found
    } == {"error"}
    assert [each["where"] for each in found] == ["a.yaml:1:2", "a.yaml:3:4", "", "", ""]
    assert found[2]["lock"]["who"] == "anna@build-7" and "LockHeldError" in found[2]["traceback"]
    assert found[3]["lock"] is None


def test_results_are_data_lines() -> None:
    shown = Shown("json", verbose=True)
    shown.renderer.table([{"address": "data/a", "serial": 1}, {"address": "data/b", "serial": 2}])
    shown.renderer.data("one line")
    shown.renderer.value(7)
    shown.renderer.data("for people", {"for": "programs"})
    shown.renderer.document({"a": [1, 2]}, title="a document")
    shown.renderer.differences(
        [Difference(DATA, "changed", (FieldChange(("x",), 1, 2),)), Difference(WEB, "added")]
    )
    shown.renderer.notice("debug", "detail", hint="more")
    found = lines(shown)
    assert [each.get("data") for each in found] == [
        {"address": "data/a", "serial": 1},
        {"address": "data/b", "serial": 2},
        "one line",
        7,
        {"for": "programs"},
        {"a": [1, 2]},
        {
            "address": "data/a",
            "difference": "changed",
            "fields": [
                {
                    "path": ["x"],
                    "old": 1,
                    "new": 2,
                    "oldAbsent": False,
                    "newAbsent": False,
                    "source": "option",
                    "replaces": False,
                }
            ],
        },
        {"address": "repo-scaffolding/web", "difference": "added", "fields": []},
        None,
    ]


@pytest.mark.parametrize(
    ("record", "status"), [(RECORD, "held"), (None, "free"), (LockRecord(None, "1"), "held")]
)
def test_lock_is_a_line_with_a_status(record: LockRecord | None, status: str) -> None:
    shown = Shown("json")
    shown.renderer.lock(record)
    assert lines(shown)[0]["status"] == status


def test_version_command_writes_only_the_first_line() -> None:
    shown = Shown("json")
    shown.renderer.version("0.1.0")
    assert lines(shown) == [] and json.loads(shown.out)["dtm"] == "0.1.0"


@pytest.mark.parametrize(
    "event",
    [
        Retrying(DATA, Action.CREATE, 1, 1.0, "503"),
        ActionDowngraded(DATA, Action.REPLACE, Action.UPDATE),
    ],
)
def test_diagnostic_names_its_tool_once(event: Event) -> None:
    shown = Shown("json")
    shown.renderer.event(event)
    (line,) = lines(shown)
    assert line["where"] == "data/a"
    assert line["message"].count("data/a") == 1
