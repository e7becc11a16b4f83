"""Secrets in whole runs: what is recorded, how a rotation shows, and what is refused first."""

from typing import Any

import pytest
from msgspec.structs import replace

from engine.config import Config
from engine.errors import PlanError
from engine.events import ApplyErrored, ApplySummary
from engine.execution import executor, refresh
from engine.language.references import Interpolation, join_parts
from engine.plan import Action, Change, Reason
from engine.planning.drift import live_changes, option_changes
from engine.planning.planner import make_plan, plan_removal
from engine.plugins.recall import SecretRecall
from engine.state import Resource
from engine.values import Digest, Secret
from tests.engine.fake_system import Bench, Blind, Thing, at, config, ref, tool


def secret(value: str) -> Secret:
    return Secret(value, ("env T",))


def around(value: str, before: str = "out/", after: str = ".txt") -> Any:
    return join_parts([before, secret(value), after], "")


def apply(bench: Bench, wanted: Config) -> ApplySummary:
    with bench.session() as session:
        plan = bench.plan(wanted, session)
        return executor.apply(plan, wanted, session, bench.operations, emit=bench.events.append)


def changes(bench: Bench, wanted: Config) -> dict[str, Change]:
    with bench.session() as session:
        return {change.address.instance: change for change in bench.plan(wanted, session)}


def stored(bench: Bench) -> str:
    return b"".join(
        found.data for key in bench.store.list("") if (found := bench.store.read(key))
    ).decode()


def test_secrets_in_attributes_and_outputs_become_digests() -> None:
    bench = Bench()
    apply(bench, config(tool("a", value={"path": around("token-1"), "n": 1})))
    resource = bench.state().entries[at("a")].resource
    assert resource is not None
    for facts in (resource.attributes, resource.outputs):
        assert isinstance(facts["value"], dict)
        path = facts["value"]["path"]
        assert isinstance(path, Digest)
        assert (path.sources, facts["value"]["n"]) == (("text out/[[ env T ]].txt",), 1)
    assert "token-1" not in stored(bench)


@pytest.mark.parametrize(("options", "live"), [(secret, "token-1"), (around, "out/token-1.txt")])
def test_a_rotated_secret_is_a_changed_option_not_drift(options: Any, live: str) -> None:
    bench = Bench()
    apply(bench, config(tool("a", value=options("token-1"))))
    assert changes(bench, config(tool("a", value=options("token-1")))) == {}
    change = changes(bench, config(tool("a", value=options("token-2"))))["a"]
    assert (change.action, change.reason) == (Action.UPDATE, Reason.CHANGED)
    assert [field.path for field in change.fields] == [("value",)]
    assert bench.system.things["a"]["value"] == live
    # The provider reads the secret from the same source as dtm.
    bench.system.things["a"]["value"] = live.replace("token-1", "token-2")
    change = changes(bench, config(tool("a", value=options("token-2"))))["a"]
    assert [field.path for field in change.fields] == [("value",)]
    apply(bench, config(tool("a", value=options("token-2"))))
    assert changes(bench, config(tool("a", value=options("token-2")))) == {}
    assert "token-" not in stored(bench)


@pytest.mark.parametrize("now", ["stolen", "out/token-1.tx", {"deep": ["stolen"]}])
def test_another_value_of_a_secret_is_drift_and_not_shown(now: Any) -> None:
    bench, wanted = Bench(), config(tool("a", value=around("token-1")))
    apply(bench, wanted)
    bench.system.things["a"]["value"] = now
    change = changes(bench, wanted)["a"]
    assert (change.action, change.reason) == (Action.UPDATE, Reason.DRIFTED)
    assert [(field.path, type(field.old), type(field.new)) for field in change.fields] == [
        (("value",), Digest, Digest)
    ]
    assert "stolen" not in repr(change)


def test_a_secret_output_can_drift_while_an_option_is_rotated() -> None:
    bench = Bench()

    class Reset(Thing):
        def _describe(self, key: str) -> Resource | None:
            found = super()._describe(key)
            return found and replace(found, outputs={**found.outputs, "password": "another one"})

    apply(bench, config(tool("a", token=secret("token-1"))))
    with bench.session() as session:
        used = replace(bench.operations, providers={"thing": Reset(bench.system)})
        wanted = config(tool("a", token=secret("token-2")))
        found = refresh.read(wanted, session.state, used).resources[at("a")]
        entry, memory = session.state.entries[at("a")], SecretRecall.of(used, session.state)
        assert found is not None
        renewed = option_changes(entry, wanted.tools[0].options, memory)
        fields = live_changes(entry, found, memory, renewed)
    assert [field.path for field in fields] == [("outputs", "password")]


def test_a_value_that_became_secret_is_recorded_as_a_digest() -> None:
    bench = Bench()
    apply(bench, config(tool("a", value="token-1")))
    assert "token-1" in stored(bench)
    wanted = config(tool("a", value="token-1"), tool("b", token=secret("token-1")))
    with bench.session() as session:
        bench.operations.learn_secrets(wanted.tools[1].options)
        plan = bench.plan(wanted, session)
        executor.apply(plan, wanted, session, bench.operations, emit=bench.events.append)
    resource = bench.state().entries[at("a")].resource
    assert resource is not None
    assert isinstance(resource.attributes["value"], Digest)


