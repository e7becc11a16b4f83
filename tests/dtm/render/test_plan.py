from __future__ import annotations

import pytest
from msgspec.structs import replace

from dtm.render.port import Operation
from dtm.render.renderers import Kind
from engine.address import Address
from engine.plan import Action, Change, ChangeSource, FieldChange, Plan, Reason
from engine.state import Resource
from fixtures.plans.examples import BASE, PLANS, WIDTHS, nothing, picture, tools_200, unknown
from fixtures.plans.regenerate import KINDS, PICTURE, golden, recorded, rendered
from tests.dtm.render.rendering import DATA, Shown

PEOPLE: tuple[Kind, ...] = ("rich", "plain")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PLANS)
def test_plan_matches_golden_file(name: str, kind: Kind, width: int) -> None:
    assert rendered(PLANS[name](), kind, width) == golden(name, kind, width).read_text("utf-8")


def test_picture_matches_the_plan() -> None:
    assert recorded(picture()) == PICTURE.read_text("utf-8")


def test_picture_loads_nothing_from_the_network() -> None:
    assert "url(http" not in PICTURE.read_text("utf-8")


@pytest.mark.parametrize(
    ("action", "reason", "sentence"),
    [
        (Action.CREATE, Reason.NEW, "will be created"),
        (Action.CREATE, Reason.VANISHED, "will be created again: it is gone"),
        (Action.CREATE, Reason.FAILED, "will be created: the last attempt failed"),
        (Action.CREATE, Reason.INTERRUPTED, "will be created: an earlier run was interrupted"),
        (Action.UPDATE, Reason.CHANGED, "will be updated: option changed"),
        (Action.UPDATE, Reason.DRIFTED, "changed outside dtm, will be restored"),
        (Action.UPDATE, Reason.INPUT, "will be updated: its inputs changed"),
        (Action.UPDATE, Reason.DEPENDENCY, "will be updated: it depends on a tool that changes"),
        (Action.REPLACE, Reason.CHANGED, "will be replaced: option changed"),
        (Action.DELETE, Reason.REMOVED, "will be deleted: no longer in the config"),
        (Action.DELETE, Reason.REQUESTED, "will be deleted"),
        (Action.DELETE, Reason.INTERRUPTED, "will be deleted: an earlier run was interrupted"),
        (Action.DELETE, Reason.FAILED, "will be deleted: the last attempt failed"),
        (Action.RECOVER, Reason.INTERRUPTED, "must be resolved: an earlier run was interrupted"),
        (Action.MOVE, Reason.RENAMED, "renamed from data/b, no resource will change"),
        (
            Action.FORGET,
            Reason.INTERRUPTED,
            "will be removed from the state, no resource will be deleted",
        ),
    ],
)
@pytest.mark.parametrize("kind", PEOPLE)
def test_change_sentence(kind: Kind, action: Action, reason: Reason, sentence: str) -> None:
    shown = Shown(kind)
    change = Change(DATA, action, reason, previous=Address("data", "b"))
    shown.renderer.plan(Plan(BASE, "", (change,)))
    assert f" data/a  {sentence}\n" in shown.out


def test_live_resource_of_an_interrupted_tool_is_recovered() -> None:
    shown = Shown("plain")
    change = Change(DATA, Action.RECOVER, Reason.INTERRUPTED, live=Resource("x"))
    shown.renderer.plan(Plan(BASE, "", (change,)))
    assert "data/a  will be recovered: an earlier run was interrupted\n" in shown.out


@pytest.mark.parametrize(
    ("paths", "sentence"),
    [
        ([("a",), ("a", "b")], "option changed"),
        ([("a",), ("b",)], "options changed"),
    ],
)
def test_change_sentence_counts_options(paths: list[tuple[str, ...]], sentence: str) -> None:
    shown = Shown("plain")
    fields = tuple(FieldChange(path, 1, 2) for path in paths)
    shown.renderer.plan(
        Plan(BASE, "", (Change(DATA, Action.UPDATE, Reason.CHANGED, fields=fields),))
    )
    assert f"data/a  will be updated: {sentence}\n" in shown.out


def test_drift_is_named_once() -> None:
    shown = Shown("plain")
    shown.renderer.plan(Plan(BASE, "", LOOKED[:1]))
    assert shown.out.count("changed outside dtm") == 1


@pytest.mark.parametrize("action", [each for each in Action if each is not Action.KEEP])
@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("kind", ["plain", "json"])
def test_every_action_and_reason_has_a_sentence(kind: Kind, action: Action, reason: Reason) -> None:
    shown = Shown(kind)
    shown.renderer.plan(
        Plan(
            BASE, "", (Change(DATA, action, reason, Resource("x"), previous=Address("data", "b")),)
        )
    )
    assert "data/a" in shown.out


