"""Order, readiness and cycles of a dependency graph, in linear time and without recursion.

`edges` maps each node to the nodes that it depends on, direct ones only. A dependency that is not a
key of the mapping counts as done.

    topological_order({"app": ["db"], "db": []})  # ["db", "app"]
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from engine.errors import DtmError

N = TypeVar("N", bound=Hashable)


class CycleError(DtmError):
    """The graph has a cycle: each of `nodes` depends on the next one, the last on the first."""

    def __init__(self, nodes: Sequence[Any]) -> None:
        super().__init__(
            "dependency cycle: " + " → ".join(str(node) for node in [*nodes, nodes[0]])
        )
        self.nodes = list(nodes)


class Readiness(Generic[N]):
    """The nodes that are ready to start, while others finish.

    Finish or abandon each node once. All calls together visit each edge once.

        readiness = Readiness({"app": ["db"], "db": []})
        readiness.start()  # ["db"]
        readiness.finish("db")  # ["app"]
    """

    def __init__(self, edges: Mapping[N, Iterable[N]]) -> None:
        self._missing: dict[N, int] = {}
        self._dependents: dict[N, list[N]] = {}
        for node, dependencies in edges.items():
            # A set, so that an edge given twice is counted and visited once.
            inside = {other for other in dependencies if other in edges}
            self._missing[node] = len(inside)
            for other in inside:
                self._dependents.setdefault(other, []).append(node)

    def start(self) -> list[N]:
        """Return the nodes without open dependencies, in the given order."""
        return [node for node, missing in self._missing.items() if not missing]

    def finish(self, node: N) -> list[N]:
        """Mark a node as done and return the nodes whose last open dependency it was."""
        del self._missing[node]
        ready: list[N] = []
        for other in self._dependents.get(node, ()):
            # An abandoned node has no count any more and must not become ready.
            if other in self._missing:
                self._missing[other] -= 1
                if not self._missing[other]:
                    ready.append(other)
        return ready

    def abandon(self, node: N) -> list[N]:
        """Give up a node and return all that depend on it, directly or not, nearest first.

        None of them becomes ready any more.
        """
        del self._missing[node]
        lost: list[N] = []
        queue = deque([node])
        while queue:
            for other in self._dependents.get(queue.popleft(), ()):
                if self._missing.pop(other, None) is not None:
                    lost.append(other)
                    queue.append(other)
        return lost

    @property
    def waiting(self) -> list[N]:
        """The nodes that are neither finished nor abandoned, in the given order."""
        return list(self._missing)


def topological_order(edges: Mapping[N, Iterable[N]]) -> list[N]:
    """Return all nodes, each after its dependencies. Raises CycleError.

    Equal graphs in equal order give the same result.
    """
    readiness = Readiness(edges)
    queue = deque(readiness.start())
    found: list[N] = []
    while queue:
        node = queue.popleft()
        found.append(node)
        queue.extend(readiness.finish(node))
    if left := readiness.waiting:
        raise CycleError(_find_cycle(left[0], edges, set(left)))
    return found


def component_numbers(edges: Mapping[N, Iterable[N]]) -> dict[N, int]:
    """Number the nodes: two nodes have the same number exactly if one cycle contains both.

    These are the strongly connected components, by Kosaraju's algorithm: visit the nodes in the
    reverse of the order in which a depth-first search finishes them. Each node without a number
    forms a component with all nodes without a number that depend on it.
    """
    dependents: dict[N, list[N]] = {node: [] for node in edges}
    for node, dependencies in edges.items():
        for other in dependencies:
            if other in edges:
                dependents[other].append(node)
    found: dict[N, int] = {}
    for number, root in enumerate(reversed(_finish_order(edges))):
        # An explicit stack: a chain of some thousand tools exceeds Python's recursion limit.
        stack = [root]
        while stack:
            node = stack.pop()
            if node not in found:
                found[node] = number
                stack += dependents[node]
    return found


def _finish_order(edges: Mapping[N, Iterable[N]]) -> list[N]:
    """Return the nodes in the order in which a depth-first search finishes them."""
    found: dict[N, None] = {}
    seen: set[N] = set()
    stack = list(edges)
    while stack:
        node = stack[-1]
        if node not in seen:
            seen.add(node)
            stack += [other for other in edges[node] if other in edges and other not in seen]
        else:
            # All dependencies of the node are finished. The node may still be further down in the
            # stack: the dict keeps its first position.
            found[stack.pop()] = None
    return list(found)


def _find_cycle(start: N, edges: Mapping[N, Iterable[N]], left: set[N]) -> list[N]:
    """Follow open dependencies from a node that never became ready until one occurs twice."""
    path: dict[N, int] = {}
    node = start
    while node not in path:
        path[node] = len(path)
        node = next(other for other in edges[node] if other in left)
    return list(path)[path[node] :]
