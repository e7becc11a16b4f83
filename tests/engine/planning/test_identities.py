"""Identities: tools that share a resource, and moved tools."""

from pathlib import Path

import pytest

from engine.errors import PlanError
from engine.plan import Reason
from engine.planning.identities import IdentityIndex, known_identities
from engine.planning.planner import LiveResources, make_plan
from engine.plugins.calls import Operations
from tests.engine.fake_system import (
    FakeSystem,
    Thing,
    ThingOptions,
    at,
    config,
    entry,
    operations,
    providers,
    ref,
    state,
    tool,
)


class OnDisk(Thing):
    """A thing whose identity is a path."""

    def identity(self, options: ThingOptions) -> str | None:
        return f"file:{options.key}"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("thing:a", "thing:a", True),
        ("thing:a", "thing:./a", False),
        ("file:out/a", "file:out/b", False),
        ("file:out", "directory:out", True),
        ("file:out/a", "file:/base/out/a", True),
        ("file:/base/./out//a", "file:out/../out/a", True),
        ("file:~/a", "file:/home/me/a", True),
    ],
)
def test_spellings_of_one_identity_belong_to_one_tool(
    one: str, other: str, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    index = IdentityIndex(Path("/base"))
    assert index.add(one, at("a")) is None
    assert index.add(one, at("a")) is None
    assert index.add(other, at("b")) == (at("a") if same else None)


def test_known_identities_omit_tools_with_unknown_options() -> None:
    unknown = tool("b", "a", key=ref("a.value"))
    misfit = tool("c", key=[7])
    wanted = config(tool("a"), unknown, misfit, tool("blind.d"))
    named = known_identities(wanted, operations(FakeSystem()))
    assert [(spec.address, identity) for spec, identity in named] == [(at("a"), "thing:a")]


def test_planner_refuses_one_path_in_two_spellings() -> None:
    system = FakeSystem()
    known = Operations(
        {**providers(system), "thing": OnDisk(system)}, Path("/base"), lambda _: None
    )
    wanted = config(tool("a", key="out"), tool("b", key="/base/out"))
    with pytest.raises(
        PlanError, match=r"thing/b: manages the same resource \(file:/base/out\) as thing/a"
    ):
        make_plan(wanted, state(), LiveResources({}), known)


def test_each_recorded_tool_moves_once() -> None:
    wanted = config(tool("b", key="a"), tool("oldthing.a", key="other"))
    live = LiveResources({at("a"): None})
    changes = make_plan(wanted, state(entry("a")), live, operations(FakeSystem())).changes
    assert [(change.previous, change.reason) for change in changes] == [
        (at("a"), Reason.VANISHED),
        (None, Reason.NEW),
    ]
