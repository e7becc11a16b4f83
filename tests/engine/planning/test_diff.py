"""Differences of two values as field changes."""

import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.plan import ChangeSource
from engine.planning.diff import diff
from engine.values import UNKNOWN, Digest, is_equal

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(-2, 2)
    | st.sampled_from(["", "a", "b"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "x", "y"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def shown(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return the changes as tuples, with "-" for an absent side."""
    return [
        (".".join(map(str, c.path)), "-" if c.old_absent else c.old, "-" if c.new_absent else c.new)
        for c in diff(old, new)
    ]


@pytest.mark.parametrize(
    ("one", "two"),
    [(1, True), (0, False), (1, 1.0), (1, "1"), (None, ""), ({}, None), ([], {}), ([1], [True])],
)
def test_values_of_different_types_are_different(one: Any, two: Any) -> None:
    assert is_equal(one, one)
    assert not is_equal(one, two)


def test_order_of_items_counts_and_order_of_keys_does_not() -> None:
    assert is_equal({"a": 1, "b": [1, 2]}, {"b": [1, 2], "a": 1})
    assert not is_equal([1, 2], [2, 1])


def test_digests_are_equal_whatever_their_sources() -> None:
    assert is_equal(Digest("aa", ("env A",)), Digest("aa", ("var b",)))
    assert not is_equal(Digest("aa"), Digest("bb"))
    assert not is_equal(Digest("aa"), "aa")


def test_unknown_value_differs_from_every_value() -> None:
    assert not is_equal(UNKNOWN, UNKNOWN)
    assert shown({"a": {"b": 1}}, {"a": {"b": UNKNOWN}}) == [("a.b", 1, UNKNOWN)]


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": {"c": 1, "d": 2}}}, {"a": {"b": {"c": 3, "d": 2}}}, [("a.b.c", 1, 3)]),
        ({"a": 1}, {"b": 2}, [("a", 1, "-"), ("b", "-", 2)]),
        ({"a": None}, {}, [("a", None, "-")]),
        ({"a": [1]}, {"a": {"b": 1}}, [("a", [1], {"b": 1})]),
        ({"l": ["a", "b", "c"]}, {"l": ["a", "x", "b", "c"]}, [("l.1", "-", "x")]),
        ({"l": ["a", "b", "c"]}, {"l": ["b", "c"]}, [("l.0", "a", "-")]),
        (
            {"l": ["a", "b", "c", "d"]},
            {"l": ["x", "a", "b", "q", "d"]},
            [("l.0", "-", "x"), ("l.3", "c", "q")],
        ),
        ({"l": []}, {"l": [1, 2]}, [("l.0", "-", 1), ("l.1", "-", 2)]),
        (
            {"l": ["a", "b", "c", "d", "e"]},
            {"l": ["a", "c", "e"]},
            [("l.1", "b", "-"), ("l.3", "d", "-")],
        ),
        (
            {"l": [{"name": "a", "v": 1}, {"name": "b", "v": 2}]},
            {"l": [{"name": "x", "v": 0}, {"name": "a", "v": 1}, {"name": "b", "v": 3}]},
            [("l.0", "-", {"name": "x", "v": 0}), ("l.2.v", 2, 3)],
        ),
        (
            {"l": [{"v": {"w": 1}}, {"v": 2}, {"v": 3}]},
            {"l": [{"v": {"w": 1}}, {"v": 4}, {"v": 3}]},
            [("l.1.v", 2, 4)],
        ),
        ({"l": [UNKNOWN]}, {"l": [1, 2]}, [("l.0", UNKNOWN, 1), ("l.1", "-", 2)]),
    ],
)
def test_only_differing_fields_are_listed(
    old: dict[str, Any], new: dict[str, Any], changes: list[tuple[str, Any, Any]]
) -> None:
    assert shown(old, new) == changes


@pytest.mark.parametrize(
    ("old", "new", "forced"),
    [
        ({"a": 1}, {"a": 2}, True),
        ({"b": 1}, {"b": 2}, False),
        ({"m": {"path": 1}}, {"m": {"path": 2}}, True),
        ({"m": {"path": {"x": 1}}}, {"m": {"path": {"x": 2}}}, True),
        ({"m": {"other": 1}}, {"m": {"other": 2}}, False),
        ({"m": {"other": 1}}, {}, False),
        ({"m": {"path": 1}}, {}, True),
        ({"m": {"path": 1}}, {"m": UNKNOWN}, True),
        ({"l": [{"id": 1, "key": 1}]}, {"l": [{"id": 1, "key": 2}]}, True),
        ({"l": [{"id": 1, "key": 1}]}, {"l": [{"id": 2, "key": 1}]}, False),
        ({"l": [{"key": 1}]}, {"l": [{"key": 1}, {"key": 2}]}, True),
        ({"l": [{"key": 1}]}, {"l": [{"key": 1}, {"id": 2}]}, False),
    ],
)
def test_change_of_a_marked_option_forces_replacement(old: Any, new: Any, forced: bool) -> None:
    found = diff(
        old, new, source=ChangeSource.LIVE, replaces=[("a",), ("m", "path"), ("l", "*", "key")]
    )
    assert [change.replaces for change in found] == [forced]
    assert found[0].source is ChangeSource.LIVE


def test_secrets_in_lists_are_aligned_by_digest() -> None:
    one, two = Digest("aa", ("env A",)), Digest("bb", ("env B",))
    assert shown({"l": [one, "k", "m"]}, {"l": [two, one, "k", "n"]}) == [
        ("l.0", "-", two),
        ("l.3", "m", "n"),
    ]


@pytest.mark.parametrize("change", ["insert near the front", "one in a hundred", "all"])
def test_long_lists_of_maps_are_compared_quickly(change: str) -> None:
    old: list[Any] = [{"host": f"h{i}", "port": i, "tags": ["a", "b"]} for i in range(2_000)]
    new: list[Any] = [dict(item) for item in old]
    if change == "insert near the front":
        new.insert(3, {"host": "new", "port": 0, "tags": []})
    for index in range(0, 2_000, {"one in a hundred": 100, "all": 1}.get(change, 5_000)):
        new[index] = {**new[index], "port": -1}
    begun = time.process_time()
    found = diff({"l": old}, {"l": new})
    assert time.process_time() - begun < 1.0
    assert len(found) == {"insert near the front": 2, "one in a hundred": 20, "all": 2_000}[change]


def test_deepdiff_is_loaded_only_when_lists_need_aligning() -> None:
    script = (
        "import sys; from engine.planning.diff import diff\n"
        "diff({'a': [1, 2, 3], 'm': {'x': 1}}, {'a': [1, 9, 2, 3], 'm': {'x': 2}})\n"
        "assert 'deepdiff' not in sys.modules\n"
        "diff({'a': [1, 2, 3]}, {'a': [9, 2, 8, 3, 7]})\n"
        "assert 'deepdiff' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@given(
    st.dictionaries(st.sampled_from(["a", "b"]), JSON),
    st.dictionaries(st.sampled_from(["a", "b"]), JSON),
)
def test_diff_is_empty_exactly_if_values_are_the_same(old: Any, new: Any) -> None:
    assert (not diff(old, new)) == is_equal(old, new)
    assert diff(old, old) == ()
    assert all(
        change.old_absent or change.new_absent or not is_equal(change.old, change.new)
        for change in diff(old, new)
    )
