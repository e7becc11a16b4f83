"""State files: golden files of each format, round trips, errors with their place."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.address import Address
from engine.errors import StateError
from engine.state import (
    Pending,
    Resource,
    State,
    StateEntry,
    StateId,
    WriterInfo,
    has_same_content,
)
from engine.stored.state_file import decode, encode, line_column, to_devstream
from engine.values import UNKNOWN, Digest, Secret, Unknown, Value

STATES = Path(__file__).parents[3] / "fixtures" / "states"
T = TypeVar("T")
SCAFFOLDING = Address("repo-scaffolding", "default")


def build_structs(kind: Callable[..., T], *fields: st.SearchStrategy[Any]) -> st.SearchStrategy[T]:
    """Build Structs from strategies; `st.builds` would resolve the annotation of every field."""
    return st.tuples(*fields).map(lambda values: kind(*values))


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
keys = texts | st.sampled_from(
    ["$secret", "$$secret", "id", "outputs", "$id", "$outputs", "$$id", "$"]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | build_structs(Digest, texts, st.tuples(texts)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
maps = st.dictionaries(keys, values, max_size=3)
addresses = build_structs(
    Address, st.sampled_from(["a", "b-c", "x1"]), st.sampled_from(["d", "d.e", "f-2"])
)
times = st.just("2026-11-21T05:00:00Z")
entries = build_structs(
    StateEntry,
    addresses,
    st.lists(addresses, max_size=2).map(tuple),
    maps,
    st.none() | build_structs(Resource, texts, maps, maps),
    st.booleans(),
    st.none()
    | build_structs(
        Pending, texts, times, texts, st.integers(0, 99), st.none() | texts, st.none() | times
    ),
)
states = build_structs(
    State,
    build_structs(StateId, texts, st.integers(0, 2**63)),
    st.lists(entries, max_size=4).map(lambda found: {entry.address: entry for entry in found}),
    maps,
    texts,
    texts,
    texts,
    maps,
    st.just(WriterInfo()) | build_structs(WriterInfo, texts, times, texts, texts),
)


@given(states)
def test_state_survives_a_round_trip(state: State) -> None:
    data = encode(state)
    back = decode(data, "here")
    assert has_same_content(back, state)
    assert (back.id, back.snapshot_id, back.home, back.salt, back.probe, back.writer) == (
        state.id,
        state.snapshot_id,
        state.home,
        state.salt,
        state.probe,
        state.writer,
    )
    assert encode(back) == data


def test_golden_file_is_read_and_written_byte_for_byte() -> None:
    data = (STATES / "format-1.json").read_bytes()
    state = decode(data, "golden")
    assert encode(state) == data
    entry = state.entries[SCAFFOLDING]
    assert (
        entry.options["token"] == Digest("ab" * 32, ("env TOKEN",))
        and entry.options["$secret"] == "a user's own key"
    )
    assert entry.resource == Resource(
        "github.com/me/app",
        {"branch": "main", "id": "attribute"},
        {"repoURL": "https://github.com/me/app.git"},
    )
    pending = state.entries[Address("helm-installer", "argo-cd.eu")].pending
    assert pending is not None and (pending.action, pending.seq, pending.message) == (
        "create",
        7,
        "timed out",
    )


def test_devstream_0_6_state_is_printed_byte_for_byte() -> None:
    data = (STATES / "devstream-0.6.yaml").read_bytes()
    state = decode(data, "old")
    entry = state.entries[SCAFFOLDING]
    assert entry.options["org"] == "" and entry.resource is not None
    assert entry.resource.attributes == {
        "org": "",
        "owner": "IronCore864",
        "repoName": "dtm-test-go",
    }
    assert entry.resource.outputs["repoURL"] == "https://github.com/IronCore864/dtm-test-go.git"
    assert state.id == StateId("", 0) and state.home == ""
    assert to_devstream(state) == data


def test_devstream_0_10_spelling_is_read() -> None:
    state = decode((STATES / "devstream-0.10.yaml").read_bytes(), "old")
    argo = state.entries[Address("helm-installer", "argocd")]
    assert argo.depends_on == (Address("repo-scaffolding", "my-app"),)
    assert argo.resource is not None and argo.resource.outputs == {"namespace": "argocd"}
    printed = to_devstream(state).decode()
    assert (
        'version: "5.10"\n' in printed
        and "      valuesYaml: |\n" not in printed
        and "    valuesYaml: |\n" in printed
    )
    assert (
        printed.index("b_9:") < printed.index("b_10:")
        and 'b_9: "yes"' in printed
        and "b_10: null" in printed
    )


def test_devstream_key_named_secret_stays_text() -> None:
    state = decode(
        b'a_b: {name: a, instanceid: b, options: {"$secret": x}, resource: {when: 2022-05-30}}',
        "old",
    )
    entry = state.entries[Address("a", "b")]
    assert entry.options == {"$secret": "x"}
    assert entry.resource is not None and entry.resource.attributes == {"when": "2022-05-30"}


def test_devstream_layout_hides_secrets_and_empty_is_no_bytes() -> None:
    state = State(StateId("l", 1)).with_entry(
        StateEntry(Address("a", "b"), (), {"token": Digest("d")})
    )
    assert b"token: (sensitive)\n" in to_devstream(state)
    assert to_devstream(State(StateId("", 0))) == b""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"format": 1, "tools": tru}', "here:1:"),
        (b'{\n  "format": 1,\n  "tools": {,\n', "here:3:13"),
        (b'{"format": 1}', "missing required field"),
        (b'{"format": "x", "dtm": ""}', "Expected `int`, got `str`"),
        (b'{"format": 2, "dtm": "3.0"}', "state format 2 was written by dtm 3.0"),
        (b'{\n"format": 1, "to', "here:2:17 not a valid state file"),
        (b"\xff", "here"),
        (b"a: [1", "here:2:1"),
        (b"- a", "here:1:1"),
        (b"a_b: 1", "here:1:1"),
        (b"ok_a: {name: ok, instanceid: a}\na_b: {name: a, instanceid: 3}", "here:2:1"),
        (b"a_b: {name: a, instanceid: b, what: 1}", "unknown field `what`"),
        (b"x: {name: a, instanceid: b}\ny: {name: a, instanceid: b}", "is listed twice"),
        (b"a_B: {name: a, instanceid: B}", "lower case"),
        (b"a_b: {name: a, instanceid: b, dependson: [c]}", "expected name.instanceID"),
        (b"a_b: {name: a, instanceid: b, resource: {outputs: 3}}", "must be text"),
    ],
)
def test_invalid_state_file_is_refused_with_its_place(data: bytes, message: str) -> None:
    with pytest.raises(StateError) as caught:
        decode(data, "here")
    assert (
        message in f"{caught.value.where} {caught.value.message}"
        and not caught.value.message.startswith("here")
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"protected": true', b'"protected": 3', "$.tools.repo-scaffolding_default.protected"),
        (
            b'"instanceID": "default"',
            b'"instanceID": "other"',
            "the entry repo-scaffolding_default is named",
        ),
        (b'"digest": "abab', b'"digets": "abab', '"$secret"'),
        (b'"salt"', b'"pepper"', "unknown field `pepper`"),
    ],
)
def test_damaged_state_file_is_refused_with_the_tool(old: bytes, new: bytes, message: str) -> None:
    data = (STATES / "format-1.json").read_bytes()
    with pytest.raises(StateError) as caught:
        decode(data.replace(old, new), "here")
    assert message in caught.value.message


@pytest.mark.parametrize(
    "value",
    [
        Secret("hunter2"),
        UNKNOWN,
        Unknown(),
        float("nan"),
        float("inf"),
        {1: 2},
        "\ud800",
        [{"deep": object()}],
    ],
)
def test_secrets_unknowns_and_unstorable_values_are_refused(value: Value) -> None:
    state = State(StateId("l", 1)).with_entry(StateEntry(Address("a", "b"), (), {"x": value}))
    with pytest.raises(StateError):
        encode(state)


@pytest.mark.parametrize(("offset", "place"), [(0, (1, 1)), (3, (1, 4)), (4, (2, 1)), (6, (2, 3))])
def test_line_and_column_of_a_byte_offset(offset: int, place: tuple[int, int]) -> None:
    assert line_column(b"abc\ndef", offset) == place


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_content_raises_only_state_errors(data: bytes) -> None:
    with suppress(StateError):
        decode(data, "here")


def test_deeply_nested_content_is_refused() -> None:
    with pytest.raises(StateError):
        decode(b'{"format": 1, "tools": ' + b"[" * 100_000, "here")
    with pytest.raises(StateError):
        decode(b"a: " + b"[" * 100_000, "here")
