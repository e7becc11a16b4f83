"""Any runs that fail or crash: the state stays valid, and one more run completes it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backends.memory import MemoryStore
from engine.config import Config, ToolSpec
from engine.errors import DtmError, OutcomeUnknownError, ProviderError, StoreAccessError
from engine.events import ApplySummary
from engine.execution import executor, refresh
from engine.execution.run_settings import RunControl
from engine.language.references import parse
from engine.log.state_store import StateStore
from engine.plan import Action
from engine.planning.planner import plan_removal
from engine.ports import Store, StoredObject, Version
from engine.runtime.environment import Environment
from engine.session.reading import read_state
from engine.state import State
from tests.engine.fake_system import Bench, config, tool

EXAMPLES = int(os.environ.get("DTM_EXAMPLES", "50"))
"""Sequences of runs to try; CI sets 500."""

NAMES = "abcdef"


class CrashingStore:
    """A store that fails after `writes` more writes; the last may arrive without an answer."""

    def __init__(self, store: Store, writes: int, *, arrives: bool) -> None:
        self.store, self.writes, self.arrives = store, writes, arrives

    @property
    def location(self) -> str:
        return self.store.location

    def _check_alive(self) -> None:
        if self.writes <= 0:
            raise StoreAccessError("dead")

    def read(self, key: str) -> StoredObject | None:
        self._check_alive()
        return self.store.read(key)

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        self._check_alive()
        self.writes -= 1
        version = self.store.write(key, data, expect=expect) if self.writes or self.arrives else ""
        self._check_alive()
        return version

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        self._check_alive()
        self.store.delete(key, expect=expect)

    def list(self, prefix: str) -> Iterator[str]:
        self._check_alive()
        return self.store.list(prefix)


@dataclass(frozen=True)
class FaultyRun:
    """One run: the config (None: destroy), the calls that fail, and the writes before a crash."""

    wanted: Config | None
    faults: dict[str, Exception]
    writes: int | None
    arrives: bool


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Draw up to five tools in any order; each may depend on and refer to earlier ones.

    `c` and `f` are two names of one resource and never both in the config.
    """
    names = draw(st.permutations(NAMES))[: draw(st.integers(0, len(NAMES)))]
    names = [name for name in names if name != "f" or "c" not in names]
    tools: list[ToolSpec] = []
    for index, name in enumerate(names):
        needs = (
            draw(st.lists(st.sampled_from(names[:index]), unique=True, max_size=2)) if index else []
        )
        value: Any = draw(st.sampled_from([1, 2, "ref"]))
        if value == "ref":
            value = (
                parse(f"{address(needs[0])}.outputs.{draw(st.sampled_from(['value', 'serial']))}")
                if needs
                else 3
            )
        key = ("c" if name == "f" else name) + draw(st.sampled_from(["", "", "2"]))
        tools.append(tool(address(name), *map(address, needs), key=key, value=value))
    return config(*tools, total=draw(st.sampled_from([1, 2])))


def address(name: str) -> str:
    """Return the address of a name: the plugin is `plain`, or `open`, which declares no outputs."""
    return f"{'open' if name in 'be' else 'plain'}.{name}"


ERRORS = st.sampled_from(
    [ProviderError("no"), OutcomeUnknownError("no answer"), ProviderError("busy", retryable=True)]
)
FAULTS = st.dictionaries(
    st.builds(
        "{} {}".format,
        st.sampled_from(
            ["create", "update", "delete", "after create", "after update", "after delete"]
        ),
        st.sampled_from([name + end for name in NAMES for end in ("", "2")]),
    ),
    ERRORS,
    max_size=4,
)
FAULTY_RUNS = st.builds(
    FaultyRun,
    st.none() | configs(),
    FAULTS,
    st.none() | st.integers(1, 25),
    st.booleans(),
)


def run(bench: Bench, wanted: Config | None) -> ApplySummary | None:
    """Apply or destroy; return None if there is nothing to do."""
    with bench.session() as session:
        if wanted is None:
            live = refresh.read(config(), session.state, bench.operations)
            plan = plan_removal(config(), session.state, live, bench.operations)
        else:
            plan = bench.plan(wanted, session)
        if plan.is_empty:
            return None
        return executor.apply(
            plan,
            wanted or config(),
            session,
            bench.operations,
            emit=bench.events.append,
            control=RunControl(3, Environment(sleep=lambda _: None)),
        )


def fault(error: Exception) -> Any:
    def fail() -> None:
        raise error

    return fail


def run_with_faults(bench: Bench, faulty_run: FaultyRun, store: Store) -> None:
    """Run once with faults, and with a crash if one is planned."""
    bench.system.faults = {call: [fault(error)] for call, error in faulty_run.faults.items()}
    if faulty_run.writes is not None:
        bench.store = CrashingStore(store, faulty_run.writes, arrives=faulty_run.arrives)
    try:
        run(bench, faulty_run.wanted)
    except DtmError:
        assert faulty_run.writes is not None, "only a crash may end a run with an error"
    finally:
        bench.store, bench.system.faults = store, {}


