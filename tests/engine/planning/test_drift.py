"""The source of each difference: an option, an input that an option names, or drift."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from engine.config import ToolSpec
from engine.errors import ProviderError
from engine.execution.refresh import read
from engine.plan import Action, Change, ChangeSource, Reason
from engine.planning.drift import detect_drift, live_changes
from engine.planning.planner import LiveResources, make_plan, plan_drift
from engine.plugins.calls import Operations
from engine.plugins.recall import SecretRecall
from engine.ports import Call
from engine.state import Resource, StateEntry
from engine.values import Secret, Value
from tests.engine.fake_system import (
    SEALER,
    FakeSystem,
    Thing,
    ThingOptions,
    at,
    config,
    entry,
    pending,
    providers,
    state,
    thing,
    tool,
)


class Rendering(Thing):
    """A thing that also reports a rendered template. The value "unreadable" makes `read` fail."""

    template = "t1"

    def derived_attributes(self) -> Collection[str]:
        return ("rendered",)

    def read(self, options: ThingOptions, resource: Resource | None, call: Call) -> Resource | None:
        if options.value == "unreadable":
            raise ProviderError("no")
        found = super().read(options, resource, call)
        if found is None:
            return None
        more: Mapping[str, Value] = {
            "seen with": options.value,
            "rendered": f"{self.template} {options.value}",
        }
        return replace(found, attributes={**found.attributes, **more})


def rendering(system: FakeSystem, template: str = "t1") -> Operations:
    provider = Rendering(system)
    provider.template = template
    return Operations({**providers(system), "thing": provider}, Path("/base"), lambda _: None)


def planned(
    wanted: ToolSpec, *, color: str = "red", template: str = "t1", was: Any = "old"
) -> tuple[Change, LiveResources]:
    """Plan a tool that was created with the value `was` and the template t1, and then changed."""
    system = FakeSystem({"a": {"value": None, "color": color, "serial": 1}})
    operations = rendering(system, template)
    known = entry("a", value=was)
    made = SEALER.seal_resource(thing("a"), at("a"))
    made = replace(made, attributes={**made.attributes, "seen with": was, "rendered": f"t1 {was}"})
    known_state = state(replace(known, resource=made))
    live = read(config(wanted), known_state, operations)
    (change,) = make_plan(config(wanted), known_state, live, operations).changes
    return change, live


def summary(change: Change) -> tuple[str, str, set[tuple[str, str]]]:
    return (
        change.action.value,
        change.reason.value,
        {(field.source.value, str(field.path[0])) for field in change.fields},
    )


OPTION, INPUT, DRIFT = ("option", "value"), ("input", "rendered"), ("live", "color")


@pytest.mark.parametrize(
    ("value", "template", "color", "expected", "reads"),
    [
        ("old", "t1", "red", ("keep", "unchanged", set()), 1),
        ("new", "t1", "red", ("update", "changed", {OPTION}), 2),
        ("old", "t2", "red", ("update", "input", {INPUT}), 1),
        ("old", "t1", "blue", ("update", "drifted", {DRIFT}), 1),
        ("old", "t2", "blue", ("update", "drifted", {INPUT, DRIFT}), 1),
        ("new", "t2", "red", ("update", "changed", {OPTION, INPUT}), 2),
        ("new", "t1", "blue", ("update", "changed", {OPTION, DRIFT}), 2),
        ("new", "t2", "blue", ("update", "changed", {OPTION, INPUT, DRIFT}), 2),
    ],
)
def test_each_change_has_its_source_and_reason(
    value: str, template: str, color: str, expected: Any, reads: int
) -> None:
    change, live = planned(tool("a", value=value), template=template, color=color)
    assert summary(change) == expected
    assert 1 + len(live.as_recorded) == reads


def test_failed_read_with_recorded_options_hides_the_drift() -> None:
    change, live = planned(tool("a", value="new"), color="blue", was="unreadable")
    assert summary(change) == ("update", "changed", {OPTION})
    assert live.failed == {}


def test_effect_of_a_new_secret_option_is_not_drift() -> None:
    change, _ = planned(tool("a", value=Secret("hush-hush", ("var v",))))
    assert summary(change) == ("update", "changed", {OPTION})


def test_changed_tool_with_an_unchanged_resource_is_read_once() -> None:
    system = FakeSystem({"a": {"value": None, "color": "red", "serial": 1}})
    live = read(
        config(tool("a", value="new")),
        state(entry("a")),
        Operations(providers(system), Path("/base"), lambda _: None),
    )
    assert (live.as_recorded, system.calls) == ({}, ["read a"])


def test_changed_input_has_source_input() -> None:
    known = entry("a")
    now = replace(
        thing("a", color="blue"),
        attributes={**thing("a", color="blue").attributes, "rendered": "x"},
    )
    fields = live_changes(known, now, SecretRecall(rendering(FakeSystem()), SEALER))
    assert {field.path: field.source for field in fields} == {
        ("color",): ChangeSource.LIVE,
        ("rendered",): ChangeSource.INPUT,
    }
    assert Action.UPDATE is planned(tool("a", value="old"), template="t2")[0].action


@pytest.mark.parametrize(
    ("known", "live", "expected"),
    [
        (entry("a"), thing("a"), ("keep", "unchanged", set())),
        (entry("a"), thing("a", color="blue"), ("update", "drifted", {DRIFT})),
        (entry("a"), None, ("create", "vanished", set())),
        (entry("a", pending=pending("update")), None, ("keep", "unchanged", set())),
    ],
)
def test_drift_of_a_recorded_tool(known: StateEntry, live: Resource | None, expected: Any) -> None:
    change = detect_drift(known, live, SecretRecall(rendering(FakeSystem()), SEALER))
    assert summary(change) == expected
    assert (change.before, change.after) == (known.resource, known.options)


def test_changed_inputs_alone_are_not_drift() -> None:
    known = entry("a")
    now = replace(thing("a"), attributes={**thing("a").attributes, "rendered": "x"})
    assert (
        detect_drift(known, now, SecretRecall(rendering(FakeSystem()), SEALER)).action
        is Action.KEEP
    )


def test_drift_omits_tools_whose_read_failed() -> None:
    known = state(entry("b"), entry("a"), entry("c"))
    live = LiveResources({at("b"): thing("b", color="blue")}, {at("c"): ProviderError("no")})
    plan = plan_drift(known, live, rendering(FakeSystem()), in_progress="ann")
    assert [(change.address, change.action) for change in plan.changes] == [
        (at("a"), Action.KEEP),
        (at("b"), Action.UPDATE),
    ]
    assert (plan.base, plan.in_progress) == (known.id, "ann")


def test_drift_of_a_known_secret_needs_no_salt() -> None:
    known = replace(state(replace(entry("a"), resource=thing("a"))), salt="")
    operations = rendering(FakeSystem())
    operations.redactor.add(Secret("hush-hush"))
    live = LiveResources({at("a"): replace(thing("a"), attributes={"color": "hush-hush"})})
    (change,) = plan_drift(known, live, operations).changes
    assert change.reason is Reason.DRIFTED
