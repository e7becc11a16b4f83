from __future__ import annotations

from dataclasses import replace

import pytest

from dtm.render import Kind
from engine.address import Address
from engine.plan import Action, Change, Plan, Reason
from engine.state import Resource
from fixtures.plans.examples import BASE, PLANS, WIDTHS, nothing, picture, tools_200, unknown
from fixtures.plans.regenerate import KINDS, PICTURE, golden, recorded, rendered
from tests.dtm.render.rendering import DATA, Shown

PEOPLE: tuple[Kind, ...] = ("rich", "plain")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PLANS)
def test_plan_reads_as_recorded(name: str, kind: Kind, width: int) -> None:
    assert rendered(PLANS[name](), kind, width) == golden(name, kind, width).read_text("utf-8")


def test_picture_shows_the_plan_as_it_is() -> None:
    assert recorded(picture()) == PICTURE.read_text("utf-8")


def test_picture_asks_no_other_host_for_anything() -> None:
    assert "url(http" not in PICTURE.read_text("utf-8")


@pytest.mark.parametrize(
    ("action", "reason", "sentence"),
    [
        (Action.CREATE, Reason.NEW, "Tool (data/a) found in config but doesn't exist in the state, will be created."),
        (Action.UPDATE, Reason.CHANGED, "Tool (data/a) config drifted from the state, will be updated."),
        (Action.CREATE, Reason.VANISHED, "Tool (data/a) state found but it seems the tool isn't created, will be created."),
        (Action.UPDATE, Reason.DRIFTED, "Tool (data/a) drifted from the state, will be updated."),
        (Action.DELETE, Reason.REMOVED, "Tool (data/a) will be deleted."),
        (Action.DELETE, Reason.REQUESTED, "Tool (data/a) will be deleted."),
        (Action.DELETE, Reason.INTERRUPTED, "Tool (data/a) was left unfinished by an earlier run, will be deleted."),
        (Action.CREATE, Reason.FAILED, "Tool (data/a) failed in an earlier run, will be created."),
        (Action.DELETE, Reason.FAILED, "Tool (data/a) failed in an earlier run, will be deleted."),
    ],
)
@pytest.mark.parametrize("kind", PEOPLE)
def test_header_is_the_sentence_people_grep_for(kind: Kind, action: Action, reason: Reason, sentence: str) -> None:
    shown = Shown(kind)
    shown.renderer.plan(Plan(BASE, "", (Change(DATA, action, reason),)))
    assert sentence in shown.out


@pytest.mark.parametrize("action", [each for each in Action if each is not Action.KEEP])
@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("kind", ["plain", "json"])
def test_every_action_and_reason_can_be_said(kind: Kind, action: Action, reason: Reason) -> None:
    shown = Shown(kind)
    shown.renderer.plan(Plan(BASE, "", (Change(DATA, action, reason, Resource("x"), previous=Address("data", "b")),)))
    assert "data/a" in shown.out


@pytest.mark.parametrize("name", [name for name in PLANS if name != "nothing"])
@pytest.mark.parametrize("kind", PEOPLE)
def test_last_line_counts(name: str, kind: Kind) -> None:
    plan = PLANS[name]()
    counts = plan.counts()
    last = rendered(plan, kind, 80).splitlines()[-1]
    assert last.startswith(f"Plan: {counts[Action.CREATE]} to create, {counts[Action.UPDATE]} to update, ")
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


@pytest.mark.parametrize("kind", PEOPLE)
def test_without_detail_only_the_sentences_remain(kind: Kind) -> None:
    shown = Shown(kind, width=140)
    shown.renderer.plan(unknown(), detail=False)
    lines = shown.out.splitlines()
    assert [each.strip()[:6] for each in lines if each] == ["+ crea", "+ Tool", "+ Tool", "~ Tool", "Plan: "]


def test_names_are_listed_only_where_the_plan_is_long() -> None:
    assert "+ create (140)" in rendered(tools_200(), "plain", 80)
    assert "create (" not in rendered(unknown(), "plain", 80)


def test_verbose_shows_long_texts_whole() -> None:
    brief, whole = Shown("plain"), Shown("plain", verbose=True)
    for shown in (brief, whole):
        shown.renderer.plan(PLANS["long_text"]())
    assert "line 40" not in brief.out and "20 more lines, -v shows all" in brief.out
    assert "line 40" in whole.out and "more lines" not in whole.out


def test_no_row_is_wider_than_the_terminal_unless_one_word_is() -> None:
    for name, build in PLANS.items():
        for row in rendered(build(), "rich", 60).splitlines():
            words = row.split()
            assert len(row) <= 60 or row.startswith("Plan:") or max(map(len, words)) > 40, (name, row)


def test_what_a_delete_destroys_is_named_and_its_protection_told() -> None:
    shown = Shown("plain")
    change = Change(DATA, Action.DELETE, Reason.REMOVED, Resource("arn:thing"), protected=True)
    shown.renderer.plan(Plan(BASE, "", (change,)))
    assert "id: arn:thing" in shown.out and "protected by lifecycle.preventDestroy" in shown.out