def check_valid(state: State, bench: Bench, wanted: Config | None = None) -> None:
    """Check that every dependency exists, and that every live resource is recorded or begun.

    If no order satisfies all dependencies, a tool may be deleted while an entry still depends on
    it, provided that the `wanted` config drops that dependency.
    """
    needs = {spec.address: set(spec.depends_on) for spec in wanted.tools} if wanted else {}
    for entry in state.entries.values():
        lost = set(entry.depends_on) - set(state.entries)
        assert not lost & needs.get(entry.address, lost), (
            f"{entry.address} depends on a missing entry"
        )
        assert entry.pending is None or entry.pending.action in {action.value for action in Action}
        assert entry.resource is not None or entry.pending is not None
    recorded = {str(entry.resource.id) for entry in state.entries.values() if entry.resource}
    begun = {str(entry.options["key"]) for entry in state.entries.values() if entry.pending}
    assert set(bench.system.things) <= recorded | begun


def check_complete(bench: Bench, wanted: Config | None) -> None:
    """Check that a run without faults completes everything, and the next has nothing to do."""
    summary = run(bench, wanted)
    assert summary is None or (summary.failed, summary.skipped) == ((), ())
    assert run(bench, wanted) is None
    state = read_state(StateStore(bench.store, "k")).state
    tools = wanted.tools if wanted else ()
    assert set(state.entries) == {spec.address for spec in tools}
    assert sorted(bench.system.things) == sorted(str(spec.options["key"]) for spec in tools)
    assert all(entry.pending is None for entry in state.entries.values())
    check_valid(state, bench)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(FAULTY_RUNS, min_size=1, max_size=3), st.none() | configs())
@example(
    [
        FaultyRun(
            config(tool("plain.a")),
            {"after create a": OutcomeUnknownError("no answer")},
            None,
            False,
        )
    ],
    None,
)
@example(
    [FaultyRun(config(tool("plain.a")), {}, 2, True), FaultyRun(None, {}, 2, False)],
    config(tool("plain.a", key="a2")),
)
def test_any_sequence_of_runs_is_completed_by_one_more_run(
    faulty_runs: list[FaultyRun], wanted: Config | None
) -> None:
    store = MemoryStore("test")
    bench = Bench(store=store)
    for faulty_run in faulty_runs:
        run_with_faults(bench, faulty_run, store)
        check_valid(read_state(StateStore(store, "k")).state, bench, faulty_run.wanted)
    check_complete(bench, faulty_runs[-1].wanted)
    check_complete(bench, wanted)


@pytest.mark.parametrize("writes", range(1, 30))
@pytest.mark.parametrize("arrives", [False, True])
def test_a_crash_at_any_commit_of_an_apply_is_repaired(writes: int, arrives: bool) -> None:
    store = MemoryStore("test")
    bench = Bench(store=store)
    first = config(
        tool("plain.old"),
        tool("plain.r", key="r1"),
        tool("plain.u", "plain.r", value=1),
        tool("open.d", "plain.old"),
    )
    run(bench, first)
    second = config(
        tool("plain.r", key="r2"), tool("plain.u", "plain.r", value=2), tool("plain.n", "plain.u")
    )
    run_with_faults(bench, FaultyRun(second, {}, writes, arrives), store)
    check_valid(read_state(StateStore(store, "k")).state, bench)
    check_complete(bench, second)


@pytest.mark.parametrize("finish", [True, False])
@pytest.mark.parametrize("arrives", [False, True])
@pytest.mark.parametrize("writes", range(1, 9))
def test_a_crash_between_two_moves_leaves_no_dangling_dependency(
    writes: int, arrives: bool, finish: bool
) -> None:
    large = "x" * 70_000  # each commit then holds little more than one entry
    store = MemoryStore("test")
    bench = Bench(store=store, background=False)

    def chain(suffix: str) -> Config:
        names = [f"plain.{name}{suffix}" for name in "abc"]
        renamed = [
            tool(name, *names[:n], key=f"key{n}", value=large) for n, name in enumerate(names)
        ]
        return config(*renamed, tool("open.top", names[2], names[0], value=large))

    run(bench, chain(""))
    run_with_faults(bench, FaultyRun(chain("2"), {}, writes, arrives), store)
    check_valid(read_state(StateStore(store, "k")).state, bench)
    if finish:
        check_complete(bench, chain("2"))
        assert bench.system.effects == ["key0", "key1", "key2", "top"]
    check_complete(bench, None)
    assert [call for call in bench.system.calls if call.startswith("delete")] == [
        f"delete {key}" for key in ("top", "key2", "key1", "key0")
    ]
