"""Protected tools, and the confirmation of large deletions."""

import pytest

from engine.errors import UnsafePlanError
from engine.plan import Action, Change, Plan, Reason
from engine.planning.planner import make_plan, plan_removal
from engine.planning.safety import check
from engine.state import StateId
from tests.engine.fake_system import (
    FakeSystem,
    at,
    config,
    entry,
    live_resources,
    operations,
    state,
    thing,
    tool,
)


def plan(*counts: tuple[Action, int], destroy: bool = False) -> Plan:
    changes = [
        Change(
            at(f"n{index}-{action.value}"),
            action,
            Reason.NEW if action is Action.CREATE else Reason.CHANGED,
        )
        for action, count in counts
        for index in range(count)
    ]
    return Plan(StateId("lineage", 1), "", tuple(changes), destroy=destroy)


@pytest.mark.parametrize(
    ("counts", "asked"),
    [
        ([(Action.KEEP, 7), (Action.DELETE, 3)], 0),
        ([(Action.KEEP, 6), (Action.DELETE, 4)], 4),
        ([(Action.KEEP, 6), (Action.DELETE, 2), (Action.REPLACE, 2)], 4),
        ([(Action.KEEP, 5), (Action.DELETE, 4)], 0),
        ([(Action.DELETE, 9)], 0),
        ([(Action.DELETE, 10)], 10),
        ([(Action.KEEP, 5), (Action.DELETE, 4), (Action.CREATE, 50)], 0),
        ([(Action.KEEP, 6), (Action.DELETE, 4), (Action.CREATE, 50)], 4),
        ([(Action.UPDATE, 10)], 0),
        ([], 0),
    ],
)
def test_deleting_more_than_30_percent_needs_confirmation(
    counts: list[tuple[Action, int]], asked: int
) -> None:
    assert check(plan(*counts)) == asked
    assert check(plan(*counts), force=True) == 0
    assert check(plan(*counts, destroy=True)) == 0


KEPT = state(entry("a", protected=True), entry("b", key="x", protected=True))
LIVE = live_resources(("a", thing("a")), ("b", thing("x")))


@pytest.mark.parametrize("force", [False, True])
def test_force_does_not_delete_or_replace_a_protected_tool(force: bool) -> None:
    gone = make_plan(config(tool("b", key="x", protect=True)), KEPT, LIVE, operations(FakeSystem()))
    replaced = make_plan(
        config(tool("a", protect=True), tool("b", key="y", protect=True)),
        KEPT,
        LIVE,
        operations(FakeSystem()),
    )
    destroyed = plan_removal(config(), KEPT, LIVE, operations(FakeSystem()))
    for refused, names in [
        (gone, "thing/a"),
        (replaced, "thing/b"),
        (destroyed, "thing/a, thing/b"),
    ]:
        with pytest.raises(UnsafePlanError, match=f"preventDestroy: {names}$"):
            check(refused, force=force)


def test_protection_removed_in_the_config_does_not_hold() -> None:
    made = make_plan(config(tool("a"), tool("b", key="y")), KEPT, LIVE, operations(FakeSystem()))
    assert [change.action for change in made.changes] == [Action.KEEP, Action.REPLACE]
    assert check(made) == 0