@pytest.mark.parametrize("name", [name for name in PLANS if name != "nothing"])
@pytest.mark.parametrize("kind", PEOPLE)
def test_last_line_counts_changes(name: str, kind: Kind) -> None:
    plan = PLANS[name]()
    counts = plan.counts()
    last = rendered(plan, kind, 140).splitlines()[-1]
    assert last.startswith(
        f"Plan: {counts[Action.CREATE]} to create, {counts[Action.UPDATE]} to update, "
    )
    assert last.endswith(f", {counts[Action.KEEP]} unchanged.")


@pytest.mark.parametrize(
    ("destroy", "given", "expected"),
    [
        (False, "", "No changes done since last apply. There is nothing to do.\n"),
        (True, "", "No tools have been deployed now. There is nothing to do.\n"),
        (
            False,
            "Nothing needs to be deleted. There is nothing to do.",
            "Nothing needs to be deleted. There is nothing to do.\n",
        ),
    ],
)
@pytest.mark.parametrize("kind", PEOPLE)
def test_empty_plan_is_one_sentence(kind: Kind, destroy: bool, given: str, expected: str) -> None:
    shown = Shown(kind)
    shown.renderer.plan(replace(nothing(), destroy=destroy), nothing=given)
    assert shown.out == expected


LOOKED = (
    Change(
        DATA,
        Action.UPDATE,
        Reason.DRIFTED,
        Resource("x"),
        fields=(FieldChange(("size",), 1, 2, ChangeSource.LIVE),),
    ),
    Change(
        Address("data", "b"), Action.CREATE, Reason.VANISHED, Resource("arn:b"), after={"input": 1}
    ),
    Change(Address("data", "c"), Action.CREATE, Reason.NEW, after={"input": 1}),
    Change(Address("data", "d"), Action.DELETE, Reason.REMOVED, Resource("arn:d")),
    Change(Address("data", "e"), Action.KEEP, Reason.UNCHANGED),
)


@pytest.mark.parametrize("kind", PEOPLE)
def test_drift_and_verify_describe_without_planning(kind: Kind) -> None:
    shown = Shown(kind)
    shown.renderer.plan(Plan(BASE, "", LOOKED), operation="verify")
    assert shown.out.splitlines() == [
        "  ~ data/a  changed outside dtm",
        "      recorded → live:",
        "        ~ size: 1 → 2",
        "",
        "  - data/b  is gone, but still in the state",
        "      id: arn:b",
        "",
        "  + data/c  is in the config, but not in the state",
        "      input: 1",
        "",
        "  - data/d  is in the state, but no longer in the config",
        "      id: arn:d",
        "",
        "Verify: 1 new, 1 drifted, 1 vanished, 1 removed, 1 unchanged.",
    ]


@pytest.mark.parametrize("operation", ["drift", "verify"])
@pytest.mark.parametrize("kind", ["plain", "json"])
@pytest.mark.parametrize("reason", Reason)
def test_every_reason_can_be_shown_by_drift(
    kind: Kind, reason: Reason, operation: Operation
) -> None:
    shown = Shown(kind)
    change = Change(
        DATA, Action.UPDATE, reason, Resource("x"), previous=Address("data", "b"), rewrite=True
    )
    shown.renderer.plan(Plan(BASE, "", (change,)), operation=operation)
    assert "data/a " in shown.out and f"{operation.capitalize()}: " in shown.out
    assert "will be" not in shown.out and " to update" not in shown.out


def test_long_plan_ends_with_a_list_of_names() -> None:
    assert "+ create (140)" in rendered(tools_200(), "plain", 80)
    assert "create (" not in rendered(unknown(), "plain", 80)


def test_verbose_shows_long_texts_in_full() -> None:
    brief, whole = Shown("plain"), Shown("plain", verbose=True)
    for shown in (brief, whole):
        shown.renderer.plan(PLANS["long_text"]())
    assert "line 40" not in brief.out and "20 more lines, -v shows all" in brief.out
    assert "line 40" in whole.out and "more lines" not in whole.out


def test_rows_fit_the_terminal() -> None:
    for name, build in PLANS.items():
        for row in rendered(build(), "rich", 60).splitlines():
            words = row.split()
            assert len(row) <= 60 or max(map(len, words)) > 40, (name, row)


def test_delete_shows_id_and_protection() -> None:
    shown = Shown("plain")
    change = Change(DATA, Action.DELETE, Reason.REMOVED, Resource("arn:thing"), protected=True)
    shown.renderer.plan(Plan(BASE, "", (change,)))
    assert "id: arn:thing" in shown.out and "protected by lifecycle.preventDestroy" in shown.out
