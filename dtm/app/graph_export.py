"""The dependency graph as text for Graphviz or Mermaid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

from engine.address import Address

GraphEdges: TypeAlias = Mapping[Address, Sequence[Address]]
"""Each tool, with the tools that it depends on."""

GraphFormat: TypeAlias = Literal["dot", "mermaid"]
GRAPH_FORMATS: Final[tuple[GraphFormat, ...]] = ("dot", "mermaid")


def export_graph(edges: GraphEdges, form: GraphFormat) -> str:
    """Return the graph as text. Arrows lead from a tool to the tools that it depends on."""
    return _dot(edges) if form == "dot" else _mermaid(edges)


def _dot(edges: GraphEdges) -> str:
    lines = ["digraph dtm {", "  rankdir=RL;", "  node [shape=box];"]
    lines += [f'  "{node}";' for node in edges]
    lines += [f'  "{node}" -> "{needed}";' for node, targets in edges.items() for needed in targets]
    return "\n".join([*lines, "}"]) + "\n"


def _mermaid(edges: GraphEdges) -> str:
    # An ID in Mermaid may not contain a slash, so each node gets a number and the address as label.
    names = {node: f"n{i}" for i, node in enumerate(edges)}
    lines = ["graph RL", *(f'  {name}["{node}"]' for node, name in names.items())]
    lines += [
        f"  {names[node]} --> {names[needed]}"
        for node, targets in edges.items()
        for needed in targets
        if needed in names
    ]
    return "\n".join(lines) + "\n"
