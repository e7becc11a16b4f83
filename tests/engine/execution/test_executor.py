"""Carrying out plans: order, parallelism, failures, interruptions, and records."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from engine.config import Config, Timeouts, ToolSpec
from engine.errors import (
    AuthError,
    OutcomeUnknownError,
    PlanError,
    ProviderError,
    StalePlanError,
    SupersededError,
)
from engine.events import (
    ActionDowngraded,
    ApplyComplete,
    ApplyErrored,
    ApplyProgress,
    ApplySkipped,
    ApplyStart,
    ApplySummary,
    Event,
    Notice,
    Retrying,
    Stopping,
)
from engine.execution import executor, refresh, worker
from engine.execution.jobs import JobBuilder
from engine.execution.run_settings import PARALLELISM, RunControl, StopRequest
from engine.language.references import Interpolation
from engine.log.state_store import StateStore
from engine.plan import Action
from engine.planning.decisions import Resolution, ResolutionKind
from engine.planning.planner import make_plan, plan_removal
from engine.runtime.environment import Environment
from engine.session.reading import read_state
from engine.state import Pending
from engine.values import Digest, Secret
from tests.engine.fake_system import Bench, Thing, at, config, ref, tool


def apply(bench: Bench, wanted: Config, **options: Any) -> ApplySummary:
    """Read, plan and apply, as `dtm apply -y`."""
    resolutions = options.pop("resolutions", None)
    control = controlled(**options)
    with bench.session() as session:
        plan = bench.plan(wanted, session, resolutions)
        return executor.apply(
            plan, wanted, session, bench.operations, emit=bench.events.append, control=control
        )


def controlled(
    parallelism: int = PARALLELISM, stop: StopRequest | None = None, **environment: Any
) -> RunControl:
    """Return the settings of a run without pauses, unless a `sleep` is given."""
    surroundings = Environment(**{"sleep": _no_sleep, **environment})
    return RunControl(parallelism, surroundings, stop or StopRequest())


def destroy(bench: Bench) -> ApplySummary:
    with bench.session() as session:
        live = refresh.read(config(), session.state, bench.operations)
        plan = plan_removal(config(), session.state, live, bench.operations)
        return executor.apply(plan, config(), session, bench.operations, emit=bench.events.append)


def _no_sleep(_seconds: float) -> None:
    return None


def is_empty(bench: Bench, wanted: Config) -> bool:
    with bench.session() as session:
        return bench.plan(wanted, session).is_empty


def failing(*errors: Exception) -> list[Callable[[], object]]:
    def fault(error: Exception) -> Callable[[], object]:
        def fail() -> None:
            raise error

        return fail

    return [fault(error) for error in errors]


def events(bench: Bench, kind: type[Event]) -> list[Any]:
    return [event for event in bench.events if isinstance(event, kind)]


def pendings(bench: Bench) -> dict[str, Pending | None]:
    return {address.instance: entry.pending for address, entry in bench.state().entries.items()}


def numbered(text: str, reference: Any) -> Interpolation:
    return Interpolation((text, reference))


# Calls and records


def test_an_apply_creates_records_and_leaves_nothing_to_do() -> None:
    bench, wanted = (
        Bench(),
        config(tool("a", value=1), tool("b", "a", value=ref("a.serial")), total=ref("b.value")),
    )
    summary = apply(bench, wanted)
    assert summary.done == {Action.CREATE: 2}
    assert (summary.failed, summary.skipped, summary.interrupted, summary.location) == (
        (),
        (),
        False,
        "memfs://test/k",
    )
    made = bench.state()
    assert made.entries[at("b")].options == {"key": "b", "value": 1}
    assert made.entries[at("b")].depends_on == (at("a"),)
    assert made.outputs == {"total": 1}
    assert is_empty(bench, wanted)
    assert [(e.address.instance, e.index, e.total) for e in events(bench, ApplyStart)] == [
        ("a", 1, 2),
        ("b", 2, 2),
    ]
    assert [(e.address.instance, e.id) for e in events(bench, ApplyComplete)] == [
        ("a", "a"),
        ("b", "b"),
    ]
    assert bench.events[-1] == summary


def test_records_are_durable_before_the_calls_that_need_them() -> None:
    bench = Bench()
    seen: dict[str, Any] = {}

    def look(name: str) -> Callable[[], object]:
        def fault() -> None:
            entries = read_state(StateStore(bench.store, "k")).state.entries
            seen[name] = {
                a.instance: e.pending.action if e.pending else "ok" for a, e in entries.items()
            }

        return fault

    bench.system.faults = {
        f"{method} {key}": [look(f"{method} {key}")]
        for method in ("create", "update", "delete")
        for key in "abx"
    }
    apply(bench, config(tool("a"), tool("b", "a"), tool("x")))
    assert seen["create a"]["a"] == "create"
    assert (seen["create b"]["a"], seen["create b"]["b"]) == ("ok", "create")
    apply(bench, config(tool("a", value=1), tool("b", "a")))
    assert seen["update a"]["a"] == "update"
    assert seen["delete x"]["x"] == "delete"
    assert pendings(bench) == {"a": None, "b": None}


def test_independent_changes_run_in_parallel_up_to_the_limit() -> None:
    bench, together = Bench(), threading.Barrier(3, timeout=10)
    busy: list[int] = []

    def meet() -> None:
        busy.append(1)
        assert len(busy) <= 3
        together.wait()
        busy.pop()

    bench.system.faults = {"create *": [meet] * 9}
    assert apply(bench, config(*(tool(f"n{i}") for i in range(9))), parallelism=3).done == {
        Action.CREATE: 9
    }


def test_a_failure_skips_only_its_dependents() -> None:
    bench = Bench()
    bench.system.faults = {
        "create a": failing(ProviderError("quota of ann@example used up", hint="ask for more"))
    }
    wanted = config(tool("a"), tool("b", "a"), tool("c", "b"), tool("x"), tool("y", "x"))
    summary = apply(bench, wanted)
    assert summary.failed == (at("a"),)
    assert summary.skipped == (at("b"), at("c"))
    assert summary.done == {Action.CREATE: 2}
    (errored,) = events(bench, ApplyErrored)
    assert (errored.address, errored.message, errored.hint, errored.attempts) == (
        at("a"),
        "quota of ann@example used up",
        "ask for more",
        1,
    )
    assert [(e.address, e.because) for e in events(bench, ApplySkipped)] == [
        (at("b"), at("a")),
        (at("c"), at("a")),
    ]
    assert apply(bench, wanted).done == {Action.CREATE: 3}
    assert is_empty(bench, wanted)
    assert sorted(bench.system.effects) == ["a", "b", "c", "x", "y"]


def test_a_failed_update_keeps_its_old_dependency() -> None:
    bench = Bench()
    apply(
        bench,
        config(
            tool("c", key="c1"), tool("b", "c", key="b1"), tool("d"), tool("a", "c", "d", value=1)
        ),
    )
    bench.system.faults = {"update a": failing(ProviderError("no"))}
    wanted = config(tool("c", key="c2"), tool("b", "c", key="b2"), tool("a", value=2))
    summary = apply(bench, wanted)
    assert summary.failed == (at("a"),)
    assert summary.skipped == (at("d"),)
    assert "d" in bench.system.things
    apply(bench, wanted)
    assert sorted(bench.system.things) == ["a", "b2", "c2"]
    assert is_empty(bench, wanted)


def test_an_unresolvable_reference_is_a_failure_not_a_skip() -> None:
    bench = Bench()
    reference: Any = replace(ref("a.value"), address=at("open.a"), path=("nothing",))  # type: ignore[type-var] # a Reference
    summary = apply(bench, config(tool("open.a"), tool("b", "open.a", value=reference)))
    assert summary.failed == (at("b"),)
    (errored,) = events(bench, ApplyErrored)
    assert 'has no output "nothing"' in errored.message
    assert errored.attempts == 0
    assert set(pendings(bench)) == {"a"}


# Errors: the number of calls, and the recorded state

UNKNOWN_OUTCOME = OutcomeUnknownError("no answer")
PASSING = ProviderError("busy", retryable=True)


@pytest.mark.parametrize(
    ("fault", "errors", "calls", "state"),
    [
        ("create a", [ProviderError("no")], {"create": 1, "read": 2}, "unfinished, absent"),
        ("create a", [AuthError("no")], {"create": 1, "read": 2}, "unfinished, absent"),
        ("create a", [PASSING], {"create": 2, "read": 1}, "made"),
        ("create a", [PASSING] * 3, {"create": 4, "read": 1}, "made"),
        ("create a", [PASSING] * 9, {"create": 4, "read": 2}, "unfinished, absent"),
        ("create a", [UNKNOWN_OUTCOME], {"create": 1, "read": 2}, "unfinished, absent"),
        ("after create a", [UNKNOWN_OUTCOME], {"create": 1, "read": 2}, "made"),
        (
            "after create a",
            [ProviderError("half")],
            {"create": 1, "read": 2},
            "unfinished, present",
        ),
        ("create a", [ValueError("a bug")], {"create": 1, "read": 2}, "unfinished, absent"),
        ("update u", [ProviderError("no")], {"update": 1, "read": 1}, "unfinished, present"),
        ("update u", [PASSING], {"update": 2, "read": 1}, "made"),
        ("after update u", [UNKNOWN_OUTCOME], {"update": 1, "read": 2}, "unfinished, present"),
        ("delete d", [ProviderError("no")], {"delete": 1, "read": 1}, "unfinished, present"),
        ("delete d", [PASSING], {"delete": 2, "read": 1}, "gone"),
        ("delete d", [UNKNOWN_OUTCOME], {"delete": 1, "read": 2}, "unfinished, present"),
        ("after delete d", [UNKNOWN_OUTCOME], {"delete": 1, "read": 2}, "gone"),
        ("create blind.a", [ProviderError("no")], {"create": 1, "read": 0}, "unfinished, absent"),
        ("create blind.a", [UNKNOWN_OUTCOME], {"create": 1, "read": 0}, "begun"),
        ("create blind.a", [PASSING], {"create": 2, "read": 0}, "made"),
    ],
)
def test_each_kind_of_error_causes_a_known_number_of_calls(
    fault: str, errors: Any, calls: dict[str, int], state: str
) -> None:
    bench = Bench()
    what, name = fault.rsplit(" ", 1)
    address = at(name)
    action = what.removeprefix("after ")
    if action != "create":
        apply(bench, config(tool(name, value=1)))
        bench.system.calls.clear()
    bench.system.faults = {f"{what} {address.instance}": failing(*errors)}
    summary = apply(bench, config(*([] if action == "delete" else [tool(name, value=2)])))
    assert {method: bench.system.count(method) for method in calls} == calls
    entry = bench.state().entries.get(address)
    if state == "gone":
        assert entry is None
        assert not summary.failed
        return
    assert entry is not None
    present = "present" if entry.resource else "absent"
    pending = entry.pending
    assert state == (
        "made"
        if pending is None
        else "begun"
        if pending.message is None
        else f"unfinished, {present}"
    )
    assert bool(summary.failed) is (state != "made")
    assert events(bench, Retrying)[: len(errors)] == [] or errors[0] is PASSING


@pytest.mark.parametrize(
    "fault",
    ["create a", "after create a", "after update u", "update u", "delete d", "after delete d"],
)
@pytest.mark.parametrize("error", [UNKNOWN_OUTCOME, ProviderError("no")])
def test_the_next_run_completes_failures_without_duplicates(fault: str, error: Exception) -> None:
    bench = Bench()
    apply(bench, config(tool("u", value=1), tool("d")))
    bench.system.faults = {fault: failing(error)}
    wanted = config(tool("a"), tool("u", value=2))
    apply(bench, wanted)
    assert not apply(bench, wanted).failed
    assert is_empty(bench, wanted)
    assert sorted(bench.system.effects) == ["a", "d", "u"]
    assert sorted(bench.system.things) == ["a", "u"]
    assert bench.system.things["u"]["value"] == 2


def test_a_wrong_prediction_names_the_plugin_and_is_recorded() -> None:
    bench = Bench()

    class Liar(Thing):
        def predict(self, options: Any, resource: Any) -> Any:
            return {"value": "something else"}

    used = bench.operations
    used = replace(used, providers={"thing": Liar(bench.system)})
    wanted = config(tool("a"), tool("b", "a"))
    with bench.session() as session:
        plan = make_plan(wanted, session.state, refresh.read(wanted, session.state, used), used)
        summary = executor.apply(plan, wanted, session, used, emit=bench.events.append)
    assert (summary.failed, summary.skipped) == ((at("a"),), (at("b"),))
    assert (
        'plugin "thing" predicted other outputs than it delivered: value'
        in events(bench, ApplyErrored)[0].message
    )
    assert pendings(bench) == {"a": None}


# Real values


def test_a_change_decided_with_real_values_only_gets_milder() -> None:
    bench = Bench()
    first = config(
        tool("a", value=1),
        tool("b", "a", value=ref("a.serial")),
        tool("c", "a", value=ref("a.key")),
    )
    apply(bench, first)
    bench.system.things.pop("a")
    bench.system.calls.clear()
    with bench.session() as session:
        plan = bench.plan(first, session)
        planned = {change.address.instance: change.action for change in plan}
        bench.system.effects.clear()
        summary = executor.apply(plan, first, session, bench.operations, emit=bench.events.append)
    assert planned == {"a": Action.CREATE, "b": Action.UPDATE}
    assert [(e.address.instance, e.planned, e.actual) for e in events(bench, ActionDowngraded)] == [
        ("b", Action.UPDATE, Action.KEEP)
    ]
    assert summary.done == {Action.CREATE: 1}
    assert bench.system.count("update") == 0
    assert is_empty(bench, first)


def test_an_unnecessary_replace_deletes_nothing() -> None:
    bench = Bench()
    wanted = config(tool("a"), tool("b", "a", key=numbered("b", ref("a.serial")), value=1))
    apply(bench, wanted)
    bench.system.things.pop("a")
    with bench.session() as session:
        plan = bench.plan(wanted, session)
        assert [change.action for change in plan.changes] == [Action.CREATE, Action.REPLACE]
        bench.system.calls.clear()
        bench.system.effects.clear()
        summary = executor.apply(plan, wanted, session, bench.operations, emit=bench.events.append)
    assert summary.done == {Action.CREATE: 1}
    assert bench.system.count("delete") == 0
    assert is_empty(bench, wanted)


def test_a_new_tool_with_an_unknown_name_is_looked_up_first() -> None:
    bench = Bench()
    bench.system.things["1"] = {"value": None, "color": "red", "serial": 0}
    summary = apply(bench, config(tool("a"), tool("b", "a", key=numbered("", ref("a.serial")))))
    assert summary.failed == (at("b"),)
    assert "is not recorded in this state" in events(bench, ApplyErrored)[0].message
    assert set(pendings(bench)) == {"a"}
    assert bench.system.count("create") == 1


# Order


def test_a_replace_deletes_after_and_creates_before_dependents() -> None:
    bench = Bench()
    apply(bench, config(tool("d", key="d1"), tool("f", "d", key="f1"), tool("g", "f")))
    bench.system.calls.clear()
    apply(bench, config(tool("d", key="d2"), tool("f", "d", key="f2"), tool("g", "f", value=2)))
    changes = [call for call in bench.system.calls if not call.startswith(("read", "after"))]
    assert changes == ["delete f1", "delete d1", "create d2", "create f2", "update g"]
    assert summary_of(bench).done == {Action.REPLACE: 2, Action.UPDATE: 1}


def summary_of(bench: Bench) -> ApplySummary:
    found: ApplySummary = events(bench, ApplySummary)[-1]
    return found


def test_a_tool_is_deleted_after_its_former_dependents_change() -> None:
    bench = Bench()
    apply(bench, config(tool("old"), tool("user", "old"), tool("kept", "old")))
    bench.system.calls.clear()
    bench.system.faults = {"update user": [lambda: time.sleep(0.05)]}
    apply(bench, config(tool("user", value=1), tool("kept")))
    assert [call for call in bench.system.calls if call in ("after update user", "delete old")] == [
        "after update user",
        "delete old",
    ]
    assert [entry.depends_on for entry in bench.state().entries.values()] == [(), ()]


def test_a_tool_stays_if_the_change_of_its_dependent_fails() -> None:
    bench = Bench()
    apply(bench, config(tool("old"), tool("user", "old")))
    bench.system.faults = {"update user": failing(ProviderError("no"))}
    summary = apply(bench, config(tool("user", value=1)))
    assert (summary.failed, summary.skipped) == ((at("user"),), (at("old"),))
    assert "old" in bench.system.things


def test_a_replace_with_a_failed_dependency_deletes_nothing() -> None:
    bench = Bench()
    apply(bench, config(tool("a"), tool("b", "a", key="b1")))
    bench.system.faults = {"update a": failing(ProviderError("no"))}
    summary = apply(bench, config(tool("a", value=1), tool("b", "a", key="b2")))
    assert (summary.failed, summary.skipped) == ((at("a"),), (at("b"),))
    assert bench.system.count("delete") == 0


def test_destroy_follows_recorded_dependencies_in_reverse() -> None:
    bench = Bench()
    apply(bench, config(tool("z"), tool("m", "z"), tool("a", "m"), x=1))
    bench.system.calls.clear()
    summary = destroy(bench)
    assert [call for call in bench.system.calls if call.startswith("delete")] == [
        "delete a",
        "delete m",
        "delete z",
    ]
    assert summary.done == {Action.DELETE: 3}
    assert (dict(bench.state().entries), dict(bench.state().outputs)) == ({}, {})


# Records without a call


def test_a_move_updates_its_dependents_and_calls_nothing() -> None:
    bench = Bench()
    secret = Secret("hush hush", ("env A",))
    apply(bench, config(tool("oldthing.a", token=secret), tool("b", "oldthing.a")))
    bench.system.calls.clear()
    wanted = config(tool("a", token=secret), tool("b", "a"))
    assert apply(bench, wanted).done == {Action.MOVE: 1}
    assert bench.system.calls == ["read a", "read b"]
    assert {str(a): [str(n) for n in e.depends_on] for a, e in bench.state().entries.items()} == {
        "thing/a": [],
        "thing/b": ["thing/a"],
    }
    assert is_empty(bench, wanted)


def test_dependencies_and_protection_are_rewritten_uncalled() -> None:
    bench = Bench()
    apply(bench, config(tool("a"), tool("b")))
    bench.system.calls.clear()
    wanted = config(tool("a", protect=True), tool("b", "a"))
    assert apply(bench, wanted).done == {}
    assert bench.system.calls == ["read a", "read b"]
    made = bench.state().entries
    assert made[at("a")].protected
    assert made[at("b")].depends_on == (at("a"),)
    assert is_empty(bench, wanted)


class DiedError(BaseException):
    """The process was killed."""


def crashed(bench: Bench, fault: str, wanted: Config) -> None:
    """Run until a crash during a call; the begin record is the last one."""

    def emit(event: Event) -> None:
        if isinstance(event, ApplyStart):
            raise DiedError

    bench.system.faults = {fault: [lambda: threading.Event().wait(20)]}
    with bench.session() as session:
        plan = bench.plan(wanted, session)
        with pytest.raises(DiedError):
            executor.apply(plan, wanted, session, bench.operations, emit=emit)


def test_a_resource_begun_by_a_dead_run_is_adopted() -> None:
    bench, wanted = Bench(), config(tool("a", value=1))
    crashed(bench, "after create a", wanted)
    while "a" not in bench.system.things:
        time.sleep(0.001)
    assert apply(bench, wanted).done == {Action.RECOVER: 1}
    assert bench.system.effects == ["a"]
    assert is_empty(bench, wanted)


def test_the_token_is_the_same_in_every_attempt_and_recovery() -> None:
    bench, wanted = Bench(), config(tool("a"))
    bench.system.faults = {"create a": failing(PASSING, PASSING, ProviderError("no"))}
    apply(bench, wanted)
    bench.system.faults = {"create b": []}
    apply(bench, config(tool("a"), tool("b")))
    tokens = bench.system.tokens
    assert len(tokens) == 5
    assert len(set(tokens[:3])) == 1
    assert tokens[0] in tokens[3:]
    assert len(set(tokens)) == 2


# What a user must decide or provide first


def test_an_unknown_outcome_must_be_resolved_before_any_change() -> None:
    bench, wanted = Bench(), config(tool("blind.a"), tool("b"))
    bench.system.faults = {"after create a": failing(UNKNOWN_OUTCOME)}
    assert apply(bench, config(tool("blind.a"))).failed == (at("blind.a"),)
    with pytest.raises(PlanError, match=r"blind/a: the outcome .* is unknown") as caught:
        apply(bench, wanted)
    assert "--resolve blind.a=" in caught.value.problems[0].hint
    assert bench.system.effects == ["a"]
    words = {at("blind.a"): Resolution(ResolutionKind.ADOPT, "a")}
    assert apply(bench, wanted, resolutions=words).done == {Action.RECOVER: 1, Action.CREATE: 1}
    assert is_empty(bench, wanted)
    assert bench.system.effects == ["a", "b"]


@pytest.mark.parametrize(
    ("verdict", "effects"),
    [(ResolutionKind.RETRY, ["a", "a"]), (ResolutionKind.FORGET, ["a", "a"])],
)
def test_retry_and_forget_create_the_resource_again(
    verdict: ResolutionKind, effects: list[str]
) -> None:
    bench, wanted = Bench(), config(tool("blind.a"))
    bench.system.faults = {"after create a": failing(UNKNOWN_OUTCOME)}
    apply(bench, wanted)
    bench.system.things.clear()
    assert apply(bench, wanted, resolutions={at("blind.a"): Resolution(verdict)}).done == {
        Action.CREATE: 1
    }
    assert bench.system.effects == effects


def test_a_missing_delete_secret_is_reported_before_any_call() -> None:
    bench = Bench()
    bench.secrets["env T"] = "the token"
    apply(bench, config(tool("a", token=Secret("the token", ("env T",)))))
    bench.system.calls.clear()
    with bench.session() as session:
        plan = bench.plan(config(tool("b")), session)
        bench.secrets.clear()
        with pytest.raises(
            PlanError, match=r"Cannot delete thing\.a: T is not set \(option token needs it\)"
        ):
            executor.apply(
                plan, config(tool("b")), session, bench.operations, emit=bench.events.append
            )
    assert bench.system.count("create") == 0


class NeedsProgram(Thing):
    def missing_requirements(self, options: Any) -> list[str]:
        return ["the program frobnicate is not installed"] if options.key else []


def test_missing_requirements_are_reported_before_any_call() -> None:
    bench, wanted = Bench(), config(tool("a"), tool("open.b"))
    used = replace(
        bench.operations,
        providers={**bench.operations.providers, "thing": NeedsProgram(bench.system)},
    )
    with bench.session() as session:
        plan = make_plan(wanted, session.state, refresh.read(wanted, session.state, used), used)
        with pytest.raises(PlanError, match="thing/a: the program frobnicate is not installed"):
            executor.apply(plan, wanted, session, used, emit=bench.events.append)
    assert bench.system.count("create") == 0
    assert list(bench.store.list("")) == []  # a refused run writes nothing


class CopiesFile(Thing):
    def input_paths(self, options: Any) -> dict[str, str]:
        return {} if options.value is None else {"value": options.value}


@pytest.mark.parametrize(
    ("wanted", "refused"),
    [
        ([tool("a", value="there")], False),
        ([tool("a", value="/absent")], True),
        ([tool("a", value="~nobody/absent")], True),
        ([tool("open.m"), tool("a", value="absent")], True),
        ([tool("open.m"), tool("a", "open.m", value="absent")], False),
        ([tool("open.m"), tool("plain.n", "open.m"), tool("a", "plain.n", value="absent")], False),
        ([tool("open.made", value=1), tool("a", "open.made", value="absent")], False),
        ([tool("open.made"), tool("a", "open.made", value="absent")], True),
        (
            [tool("open.m"), tool("open.made", "open.m"), tool("a", "open.made", value="absent")],
            False,
        ),
        ([tool("a", "x", value=ref("x.value")), tool("x", value="absent")], True),
    ],
)
def test_a_missing_path_is_reported_before_any_call(
    wanted: list[ToolSpec], refused: bool, tmp_path: Path
) -> None:
    (tmp_path / "there").touch()
    bench = Bench()
    apply(bench, config(tool("open.made")))
    bench.system.calls.clear()
    used = replace(
        bench.operations,
        base_dir=tmp_path,
        providers={**bench.operations.providers, "thing": CopiesFile(bench.system)},
    )
    with bench.session() as session:
        plan = make_plan(
            config(*wanted), session.state, refresh.read(config(*wanted), session.state, used), used
        )
        problems = JobBuilder(plan, config(*wanted), session.state, used).missing()
    assert bool(problems) is refused
    assert all(
        "does not exist" in problem.message and "depend on" in problem.hint for problem in problems
    )


def test_a_plan_for_an_older_state_is_refused() -> None:
    bench, wanted = Bench(), config(tool("a"))
    with bench.session() as session:
        plan = bench.plan(wanted, session)
    apply(bench, wanted)
    with bench.session() as session, pytest.raises(StalePlanError):
        executor.apply(plan, wanted, session, bench.operations, emit=bench.events.append)


# Secrets


def test_no_secret_reaches_the_store_or_an_event() -> None:
    bench = Bench()
    secret = Secret("correct horse", ("env T",))
    bench.system.faults = {
        "create bad": failing(
            ProviderError("cannot log in with correct horse", hint="not correct horse")
        )
    }
    wanted = config(
        tool("a", token=secret),
        tool("b", value=secret),
        tool("c", "b", value=ref("b.value")),
        tool("bad", token=secret),
    )
    apply(bench, wanted)
    written = b"".join(
        found.data for key in bench.store.list("") if (found := bench.store.read(key))
    )
    assert b"correct horse" not in written
    assert b"secret of" not in written
    assert "correct horse" not in repr(bench.events)
    assert isinstance(bench.state().entries[at("a")].options["token"], Digest)
    assert bench.system.things["c"]["value"] == "correct horse"
    assert is_empty(bench, config(*wanted.tools[:3])) is False
    assert apply(bench, wanted).done == {Action.CREATE: 1}
    assert is_empty(bench, wanted)


# Time


def timed(name: str, seconds: float, **options: Any) -> Any:
    return replace(
        tool(name, **options), timeouts=Timeouts(create=seconds, update=seconds, delete=seconds)
    )


def test_an_overdue_call_is_given_up_and_stays_unfinished() -> None:
    bench, hold = Bench(), threading.Event()
    bench.system.faults = {"create slow": [lambda: hold.wait(20)]}
    start = time.monotonic()

    def clock() -> float:
        return start + (time.monotonic() - start) * 50

    summary = apply(
        bench, config(timed("slow", 1.0), tool("b"), tool("c", "slow")), clock=clock, parallelism=1
    )
    hold.set()
    assert (summary.failed, summary.skipped, summary.done) == (
        (at("slow"),),
        (at("c"),),
        {Action.CREATE: 1},
    )
    assert "no answer within 1 s" in events(bench, ApplyErrored)[0].message
    found = pendings(bench)["slow"]
    assert found is not None
    assert (found.action, found.message) == ("create", None)


def test_providers_get_a_deadline_and_may_report_progress() -> None:
    bench = Bench()
    deadlines: list[float] = []

    class Talking(Thing):
        def create(self, options: Any, call: Any) -> Any:
            deadlines.append(call.deadline - time.monotonic())
            call.report("halfway", 0.5)
            return super().create(options, call)

    used = replace(bench.operations, providers={"thing": Talking(bench.system)})
    wanted = config(timed("a", 60.0), tool("b"))
    with bench.session() as session:
        plan = make_plan(wanted, session.state, refresh.read(wanted, session.state, used), used)
        executor.apply(plan, wanted, session, used, emit=bench.events.append, control=RunControl(1))
    assert [round(seconds) for seconds in deadlines] == [60, 1800]
    assert [(e.text, e.fraction) for e in events(bench, ApplyProgress)] == [("halfway", 0.5)] * 2


def test_a_long_operation_emits_progress_events() -> None:
    bench = Bench()
    start = time.monotonic()
    bench.system.faults = {"create a": [lambda: time.sleep(0.5)]}
    apply(bench, config(tool("a")), clock=lambda: start + (time.monotonic() - start) * 300)
    beats = [e for e in events(bench, ApplyProgress) if not e.text]
    assert 1 <= len(beats) <= 3
    assert beats[0].elapsed >= 0


# Stopping


def test_one_stop_request_starts_nothing_and_lets_calls_end() -> None:
    bench, stop = Bench(), StopRequest()
    bench.system.faults = {"create a": [stop.request]}
    wanted = config(tool("a"), tool("b", "a"), tool("c"))
    summary = apply(bench, wanted, stop=stop, parallelism=1)
    assert summary.interrupted
    assert summary.done == {Action.CREATE: 1}
    assert sorted(summary.skipped) == [at("b"), at("c")]
    assert {e.because for e in events(bench, ApplySkipped)} == {None}
    assert events(bench, Stopping) == [Stopping((at("a"),))]
    assert summary.cancelled == ()
    assert pendings(bench) == {"a": None}
    assert apply(bench, wanted).done == {Action.CREATE: 2}


def test_an_internal_error_in_a_worker_fails_only_its_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()

    def broken(*_arguments: Any, **_options: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(worker, "retry_provider_call", broken)
    summary = apply(bench, config(tool("a"), tool("b")))
    assert set(summary.failed) == {at("a"), at("b")}
    assert {error.message for error in events(bench, ApplyErrored)} == {
        "internal error at this step: RuntimeError: a bug"
    }
    # It is unknown whether the call was made, so the operations stay recorded as begun.
    assert set(pendings(bench)) == {"a", "b"}


def test_a_second_stop_request_cancels_calls_and_keeps_begins() -> None:
    bench, stop = Bench(), StopRequest()

    class Patient(Thing):
        def create(self, options: Any, call: Any) -> Any:
            stop.request()
            assert not call.cancelled()
            stop.request()
            assert call.cancelled()
            raise OutcomeUnknownError("cancelled")

    used = replace(bench.operations, providers={"thing": Patient(bench.system)})
    wanted = config(tool("a"), tool("b"))
    with bench.session() as session:
        plan = make_plan(wanted, session.state, refresh.read(wanted, session.state, used), used)
        bench.system.calls.clear()
        summary = executor.apply(
            plan, wanted, session, used, emit=bench.events.append, control=RunControl(1, stop=stop)
        )
    assert summary.interrupted
    assert summary.failed == summary.cancelled == (at("a"),)
    assert bench.system.calls == []
    found = pendings(bench)
    assert set(found) == {"a"}
    assert found["a"] is not None
    assert found["a"].message is None


def test_a_second_stop_request_leaves_a_hanging_call_behind() -> None:
    bench, stop, hold = Bench(), StopRequest(), threading.Event()

    def hang() -> None:
        stop.request()
        stop.request()
        hold.wait(20)

    bench.system.faults = {"create a": [hang]}
    start = time.monotonic()
    summary = apply(
        bench, config(tool("a")), stop=stop, clock=lambda: start + (time.monotonic() - start) * 50
    )
    hold.set()
    assert time.monotonic() - start < 5
    assert (summary.interrupted, summary.failed) == (True, (at("a"),))
    assert events(bench, ApplyErrored)[0].message == "the call did not stop when asked"
    assert summary.cancelled == (at("a"),)
    assert [e.cancelling for e in events(bench, Stopping)] == [True]


def test_a_stop_request_ends_the_pause_before_a_retry() -> None:
    bench, stop = Bench(), StopRequest()
    bench.system.faults = {"create a": failing(PASSING, PASSING)}
    summary = apply(bench, config(tool("a")), stop=stop, sleep=lambda _seconds: stop.request())
    assert summary.failed == (at("a"),)
    assert bench.system.count("create") == 1


def test_a_superseded_run_starts_nothing_more_and_reports_it() -> None:
    bench = Bench()

    def take_over() -> None:
        with bench.session() as other:
            other.claim()

    bench.system.faults = {"create a": [take_over]}
    wanted = config(tool("a"), tool("b", "a"), tool("c", "b"))
    with pytest.raises(SupersededError):
        apply(bench, wanted)
    assert bench.system.effects == ["a"]
    assert isinstance(bench.events[-1], Notice | ApplySummary)
    assert at("c") in summary_of(bench).skipped


# Begin records ahead of their calls


class CountingStore:
    """A store that counts its writes and delays them."""

    def __init__(self, bench: Bench, seconds: float) -> None:
        self.store, self.seconds, self.writes = bench.store, seconds, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def write(self, key: str, data: bytes, *, expect: Any) -> Any:
        self.writes += 1
        time.sleep(self.seconds)
        return self.store.write(key, data, expect=expect)


@pytest.mark.parametrize(("plugin", "least", "most"), [("open", 2, 45), ("blind", 50, 250)])
def test_begin_records_run_ahead_only_with_an_identity(plugin: str, least: int, most: int) -> None:
    bench = Bench()
    ahead: list[int] = []
    wanted = config(*(tool(f"{plugin}.n{i}") for i in range(100)))
    store: Any = CountingStore(bench, 0.01)
    bench.store = store
    with bench.session() as session:

        def look() -> None:
            begun = sum(entry.pending is not None for entry in list(session.state.entries.values()))
            ahead.append(begun)

        bench.system.faults = {"create *": [look] * 100}
        plan = bench.plan(wanted, session)
        store.writes = 0
        summary = executor.apply(
            plan, wanted, session, bench.operations, emit=bench.events.append, control=RunControl(2)
        )
        writes = store.writes
    assert summary.done == {Action.CREATE: 100}
    assert least <= writes <= most
    assert max(ahead) <= (2 if plugin == "blind" else 16)
    if plugin == "open":
        assert max(ahead) > 2


def test_an_operation_that_is_never_called_is_cancelled() -> None:
    bench, stop = Bench(), StopRequest()
    bench.system.faults = {"create *": [stop.request]}
    summary = apply(bench, config(*(tool(f"n{i}") for i in range(20))), stop=stop, parallelism=1)
    assert summary.done == {Action.CREATE: 1}
    assert list(pendings(bench).values()) == [None]
    assert len(summary.skipped) == 19


def test_a_failed_root_output_leaves_the_others_recorded() -> None:
    bench = Bench()
    reference: Any = replace(ref("a.value"), address=at("open.a"), path=("nothing",))  # type: ignore[type-var] # a Reference
    summary = apply(bench, config(tool("open.a"), good=1, bad=reference))
    assert summary.unresolved == ("bad",) and not summary.is_complete
    assert [(e.level, e.message.partition(":")[0]) for e in events(bench, Notice)] == [
        ("error", "output bad")
    ]
    assert bench.state().outputs == {"good": 1}


def test_root_outputs_of_failed_tools_keep_their_values() -> None:
    bench = Bench()
    apply(bench, config(tool("a", value=1), x=ref("a.value")))
    bench.system.faults = {"update a": failing(ProviderError("no"))}
    apply(bench, config(tool("a", value=2), x=ref("a.serial")))
    assert bench.state().outputs == {"x": 1}
