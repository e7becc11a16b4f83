"""Order, readiness and cycles of a dependency graph given by its direct edges; linear, and without recursion.

Edges are a mapping from each node to the nodes that it waits for. Those outside the mapping count as done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from engine.errors import DtmError

N = TypeVar("N", bound=Hashable)


class CycleError(DtmError):
    """The graph has a cycle; `nodes` are its members, each waiting for the next, the last for the first."""

    def __init__(self, nodes: Sequence[Any]) -> None:
        super().__init__(
            "dependency cycle: " + " → ".join(str(node) for node in [*nodes, nodes[0]])
        )
        self.nodes = list(nodes)


class Readiness(Generic[N]):
    """Which nodes may start now. Each node is finished or abandoned once; the total cost is that of the edges."""

    def __init__(self, edges: Mapping[N, Iterable[N]]) -> None:
        self._missing: dict[N, int] = {}
        self._dependents: dict[N, list[N]] = {}
        for node, waits in edges.items():
            inside = {other for other in waits if other in edges}
            self._missing[node] = len(inside)
            for other in inside:
                self._dependents.setdefault(other, []).append(node)

    def start(self) -> list[N]:
        """The nodes that wait for nothing, in the order given."""
        return [node for node, missing in self._missing.items() if not missing]

    def finish(self, node: N) -> list[N]:
        """The nodes that only waited for this one."""
        del self._missing[node]
        ready: list[N] = []
        for other in self._dependents.get(node, ()):
            if other in self._missing:
                self._missing[other] -= 1
                if not self._missing[other]:
                    ready.append(other)
        return ready

    def abandon(self, node: N) -> list[N]:
        """Every node that directly or indirectly waits for this one, nearest first; none of them will get ready."""
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
    """All nodes, each behind what it waits for, otherwise in the order given. Raises CycleError."""
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
    """Two nodes have the same number if each waits, directly or not, for the other (Tarjan's strong components)."""
    index: dict[N, int] = {}
    low: dict[N, int] = {}
    found: dict[N, int] = {}
    stack: list[N] = []
    path: list[tuple[N, Iterator[N]]] = []

    def enter(node: N) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        path.append((node, iter(edges[node])))

    for root in edges:
        if root not in index:
            enter(root)
        while path:
            node, waits = path[-1]
            fresh = next((other for other in waits if other in edges and other not in found), None)
            if fresh is None:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[node])
                if low[node] == index[node]:
                    while node not in found:
                        found[stack.pop()] = index[node]
            elif fresh in index:
                low[node] = min(low[node], index[fresh])
            else:
                enter(fresh)
    return found


def _cycle(start: N, edges: Mapping[N, Iterable[N]], left: set[N]) -> list[N]:
    """Follow, from a node that never got ready, what it waits for until one comes up again."""
    path: dict[N, int] = {}
    node = start
    while node not in path:
        path[node] = len(path)
        node = next(other for other in edges[node] if other in left)
    return list(path)[path[node] :]
