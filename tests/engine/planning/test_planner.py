"""Every row of the planner's table, and what plans say besides."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.address import Address
from engine.config import Config
from engine.errors import DtmError, PlanError, ProviderError, UnsafePlanError, UsageError
from engine.execution.refresh import read
from engine.language.references import Interpolation, Reference
from engine.plan import Action, Change, ChangeSource, Plan, Reason
from engine.planning.decisions import Resolution, ResolutionKind
from engine.planning.planner import (
    LiveResources,
    Selection,
    make_plan,
    plan_removal,
    recorded_resources,
)
from engine.state import Resource, State, StateEntry
from engine.values import UNKNOWN, Digest, Secret, Value
from tests.engine.fake_system import (
    FakeSystem,
    at,
    config,
    entry,
    live_resources,
    operations,
    pending,
    ref,
    state,
    thing,
    tool,
)

ADOPT, RETRY, FORGET = (
    Resolution(ResolutionKind.ADOPT, "a"),
    Resolution(ResolutionKind.RETRY),
    Resolution(ResolutionKind.FORGET),
)


def plan(wanted: Config, known: State, live: LiveResources, **options: Any) -> Plan:
    return make_plan(wanted, known, live, operations(FakeSystem()), **options)


def only(wanted: Config, known: State, live: LiveResources, **options: Any) -> Change:
    (change,) = plan(wanted, known, live, **options).changes
    return change


def told(change: Change) -> tuple[str, str]:
    return change.action.value, change.reason.value


def begun(action: str, message: str | None = None, **options: Any) -> StateEntry:
    return entry("a", made=action != "create", pending=pending(action, message), **options)


@pytest.mark.parametrize(
    ("row", "known", "live", "expected"),
    [
        ("new, absent", None, None, ("create", "new")),
        ("equal", entry("a"), thing("a"), ("keep", "unchanged")),
        ("options differ", entry("a", value=1), thing("a", 1), ("update", "changed")),
        ("a replace option differs", entry("a", key="b"), thing("b"), ("replace", "changed")),
        ("options differ and the thing is gone", entry("a", value=1), None, ("create", "vanished")),
        ("drift", entry("a"), thing("a", color="blue"), ("update", "drifted")),
        (
            "drift and change together",
            entry("a", value=1),
            thing("a", 1, "blue"),
            ("update", "changed"),
        ),
        ("gone", entry("a"), None, ("create", "vanished")),
        (
            "begun create, present",
            entry("a", made=False, pending=pending("create")),
            thing("a"),
            ("recover", "interrupted"),
        ),
        (
            "begun create, absent",
            entry("a", made=False, pending=pending("create")),
            None,
            ("create", "interrupted"),
        ),
        (
            "begun create, options changed since",
            begun("create", value=1),
            thing("a", 1),
            ("update", "interrupted"),
        ),
        (
            "begun create, not finished",
            begun("create"),
            thing("a", "half"),
            ("update", "interrupted"),
        ),
        ("failed create, present", begun("create", "oops"), thing("a"), ("update", "failed")),
        ("failed create, absent", begun("create", "oops"), None, ("create", "failed")),
        (
            "begun replace, the old one present",
            begun("replace", key="b"),
            thing("b"),
            ("replace", "interrupted"),
        ),
        (
            "begun replace, absent",
            entry("a", key="b", pending=pending("replace")),
            None,
            ("create", "interrupted"),
        ),
        (
            "begun replace, not wanted any more",
            entry("a", pending=pending("replace")),
            thing("a"),
            ("recover", "interrupted"),
        ),
        (
            "begun update, present",
            entry("a", pending=pending("update")),
            thing("a"),
            ("update", "interrupted"),
        ),
        (
            "failed update, present",
            entry("a", pending=pending("update", "oops")),
            thing("a"),
            ("update", "failed"),
        ),
        (
            "begun update, absent",
            entry("a", pending=pending("update")),
            None,
            ("create", "interrupted"),
        ),
        (
            "begun delete, present",
            entry("a", pending=pending("delete")),
            thing("a"),
            ("recover", "interrupted"),
        ),
        (
            "begun delete, present, options differ",
            begun("delete", value=1),
            thing("a"),
            ("update", "interrupted"),
        ),
        (
            "begun delete, absent",
            entry("a", pending=pending("delete")),
            None,
            ("create", "interrupted"),
        ),
    ],
)
def test_what_happens_to_a_wanted_tool(
    row: str, known: StateEntry | None, live: Resource | None, expected: Any
) -> None:
    change = only(
        config(tool("a")), state(*([known] if known else [])), live_resources(("a", live))
    )
    assert told(change) == expected
    assert change.after == {"key": "a"}
    assert change.live == live


@pytest.mark.parametrize(
    ("row", "known", "live", "expected"),
    [
        ("ok", entry("a"), thing("a"), ("delete", "removed")),
        ("ok, gone already", entry("a"), None, ("delete", "removed")),
        (
            "begun create, present",
            entry("a", made=False, pending=pending("create")),
            thing("a"),
            ("delete", "interrupted"),
        ),
        (
            "begun create, absent",
            entry("a", made=False, pending=pending("create")),
            None,
            ("forget", "interrupted"),
        ),
        (
            "begun update, present",
            entry("a", pending=pending("update")),
            thing("a"),
            ("delete", "interrupted"),
        ),
        (
            "begun update, absent",
            entry("a", pending=pending("update")),
            None,
            ("forget", "interrupted"),
        ),
        (
            "begun replace, absent",
            entry("a", pending=pending("replace")),
            None,
            ("forget", "interrupted"),
        ),
        (
            "begun delete, present",
            entry("a", pending=pending("delete")),
            thing("a"),
            ("delete", "interrupted"),
        ),
        (
            "failed delete, present",
            entry("a", pending=pending("delete", "oops")),
            thing("a"),
            ("delete", "failed"),
        ),
        (
            "begun delete, absent",
            entry("a", pending=pending("delete")),
            None,
            ("forget", "interrupted"),
        ),
    ],
)
def test_what_happens_to_a_tool_that_left_the_config(
    row: str, known: StateEntry, live: Resource | None, expected: tuple[str, str]
) -> None:
    assert told(only(config(), state(known), live_resources(("a", live)))) == expected


@pytest.mark.parametrize(
    ("made", "begun", "resolution", "wanted", "expected"),
    [
        (False, "create", None, True, ("recover", "interrupted")),
        (False, "create", ADOPT, True, ("recover", "interrupted")),
        (False, "create", RETRY, True, ("create", "interrupted")),
        (False, "create", FORGET, True, ("create", "new")),
        (False, "create", None, False, ("recover", "interrupted")),
        (False, "create", ADOPT, False, ("delete", "interrupted")),
        (False, "create", FORGET, False, ("forget", "interrupted")),
        (True, "delete", None, True, ("recover", "interrupted")),
        (True, "delete", ADOPT, True, ("recover", "interrupted")),
        (True, "delete", RETRY, True, ("replace", "interrupted")),
        (True, "delete", FORGET, True, ("create", "new")),
        (True, "delete", None, False, ("delete", "interrupted")),
        (True, "replace", None, True, ("recover", "interrupted")),
        (True, "update", None, True, ("update", "interrupted")),
    ],
)
def test_what_cannot_be_found_again_waits_for_a_persons_word(
    made: bool, begun: str, resolution: Resolution | None, wanted: bool, expected: tuple[str, str]
) -> None:
    known = entry("blind.a", made=made, pending=pending(begun))
    live = thing("a") if made or resolution is ADOPT else None
    word = {at("blind.a"): resolution} if resolution else {}
    change = only(
        config(*([tool("blind.a")] if wanted else [])),
        state(known),
        live_resources(("blind.a", live)),
        resolutions=word,
    )
    assert told(change) == expected
    unanswered = resolution is None and expected[0] == "recover"
    assert ("--resolve blind.a=adopt:ID" in change.note) is unanswered
    assert (change.action is Action.RECOVER and change.live is None) is unanswered


def test_a_create_that_surely_failed_is_repeated_even_where_nothing_can_be_found_again() -> None:
    known = state(entry("blind.a", made=False, pending=pending("create", "oops")))
    assert told(only(config(tool("blind.a")), known, live_resources())) == ("create", "failed")
    change = only(config(), known, live_resources())
    assert told(change) == ("forget", "failed")
    assert (
        change.note
        == "what its creation left behind cannot be looked up\nits creation failed: oops"
    )


@pytest.mark.parametrize(
    ("action", "live", "note"),
    [
        ("create", None, "its creation failed: oops"),
        (
            "create",
            thing("a", "half"),
            "it is not finished: value is not yet as it will be\nits creation failed: oops",
        ),
        ("update", thing("a"), "its update failed: oops"),
        ("replace", thing("a"), "its replacement failed: oops"),
        ("delete", thing("a", color="blue"), "its deletion failed: oops"),
    ],
)
def test_what_failed_is_said_to_have_failed_with_the_words_of_that_time(
    action: str, live: Resource | None, note: str
) -> None:
    change = only(config(tool("a")), state(begun(action, "oops")), live_resources(("a", live)))
    assert (change.reason, change.note) == (Reason.FAILED, note)


def test_a_retry_of_what_nobody_wants_is_refused() -> None:
    known = state(entry("blind.a", made=False, pending=pending("create")))
    with pytest.raises(PlanError, match="not wanted any more"):
        plan(config(), known, live_resources(), resolutions={at("blind.a"): RETRY})


@pytest.mark.parametrize(
    ("name", "why"), [("a", "thing/a has nothing unfinished"), ("x", "thing/x is not in the state")]
)
def test_a_word_on_what_waits_for_none_is_refused(name: str, why: str) -> None:
    known, live = state(entry("a"), begun("create")), live_resources(("a", thing("a")))
    with pytest.raises(UsageError, match=f"--resolve thing.{name}: {why}") as caught:
        plan(
            config(tool("a")),
            state(entry("a"), entry("b", pending=pending("delete"))),
            live,
            resolutions={at(name): RETRY},
        )
    assert caught.value.hint == "unfinished: thing/b"
    with pytest.raises(UsageError, match="is not in the state") as caught:
        plan_removal(
            config(), state(), live, operations(FakeSystem()), resolutions={at(name): RETRY}
        )
    assert caught.value.hint == "nothing in this state is unfinished"
    assert plan(config(tool("a")), known, live, resolutions={at("a"): RETRY}).changes


def test_a_recorded_plugin_that_is_gone_is_told_once_with_the_way_out() -> None:
    known = state(replace(entry("a"), address=Address("gone", "a")))
    live = read(config(), known, operations(FakeSystem()))
    for make in (make_plan, plan_removal):
        with pytest.raises(PlanError) as caught:
            make(config(), known, live, operations(FakeSystem()))
        (problem,) = caught.value.problems
        assert (problem.where, problem.message) == ("gone/a", 'unknown plugin "gone"')
        assert problem.hint.startswith("run dtm state rm gone.a to make dtm forget the tool")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("thing.a=adopt:x:1", (at("a"), Resolution(ResolutionKind.ADOPT, "x:1"))),
        ("thing.a=retry", (at("a"), RETRY)),
        ("thing/a=forget", (at("a"), FORGET)),
        ("thing.a=adopt", None),
        ("thing.a=retry:x", None),
        ("thing.a=guess", None),
        ("a=retry", None),
        ("thing.a", None),
    ],
)
def test_resolutions_are_read_from_the_flag(
    text: str, expected: tuple[Address, Resolution] | None
) -> None:
    if expected is None:
        with pytest.raises(UsageError, match="resolves nothing"):
            Resolution.parse(text)
    else:
        assert Resolution.parse(text) == expected


def test_an_existing_thing_is_not_ours() -> None:
    with pytest.raises(
        PlanError, match=r"thing/a: exists \(thing:a\), but was not made by this state"
    ) as caught:
        plan(config(tool("a")), state(), live_resources(("a", thing("a"))))
    assert "another name" in caught.value.hint


def test_a_thing_that_another_tool_is_about_to_leave_is_not_free_yet() -> None:
    with pytest.raises(PlanError, match="thing/b: is still thing/a: both are thing:a") as caught:
        plan(
            config(tool("a", key="x"), tool("b", key="a")),
            state(entry("a")),
            live_resources(("a", thing("a")), ("b", thing("a"))),
        )
    assert caught.value.hint == "apply the change of thing/a first, alone"


def test_two_tools_that_are_one_thing_are_refused() -> None:
    with pytest.raises(
        PlanError, match="thing/b: is the same thing as thing/a: both are thing:same"
    ):
        plan(config(tool("a", key="same"), tool("b", key="same")), state(), live_resources())


def test_every_problem_is_told_at_once() -> None:
    wanted = config(
        tool("a"),
        tool("b", key="x"),
        tool("c", key="x"),
        tool("d", "e", value=ref("e.nothing")),
        tool("e"),
        tool("f"),
    )
    live = LiveResources(
        {at("a"): thing("a"), at("e"): thing("e")},
        {at("f"): ProviderError("no route", hint="check the network")},
    )
    with pytest.raises(PlanError) as caught:
        plan(wanted, state(entry("e")), live)
    assert sorted(problem.where for problem in caught.value.problems) == [
        "thing/a",
        "thing/c",
        "thing/d",
        "thing/f",
    ]
    assert ("thing/f", "no route", "check the network") in [
        (p.where, p.message, p.hint) for p in caught.value.problems
    ]


@pytest.mark.parametrize(
    ("wanted", "known", "note"),
    [
        (tool("a", "b"), entry("a"), "dependsOn: + thing/b"),
        (tool("a"), entry("a", "b"), "dependsOn: - thing/b"),
        (tool("a", protect=True), entry("a"), "lifecycle.preventDestroy: off → on"),
        (tool("a"), entry("a", protected=True), "lifecycle.preventDestroy: on → off"),
        (tool("a", value=None), entry("a"), ""),
    ],
)
def test_what_changes_nothing_in_the_world_only_rewrites_the_entry(
    wanted: Any, known: StateEntry, note: str
) -> None:
    found_plan = plan(
        config(wanted, tool("b")),
        state(known, entry("b")),
        live_resources(("a", thing("a")), ("b", thing("b"))),
    )
    change = next(change for change in found_plan.changes if change.address == at("a"))
    if note:
        assert (told(change), change.rewrite, change.note) == (("keep", "unchanged"), True, note)
        assert not found_plan.is_empty
    assert list(found_plan) == ([change] if change.action is not Action.KEEP else [])


def test_edges_in_another_order_are_no_difference() -> None:
    known = state(entry("a", "b", "c"), entry("b"), entry("c"))
    live = live_resources(*((name, thing(name)) for name in "abc"))
    assert plan(config(tool("a", "c", "b"), tool("b"), tool("c")), known, live).is_empty


def test_the_changed_fields_are_named_with_their_source() -> None:
    change = only(
        config(tool("a", value={"x": 2})),
        state(entry("a", value={"x": 1})),
        live_resources(("a", thing("a", {"x": 1}, "blue"))),
    )
    assert [(f.path, f.old, f.new, f.source) for f in change.fields] == [
        (("value", "x"), 1, 2, ChangeSource.OPTION),
        (("color",), "red", "blue", ChangeSource.LIVE),
    ]


def test_a_drifted_output_that_repeats_an_attribute_is_told_once() -> None:
    change = only(
        config(tool("a")),
        state(entry("a")),
        live_resources(("a", replace(thing("a", 5), attributes={"value": 5, "color": "red"}))),
    )
    assert [f.path for f in change.fields] == [("value",)]
    change = only(config(tool("a")), state(entry("a")), live_resources(("a", thing("a", serial=9))))
    assert [f.path for f in change.fields] == [("outputs", "serial")]


# Secrets


def test_a_secret_is_compared_by_digest_and_never_shown() -> None:
    old, new = Secret("first one", ("env A",)), Secret("second one", ("env A",))
    assert plan(
        config(tool("a", token=old)),
        state(entry("a", token=old)),
        live_resources(("a", thing("a"))),
    ).is_empty
    change = only(
        config(tool("a", token=new)),
        state(entry("a", token=old)),
        live_resources(("a", thing("a"))),
    )
    assert told(change) == ("update", "changed")
    assert [f.path for f in change.fields] == [("token",)]
    assert all(isinstance(side, Digest) for f in change.fields for side in (f.old, f.new))


def test_a_secret_from_elsewhere_with_the_same_value_only_rewrites_the_entry() -> None:
    known = entry("a", token=Secret("the same", ("env A",)))
    change = only(
        config(tool("a", token=Secret("the same", ("env B",)))),
        state(known),
        live_resources(("a", thing("a"))),
    )
    assert (change.action, change.rewrite) == (Action.KEEP, True)


# References and the unknown


def test_outputs_of_a_kept_tool_are_known_and_those_of_a_new_one_only_where_predicted() -> None:
    wanted = config(tool("a", value=1), tool("b", "a", value=[ref("a.value"), ref("a.serial")]))
    kept, new = plan(
        wanted, state(entry("a", value=1)), live_resources(("a", thing("a", 1)))
    ).changes
    assert kept.action is Action.KEEP
    assert new.after == {"key": "b", "value": [1, 1]}
    first, second = plan(wanted, state(), live_resources()).changes
    assert first.outputs == {"key": "a", "value": 1, "serial": UNKNOWN, "password": UNKNOWN}
    assert second.after == {"key": "b", "value": [1, UNKNOWN]}


def test_an_unknown_option_is_the_worst_it_could_be() -> None:
    known = state(entry("b", "a", value=1), entry("c", "a", key="1"))
    live = live_resources(("b", thing("b", 1)), ("c", thing("1")))
    wanted = config(
        tool("a"), tool("b", "a", value=ref("a.serial")), tool("c", "a", key=ref("a.password"))
    )
    changes = {
        change.address.instance: told(change) for change in plan(wanted, known, live).changes
    }
    assert changes == {
        "a": ("create", "new"),
        "b": ("update", "dependency"),
        "c": ("replace", "dependency"),
    }


def test_an_unknown_beside_a_known_change_is_a_change() -> None:
    wanted = config(tool("a"), tool("b", "a", value=[2, ref("a.serial")]))
    _, change = plan(
        wanted, state(entry("b", "a", value=[1, 1])), live_resources(("b", thing("b", [1, 1])))
    ).changes
    assert told(change) == ("update", "changed")


def test_open_outputs_are_unknown_until_they_are_there_and_then_must_have_the_key() -> None:
    reference = Reference(at("open.a"), ("value",), "${{ open.a.outputs.value }}")
    wanted = config(tool("open.a", value=1), tool("b", "open.a", value=reference))
    assert plan(wanted, state(), live_resources()).changes[1].after == {
        "key": "b",
        "value": UNKNOWN,
    }
    known, live = state(entry("open.a", value=1)), live_resources(("open.a", thing("a", 1)))
    assert plan(wanted, known, live).changes[1].after == {"key": "b", "value": 1}
    absent = replace(reference, path=("nothing",))
    with pytest.raises(PlanError, match='has no output "nothing"'):
        plan(config(tool("open.a", value=1), tool("b", "open.a", value=absent)), known, live)


def test_a_reference_inside_text_and_to_a_secret_output() -> None:
    password = ref("a.password")
    assert isinstance(password, Reference)
    wanted = config(
        tool("a"),
        tool("b", "a", value=Interpolation(("pw=", password))),
        tool("c", "a", token=password),
    )
    _, b, c = plan(wanted, state(entry("a")), live_resources(("a", thing("a")))).changes
    assert b.after == {"key": "b", "value": Secret("pw=secret of a")}
    assert c.after == {"key": "c", "token": Secret("secret of a")}


def test_an_option_that_turns_out_not_to_fit_is_a_problem() -> None:
    with pytest.raises(PlanError, match=r'thing/b: option "key" must be text'):
        plan(
            config(tool("a", value=[1]), tool("b", "a", key=ref("a.value"))),
            state(entry("a", value=[1])),
            live_resources(("a", thing("a", [1]))),
        )


# Order


def test_dependencies_come_first_and_deletions_last_and_in_reverse() -> None:
    known = state(entry("x"), entry("y", "x"), entry("z", "y"))
    live = live_resources(*((name, thing(name)) for name in "xyz"))
    changes = plan(config(tool("b", "a"), tool("a")), known, live).changes
    assert [(c.address.instance, c.action.value) for c in changes] == [
        ("a", "create"),
        ("b", "create"),
        ("z", "delete"),
        ("y", "delete"),
        ("x", "delete"),
    ]
    assert changes[2].depends_on == (at("y"),)


# Moves


def moved(known: StateEntry, wanted: Any, live: Resource | None) -> Change:
    return only(config(wanted), state(known), LiveResources({known.address: live}))


def test_an_alias_with_the_same_instance_is_a_move() -> None:
    change = moved(entry("oldthing.a"), tool("a"), thing("a"))
    assert (told(change), change.previous) == (("move", "renamed"), at("oldthing.a"))


def test_an_equal_identity_under_a_new_address_is_a_move_and_then_compared() -> None:
    assert told(moved(entry("a"), tool("b", key="a"), thing("a"))) == ("move", "renamed")
    change = moved(entry("a"), tool("b", key="a", value=2), thing("a"))
    assert (told(change), change.previous) == (("update", "changed"), at("a"))
    assert told(moved(entry("a"), tool("b", key="a"), thing("a", color="blue"))) == (
        "update",
        "drifted",
    )
    assert told(moved(entry("a"), tool("b", key="a"), None)) == ("create", "vanished")


def test_a_moved_secret_is_no_change() -> None:
    secret = Secret("the same", ("env A",))
    assert told(moved(entry("oldthing.a", token=secret), tool("a", token=secret), thing("a"))) == (
        "move",
        "renamed",
    )


def test_secrets_in_clear_in_a_devstream_state_are_recognised_and_rewritten() -> None:
    old = StateEntry(at("a"), (), {"key": "a", "token": "in clear"}, thing("a"))
    known = replace(state(old), salt="")
    change = only(
        config(tool("a", token=Secret("in clear"))), known, live_resources(("a", thing("a")))
    )
    assert (change.action, change.rewrite, change.note) == (
        Action.KEEP,
        True,
        "options: recorded in another spelling",
    )
    assert told(
        only(config(tool("a", token=Secret("another"))), known, live_resources(("a", thing("a"))))
    ) == ("update", "changed")


def test_another_identity_is_no_move() -> None:
    changes = plan(config(tool("b")), state(entry("a")), live_resources(("a", thing("a")))).changes
    assert [told(change) for change in changes] == [("create", "new"), ("delete", "removed")]


def test_a_thing_moves_to_one_place_only() -> None:
    with pytest.raises(PlanError, match="same thing"):
        plan(
            config(tool("b", key="a"), tool("c", key="a")),
            state(entry("a")),
            live_resources(("a", thing("a"))),
        )


# Outputs


def test_root_outputs_are_worked_out_and_compared() -> None:
    tools = [tool("a", value=1), tool("b")]
    known = state(entry("a", value=1), same=1, other=2, gone=3)
    wanted = config(
        *tools,
        same=ref("a.value"),
        other=ref("a.value"),
        later=ref("b.serial"),
        hidden=Secret("hush hush"),
    )
    made = plan(wanted, known, live_resources(("a", thing("a", 1))))
    assert made.outputs == {"same": 1, "other": 1, "later": UNKNOWN, "hidden": Secret("hush hush")}
    assert [(c.name, c.old, c.new) for c in made.output_changes] == [
        ("other", 2, 1),
        ("later", None, UNKNOWN),
        ("hidden", None, Secret("hush hush")),
        ("gone", 3, None),
    ]


def test_an_output_that_does_not_exist_is_a_problem() -> None:
    with pytest.raises(PlanError, match=r"outputs.x: .*no output"):
        plan(
            config(tool("a"), x=ref("a.nothing")),
            state(entry("a")),
            live_resources(("a", thing("a"))),
        )


def test_an_output_alone_makes_a_plan_that_is_not_empty() -> None:
    made = plan(config(x=1), state(), live_resources())
    assert list(made) == []
    assert not made.is_empty


# Delete and destroy


def removal(known: State, live: LiveResources, **options: Any) -> Plan:
    wanted = options.pop("wanted", config())
    return plan_removal(wanted, known, live, operations(FakeSystem()), Selection(**options))


CHAIN = state(entry("x"), entry("y", "x"), entry("z", "y"), url="http://x")
CHAIN_LIVE = live_resources(*((name, thing(name)) for name in "xyz"))


def test_destroy_takes_everything_in_reverse_and_the_outputs_with_it() -> None:
    made = removal(CHAIN, CHAIN_LIVE)
    assert [change.address.instance for change in made.changes] == ["z", "y", "x"]
    assert {told(change) for change in made.changes} == {("delete", "requested")}
    assert made.destroy
    assert made.outputs == {}
    assert [(c.name, c.old, c.new) for c in made.output_changes] == [("url", "http://x", None)]


def test_deleting_what_others_depend_on_is_refused_or_takes_them_too() -> None:
    with pytest.raises(
        UnsafePlanError, match="thing/y depends on thing/x, thing/z depends on thing/y"
    ):
        removal(CHAIN, CHAIN_LIVE, targets=[at("x")])
    made = removal(CHAIN, CHAIN_LIVE, targets=[at("x")], with_dependents=True)
    assert [change.address.instance for change in made.changes] == ["z", "y", "x"]
    assert [
        change.address.instance
        for change in removal(CHAIN, CHAIN_LIVE, targets=[at("z"), at("other")]).changes
    ] == ["z"]


def test_tools_that_are_not_recorded_are_deleted_only_when_asked_and_found() -> None:
    wanted = config(tool("a"), tool("b", "a"), tool("c"))
    live = live_resources(("a", thing("a")), ("b", thing("b")), ("c", None))
    assert removal(state(), live, wanted=wanted).changes == ()
    made = removal(state(), live, wanted=wanted, unrecorded=True)
    assert [(c.address.instance, told(c)) for c in made.changes] == [
        ("b", ("delete", "requested")),
        ("a", ("delete", "requested")),
    ]


def test_a_plugin_that_is_gone_is_a_problem_of_its_tools_alone() -> None:
    lost = StateEntry(Address("lost", "a"), (), {}, Resource("a"))
    with pytest.raises(PlanError, match='lost/a: unknown plugin "lost"'):
        plan(config(tool("b")), state(lost), live_resources())


def test_without_refresh_the_state_is_taken_for_the_world() -> None:
    known = state(entry("a"), entry("b", value=1))
    made = plan(config(tool("a"), tool("b", value=2)), known, recorded_resources(known))
    assert [told(change) for change in made.changes] == [
        ("keep", "unchanged"),
        ("update", "changed"),
    ]


def test_a_secret_output_that_only_the_state_knows_is_a_problem_where_it_is_needed() -> None:
    known = state(entry("a"))
    with pytest.raises(PlanError, match="stores only its digest"):
        plan(
            config(tool("a"), tool("b", "a", value=ref("a.password"))),
            known,
            recorded_resources(known),
        )


# Properties

VALUES: st.SearchStrategy[Value] = (
    st.none() | st.integers(0, 2) | st.just(Secret("a secret", ("env A",)))
)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from("abc"), VALUES),
    st.dictionaries(st.sampled_from("abc"), VALUES),
    st.dictionaries(st.sampled_from("abc"), VALUES),
)
def test_a_plan_has_one_change_per_tool_and_is_empty_exactly_when_all_agree(
    wanted: dict[str, Value], known: dict[str, Value], live: dict[str, Value]
) -> None:
    tools = [tool(name, value=value) for name, value in wanted.items()]
    entries = [entry(name, value=value) for name, value in known.items()]
    there = live_resources(
        *((name, thing(name, live[name]) if name in live else None) for name in known)
    )
    made = plan(config(*tools), state(*entries), there)
    assert sorted(change.address.instance for change in made.changes) == sorted({*wanted, *known})
    assert made.is_empty == (
        wanted == known == {name: value for name, value in live.items() if name in known}
    )


def test_ten_thousand_unchanged_tools_are_planned_in_linear_time() -> None:
    def seconds(count: int) -> float:
        names = [f"n{number}" for number in range(count)]
        wanted = config(
            *(tool(name, *names[max(0, i - 1) : i], value={"x": i}) for i, name in enumerate(names))
        )
        resource = Resource("id", {"color": "red"}, {"key": "k"})
        known = state(
            *(StateEntry(t.address, t.depends_on, t.options, resource) for t in wanted.tools)
        )
        began = time.process_time()
        assert plan(wanted, known, recorded_resources(known)).is_empty
        return time.process_time() - began

    seconds(100)
    assert seconds(10_000) < 2.0


def test_a_plan_says_who_else_is_at_work() -> None:
    assert (
        plan(config(), state(), live_resources(), in_progress="ann since 12:00").in_progress
        == "ann since 12:00"
    )


def test_the_reason_is_for_people_and_every_action_has_a_count() -> None:
    made = plan(
        config(tool("a"), tool("b")),
        state(entry("b"), entry("c")),
        live_resources(("b", thing("b")), ("c", thing("c"))),
    )
    assert {a: n for a, n in made.counts().items() if n} == {
        Action.CREATE: 1,
        Action.KEEP: 1,
        Action.DELETE: 1,
    }
    assert [c.reason for c in made] == [Reason.NEW, Reason.REMOVED]


def test_a_failed_read_names_the_tool_even_if_it_left_the_config() -> None:
    live = LiveResources({}, {at("a"): DtmError("denied")})
    with pytest.raises(PlanError, match="thing/a: denied"):
        plan(config(), state(entry("a")), live)
