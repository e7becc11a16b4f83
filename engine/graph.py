"""Order, readiness and cycles of a dependency graph, in linear time and without recursion.

Edges map each node to the nodes that it waits for, direct ones only. A node that is waited for
but is not a key of the mapping counts as done.

    order({"app": ["db"], "db": []})  # ["db", "app"]
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
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


def order(edges: Mapping[N, Iterable[N]]) -> list[N]:
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


def circles(edges: Mapping[N, Iterable[N]]) -> dict[N, int]:
    """Number the nodes so that two share a number if each waits, directly or not, for the other."""
    components = _Components(edges)
    for node in edges:
        components.search(node)
    return components.found


class _Components(Generic[N]):
    """Tarjan's search for strongly connected components, with a path in place of recursion.

    `_index` numbers the nodes in the order of their discovery; `_low` is the least number that a
    node is known to reach; `_stack` holds the nodes whose component is not complete yet.
    """

    def __init__(self, edges: Mapping[N, Iterable[N]]) -> None:
        self.found: dict[N, int] = {}
        self._edges = edges
        self._index: dict[N, int] = {}
        self._low: dict[N, int] = {}
        self._stack: list[N] = []
        self._path: list[tuple[N, Iterator[N]]] = []

    def search(self, root: N) -> None:
        """Complete the components of `root` and of all that it waits for."""
        if root not in self._index:
            self._enter(root)
        while self._path:
            node, waits = self._path[-1]
            fresh = next(
                (other for other in waits if other in self._edges and other not in self.found), None
            )
            if fresh is None:
                self._leave(node)
            elif fresh in self._index:
                self._low[node] = min(self._low[node], self._index[fresh])
            else:
                self._enter(fresh)

    def _enter(self, node: N) -> None:
        self._index[node] = self._low[node] = len(self._index)
        self._stack.append(node)
        self._path.append((node, iter(self._edges[node])))

    def _leave(self, node: N) -> None:
        self._path.pop()
        if self._path:
            above = self._path[-1][0]
            self._low[above] = min(self._low[above], self._low[node])
        if self._low[node] == self._index[node]:  # the first one of its component to be discovered
            while node not in self.found:
                self.found[self._stack.pop()] = self._index[node]


def _cycle(start: N, edges: Mapping[N, Iterable[N]], left: set[N]) -> list[N]:
    """Follow, from a node that never got ready, what it waits for until one comes up again."""
    path: dict[N, int] = {}
    node = start
    while node not in path:
        path[node] = len(path)
        node = next(other for other in edges[node] if other in left)
    return list(path)[path[node] :]
