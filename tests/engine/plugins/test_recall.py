"""Recorded options with their secrets evaluated again, and the error where one is lost."""

import pytest

from engine.errors import DtmError
from engine.plugins.lost_secrets import refuse_lost_secrets
from engine.plugins.recall import SecretRecall
from engine.values import Digest, Secret, Value
from tests.engine.fake_system import SEALER, FakeSystem, at, entry, operations


def memory(**sources: str) -> SecretRecall:
    """A memory with these environment variables."""
    known = {f"env {name}": value for name, value in sources.items()}
    return SecretRecall(operations(FakeSystem(), known), SEALER)


def recorded(value: Value, source: str = "env T") -> Secret:
    return Secret(value, (source,))


def test_plain_options_are_as_recorded() -> None:
    known = entry("a", value=[1, {"x": None}])
    assert memory().recall_options(known, "delete") is known.options


def test_a_secret_comes_from_the_config_or_from_its_source() -> None:
    known = entry("a", token=recorded("token-1"))
    options = memory(T="token-1").recall_options(known, "delete")
    assert options["token"] == recorded("token-1")
    now = {"token": Secret("token-1", ("var other",))}
    assert memory().recall_options(known, "delete", now)["token"] == now["token"]


def test_a_secret_may_have_been_taken_for_a_number() -> None:
    known = entry("a", value={"pins": [recorded(1234)]})
    assert memory(T="1234").recall_options(known, "delete")["value"] == {"pins": [recorded(1234)]}


def test_the_variable_of_an_option_is_asked_last() -> None:
    known = entry("a", token=recorded("token-1", "var gone"))
    options = memory(THING_TOKEN="token-1").recall_options(known, "delete")
    assert options["token"] == recorded("token-1", "var gone")


def test_a_renewed_secret_stands_in_for_the_recorded_one() -> None:
    known = entry("a", token=recorded("token-1"))
    found = memory(T="token-2")
    assert found.recall_options(known, "delete")["token"] == recorded("token-2")
    assert found.operations.redactor.redact("it is token-2") == "it is (sensitive)"


def test_a_renewed_secret_that_names_the_thing_is_refused() -> None:
    known = entry("a", key=recorded("name-1"))
    with pytest.raises(DtmError, match=r"to find thing\.a I need option key"):
        memory(T="name-2").recall_available(known)


def test_a_lost_secret_is_named_where_its_option_needs_it() -> None:
    known = entry("a", token=recorded("token-1"), value=recorded("other", "env U"))
    assert isinstance(memory().recall_available(known)["token"], Digest)
    with pytest.raises(DtmError) as caught:
        memory().recall_options(known, "delete")
    assert caught.value.message == ("to delete thing.a I need option token, which came from env T")
    assert caught.value.hint == "export T=..., as it was when the tool was made"
    assert isinstance(memory(T="token-1").recall_options(known, "delete")["value"], Digest)


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("var deep.name", "export DTM_VAR_deep=..."),
        ("text [[ env A ]]-[[ var b ]]", "export A=... DTM_VAR_b=..."),
        ("output thing.b.outputs.password", "set it again"),
    ],
)
def test_the_hint_says_how_to_give_it_again(source: str, hint: str) -> None:
    with pytest.raises(DtmError) as caught:
        refuse_lost_secrets(at("a"), {"token": Digest("d", (source,))}, "read")
    assert caught.value.hint == f"{hint}, as it was when the tool was made"
    assert caught.value.message.endswith(source.removeprefix("text "))
