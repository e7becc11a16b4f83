"""The dependency graph in the languages of Graphviz and Mermaid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

from engine.address import Address

Edges: TypeAlias = Mapping[Address, Sequence[Address]]
"""Each tool, and the tools it depends on."""

GraphFormat: TypeAlias = Literal["dot", "mermaid"]
GRAPH_FORMATS: Final[tuple[GraphFormat, ...]] = ("dot", "mermaid")


def export_graph(edges: Edges, form: GraphFormat) -> str:
    """Write the graph as text; each tool has arrows to what it depends on."""
    return _dot(edges) if form == "dot" else _mermaid(edges)


def _dot(edges: Edges) -> str:
    lines = ["digraph dtm {", "  rankdir=RL;", "  node [shape=box];"]
    lines += [f'  "{node}";' for node in edges]
    lines += [f'  "{node}" -> "{needed}";' for node, targets in edges.items() for needed in targets]
    return "\n".join([*lines, "}"]) + "\n"


def _mermaid(edges: Edges) -> str:
    names = {node: f"n{i}" for i, node in enumerate(edges)}
    lines = ["graph RL", *(f'  {name}["{node}"]' for node, name in names.items())]
    lines += [
        f"  {names[node]} --> {names[needed]}"
        for node, targets in edges.items()
        for needed in targets
        if needed in names
    ]
    return "\n".join(lines) + "\n"
