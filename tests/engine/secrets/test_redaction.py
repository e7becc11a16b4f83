"""Redaction of known secrets in texts and values."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.language.references import join_parts
from engine.secrets.redaction import Redactor, contains_secret, redact
from engine.state import Resource
from engine.values import Secret, Value


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
def test_known_secrets_are_redacted_in_every_spelling(secret: Value, text: str, clean: str) -> None:
    redactor = Redactor()
    redactor.add(Secret(secret))
    assert redactor.redact(text) == clean


def test_longest_of_two_overlapping_secrets_is_redacted() -> None:
    redactor = Redactor()
    redactor.add("secret")
    redactor.add("secret-and-more")
    assert redactor.redact("secret-and-more secret") == "(sensitive) (sensitive)"


def test_known_secrets_in_values_and_resources_are_marked() -> None:
    redactor = Redactor()
    value: Value = {"hunter22": ["x hunter22", 1, 123456, True, "fine", "one hunter22 and 123456"]}
    assert redactor.mark(value) is value
    redactor.add(Secret("hunter22", ("env A",)))
    redactor.add(Secret(123456, ("env B",)))
    text, number = Secret("x hunter22", ("env A",)), Secret(123456, ("env B",))
    both = Secret("one hunter22 and 123456", ("env A", "env B"))
    assert redactor.mark(value) == {"(sensitive)": [text, 1, number, True, "fine", both]}
    concealed = redactor.mark_resource(Resource("i", {"a": "hunter22"}, {"b": "x"}))
    assert concealed == Resource("i", {"a": Secret("hunter22", ("env A",))}, {"b": "x"})


def test_only_the_secrets_of_a_joined_text_are_redacted() -> None:
    redactor = Redactor()
    redactor.add(join_parts(["out/", Secret("token-1", ("env T",)), ".txt"], ""))
    assert (
        redactor.redact("out/x.txt: no token-1 in out/token-1.txt")
        == "out/x.txt: no (sensitive) in out/(sensitive).txt"
    )
    redactor.add(join_parts(["pin ", Secret("1234", ("env P",))], ""))
    assert redactor.redact("pin 1234, 1234") == "(sensitive), 1234"


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=6, max_size=30),
    st.text(max_size=10),
    st.text(max_size=10),
)
def test_known_secret_is_redacted_in_any_text(secret: str, before: str, after: str) -> None:
    redactor = Redactor()
    redactor.add(Secret(secret))
    clean = redactor.redact(before + secret + after)
    assert secret not in clean.replace("(sensitive)", "\x00") or secret in "(sensitive)"
    assert json.dumps(secret)[1:-1] not in redactor.redact(
        json.dumps(secret)
    ) or "(sensitive)" in redactor.redact(json.dumps(secret))


def test_redact_keeps_short_secrets_and_detection_finds_them() -> None:
    secrets = [Secret("token-1"), Secret("abc")]
    assert redact("at token-1/abc", secrets) == "at (sensitive)/abc"
    held = ("token-1", "abc", "dG9rZW4tMQ==")
    assert all(contains_secret(text, secrets) for text in held)
    assert not contains_secret("token", secrets)
