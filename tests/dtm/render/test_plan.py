from __future__ import annotations

import pytest
from msgspec.structs import replace

from dtm.render.port import Operation
from dtm.render.renderers import Kind
from engine.address import Address
from engine.plan import Action, Change, FieldChange, Plan, Reason, Source
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
        (
            Action.CREATE,
            Reason.NEW,
            "Tool (data/a) found in config but doesn't exist in the state, will be created.",
        ),
        (
            Action.UPDATE,
            Reason.CHANGED,
            "Tool (data/a) config drifted from the state, will be updated.",
        ),
        (
            Action.CREATE,
            Reason.VANISHED,
            "Tool (data/a) state found but it seems the tool isn't created, will be created.",
        ),
        (Action.UPDATE, Reason.DRIFTED, "Tool (data/a) drifted from the state, will be updated."),
        (Action.DELETE, Reason.REMOVED, "Tool (data/a) will be deleted."),
        (Action.DELETE, Reason.REQUESTED, "Tool (data/a) will be deleted."),
        (
            Action.DELETE,
            Reason.INTERRUPTED,
            "Tool (data/a) was left unfinished by an earlier run, will be deleted.",
        ),
        (Action.CREATE, Reason.FAILED, "Tool (data/a) failed in an earlier run, will be created."),
        (Action.DELETE, Reason.FAILED, "Tool (data/a) failed in an earlier run, will be deleted."),
    ],
)
@pytest.mark.parametrize("kind", PEOPLE)
def test_header_is_the_sentence_people_grep_for(
    kind: Kind, action: Action, reason: Reason, sentence: str
) -> None:
    shown = Shown(kind)
    shown.renderer.plan(Plan(BASE, "", (Change(DATA, action, reason),)))
    assert sentence in shown.out


@pytest.mark.parametrize("action", [each for each in Action if each is not Action.KEEP])
@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("kind", ["plain", "json"])
def test_every_action_and_reason_can_be_said(kind: Kind, action: Action, reason: Reason) -> None:
    shown = Shown(kind)
    shown.renderer.plan(
        Plan(
            BASE, "", (Change(DATA, action, reason, Resource("x"), previous=Address("data", "b")),)
        )
    )
    assert "data/a" in shown.out


@pytest.mark.parametrize("name", [name for name in PLANS if name != "nothing"])
@pytest.mark.parametrize("kind", PEOPLE)
def test_last_line_counts(name: str, kind: Kind) -> None:
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
        fields=(FieldChange(("size",), 1, 2, Source.LIVE),),
    ),
    Change(
        Address("data", "b"), Action.CREATE, Reason.VANISHED, Resource("arn:b"), after={"input": 1}
    ),
    Change(Address("data", "c"), Action.CREATE, Reason.NEW, after={"input": 1}),
    Change(Address("data", "d"), Action.DELETE, Reason.REMOVED, Resource("arn:d")),
    Change(Address("data", "e"), Action.KEEP, Reason.UNCHANGED),
)


@pytest.mark.parametrize("kind", PEOPLE)
def test_drift_and_verify_say_what_they_found_and_nothing_of_what_would_be_done(kind: Kind) -> None:
    shown = Shown(kind)
    shown.renderer.plan(Plan(BASE, "", LOOKED), operation="verify")
    assert shown.out.splitlines() == [
        "  ~ Tool (data/a) drifted from the state.",
        "      changed outside dtm (recorded → found):",
        "        ~ size: 1 → 2",
        "",
        "  - Tool (data/b) is in the state, but it is gone.",
        "      id: arn:b",
        "",
        "  + Tool (data/c) found in config but doesn't exist in the state.",
        "      input: 1",
        "",
        "  - Tool (data/d) is in the state, but not in the config any more.",
        "      id: arn:d",
        "",
        "Verify: 1 new, 1 drifted, 1 vanished, 1 removed, 1 unchanged.",
    ]


@pytest.mark.parametrize("operation", ["drift", "verify"])
@pytest.mark.parametrize("kind", ["plain", "json"])
@pytest.mark.parametrize("reason", Reason)
def test_every_reason_can_be_found(kind: Kind, reason: Reason, operation: Operation) -> None:
    shown = Shown(kind)
    change = Change(
        DATA, Action.UPDATE, reason, Resource("x"), previous=Address("data", "b"), rewrite=True
    )
    shown.renderer.plan(Plan(BASE, "", (change,)), operation=operation)
    assert "Tool (data/a) " in shown.out and f"{operation.capitalize()}: " in shown.out
    assert "will be" not in shown.out and " to update" not in shown.out


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
            assert len(row) <= 60 or max(map(len, words)) > 40, (name, row)


def test_what_a_delete_destroys_is_named_and_its_protection_told() -> None:
    shown = Shown("plain")
    change = Change(DATA, Action.DELETE, Reason.REMOVED, Resource("arn:thing"), protected=True)
    shown.renderer.plan(Plan(BASE, "", (change,)))
    assert "id: arn:thing" in shown.out and "protected by lifecycle.preventDestroy" in shown.out
