"""The order of steps."""

import pytest

from engine.execution.steps import Phase, Step, plan_steps
from engine.graph import topological_order
from engine.plan import Action, Change, Plan, Reason
from engine.state import StateEntry, StateId
from tests.engine.fake_system import at, entry, state


def change(name: str, action: Action, *needs: str, rewrite: bool = False) -> Change:
    gone = action in (Action.DELETE, Action.FORGET)
    return Change(
        at(name),
        action,
        Reason.CHANGED,
        after=None if gone else {},
        depends_on=tuple(map(at, needs)),
        rewrite=rewrite,
    )


def scheduled(changes: list[Change], known: dict[str, str]) -> list[str]:
    """Return the steps in order: `+a` for the phase APPLY of a, `-a` for REMOVE."""
    recorded = state(*(entry(name, *needs.split()) for name, needs in known.items()))
    found = topological_order(plan_steps(Plan(StateId("lineage", 3), "", tuple(changes)), recorded))
    return [("-" if step.phase is Phase.REMOVE else "+") + step.address.instance for step in found]


@pytest.mark.parametrize(
    ("changes", "known", "expected"),
    [
        ([change("b", Action.CREATE, "a"), change("a", Action.CREATE)], {}, "+a +b"),
        ([change("a", Action.DELETE), change("b", Action.DELETE)], {"a": "", "b": "a"}, "-b -a"),
        (
            [change("a", Action.REPLACE), change("b", Action.REPLACE, "a")],
            {"a": "", "b": "a"},
            "-b -a +a +b",
        ),
        (
            [change("a", Action.REPLACE), change("b", Action.UPDATE, "a")],
            {"a": "", "b": "a"},
            "-a +a +b",
        ),
        (
            [change("a", Action.REPLACE), change("b", Action.DELETE)],
            {"a": "", "b": "a"},
            "-b -a +a",
        ),
        ([change("b", Action.REPLACE, "a"), change("a", Action.CREATE)], {"b": ""}, "+a -b +b"),
        ([change("a", Action.DELETE), change("b", Action.UPDATE)], {"a": "", "b": "a"}, "+b -a"),
        (
            [change("a", Action.DELETE), change("b", Action.KEEP, rewrite=True)],
            {"a": "", "b": "a"},
            "+b -a",
        ),
        ([change("a", Action.FORGET), change("b", Action.KEEP)], {"a": "", "b": "a"}, "-a"),
        ([change("b", Action.UPDATE, "a"), change("a", Action.KEEP)], {"a": "", "b": "a"}, "+b"),
        ([change("m", Action.MOVE), change("n", Action.RECOVER, "m")], {}, "+m +n"),
    ],
)
def test_apply_follows_dependencies_and_removal_reverses_them(
    changes: list[Change], known: dict[str, str], expected: str
) -> None:
    assert " ".join(scheduled(changes, known)) == expected


def test_only_preferred_edges_are_left_out_in_a_cycle() -> None:
    """`x` used `d`, which used `q`; now `x` uses `q`, `d` is deleted and `q` is replaced."""
    changes = [
        change("q", Action.REPLACE),
        change("x", Action.UPDATE, "q"),
        change("d", Action.DELETE),
    ]
    found = scheduled(changes, {"q": "", "d": "q", "x": "d"})
    assert found == ["-d", "-q", "+q", "+x"]


def test_preferred_edges_of_a_cycle_do_not_affect_others() -> None:
    """`b` cannot wait for the new `c`, but `d` can stay until `a` no longer uses it."""
    changes = [
        change("c", Action.REPLACE),
        change("b", Action.REPLACE, "c"),
        change("a", Action.UPDATE),
        change("d", Action.DELETE),
        change("n", Action.CREATE),
        change("r", Action.REPLACE, "n"),
    ]
    found = scheduled(changes, {"c": "", "b": "c", "d": "", "a": "c d", "r": ""})
    assert found.index("+a") < found.index("-d")
    assert found.index("+n") < found.index("-r")
    assert found.index("-b") < found.index("-c") < found.index("+c") < found.index("+b")


def test_ten_thousand_steps_are_scheduled_in_linear_time() -> None:
    names = [f"n{index}" for index in range(10_000)]
    changes = [
        change(name, Action.REPLACE, *names[max(0, i - 1) : i]) for i, name in enumerate(names)
    ]
    recorded = state(*(StateEntry(item.address, item.depends_on) for item in changes))
    found = topological_order(plan_steps(Plan(StateId("lineage", 3), "", tuple(changes)), recorded))
    assert found[0] == Step(at("n9999"), Phase.REMOVE)
    assert found[-1] == Step(at("n9999"), Phase.APPLY)


def test_ten_thousand_cycles_are_resolved_in_linear_time() -> None:
    names = [f"n{index}" for index in range(10_000)]
    changes = [
        change(name, Action.REPLACE, *names[max(0, i - 1) : i]) for i, name in enumerate(names)
    ]
    recorded = state(
        *(StateEntry(item.address, item.depends_on) for item in changes),
        entry("left"),
        entry("user", "left"),
    )
    changes += [change("left", Action.DELETE), change("user", Action.UPDATE)]
    found = topological_order(plan_steps(Plan(StateId("lineage", 3), "", tuple(changes)), recorded))
    assert found.index(Step(at("user"), Phase.APPLY)) < found.index(Step(at("left"), Phase.REMOVE))
