"""Rows as aligned columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from dtm.render.text import Line, Span, cells, line, pad
from dtm.render.values import ValueText, printable
from engine.values import Value

GAP: Final = "  "
MAX_HANG: Final = 30
"""The largest indent, in cells, for the continuation of a last cell."""


def table_lines(rows: Sequence[Mapping[str, Value]], show: ValueText) -> Iterator[Line]:
    """Yield a heading in capitals and one line per row. Yield nothing if there are no rows."""
    if not rows:
        return
    heads = [name.upper() for name in rows[0]]
    texts = [[_cell(value, show) for value in row.values()] for row in rows]
    widths = [max(map(cells, column)) for column in zip(heads, *texts, strict=True)]
    hang = sum(widths[:-1]) + len(GAP) * (
        len(widths) - 1
    )  # a long last cell continues below its own start
    yield line(0, Span(_row(heads, widths), "strong"))
    yield from (line(0, _row(row, widths), hang=hang if hang <= MAX_HANG else 2) for row in texts)


def _cell(value: Value, show: ValueText) -> str:
    """Return the text of a cell. Texts have no quotes, so that scripts can cut them out."""
    match value:
        case None:
            return ""
        case str():
            return printable(show.clean(value))
        case _:
            return show.inline(value)


def _row(texts: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(pad(text, width) for text, width in zip(texts, widths, strict=True)).rstrip()
