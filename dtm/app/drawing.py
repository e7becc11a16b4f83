"""The dependency graph as DOT, Mermaid or SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from engine.address import Address
from engine.graph import order

WIDTH, HEIGHT, GAP = 8, 32, 48
"""SVG pixels: of one character, of a box, between boxes."""


def draw(edges: Mapping[Address, Sequence[Address]], form: str) -> str:
    """The graph as text; each node is drawn with arrows to what it depends on."""
    return {"dot": _dot, "mermaid": _mermaid, "svg": _svg}[form](edges)


def _dot(edges: Mapping[Address, Sequence[Address]]) -> str:
    lines = ["digraph dtm {", "  rankdir=RL;", "  node [shape=box];"]
    lines += [f'  "{node}";' for node in edges]
    lines += [f'  "{node}" -> "{needed}";' for node, targets in edges.items() for needed in targets]
    return "\n".join([*lines, "}"]) + "\n"


def _mermaid(edges: Mapping[Address, Sequence[Address]]) -> str:
    names = {node: f"n{i}" for i, node in enumerate(edges)}
    lines = ["graph RL", *(f'  {name}["{node}"]' for node, name in names.items())]
    lines += [
        f"  {names[node]} --> {names[needed]}"
        for node, targets in edges.items()
        for needed in targets
        if needed in names
    ]
    return "\n".join(lines) + "\n"


def _layers(edges: Mapping[Address, Sequence[Address]]) -> list[list[Address]]:
    depth: dict[Address, int] = {}
    for node in order(edges):
        depth[node] = max(
            (depth[needed] + 1 for needed in edges[node] if needed in depth), default=0
        )
    layers: list[list[Address]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node, level in depth.items():
        layers[level].append(node)
    return layers


def _svg(edges: Mapping[Address, Sequence[Address]]) -> str:
    boxes: dict[Address, tuple[int, int, int]] = {}
    x = GAP
    for layer in _layers(edges):
        width = max(len(str(node)) for node in layer) * WIDTH + 2 * WIDTH
        for row, node in enumerate(layer):
            boxes[node] = (x, GAP + row * (HEIGHT + GAP // 2), width)
        x += width + 2 * GAP
    height = max((y for _, y, _ in boxes.values()), default=0) + HEIGHT + GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{x}" height="{height}" font-family="monospace" font-size="13">',
        '<defs><marker id="a" markerWidth="8" markerHeight="8" refX="8" refY="4" orient="auto">',
        '<path d="M0,0 L8,4 L0,8 z"/></marker></defs>',
    ]
    pairs = [
        (node, needed) for node, targets in edges.items() for needed in targets if needed in boxes
    ]
    lines += [_arrow(boxes[node], boxes[needed]) for node, needed in pairs]
    lines += [_box(node, *place) for node, place in boxes.items()]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _arrow(start: tuple[int, int, int], end: tuple[int, int, int]) -> str:
    y1, y2 = start[1] + HEIGHT // 2, end[1] + HEIGHT // 2
    return f'<line x1="{start[0]}" y1="{y1}" x2="{end[0] + end[2]}" y2="{y2}" stroke="black" marker-end="url(#a)"/>'


def _box(node: Address, x: int, y: int, width: int) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{HEIGHT}" rx="4" fill="white" stroke="black"/>'
        f'<text x="{x + width // 2}" y="{y + HEIGHT // 2 + 5}" text-anchor="middle">{escape(str(node))}</text>'
    )
