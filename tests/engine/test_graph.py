"""Order, readiness and cycles of a dependency graph."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.graph import CycleError, Readiness, component_numbers, topological_order

DEVSTREAM = {"a": (), "d": ("b",), "b": (), "c": ("a", "b"), "e": ("c",)}


def test_dependencies_come_first_in_given_order() -> None:
    assert topological_order(DEVSTREAM) == ["a", "b", "d", "c", "e"]


def test_outside_nodes_count_as_done_and_repeated_edges_once() -> None:
    assert topological_order({"a": ("elsewhere",), "b": ("a", "a")}) == ["a", "b"]


@pytest.mark.parametrize(
    ("edges", "cycle"),
    [
        ({"a": ("a",)}, ["a"]),
        ({"a": ("b",), "b": ("a",)}, ["a", "b"]),
        ({"x": ("a",), "a": ("b",), "b": ("c",), "c": ("a",), "y": ()}, ["a", "b", "c"]),
    ],
)
def test_cycle_error_has_only_members_of_the_cycle(
    edges: dict[str, tuple[str, ...]], cycle: list[str]
) -> None:
    with pytest.raises(CycleError, match=" → ".join([*cycle, cycle[0]])) as caught:
        topological_order(edges)
    assert caught.value.nodes == cycle


def test_abandoned_node_takes_only_its_dependents_with_it() -> None:
    ready = Readiness(DEVSTREAM)
    assert ready.start() == ["a", "b"]
    assert ready.abandon("a") == ["c", "e"]
    assert ready.finish("b") == ["d"]
    assert ready.finish("d") == []
    assert ready.waiting == []


@pytest.mark.parametrize("shape", ["chain", "flat", "backwards"])
def test_ten_thousand_nodes_need_no_recursion_and_one_second(shape: str) -> None:
    count = 10_000
    step = {"chain": 1, "flat": 0, "backwards": -1}[shape]
    edges: dict[int, tuple[int, ...]] = {i: (i - step,) if step else () for i in range(count)}
    started = time.process_time()
    found = topological_order(edges)
    assert len(found) == count
    assert time.process_time() - started < 1
    if step:
        assert all(later - earlier == step for earlier, later in pairwise(found))


@given(st.dictionaries(st.integers(0, 12), st.lists(st.integers(0, 12), max_size=4), max_size=13))
def test_every_graph_has_an_order_or_the_reported_cycle(
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
def test_nodes_of_one_cycle_share_a_component_number(edges: dict[int, list[int]]) -> None:
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


def test_ten_thousand_components_take_one_second() -> None:
    edges = {i: (i + 1,) for i in range(10_000)}
    started = time.process_time()
    assert len(set(component_numbers(edges).values())) == 10_000
    assert time.process_time() - started < 1
