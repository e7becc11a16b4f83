"""Styled lines, which the renderers for users share.

Colors and wrapping are added later.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Literal, NamedTuple, TypeAlias

Clean: TypeAlias = Callable[[str], str]
"""A function that replaces every known secret in a text by `(sensitive)`."""

Level: TypeAlias = Literal["debug", "info", "success", "warning", "error"]

Style: TypeAlias = Literal[
    "",
    "create",
    "update",
    "replace",
    "delete",
    "move",
    "forget",
    "recover",
    "keep",
    "added",
    "removed",
    "key",
    "name",
    "dim",
    "hidden",
    "unknown",
    "strong",
    "debug",
    "info",
    "success",
    "warning",
    "error",
]
"""The meaning of a piece of text.

A terminal shows each style differently, plain text ignores it.
"""


class Span(NamedTuple):
    """A piece of one line. It contains no line break."""

    text: str
    style: Style = ""


class Line(NamedTuple):
    """One line. `indent` is in cells. A wrapped line continues `hang` cells further right."""

    indent: int
    spans: tuple[Span, ...]
    hang: int = 2

    @property
    def text(self) -> str:
        """The line as plain text."""
        return " " * self.indent + "".join([span.text for span in self.spans])


BLANK = Line(0, ())


def line(indent: int, *parts: Span | str, hang: int = 2) -> Line:
    """Make a line of spans. A bare string has no style."""
    return Line(
        indent, tuple([part if isinstance(part, Span) else Span(part) for part in parts]), hang
    )


def cells(text: str) -> int:
    """Return the width of a text in terminal cells.

    Wide characters count two, combining ones none.
    """
    # Nearly all texts are ASCII, and looking up every character takes much longer.
    if text.isascii():
        return len(text)
    return sum(_cell(char) for char in text)


def _cell(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def wrap(each: Line, width: int) -> Iterator[Line]:
    """Yield the line as rows of at most `width` cells.

    Rows are broken at blanks and between wide characters. A word that is longer than a row is not
    broken, so that a user can copy it; the terminal breaks it.
    """
    row: list[Span] = []
    margin = used = each.indent
    for word in _words(each.spans):
        size = sum(cells(span.text) for span in word if not span.text.isspace())
        # A word that is too long for any row stays here, since a new row would not help.
        if row and used + size > width >= each.indent + each.hang + size:
            yield Line(margin, _stripped(row), 0)
            row, margin = [], each.indent + each.hang
            used = margin
        row += word
        used += sum(cells(span.text) for span in word)
    yield Line(margin, tuple(row), 0)


@cache
def _piece() -> re.Pattern[str]:
    """Return the pattern of a piece: a run of blanks, one wide character, or a run of others.

    It is compiled on first use, because that takes 5 ms and few commands wrap lines.
    """
    return re.compile(
        r"\s+|[\u1100-\uffdc\U0001f000-\U0003ffff]|[^\s\u1100-\uffdc\U0001f000-\U0003ffff]+"
    )


def _words(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Split into words that must stay in one row, each with the blanks behind it.

    A word may consist of several spans.
    """
    word: list[Span] = []
    for span in spans:
        for piece in _piece().findall(span.text):
            if word and _cell(piece[0]) == 2:
                yield word
                word = []
            word.append(Span(piece, span.style))
            if piece.isspace() or _cell(piece[0]) == 2:
                yield word
                word = []
    if word:
        yield word


def _stripped(row: Sequence[Span]) -> tuple[Span, ...]:
    *rest, last = row
    return (*rest, Span(last.text.rstrip(), last.style))


def pad(text: str, width: int) -> str:
    """Return the text, padded with blanks to `width` cells."""
    return text + " " * (width - cells(text))


def grid(words: Sequence[str], width: int) -> list[str]:
    """Return the words in columns of equal width, row by row.

    No row is wider than `width` cells unless a single word is.
    """
    column = max(map(cells, words), default=0) + 2
    per_row = max(1, (width + 2) // column)
    rows = [words[i : i + per_row] for i in range(0, len(words), per_row)]
    return ["".join(pad(word, column) for word in row).rstrip() for row in rows]


def listed(words: Sequence[str], most: int = 10) -> str:
    """Return `a, b, c`. Words after the first `most` are counted: `a, b and 7 more`."""
    hidden = f" and {len(words) - most:,} more" if len(words) > most else ""
    return ", ".join(words[:most]) + hidden


def duration(seconds: float) -> str:
    """Return a time span for users: `0.3s`, `12s`, `1m 12s`, `2h 3m`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"


def age(seconds: float) -> str:
    """Return a coarse time span in one unit: `4 s`, `14 min`, `3 h`, `2 days`."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(max(seconds, 0))} s"


def count(number: int, noun: str) -> str:
    """Return `1 tool`, `2 tools`, `1,200 tools`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
