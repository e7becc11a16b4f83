"""Reading live resources: how often, with which options, and how failures are reported."""

import threading
import time
from typing import Any

import pytest
from msgspec.structs import replace

from engine.config import Timeouts
from engine.errors import AuthError, ProviderError
from engine.execution.refresh import read
from engine.execution.run_settings import RunSettings
from engine.planning.decisions import Resolution, ResolutionKind
from engine.runtime.environment import Environment
from engine.values import UNKNOWN, Secret
from tests.engine.fake_system import (
    FakeSystem,
    Thing,
    at,
    config,
    entry,
    operations,
    pending,
    providers,
    ref,
    state,
    tool,
)


def system_with(*keys: str) -> FakeSystem:
    return FakeSystem({key: {"value": None, "color": "red", "serial": 1} for key in keys})


def test_recorded_and_identifiable_new_tools_are_read_once() -> None:
    system = system_with("a", "b", "gone-from-config")
    wanted = config(
        tool("a"),
        tool("b", "a", value=ref("a.value")),
        tool("new"),
        tool("blind.new"),
        tool("later", key=ref("new.key")),
    )
    known = state(entry("a"), entry("b", "a"), entry("gone-from-config"), entry("vanished"))
    live = read(wanted, known, operations(system))
    assert sorted(system.calls) == [
        "read a",
        "read b",
        "read gone-from-config",
        "read new",
        "read vanished",
    ]
    assert {str(a): r and r.id for a, r in live.resources.items()} == {
        "thing/a": "a",
        "thing/b": "b",
        "thing/gone-from-config": "gone-from-config",
        "thing/vanished": None,
        "thing/new": None,
    }
    assert len(read(wanted, known, operations(system), new=False).resources) == 4


def test_a_moved_tool_is_read_once_under_its_old_name() -> None:
    system = system_with("a")
    live = read(config(tool("b", key="a")), state(entry("a")), operations(system))
    assert system.calls == ["read a"]
    assert list(live.resources) == [at("a")]


@pytest.mark.parametrize(
    ("known", "calls"),
    [
        (entry("a", created=False, pending=pending("create")), ["read a"]),
        (entry("a", created=False, key="old", pending=pending("create")), ["read old"]),
        (entry("blind.a", created=False, pending=pending("create")), []),
        (entry("blind.a", pending=pending("delete")), ["read a"]),
    ],
)
def test_an_unfinished_tool_is_looked_up_by_its_recorded_options(
    known: Any, calls: list[str]
) -> None:
    system = FakeSystem()
    read(config(tool(known.address.dotted)), state(known), operations(system))
    assert system.calls == calls


def test_an_adopted_resource_is_read_by_the_given_id() -> None:
    system = system_with("id-7")
    known = state(entry("blind.a", created=False, pending=pending("create")))
    live = read(
        config(tool("blind.a")),
        known,
        operations(system),
        resolutions={at("blind.a"): Resolution(ResolutionKind.ADOPT, "id-7")},
    )
    assert system.calls == ["read id-7"]
    assert live.resources[at("blind.a")] is not None


class RecordingThing(Thing):
    """A plugin that keeps the options of its calls."""

    def read(self, options: Any, resource: Any, call: Any) -> Any:
        self.system.tokens.append(str(options.token))
        assert options.value is not UNKNOWN
        return super().read(options, resource, call)


@pytest.mark.parametrize(
    ("wanted", "secrets", "token"),
    [
        (tool("a", token=Secret("now in config", ("var t",))), {}, "now in config"),
        (
            tool("a", "b", token=Secret("now in config"), value=ref("b.serial")),
            {"env T": "recalled"},
            "recalled",
        ),
        (None, {"env T": "recalled"}, "recalled"),
        (None, {"env THING_TOKEN": "fallback"}, "fallback"),
        (None, {}, None),
    ],
)
def test_reads_use_options_of_the_config_or_recorded_ones(
    wanted: Any, secrets: dict[str, str], token: str | None
) -> None:
    system = system_with("a")
    known = state(entry("a", token=Secret("at first", ("env T",))))
    used = operations(system, secrets)
    used = type(used)(
        {**providers(system), "thing": RecordingThing(system)}, used.base_dir, used.recall
    )
    live = read(config(*([wanted] if wanted else []), tool("b")), known, used)
    if token is None:
        assert system.tokens == [""]
        assert (
            live.failed[at("a")].message
            == "Cannot read thing.a: T is not set (option token needs it)."
        )
    else:
        assert token in system.tokens


class KeyOnlyThing(Thing):
    """A plugin that finds resources by their key alone, as `file` does by path."""

    def read(self, options: Any, resource: Any, call: Any) -> Any:
        str(options.key)
        return super().read(options, None, call)


NAMED = Secret("x-old.txt", ("text x-[[ env T ]].txt",))


