"""Values as text for users.

A string is bare if it cannot be mistaken for another value. Secrets and characters that control a
terminal are never shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from dtm.render.text import Clean, Line, Span, Style, cells, count, line
from engine.values import HIDDEN, UNKNOWN, Attributes, Deferred, Digest, Secret, Unknown, Value

KNOWN_LATER: Final = repr(UNKNOWN)
MAX_LINES: Final = 20
"""The number of lines of a long text that are shown without -v."""

_BARE = re.compile(r"[^\W\d][\w-]*")
_NUMBER = re.compile(
    r"[-+]?(?:\d[\d_,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|0[xX][\da-fA-F]+|0[oO][0-7]+"
)
_WORDS = frozenset({"true", "false", "null", "~", "yes", "no", "on", "off", ""})
# Python calls joiners unprintable, but emoji and several scripts need them.
_JOINERS = frozenset("\u200c\u200d")


def quote(text: str) -> str:
    """Return the text as a JSON string. Characters that do not print are shown by their numbers."""
    return "".join(
        char if _prints(char) else _escape(char) for char in json.dumps(text, ensure_ascii=False)
    )


def printable(text: str) -> str:
    """Replace tabs by blanks, and characters that control a terminal by their numbers."""
    # Nearly all texts are printable, and rebuilding them by character takes much longer.
    if text.isprintable():
        return text
    return "".join(char if _prints(char) else _escape(char) for char in text.replace("\t", "    "))


def _prints(char: str) -> bool:
    return char.isprintable() or char in _JOINERS


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def bare_or_quoted(text: str) -> str:
    """Return the text bare if it cannot be mistaken for another value, otherwise quoted."""
    if (
        text.lower() in _WORDS
        # The test above is true for "", so the text has a first character here.
        or text[0] in "\"'([{}])&*!|>%@` "
        or text[-1] in " :"
        or not text.isprintable()
    ):
        return quote(text)
    # Such a text could be mistaken for a number, an arrow between values, or a comment.
    if _NUMBER.fullmatch(text) or " → " in text or ": " in text or " #" in text:
        return quote(text)
    return text


def field_path(parts: Sequence[str | int], clean: Clean = str) -> str:
    """Return `("a", "b", 0, "c d")` as `a.b[0]."c d"`."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = key(clean(part))
            text += f".{name}" if text else name
    return text


def key(text: str) -> str:
    """Return the key of a map, quoted if it could be mistaken for more than a name."""
    return text if _BARE.fullmatch(text) or text.isdigit() else quote(text)


class ValueText(msgspec.Struct, frozen=True):
    """A formatter of values.

    `clean` redacts known secrets in every string, keys included. `everything` shows long texts
    whole.
    """

    clean: Clean
    everything: bool = False

    def json(self, value: Value) -> object:
        """Return a value as plain JSON.

        `(sensitive)` and `(known after apply)` replace values that cannot be shown.
        """
        match value:
            case str():
                return self.clean(value)
            case dict():
                return self.attributes(value)
            case list():
                return [self.json(item) for item in value]
            case Secret() | Digest():
                return HIDDEN
            case Unknown() | Deferred():
                return KNOWN_LATER
            case _:
                return value

    def attributes(self, values: Attributes) -> dict[str, object]:
        """Return a map of values as plain JSON."""
        return {self.clean(name): self.json(item) for name, item in values.items()}

    def inline(self, value: Value) -> str:
        """Return the value on one line."""
        match value:
            case str():
                return bare_or_quoted(self.clean(value))
            case dict():
                return (
                    "{"
                    + ", ".join(f"{key(self.clean(k))}: {self.inline(v)}" for k, v in value.items())
                    + "}"
                )
            case list():
                return "[" + ", ".join(map(self.inline, value)) + "]"
            case Secret() | Digest():
                return HIDDEN
            case Unknown() | Deferred():
                return KNOWN_LATER
            case _:
                return json.dumps(value)

    def span(self, value: Value) -> Span:
        """Return the value on one line, with its style."""
        return Span(self.inline(value), _style(value))

    def pair(self, old: Value, new: Value) -> tuple[Span, Span]:
        """Return two values for comparison. If one text needs quotes, both get them."""
        spans = self.span(old), self.span(new)
        if (
            isinstance(old, str)
            and isinstance(new, str)
            and any(span.text.startswith('"') for span in spans)
        ):
            return Span(quote(self.clean(old))), Span(quote(self.clean(new)))
        return spans

    def block(self, label: str, value: Value, indent: int, width: int) -> Iterator[Line]:
        """Yield `label: value`, over several lines if one is too short."""
        if isinstance(value, str) and "\n" in value:
            yield line(indent, Span(f"{label}:", "key"), Span(" |", "dim"))
            yield from self.text(value, indent + 2)
        elif (isinstance(value, dict) and value) or (
            isinstance(value, list) and not self._fits(value, width - indent - len(label) - 2)
        ):
            yield line(indent, Span(f"{label}:", "key"))
            yield from self.children(value, indent + 2, width)
        else:
            yield line(indent, Span(f"{label}:", "key"), " ", self.span(value))

    def children(self, value: Attributes | list[Value], indent: int, width: int) -> Iterator[Line]:
        """Yield each item of a map or list as its own block."""
        if isinstance(value, list):
            for item in value:
                yield from self._bullet(item, indent, width)
        else:
            for name, item in value.items():
                yield from self.block(key(self.clean(name)), item, indent, width)

    def text(self, text: str, indent: int) -> Iterator[Line]:
        """Yield every line of a text, or its beginning."""
        lines = self.clean(text).splitlines()
        shown = lines if self.everything or len(lines) <= MAX_LINES + 1 else lines[:MAX_LINES]
        for each in shown:
            yield line(indent, printable(each))
        if len(shown) < len(lines):
            yield hidden_lines(indent, len(lines) - len(shown))

    def _fits(self, value: list[Value], width: int) -> bool:
        if any(
            isinstance(item, dict | list) or (isinstance(item, str) and "\n" in item)
            for item in value
        ):
            return False
        return cells(self.inline(value)) <= width

    def _bullet(self, item: Value, indent: int, width: int) -> Iterator[Line]:
        if isinstance(item, str) and "\n" in item:
            yield line(indent, "- ", Span("|", "dim"))
            yield from self.text(item, indent + 2)
        elif (isinstance(item, dict | list)) and item:
            first, *rest = self.children(item, indent + 2, width)
            yield line(indent, "- ", *first.spans)
            yield from rest
        else:
            yield line(indent, "- ", self.span(item))


def hidden_lines(indent: int, number: int) -> Line:
    """Return a line that counts the hidden lines and names the option that shows them."""
    return line(indent, Span(f"… {count(number, 'more line')}, -v shows all", "dim"))


def _style(value: Value) -> Style:
    match value:
        case Secret() | Digest():
            return "hidden"
        case Unknown() | Deferred():
            return "unknown"
        case _:
            return ""
