"""Order, readiness and cycles of a dependency graph, in linear time and without recursion.

Edges map each node to the nodes that it waits for, direct ones only. A node that is waited for
but is not a key of the mapping counts as done.

    order({"app": ["db"], "db": []})  # ["db", "app"]
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from engine.errors import DtmError

N = TypeVar("N", bound=Hashable)


class CycleError(DtmError):
    """The graph has a cycle: each of `nodes` waits for the next, the last for the first."""

    def __init__(self, nodes: Sequence[Any]) -> None:
        super().__init__(
            "dependency cycle: " + " → ".join(str(node) for node in [*nodes, nodes[0]])
        )
        self.nodes = list(nodes)


class Readiness(Generic[N]):
    """The nodes that may start now.

    Each node is finished or abandoned once, and each edge is visited once.
    """

    def __init__(self, edges: Mapping[N, Iterable[N]]) -> None:
        self._missing: dict[N, int] = {}
        self._dependents: dict[N, list[N]] = {}
        for node, waits in edges.items():
            # A set, so that an edge given twice is counted and visited once.
            inside = {other for other in waits if other in edges}
            self._missing[node] = len(inside)
            for other in inside:
                self._dependents.setdefault(other, []).append(node)

    def start(self) -> list[N]:
        """List the nodes that wait for nothing, in the order given."""
        return [node for node, missing in self._missing.items() if not missing]

    def finish(self, node: N) -> list[N]:
        """Take a node as done and list the nodes that only waited for it."""
        del self._missing[node]
        ready: list[N] = []
        for other in self._dependents.get(node, ()):
            # Abandoned nodes are not in it, and must not get ready after all.
            if other in self._missing:
                self._missing[other] -= 1
                if not self._missing[other]:
                    ready.append(other)
        return ready

    def abandon(self, node: N) -> list[N]:
        """Give up a node and list all that wait for it, directly or not, nearest first.

        None of them gets ready any more.
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
        """The nodes neither finished nor abandoned, in the order given."""
        return list(self._missing)


def topological_order(edges: Mapping[N, Iterable[N]]) -> list[N]:
    """Sort all nodes behind what they wait for, else in the order given. Raises CycleError."""
    readiness = Readiness(edges)
    queue = deque(readiness.start())
    found: list[N] = []
    while queue:
        node = queue.popleft()
        found.append(node)
        queue.extend(readiness.finish(node))
    if left := readiness.waiting:
        raise CycleError(_cycle(left[0], edges, set(left)))
    return found


def component_numbers(edges: Mapping[N, Iterable[N]]) -> dict[N, int]:
    """Number the nodes so that two share a number if each waits, directly or not, for the other.

    Kosaraju's algorithm: taken from the last to the first that a depth-first search finishes, each
    node is in one circle with all that reach it and have no number yet.
    """
    dependents: dict[N, list[N]] = {node: [] for node in edges}
    for node, waits in edges.items():
        for other in waits:
            if other in edges:
                dependents[other].append(node)
    found: dict[N, int] = {}
    for number, root in enumerate(reversed(_finished(edges))):
        # A stack of our own: a chain of some thousand tools exceeds Python's recursion limit.
        stack = [root]
        while stack:
            node = stack.pop()
            if node not in found:
                found[node] = number
                stack += dependents[node]
    return found


def _finished(edges: Mapping[N, Iterable[N]]) -> list[N]:
    """List the nodes in the order in which a depth-first search finishes them."""
    found: dict[N, None] = {}
    seen: set[N] = set()
    stack = list(edges)
    while stack:
        node = stack[-1]
        if node not in seen:
            seen.add(node)
            stack += [other for other in edges[node] if other in edges and other not in seen]
        else:  # all that was put above it is finished; it may lie further down once more
            found[stack.pop()] = None
    return list(found)


def _cycle(start: N, edges: Mapping[N, Iterable[N]], left: set[N]) -> list[N]:
    """Follow, from a node that never got ready, what it waits for until one comes up again."""
    path: dict[N, int] = {}
    node = start
    while node not in path:
        path[node] = len(path)
        node = next(other for other in edges[node] if other in left)
    return list(path)[path[node] :]