@pytest.mark.parametrize(
    ("wanted", "env", "outcome"),
    [
        (tool("a", key=NAMED), {}, "read x-old.txt"),
        (tool("a", key=Secret("x-new.txt", NAMED.sources)), {"env T": "old"}, "read x-old.txt"),
        (tool("a", key="y.txt"), {"env T": "old"}, "read x-old.txt"),
        (None, {"env T": "old"}, "read x-old.txt"),
        (tool("a", key=Secret("x-new.txt", NAMED.sources)), {"env T": "new"}, "find"),
        (None, {"env T": "new"}, "find"),
        (tool("a", key="y.txt"), {}, "read"),
        (None, {}, "read"),
    ],
)
def test_reading_a_secret_name_needs_its_old_value(
    wanted: Any, env: dict[str, str], outcome: str
) -> None:
    system = system_with("x-old.txt", "x-new.txt", "y.txt")
    used = operations(system, env)
    used = type(used)(
        {**providers(system), "thing": KeyOnlyThing(system)}, used.base_dir, used.recall
    )
    live = read(config(*([wanted] if wanted else [])), state(entry("a", key=NAMED)), used)
    if live.failed:
        problem = "T is not set (option key needs it)."
        if outcome == "find":
            problem = "T has changed (option key needs the old value)."
        message = f"Cannot {outcome} thing.a: {problem}"
        assert live.failed[at("a")].message == message
    else:
        assert system.calls == [outcome]


def test_all_failures_are_collected_and_plugin_bugs_are_named() -> None:
    def fail(error: Exception) -> Any:
        def fault() -> None:
            raise error

        return [fault]

    system = system_with("ok")
    system.faults = {
        "read a": fail(AuthError("token lacks scope repo")),
        "read b": fail(ProviderError("no route to host")),
        "read c": fail(KeyError("id")),
    }
    live = read(config(), state(*map(entry, ["a", "b", "c", "ok"])), operations(system))
    assert {a.instance: error.message for a, error in live.failed.items()} == {
        "a": "token lacks scope repo",
        "b": "no route to host",
        "c": "plugin \"thing\" failed in read: KeyError: 'id'",
    }
    assert len(system.calls) == 4
    assert list(live.resources) == [at("ok")]


def test_reads_run_in_parallel_up_to_the_limit() -> None:
    together = threading.Barrier(4, timeout=10)
    busy: list[int] = []

    class Slow(Thing):
        def read(self, options: Any, resource: Any, call: Any) -> Any:
            busy.append(1)
            assert len(busy) <= 4
            together.wait()
            busy.pop()
            return None

    system = FakeSystem()
    used = operations(system)
    used = type(used)({"thing": Slow(system)}, used.base_dir, used.recall)
    live = read(
        config(), state(*(entry(f"n{index}") for index in range(12))), used, settings=RunSettings(4)
    )
    assert len(live.resources) == 12


def test_a_hanging_read_is_given_up_and_the_others_go_on() -> None:
    hold = threading.Event()
    system = system_with("a", "b")
    system.faults = {"read a": [hold.wait]}
    tools = [tool("a"), tool("b")]
    tools[0] = type(tools[0])(tools[0].address, tools[0].options, timeouts=Timeouts(read=0.0))
    moments = iter(range(0, 10_000, 3))
    live = read(
        config(*tools),
        state(entry("a"), entry("b")),
        operations(system),
        settings=RunSettings(1, Environment(clock=lambda: next(moments))),
    )
    hold.set()
    assert "given up" in live.failed[at("a")].message
    assert at("b") in live.resources


def test_an_interrupt_cancels_reads_and_waits_for_them() -> None:
    begun, ended = list[str](), list[str]()

    class Slow(Thing):
        def read(self, options: Any, resource: Any, call: Any) -> Any:
            begun.append(str(call.address))
            while not call.cancelled():
                time.sleep(0.01)
            time.sleep(0.05)
            ended.append(str(call.address))

    def clock() -> float:
        if begun and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return 0.0

    names, used, pace = "abcdef", operations(FakeSystem()), RunSettings(2, Environment(clock=clock))
    used = replace(used, providers={"thing": Slow(FakeSystem())})
    with pytest.raises(KeyboardInterrupt):
        read(config(*map(tool, names)), state(*map(entry, names)), used, settings=pace)
    assert sorted(ended) == sorted(begun) and 1 <= len(begun) <= 2


def test_secrets_in_reported_resources_are_marked() -> None:
    system = system_with("a")
    used = operations(system)
    live = read(config(), state(entry("a")), used)
    found = live.resources[at("a")]
    assert found is not None
    assert found.outputs["password"] == Secret("secret of a", ("output thing.a.outputs.password",))
    assert used.redactor.redact("the secret of a is out") == "the (sensitive) is out"


def test_ten_thousand_reads_take_little_time() -> None:
    class Quick(Thing):
        def read(self, options: Any, resource: Any, call: Any) -> Any:
            return resource

    used = operations(FakeSystem())
    used = type(used)({"thing": Quick(FakeSystem())}, used.base_dir, used.recall)
    names = [f"n{index}" for index in range(10_000)]
    first = entry("a")
    known = state(*(type(first)(at(name), (), {"key": name}, first.resource) for name in names))
    began = time.process_time()
    assert read(config(*map(tool, names)), known, used).resources.keys() == known.entries.keys()
    assert time.process_time() - began < 3
