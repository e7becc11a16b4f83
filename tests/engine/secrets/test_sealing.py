"""Digests for the state, and blotting out for everything people read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.address import Address
from engine.errors import StateError
from engine.language.references import join
from engine.secrets.sealing import Redactor, Sealer
from engine.state import Resource
from engine.values import Digest, Secret, Value

HERE, THERE = Address("a", "b"), Address("a", "c")
SALT = "00" * 16


def digest(
    value: Value, address: Address = HERE, path: tuple[str | int, ...] = (), salt: str = SALT
) -> str:
    sealed = Sealer(salt).seal(Secret(value, ("env X",)), address, path)
    assert isinstance(sealed, Digest) and sealed.sources == ("env X",)
    return sealed.digest


def test_a_digest_depends_on_value_address_path_and_salt() -> None:
    base = digest("hunter2")
    assert base == digest("hunter2")
    others = [
        digest("hunter3"),
        digest("hunter2", THERE),
        digest("hunter2", HERE, ("x",)),
        digest("hunter2", salt="11" * 16),
    ]
    assert len({base, *others}) == 5


def test_sealing_keeps_everything_else_and_the_shape() -> None:
    value: Value = {"list": [1, {"token": Secret("s")}, None], "text": "s"}
    sealed = Sealer(SALT).seal(value, HERE)
    token = Digest(digest("s", HERE, ("list", 1, "token")))
    assert sealed == {"list": [1, {"token": token}, None], "text": "s"}
    assert Sealer(SALT).seal(sealed, HERE) == sealed
    assert sealed is not value


def test_secrets_of_any_kind_are_sealed_by_their_content() -> None:
    assert digest({"a": 1, "b": [Secret("x")]}) == digest({"b": ["x"], "a": 1}) != digest({"a": 1})


def test_a_resource_is_sealed_in_attributes_and_outputs_apart() -> None:
    sealed = Sealer(SALT).seal_resource(Resource("i", {"t": Secret("x")}, {"t": Secret("x")}), HERE)
    assert isinstance(sealed.attributes["t"], Digest) and isinstance(sealed.outputs["t"], Digest)
    assert sealed.attributes["t"] != sealed.outputs["t"]


def test_without_a_salt_only_secrets_are_refused() -> None:
    assert Sealer("").seal({"a": 1}, HERE) == {"a": 1}
    with pytest.raises(StateError):
        Sealer("").seal(Secret("x"), HERE)


@pytest.mark.parametrize(
    ("secret", "text", "clean"),
    [
        ("hunter22", "password hunter22!", "password (sensitive)!"),
        ("short", "short stays", "short stays"),
        ("a/b c+d", "GET /?t=a%2Fb%20c%2Bd", "GET /?t=(sensitive)"),
        ('quo"te\\d', '{"t": "quo\\"te\\\\d"}', '{"t": "(sensitive)"}'),
        ("hunter22", "aHVudGVyMjI=", "(sensitive)"),
        ("line one\nline two", "it said: line two", "it said: (sensitive)"),
        (123456, "pin 123456", "pin (sensitive)"),
        ({"deep": ["hunter22"]}, "hunter22", "(sensitive)"),
    ],
)
def test_known_secrets_are_blotted_out_in_every_spelling(
    secret: Value, text: str, clean: str
) -> None:
    redactor = Redactor()
    redactor.add(Secret(secret))
    assert redactor.clean(text) == clean


def test_the_longest_of_two_secrets_wins() -> None:
    redactor = Redactor()
    redactor.add("secret")
    redactor.add("secret-and-more")
    assert redactor.clean("secret-and-more secret") == "(sensitive) (sensitive)"


def test_values_and_resources_with_a_known_secret_in_them_are_secrets_there() -> None:
    redactor = Redactor()
    value: Value = {"hunter22": ["x hunter22", 1, 123456, True, "fine", "one hunter22 and 123456"]}
    assert redactor.conceal(value) is value
    redactor.add(Secret("hunter22", ("env A",)))
    redactor.add(Secret(123456, ("env B",)))
    text, number = Secret("x hunter22", ("env A",)), Secret(123456, ("env B",))
    both = Secret("one hunter22 and 123456", ("env A", "env B"))
    assert redactor.conceal(value) == {"(sensitive)": [text, 1, number, True, "fine", both]}
    concealed = redactor.conceal_resource(Resource("i", {"a": "hunter22"}, {"b": "x"}))
    assert concealed == Resource("i", {"a": Secret("hunter22", ("env A",))}, {"b": "x"})


def test_of_a_text_around_secrets_these_are_known_alone() -> None:
    redactor = Redactor()
    redactor.add(join(["out/", Secret("token-1", ("env T",)), ".txt"], ""))
    assert (
        redactor.clean("out/x.txt: no token-1 in out/token-1.txt")
        == "out/x.txt: no (sensitive) in out/(sensitive).txt"
    )
    redactor.add(join(["pin ", Secret("1234", ("env P",))], ""))
    assert redactor.clean("pin 1234, 1234") == "(sensitive), 1234"


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=6, max_size=30),
    st.text(max_size=10),
    st.text(max_size=10),
)
def test_no_known_secret_survives_in_any_text(secret: str, before: str, after: str) -> None:
    redactor = Redactor()
    redactor.add(Secret(secret))
    clean = redactor.clean(before + secret + after)
    assert secret not in clean.replace("(sensitive)", "\x00") or secret in "(sensitive)"
    assert json.dumps(secret)[1:-1] not in redactor.clean(
        json.dumps(secret)
    ) or "(sensitive)" in redactor.clean(json.dumps(secret))
