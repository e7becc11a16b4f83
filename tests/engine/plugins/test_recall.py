"""Recall of recorded options with their secrets, and the error for a lost secret."""

import pytest

from engine.errors import DtmError
from engine.plugins.lost_secrets import refuse_lost_secrets
from engine.plugins.recall import SecretRecall
from engine.values import Digest, Secret, Value
from tests.engine.fake_system import SEALER, FakeSystem, at, entry, operations


def memory(**sources: str) -> SecretRecall:
    """Make a recall with these environment variables."""
    known = {f"env {name}": value for name, value in sources.items()}
    return SecretRecall(operations(FakeSystem(), known), SEALER)


def recorded(value: Value, source: str = "env T") -> Secret:
    return Secret(value, (source,))


def test_options_without_secrets_are_returned_unchanged() -> None:
    known = entry("a", value=[1, {"x": None}])
    assert memory().recall_options(known, "delete") is known.options


def test_secret_comes_from_the_config_or_its_source() -> None:
    known = entry("a", token=recorded("token-1"))
    options = memory(T="token-1").recall_options(known, "delete")
    assert options["token"] == recorded("token-1")
    now = {"token": Secret("token-1", ("var other",))}
    assert memory().recall_options(known, "delete", now)["token"] == now["token"]


def test_secret_recorded_as_a_number_is_recalled() -> None:
    known = entry("a", value={"pins": [recorded(1234)]})
    assert memory(T="1234").recall_options(known, "delete")["value"] == {"pins": [recorded(1234)]}


def test_environment_variable_of_an_option_is_used_last() -> None:
    known = entry("a", token=recorded("token-1", "var gone"))
    options = memory(THING_TOKEN="token-1").recall_options(known, "delete")
    assert options["token"] == recorded("token-1", "var gone")


def test_renewed_secret_replaces_the_recorded_one() -> None:
    known = entry("a", token=recorded("token-1"))
    found = memory(T="token-2")
    assert found.recall_options(known, "delete")["token"] == recorded("token-2")
    assert found.operations.redactor.redact("it is token-2") == "it is (sensitive)"


def test_renewed_secret_in_the_identity_is_refused() -> None:
    known = entry("a", key=recorded("name-1"))
    with pytest.raises(
        DtmError, match=r"Cannot find thing\.a: T has changed \(option key needs the"
    ):
        memory(T="name-2").recall_available(known)


def test_lost_secret_is_reported_if_its_option_needs_it() -> None:
    known = entry("a", token=recorded("token-1"), value=recorded("other", "env U"))
    assert isinstance(memory().recall_available(known)["token"], Digest)
    with pytest.raises(DtmError) as caught:
        memory().recall_options(known, "delete")
    assert caught.value.message == ("Cannot delete thing.a: T is not set (option token needs it).")
    assert caught.value.hint == "set the value that the tool was created with: export T=..."
    assert isinstance(memory(T="token-1").recall_options(known, "delete")["value"], Digest)


@pytest.mark.parametrize(
    ("source", "problem", "hint"),
    [
        ("var deep.name", "variable deep has no value", "export DTM_VAR_deep=..."),
        (
            "text [[ env A ]]-[[ var b ]]",
            "A is not set and variable b has no value",
            "export A=... DTM_VAR_b=...",
        ),
        (
            "output thing.b.outputs.password",
            "output thing.b.outputs.password has no value",
            "delete the resource yourself, then run dtm state rm thing.a",
        ),
    ],
)
def test_hint_names_the_variables_of_a_lost_secret(source: str, problem: str, hint: str) -> None:
    with pytest.raises(DtmError) as caught:
        refuse_lost_secrets(at("a"), {"token": Digest("d", (source,))}, "read")
    before = "set the value that the tool was created with: " if "export" in hint else ""
    assert caught.value.hint == before + hint
    assert caught.value.message == f"Cannot read thing.a: {problem} (option token needs it)."