def test_an_option_that_became_secret_is_not_a_change() -> None:
    bench = Bench()
    apply(bench, config(tool("a", value=["x", "token-1"])))
    with bench.session() as session:
        (change,) = bench.plan(config(tool("a", value=["x", secret("token-1")])), session).changes
    assert (change.action, change.rewrite) == (Action.KEEP, True)


# Names that contain a secret


def test_a_resource_named_by_a_secret_output_is_refused() -> None:
    bench = Bench()
    wanted = config(tool("a"), tool("b", "a", key=Interpolation(("out/", ref("a.password")))))  # type: ignore[arg-type] # a Reference
    assert apply(bench, wanted).failed == (at("b"),)
    errored = next(event for event in bench.events if isinstance(event, ApplyErrored))
    assert errored.message == "has a secret in its name, and the state stores names in plain text"
    assert errored.hint == "do not use output thing.a.outputs.password in paths, URLs and names"
    assert bench.system.effects == ["a"]
    with pytest.raises(PlanError, match="thing/b: has a secret in its name"):
        changes(bench, wanted)
    assert "secret of" not in stored(bench)


def test_a_name_similar_to_a_secret_is_accepted() -> None:
    bench = Bench()
    made = apply(
        bench, config(tool("secret-key", token=secret("secret-key"), value=around("secret-key")))
    )
    assert made.done == {Action.CREATE: 1}


def test_an_id_with_a_secret_is_not_recorded_but_identified() -> None:
    class SecretId(Thing):
        """A plugin whose resource IDs contain more than the key."""

        def _describe(self, key: str) -> Resource | None:
            found = super()._describe(key.partition("/")[0])
            return found and replace(found, id=f"{key.partition('/')[0]}/token-1")

    class SecretIdBlind(SecretId, Blind):
        """A plugin that has such IDs and no identity."""

    bench = Bench()

    def run(wanted: Config) -> ApplySummary:
        with bench.session() as session:
            used = replace(
                bench.operations,
                providers={"thing": SecretId(bench.system), "blind": SecretIdBlind(bench.system)},
            )
            plan = make_plan(wanted, session.state, refresh.read(wanted, session.state, used), used)
            return executor.apply(plan, wanted, session, used, emit=bench.events.append)

    wanted = config(tool("a", token=secret("token-1")))
    assert run(wanted).done == {Action.CREATE: 1}
    assert bench.state().entries[at("a")].resource.id == "a/(sensitive)"  # type: ignore[union-attr] # it is there
    assert run(wanted).done == {}
    both = config(*wanted.tools, tool("blind.b", token=secret("token-1")))
    assert run(both).done == {Action.CREATE: 1}
    with pytest.raises(PlanError, match="blind/b cannot be looked up: its ID contains a secret"):
        run(both)


# Missing values that are reported before any call


class NeedsOption(Blind):
    """A plugin that reads an option to find out which program is missing."""

    def missing_requirements(self, options: Any) -> list[str]:
        return [
            f"the program {word} is not installed"
            for word in [str(options.value)]
            if word == "frobnicate"
        ]


AGAIN = "set the value that the tool was created with"


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("env T", f"{AGAIN}: export T=..."),
        ("var t.deep", f"{AGAIN}: export DTM_VAR_t=..."),
        ("text x-[[ env T ]]-[[ var u ]]-[[ env T ]]", f"{AGAIN}: export T=... DTM_VAR_u=..."),
        (
            "output thing.a.outputs.b",
            "delete the resource yourself, then run dtm state rm blind.a",
        ),
    ],
)
def test_a_missing_secret_in_a_text_is_reported_before_any_call(source: str, hint: str) -> None:
    bench = Bench()
    apply(bench, config(tool("blind.a", value=Secret("token-1", (source,)))))
    with bench.session() as session:
        used = replace(
            bench.operations,
            providers={**bench.operations.providers, "blind": NeedsOption(bench.system)},
        )
        live = refresh.read(config(), session.state, used)
        plan = plan_removal(config(), session.state, live, used)
        with pytest.raises(
            PlanError, match=r"Cannot delete blind\.a: .* \(option value needs it\)"
        ) as refused:
            executor.apply(plan, config(), session, used, emit=bench.events.append)
    assert refused.value.problems[0].hint == hint
    assert bench.system.count("delete") == 0


@pytest.mark.parametrize(
    ("recorded", "given"), [(8080, "8080"), ("8080", "8080"), (True, "true"), (1.1, "1.10")]
)
def test_a_recalled_secret_has_its_original_type(recorded: Any, given: str) -> None:
    bench = Bench()
    bench.secrets["var t"] = given
    apply(bench, config(tool("a", value=Secret(recorded, ("var t",)))))
    with bench.session() as session:
        entry = session.state.entries[at("a")]
        recalled = SecretRecall.of(bench.operations, session.state).recall_options(entry, "delete")
    assert recalled["value"] == Secret(recorded, ("var t",))


def test_a_text_with_a_secret_variable_is_recalled() -> None:
    bench = Bench()
    bench.secrets["var t"] = "token-1"
    apply(bench, config(tool("a", value=join_parts(["x-", Secret("token-1", ("var t",))], ""))))
    with bench.session() as session:
        entry = session.state.entries[at("a")]
        recalled = SecretRecall.of(bench.operations, session.state).recall_options(entry, "delete")
        assert recalled["value"] == Secret("x-token-1", ("text x-[[ var t ]]",))
        assert bench.operations.redactor.redact("token-1 it was") == "(sensitive) it was"
