"""Marking of values by an earlier resource or a model."""

from typing import Any

import pytest

from engine.secrets.marking import inherit_sensitivity, mark_like, reveal_resource
from engine.state import Resource
from engine.values import Digest, Secret

KNOWN = Digest("d", ("env T",))
OTHER = Digest("e", ("env U",))


def hidden(value: Any, *sources: str) -> Secret:
    return Secret(value, sources or ("env T",))


@pytest.mark.parametrize(
    ("before", "live", "found"),
    [
        ({"a": KNOWN}, {"a": "now"}, {"a": hidden("now")}),
        ({"a": KNOWN}, {"a": None, "b": 1}, {"a": None, "b": 1}),
        ({"a": KNOWN}, {"a": Secret("known", ("var v",))}, {"a": Secret("known", ("var v",))}),
        ({"a": Secret("was", ("env T",))}, {"a": {"x": 1}}, {"a": hidden({"x": 1})}),
        (
            {"a": {"b": [KNOWN, "x"]}},
            {"a": {"b": ["now", "y"]}},
            {"a": {"b": [hidden("now"), "y"]}},
        ),
        (
            {"a": ["x", KNOWN]},
            {"a": ["new", "x", "now"]},
            {"a": [hidden("new"), "x", hidden("now")]},
        ),
        ({"a": [KNOWN, OTHER]}, {"a": "now"}, {"a": hidden("now", "env T", "env U")}),
        (
            {"a": KNOWN, "b": "x"},
            {"b": "y", "c": ["now", "x"]},
            {"b": "y", "c": [hidden("now"), hidden("x")]},
        ),
        ({"a": ["x"]}, {"a": ["x", "y"]}, {"a": ["x", "y"]}),
    ],
)
def test_value_at_the_path_of_an_earlier_secret_is_marked(
    before: dict[str, Any], live: dict[str, Any], found: dict[str, Any]
) -> None:
    resource, made = Resource("i", live, {}), Resource("i", before, {})
    assert inherit_sensitivity(resource, made) == Resource("i", found, {})
    resource, made = Resource("i", {}, live), Resource("i", {}, before)
    assert inherit_sensitivity(resource, made) == Resource("i", {}, found)


def test_values_are_marked_like_a_model() -> None:
    values: dict[str, Any] = {"a": "x", "b": {"c": ["y", "z"]}, "d": ["one"], "e": None}
    model: dict[str, Any] = {
        "a": hidden("q"),
        "b": {"c": [1, hidden("q")]},
        "d": [hidden("q"), 2],
        "e": hidden("q"),
    }
    assert mark_like(values, model) == {
        "a": hidden("x"),
        "b": {"c": ["y", hidden("z")]},
        "d": ["one"],
        "e": None,
    }


def test_provider_gets_known_secrets_in_plain_text() -> None:
    plain = Resource("i", {"a": 1}, {})
    assert reveal_resource(plain) is plain
    assert reveal_resource(Resource("i", {"a": [hidden("x")]}, {"b": KNOWN})) == Resource(
        "i", {"a": ["x"]}, {"b": KNOWN}
    )
