"""Order, readiness and cycles."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.graph import CycleError, Readiness, component_numbers, topological_order

DEVSTREAM = {"a": (), "d": ("b",), "b": (), "c": ("a", "b"), "e": ("c",)}


def test_dependencies_come_first_and_otherwise_the_given_order_stays() -> None:
    assert topological_order(DEVSTREAM) == ["a", "b", "d", "c", "e"]


def test_nodes_outside_the_graph_count_as_done_and_repeated_edges_as_one() -> None:
    assert topological_order({"a": ("elsewhere",), "b": ("a", "a")}) == ["a", "b"]


@pytest.mark.parametrize(
    ("edges", "cycle"),
    [
        ({"a": ("a",)}, ["a"]),
        ({"a": ("b",), "b": ("a",)}, ["a", "b"]),
        ({"x": ("a",), "a": ("b",), "b": ("c",), "c": ("a",), "y": ()}, ["a", "b", "c"]),
    ],
)
def test_a_cycle_is_reported_by_its_members_alone(
    edges: dict[str, tuple[str, ...]], cycle: list[str]
) -> None:
    with pytest.raises(CycleError, match=" → ".join([*cycle, cycle[0]])) as caught:
        topological_order(edges)
    assert caught.value.nodes == cycle


def test_a_failure_abandons_whoever_waits_for_it_and_nobody_else() -> None:
    ready = Readiness(DEVSTREAM)
    assert ready.start() == ["a", "b"]
    assert ready.abandon("a") == ["c", "e"]
    assert ready.finish("b") == ["d"]
    assert ready.finish("d") == []
    assert ready.waiting == []


@pytest.mark.parametrize("shape", ["chain", "flat", "backwards"])
def test_ten_thousand_nodes_take_no_recursion_and_little_time(shape: str) -> None:
    count = 10_000
    step = {"chain": 1, "flat": 0, "backwards": -1}[shape]
    edges: dict[int, tuple[int, ...]] = {i: (i - step,) if step else () for i in range(count)}
    begun = time.process_time()
    found = topological_order(edges)
    assert len(found) == count
    assert time.process_time() - begun < 1
    if step:
        assert all(later - earlier == step for earlier, later in pairwise(found))


@given(st.dictionaries(st.integers(0, 12), st.lists(st.integers(0, 12), max_size=4), max_size=13))
def test_every_graph_is_either_ordered_or_has_the_reported_cycle(
    edges: dict[int, list[int]],
) -> None:
    try:
        found = topological_order(edges)
    except CycleError as error:
        for node, following in pairwise([*error.nodes, error.nodes[0]]):
            assert following in edges[node]
    else:
        place = {node: index for index, node in enumerate(found)}
        assert set(place) == set(edges)
        assert all(
            place[other] < place[node]
            for node, waits in edges.items()
            for other in waits
            if other in place
        )


@given(st.dictionaries(st.integers(0, 12), st.lists(st.integers(0, 12), max_size=4), max_size=13))
def test_nodes_are_in_one_circle_if_each_waits_for_the_other(edges: dict[int, list[int]]) -> None:
    def reached(start: int) -> set[int]:
        found, queue = {start}, [start]
        while queue:
            fresh = [other for other in edges[queue.pop()] if other in edges and other not in found]
            found.update(fresh)
            queue.extend(fresh)
        return found

    far, number = {node: reached(node) for node in edges}, component_numbers(edges)
    assert set(number) == set(edges)
    assert all(
        (number[a] == number[b]) == (a in far[b] and b in far[a]) for a in edges for b in edges
    )


def test_ten_thousand_nodes_without_a_circle_are_as_many_circles_soon() -> None:
    edges = {i: (i + 1,) for i in range(10_000)}
    begun = time.process_time()
    assert len(set(component_numbers(edges).values())) == 10_000
    assert time.process_time() - begun < 1
