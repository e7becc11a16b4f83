"""Every row of the decision table, and the other contents of a plan."""

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


def only_change(wanted: Config, known: State, live: LiveResources, **options: Any) -> Change:
    (change,) = plan(wanted, known, live, **options).changes
    return change


def action_and_reason(change: Change) -> tuple[str, str]:
    return change.action.value, change.reason.value


def begun(action: str, message: str | None = None, **options: Any) -> StateEntry:
    return entry("a", created=action != "create", pending=pending(action, message), **options)


@pytest.mark.parametrize(
    ("row", "known", "live", "expected"),
    [
        ("new, absent", None, None, ("create", "new")),
        ("equal", entry("a"), thing("a"), ("keep", "unchanged")),
        ("options differ", entry("a", value=1), thing("a", 1), ("update", "changed")),
        ("a replace option differs", entry("a", key="b"), thing("b"), ("replace", "changed")),
        (
            "options differ and the resource is gone",
            entry("a", value=1),
            None,
            ("create", "vanished"),
        ),
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
            entry("a", created=False, pending=pending("create")),
            thing("a"),
            ("recover", "interrupted"),
        ),
        (
            "begun create, absent",
            entry("a", created=False, pending=pending("create")),
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
            "begun replace, options changed back",
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
def test_decision_for_a_tool_in_the_config(
    row: str, known: StateEntry | None, live: Resource | None, expected: Any
) -> None:
    change = only_change(
        config(tool("a")), state(*([known] if known else [])), live_resources(("a", live))
    )
    assert action_and_reason(change) == expected
    assert change.after == {"key": "a"}
    assert change.live == live


@pytest.mark.parametrize(
    ("row", "known", "live", "expected"),
    [
        ("ok", entry("a"), thing("a"), ("delete", "removed")),
        ("ok, gone already", entry("a"), None, ("delete", "removed")),
        (
            "begun create, present",
            entry("a", created=False, pending=pending("create")),
            thing("a"),
            ("delete", "interrupted"),
        ),
        (
            "begun create, absent",
            entry("a", created=False, pending=pending("create")),
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
def test_decision_for_a_tool_that_left_the_config(
    row: str, known: StateEntry, live: Resource | None, expected: tuple[str, str]
) -> None:
    assert (
        action_and_reason(only_change(config(), state(known), live_resources(("a", live))))
        == expected
    )


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
def test_unknown_outcome_without_identity_needs_resolve(
    made: bool, begun: str, resolution: Resolution | None, wanted: bool, expected: tuple[str, str]
) -> None:
    known = entry("blind.a", created=made, pending=pending(begun))
    live = thing("a") if made or resolution is ADOPT else None
    word = {at("blind.a"): resolution} if resolution else {}
    change = only_change(
        config(*([tool("blind.a")] if wanted else [])),
        state(known),
        live_resources(("blind.a", live)),
        resolutions=word,
    )
    assert action_and_reason(change) == expected
    unanswered = resolution is None and expected[0] == "recover"
    assert ("--resolve blind.a=adopt:ID" in change.note) is unanswered
    assert (change.action is Action.RECOVER and change.live is None) is unanswered


def test_failed_create_without_identity_is_repeated() -> None:
    known = state(entry("blind.a", created=False, pending=pending("create", "oops")))
    assert action_and_reason(only_change(config(tool("blind.a")), known, live_resources())) == (
        "create",
        "failed",
    )
    change = only_change(config(), known, live_resources())
    assert action_and_reason(change) == ("forget", "failed")
    assert change.note == "leftovers of its creation cannot be looked up\nits creation failed: oops"


@pytest.mark.parametrize(
    ("action", "live", "note"),
    [
        ("create", None, "its creation failed: oops"),
        (
            "create",
            thing("a", "half"),
            "its creation did not finish: output value does not have its final value yet\n"
            "its creation failed: oops",
        ),
        ("update", thing("a"), "its update failed: oops"),
        ("replace", thing("a"), "its replacement failed: oops"),
        ("delete", thing("a", color="blue"), "its deletion failed: oops"),
    ],
)
def test_note_of_a_failed_operation_has_its_message(
    action: str, live: Resource | None, note: str
) -> None:
    change = only_change(
        config(tool("a")), state(begun(action, "oops")), live_resources(("a", live))
    )
    assert (change.reason, change.note) == (Reason.FAILED, note)


def test_retry_of_a_tool_to_be_deleted_is_refused() -> None:
    known = state(entry("blind.a", created=False, pending=pending("create")))
    with pytest.raises(PlanError, match="blind/a: its creation cannot be retried"):
        plan(config(), known, live_resources(), resolutions={at("blind.a"): RETRY})


@pytest.mark.parametrize(
    ("name", "why"),
    [("a", "thing/a has no unfinished operation"), ("x", "thing/x is not in the state")],
)
def test_resolve_without_unfinished_operation_is_refused(name: str, why: str) -> None:
    known, live = state(entry("a"), begun("create")), live_resources(("a", thing("a")))
    with pytest.raises(UsageError, match=f"--resolve thing.{name}: {why}") as caught:
        plan(
            config(tool("a")),
            state(entry("a"), entry("b", pending=pending("delete"))),
            live,
            resolutions={at(name): RETRY},
        )
    assert caught.value.hint == "name one of the unfinished tools: thing/b"
    with pytest.raises(UsageError, match="is not in the state") as caught:
        plan_removal(
            config(), state(), live, operations(FakeSystem()), resolutions={at(name): RETRY}
        )
    assert (
        caught.value.hint == "remove --resolve: no tool in this state has an unfinished operation"
    )
    assert plan(config(tool("a")), known, live, resolutions={at("a"): RETRY}).changes


def test_unknown_recorded_plugin_is_reported_once() -> None:
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
def test_resolutions_are_parsed_from_the_flag(
    text: str, expected: tuple[Address, Resolution] | None
) -> None:
    if expected is None:
        with pytest.raises(UsageError, match="Invalid --resolve value"):
            Resolution.parse(text)
    else:
        assert Resolution.parse(text) == expected


def test_existing_resource_of_a_new_tool_is_refused() -> None:
    with pytest.raises(
        PlanError, match=r"thing/a: the resource thing:a already exists and is not recorded"
    ) as caught:
        plan(config(tool("a")), state(), live_resources(("a", thing("a"))))
    assert "change the name or path" in caught.value.hint


def test_resource_that_another_tool_will_leave_is_refused() -> None:
    with pytest.raises(
        PlanError, match="thing/b: needs the resource thing:a, which still belongs to thing/a"
    ) as caught:
        plan(
            config(tool("a", key="x"), tool("b", key="a")),
            state(entry("a")),
            live_resources(("a", thing("a")), ("b", thing("a"))),
        )
    assert caught.value.hint == (
        "remove thing/b from the config, run dtm apply to change thing/a, then add thing/b again"
    )


def test_two_tools_with_one_identity_are_refused() -> None:
    with pytest.raises(
        PlanError, match=r"thing/b: manages the same resource \(thing:same\) as thing/a"
    ):
        plan(config(tool("a", key="same"), tool("b", key="same")), state(), live_resources())


def test_every_problem_is_reported_at_once() -> None:
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
def test_change_without_provider_call_rewrites_the_entry(
    wanted: Any, known: StateEntry, note: str
) -> None:
    found_plan = plan(
        config(wanted, tool("b")),
        state(known, entry("b")),
        live_resources(("a", thing("a")), ("b", thing("b"))),
    )
    change = next(change for change in found_plan.changes if change.address == at("a"))
    if note:
        assert (action_and_reason(change), change.rewrite, change.note) == (
            ("keep", "unchanged"),
            True,
            note,
        )
        assert not found_plan.is_empty
    assert list(found_plan) == ([change] if change.action is not Action.KEEP else [])


def test_order_of_dependencies_is_not_a_change() -> None:
    known = state(entry("a", "b", "c"), entry("b"), entry("c"))
    live = live_resources(*((name, thing(name)) for name in "abc"))
    assert plan(config(tool("a", "c", "b"), tool("b"), tool("c")), known, live).is_empty


def test_changed_fields_have_their_source() -> None:
    change = only_change(
        config(tool("a", value={"x": 2})),
        state(entry("a", value={"x": 1})),
        live_resources(("a", thing("a", {"x": 1}, "blue"))),
    )
    assert [(f.path, f.old, f.new, f.source) for f in change.fields] == [
        (("value", "x"), 1, 2, ChangeSource.OPTION),
        (("color",), "red", "blue", ChangeSource.LIVE),
    ]


def test_output_that_repeats_a_drifted_attribute_is_omitted() -> None:
    change = only_change(
        config(tool("a")),
        state(entry("a")),
        live_resources(("a", replace(thing("a", 5), attributes={"value": 5, "color": "red"}))),
    )
    assert [f.path for f in change.fields] == [("value",)]
    change = only_change(
        config(tool("a")), state(entry("a")), live_resources(("a", thing("a", serial=9)))
    )
    assert [f.path for f in change.fields] == [("outputs", "serial")]


# Secrets


def test_secret_is_compared_by_digest_and_not_shown() -> None:
    old, new = Secret("first one", ("env A",)), Secret("second one", ("env A",))
    assert plan(
        config(tool("a", token=old)),
        state(entry("a", token=old)),
        live_resources(("a", thing("a"))),
    ).is_empty
    change = only_change(
        config(tool("a", token=new)),
        state(entry("a", token=old)),
        live_resources(("a", thing("a"))),
    )
    assert action_and_reason(change) == ("update", "changed")
    assert [f.path for f in change.fields] == [("token",)]
    assert all(isinstance(side, Digest) for f in change.fields for side in (f.old, f.new))


def test_same_secret_from_another_source_rewrites_the_entry() -> None:
    known = entry("a", token=Secret("the same", ("env A",)))
    change = only_change(
        config(tool("a", token=Secret("the same", ("env B",)))),
        state(known),
        live_resources(("a", thing("a"))),
    )
    assert (change.action, change.rewrite) == (Action.KEEP, True)


# References and unknown values


def test_outputs_of_kept_and_new_tools_in_references() -> None:
    wanted = config(tool("a", value=1), tool("b", "a", value=[ref("a.value"), ref("a.serial")]))
    kept, new = plan(
        wanted, state(entry("a", value=1)), live_resources(("a", thing("a", 1)))
    ).changes
    assert kept.action is Action.KEEP
    assert new.after == {"key": "b", "value": [1, 1]}
    first, second = plan(wanted, state(), live_resources()).changes
    assert first.outputs == {"key": "a", "value": 1, "serial": UNKNOWN, "password": UNKNOWN}
    assert second.after == {"key": "b", "value": [1, UNKNOWN]}


def test_unknown_option_counts_as_changed() -> None:
    known = state(entry("b", "a", value=1), entry("c", "a", key="1"))
    live = live_resources(("b", thing("b", 1)), ("c", thing("1")))
    wanted = config(
        tool("a"), tool("b", "a", value=ref("a.serial")), tool("c", "a", key=ref("a.password"))
    )
    changes = {
        change.address.instance: action_and_reason(change)
        for change in plan(wanted, known, live).changes
    }
    assert changes == {
        "a": ("create", "new"),
        "b": ("update", "dependency"),
        "c": ("replace", "dependency"),
    }


def test_reason_of_a_known_and_an_unknown_change_is_changed() -> None:
    wanted = config(tool("a"), tool("b", "a", value=[2, ref("a.serial")]))
    _, change = plan(
        wanted, state(entry("b", "a", value=[1, 1])), live_resources(("b", thing("b", [1, 1])))
    ).changes
    assert action_and_reason(change) == ("update", "changed")


def test_undeclared_outputs_are_unknown_until_they_exist() -> None:
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


def test_references_in_a_text_and_to_a_secret_output() -> None:
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


def test_output_of_the_wrong_type_for_an_option_is_a_problem() -> None:
    with pytest.raises(PlanError, match=r'thing/b: option "key" must be text'):
        plan(
            config(tool("a", value=[1]), tool("b", "a", key=ref("a.value"))),
            state(entry("a", value=[1])),
            live_resources(("a", thing("a", [1]))),
        )


# Order


def test_dependencies_come_first_and_deletions_last() -> None:
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
    return only_change(config(wanted), state(known), LiveResources({known.address: live}))


def test_same_instance_of_an_alias_is_a_move() -> None:
    change = moved(entry("oldthing.a"), tool("a"), thing("a"))
    assert (action_and_reason(change), change.previous) == (("move", "renamed"), at("oldthing.a"))


def test_same_identity_at_a_new_address_is_a_move() -> None:
    assert action_and_reason(moved(entry("a"), tool("b", key="a"), thing("a"))) == (
        "move",
        "renamed",
    )
    change = moved(entry("a"), tool("b", key="a", value=2), thing("a"))
    assert (action_and_reason(change), change.previous) == (("update", "changed"), at("a"))
    assert action_and_reason(moved(entry("a"), tool("b", key="a"), thing("a", color="blue"))) == (
        "update",
        "drifted",
    )
    assert action_and_reason(moved(entry("a"), tool("b", key="a"), None)) == ("create", "vanished")


def test_secret_of_a_moved_tool_is_not_a_change() -> None:
    secret = Secret("the same", ("env A",))
    assert action_and_reason(
        moved(entry("oldthing.a", token=secret), tool("a", token=secret), thing("a"))
    ) == (
        "move",
        "renamed",
    )


def test_plain_secrets_of_a_devstream_state_are_sealed() -> None:
    old = StateEntry(at("a"), (), {"key": "a", "token": "in clear"}, thing("a"))
    known = replace(state(old), salt="")
    change = only_change(
        config(tool("a", token=Secret("in clear"))), known, live_resources(("a", thing("a")))
    )
    assert (change.action, change.rewrite, change.note) == (
        Action.KEEP,
        True,
        "options: recorded in an older form",
    )
    assert action_and_reason(
        only_change(
            config(tool("a", token=Secret("another"))), known, live_resources(("a", thing("a")))
        )
    ) == ("update", "changed")


def test_different_identity_is_not_a_move() -> None:
    changes = plan(config(tool("b")), state(entry("a")), live_resources(("a", thing("a")))).changes
    assert [action_and_reason(change) for change in changes] == [
        ("create", "new"),
        ("delete", "removed"),
    ]


def test_resource_moves_to_one_tool_only() -> None:
    with pytest.raises(PlanError, match="manages the same resource"):
        plan(
            config(tool("b", key="a"), tool("c", key="a")),
            state(entry("a")),
            live_resources(("a", thing("a"))),
        )


# Outputs


def test_root_outputs_are_resolved_and_compared() -> None:
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


def test_missing_output_is_a_problem() -> None:
    with pytest.raises(PlanError, match=r"outputs.x: .*no output"):
        plan(
            config(tool("a"), x=ref("a.nothing")),
            state(entry("a")),
            live_resources(("a", thing("a"))),
        )


def test_plan_with_only_a_new_output_is_not_empty() -> None:
    made = plan(config(x=1), state(), live_resources())
    assert list(made) == []
    assert not made.is_empty


# Delete and destroy


def removal(known: State, live: LiveResources, **options: Any) -> Plan:
    wanted = options.pop("wanted", config())
    return plan_removal(wanted, known, live, operations(FakeSystem()), Selection(**options))


CHAIN = state(entry("x"), entry("y", "x"), entry("z", "y"), url="http://x")
CHAIN_LIVE = live_resources(*((name, thing(name)) for name in "xyz"))


def test_destroy_deletes_all_tools_and_outputs_in_reverse() -> None:
    made = removal(CHAIN, CHAIN_LIVE)
    assert [change.address.instance for change in made.changes] == ["z", "y", "x"]
    assert {action_and_reason(change) for change in made.changes} == {("delete", "requested")}
    assert made.destroy
    assert made.outputs == {}
    assert [(c.name, c.old, c.new) for c in made.output_changes] == [("url", "http://x", None)]


def test_deleting_a_dependency_needs_its_dependents() -> None:
    with pytest.raises(
        UnsafePlanError,
        match="cannot delete thing/x: thing/y depends on thing/x, thing/z depends on thing/y",
    ):
        removal(CHAIN, CHAIN_LIVE, targets=[at("x")])
    made = removal(CHAIN, CHAIN_LIVE, targets=[at("x")], with_dependents=True)
    assert [change.address.instance for change in made.changes] == ["z", "y", "x"]
    assert [
        change.address.instance
        for change in removal(CHAIN, CHAIN_LIVE, targets=[at("z"), at("other")]).changes
    ] == ["z"]


def test_unrecorded_tools_are_deleted_only_if_selected() -> None:
    wanted = config(tool("a"), tool("b", "a"), tool("c"))
    live = live_resources(("a", thing("a")), ("b", thing("b")), ("c", None))
    assert removal(state(), live, wanted=wanted).changes == ()
    made = removal(state(), live, wanted=wanted, unrecorded=True)
    assert [(c.address.instance, action_and_reason(c)) for c in made.changes] == [
        ("b", ("delete", "requested")),
        ("a", ("delete", "requested")),
    ]


def test_unknown_plugin_of_a_removed_tool_is_a_problem() -> None:
    lost = StateEntry(Address("lost", "a"), (), {}, Resource("a"))
    with pytest.raises(PlanError, match='lost/a: unknown plugin "lost"'):
        plan(config(tool("b")), state(lost), live_resources())


def test_plan_without_refresh_uses_the_recorded_resources() -> None:
    known = state(entry("a"), entry("b", value=1))
    made = plan(config(tool("a"), tool("b", value=2)), known, recorded_resources(known))
    assert [action_and_reason(change) for change in made.changes] == [
        ("keep", "unchanged"),
        ("update", "changed"),
    ]


def test_reference_to_a_secret_known_by_digest_is_a_problem() -> None:
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
def test_plan_is_empty_exactly_if_all_inputs_agree(
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


def test_ten_thousand_unchanged_tools_are_planned_quickly() -> None:
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


def test_plan_names_the_operation_in_progress() -> None:
    assert (
        plan(config(), state(), live_resources(), in_progress="ann since 12:00").in_progress
        == "ann since 12:00"
    )


def test_counts_and_reasons_of_a_plan() -> None:
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


def test_failed_read_of_a_removed_tool_is_a_problem() -> None:
    live = LiveResources({}, {at("a"): DtmError("denied")})
    with pytest.raises(PlanError, match="thing/a: denied"):
        plan(config(), state(entry("a")), live)
