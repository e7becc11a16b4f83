"""Field changes as lines: `path: old → new`, long texts as unified diffs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from dtm.render.text import Line, Span, Style, cells, count, line
from dtm.render.values import ValueText, field_path, hidden_lines, printable
from engine.plan import ChangeSource, FieldChange
from engine.values import Value

ARROW: Final = " → "
DRIFT: Final = "changed outside dtm (recorded → live):"
LIVE: Final = "recorded → live:"
INPUTS: Final = "changed inputs (recorded → now):"
MAX_DIFF: Final = 60
"""The number of lines of one diff that are shown without -v."""
SHORT: Final = 12
"""A text of at most this many lines is shown whole, with its unchanged lines."""
MAX_COMPARED: Final = 4_000_000
"""The largest number of line pairs that are compared.

In the worst case, the time grows with that number.
"""


def field_lines(
    fields: Iterable[FieldChange], show: ValueText, indent: int, width: int, drift: str = DRIFT
) -> Iterator[Line]:
    """Yield the changed options, then the changed inputs and the drift, each below a heading."""
    groups: dict[ChangeSource, list[FieldChange]] = {source: [] for source in ChangeSource}
    for each in fields:
        groups[each.source].append(each)
    for each in groups[ChangeSource.OPTION]:
        yield from _field(each, show, indent, width)
    for source, heading in ((ChangeSource.INPUT, INPUTS), (ChangeSource.LIVE, drift)):
        if groups[source]:
            yield line(indent, Span(heading, "warning" if source is ChangeSource.LIVE else ""))
        for each in groups[source]:
            yield from _field(each, show, indent + 2, width)


def _field(change: FieldChange, show: ValueText, indent: int, width: int) -> Iterator[Line]:
    label = field_path(change.path, show.clean) or "(all)"
    if change.old_absent or change.new_absent:
        yield from _one_sided(change, label, show, indent, width)
        return
    rows = _rows(change.old, change.new, show)
    if rows is not None:
        yield line(indent, Span("~ ", "update"), Span(f"{label}:", "key"))
        yield from _limited(rows, show, indent + 4)
        return
    styles: tuple[Style, Style] = (
        ("", "warning") if change.source is ChangeSource.LIVE else ("removed", "added")
    )
    before, after = (
        _styled(span, style)
        for span, style in zip(show.pair(change.old, change.new), styles, strict=True)
    )
    yield from _arrow(label, before, after, indent, width)


def _arrow(label: str, before: Span, after: Span, indent: int, width: int) -> Iterator[Line]:
    head = (Span("~ ", "update"), Span(f"{label}:", "key"), Span(" "))
    if indent + sum(cells(span.text) for span in (*head, before, after)) + len(ARROW) <= width:
        yield line(indent, *head, before, Span(ARROW, "dim"), after)
        return
    yield line(indent, *head, before, hang=4)
    yield line(indent + 2, Span(ARROW.lstrip(), "dim"), after, hang=2)


def _styled(span: Span, style: Style) -> Span:
    return span if span.style else Span(span.text, style)


def _one_sided(
    change: FieldChange,
    label: str,
    show: ValueText,
    indent: int,
    width: int,
) -> Iterator[Line]:
    sign, value = (
        (Span("+ ", "added"), change.new)
        if change.old_absent
        else (Span("- ", "removed"), change.old)
    )
    first, *rest = show.block(label, value, indent + 2, width)
    yield line(indent, sign, *first.spans, hang=4)
    yield from rest


def _rows(old: Value, new: Value, show: ValueText) -> Iterator[str] | None:
    """Return a line by line comparison, or None if `old → new` is easier to read."""
    if not (isinstance(old, str) and isinstance(new, str) and ("\n" in old or "\n" in new)):
        return None
    before, after = _text(old, show), _text(new, show)
    return _compare(before, after) if before != after else None


def _text(text: str, show: ValueText) -> list[str]:
    lines = [printable(each) for each in show.clean(text).split("\n")]
    # A missing line break at the end is a difference too, and would otherwise be invisible.
    return lines[:-1] if not lines[-1] else [*lines[:-1], f"{lines[-1]} (no line break at the end)"]


def _compare(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    if len(before) * len(after) > MAX_COMPARED:
        yield f"-{count(len(before), 'line')}"
        yield f"+{count(len(after), 'line')}, too many to compare here"
        return
    from difflib import unified_diff  # 1 ms, and few plans change a long text

    short = max(len(before), len(after)) <= SHORT
    rows = unified_diff(before, after, lineterm="", n=SHORT if short else 2)
    # Skip the file names, and the position of a hunk if it is the only one.
    yield from islice(rows, 3 if short else 2, None)


def _limited(rows: Iterable[str], show: ValueText, indent: int) -> Iterator[Line]:
    hidden = 0
    for number, row in enumerate(rows):
        if show.everything or number < MAX_DIFF:
            yield _row(row, indent)
        else:
            hidden += 1
    if hidden:
        yield hidden_lines(indent, hidden)


def _row(row: str, indent: int) -> Line:
    sign, text = row[:1], row[1:]
    match sign:
        case "+":
            return line(indent, Span(f"+ {text}", "added"))
        case "-":
            return line(indent, Span(f"- {text}", "removed"))
        case "@":
            return line(indent, Span(row, "dim"))
        case _:
            return line(indent + 2, Span(text, "dim"))
