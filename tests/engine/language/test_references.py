"""References: which texts are references, and which values they become."""

import pytest

from engine.address import Address
from engine.errors import DtmError
from engine.language.references import (
    Interpolation,
    Reference,
    parse,
    referenced_addresses,
    resolve,
)
from engine.values import UNKNOWN, Attributes, Digest, Secret, Unknown, Value

A, B = Address("a", "b"), Address("b", "x.y")


def reference(text: str) -> Reference:
    found = parse(text)
    assert found is not None
    return found


OUTPUTS: dict[Address, Attributes | Unknown | None] = {
    A: {
        "url": "http://h",
        "port": 8080,
        "on": True,
        "ratio": 1.5,
        "none": None,
        "list": ["x", {"deep": [1, 2]}],
        "map": {"b": 1, "a": [True, None], "0": "zero"},
        "token": Secret("s3cret", ("env T",)),
        "creds": Secret({"user": "u"}, ("env C",)),
        "later": UNKNOWN,
        "digest": Digest("00"),
        "mixed": {"k": Secret("in", ("var x",))},
    },
    B: UNKNOWN,
}


def resolve_text(text: str) -> Value:
    return resolve(reference(text), OUTPUTS.get)


@pytest.mark.parametrize(
    ("text", "address", "path"),
    [
        ("a.b.outputs.c", A, ("c",)),
        (" a.b.outputs.c ", A, ("c",)),
        ("b.x.y.outputs.c", B, ("c",)),
        ("a.b.outputs.c.0.d", A, ("c", 0, "d")),
        ("a.b.outputs.outputs.e", A, ("outputs", "e")),
        (
            "repo-scaffolding.my-app.outputs.repo_url",
            Address("repo-scaffolding", "my-app"),
            ("repo_url",),
        ),
    ],
)
def test_reference_is_parsed(text: str, address: Address, path: tuple[str | int, ...]) -> None:
    found = reference(text)
    assert (found.address, found.path) == (address, path)
    assert found.text == "${{ " + text.strip() + " }}"


@pytest.mark.parametrize(
    "text",
    [
        "secrets.GITHUB_TOKEN",
        "a.b.c",
        "a.b.outputs",
        "a.b.outputs.",
        "a.outputs.c",
        "a_b.c.outputs.d",
        "a.b_c.outputs.d",
        "A.b.outputs.c",
        "a. b.outputs.c",
        "a.b.outputs.c d",
        "github.event.name == 1",
        "steps.build.outputs.tag",
        "needs.build.outputs.tag",
        "",
    ],
)
def test_other_text_is_not_a_reference(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b.outputs.url", "http://h"),
        ("a.b.outputs.port", 8080),
        ("a.b.outputs.on", True),
        ("a.b.outputs.none", None),
        ("a.b.outputs.list", ["x", {"deep": [1, 2]}]),
        ("a.b.outputs.list.1.deep.0", 1),
        ("a.b.outputs.map.0", "zero"),
        ("a.b.outputs.token", Secret("s3cret", ("env T",))),
        ("a.b.outputs.creds.user", Secret("u", ("env C",))),
        ("a.b.outputs.later", UNKNOWN),
        ("a.b.outputs.later.more", UNKNOWN),
        ("a.b.outputs.digest", Digest("00")),
        ("a.b.outputs.digest.more", UNKNOWN),
        ("b.x.y.outputs.any", UNKNOWN),
    ],
)
def test_single_reference_keeps_the_type_of_the_output(text: str, value: Value) -> None:
    assert resolve_text(text) == value


def test_references_in_lists_and_maps_are_resolved() -> None:
    url = reference("a.b.outputs.url")
    value: Value = {"l": [url, {"m": url}], "s": "x", "n": 1}
    assert resolve(value, OUTPUTS.get) == {"l": ["http://h", {"m": "http://h"}], "s": "x", "n": 1}


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        (("prefix/", "url", "/suffix"), "prefix/http://h/suffix"),
        (("url", ":", "port"), "http://h:8080"),
        (("on", " ", "ratio"), "true 1.5"),
        (("map",), '{"0":"zero","a":[true,null],"b":1}'),
        (("x-", "token"), Secret("x-s3cret", ("text x-[[ env T ]]",))),
        (
            ("token", "creds", "token"),
            Secret('s3cret{"user":"u"}s3cret', ("text [[ env T ]][[ env C ]][[ env T ]]",)),
        ),
        (("[[ ", "token"), Secret("[[ s3cret", ("env T",))),
        (("x-", "mixed"), Secret('x-{"k":"in"}', ('text x-{"k":"[[ var x ]]"}',))),
        (("mixed",), Secret('{"k":"in"}', ('text {"k":"[[ var x ]]"}',))),
        (("x", "later"), UNKNOWN),
        (("x", "digest"), UNKNOWN),
    ],
)
def test_references_inside_a_text_become_text(parts: tuple[str, ...], value: Value) -> None:
    known = OUTPUTS[A]
    assert isinstance(known, dict)
    built = tuple(reference(f"a.b.outputs.{part}") if part in known else part for part in parts)
    assert resolve(Interpolation(built), OUTPUTS.get) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.b.outputs.nope", '${{ a.b.outputs.nope }}: a/b has no output "nope"'),
        (
            "a.b.outputs.list.5",
            "${{ a.b.outputs.list.5 }}: the list has only 2 items, counted from 0",
        ),
        (
            "a.b.outputs.list.x",
            '${{ a.b.outputs.list.x }}: "x" cannot be looked up, '
            "the value before it is a list: use a number",
        ),
        (
            "a.b.outputs.url.x",
            '${{ a.b.outputs.url.x }}: "x" cannot be looked up, '
            "the value before it is neither a list nor a map",
        ),
        ("c.d.outputs.e", "${{ c.d.outputs.e }}: c/d has no outputs"),
    ],
)
def test_missing_output_is_named_in_the_error(text: str, message: str) -> None:
    with pytest.raises(DtmError) as caught:
        resolve_text(text)
    assert caught.value.message == message


def test_null_inside_a_text_is_an_error() -> None:
    with pytest.raises(DtmError, match="is null"):
        resolve(Interpolation(("x", reference("a.b.outputs.none"))), OUTPUTS.get)


def test_dollar_signs_in_outputs_stay_text() -> None:
    outputs: dict[Address, Attributes] = {A: {"x": "$1 $$ ${{ a.b.outputs.x }} \\1"}}
    assert (
        resolve(Interpolation(("<", reference("a.b.outputs.x"), ">")), outputs.get)
        == "<$1 $$ ${{ a.b.outputs.x }} \\1>"
    )


def test_referenced_addresses_are_ordered_without_repeats() -> None:
    one, two = reference("b.x.y.outputs.c"), reference("a.b.outputs.c")
    assert referenced_addresses({"x": [one, Interpolation(("a", two, one))], "y": one}) == [B, A]
