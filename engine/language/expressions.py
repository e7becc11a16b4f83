"""The expressions in a source file, `[[ ... ]]` and `${{ ... }}`, as placeholders of equal width.

The sources are not YAML as they stand (`image: [[ a ]]/[[ b ]]`, `{o: ${{ a.b.outputs.c }}}`).
So `scan` replaces every expression by as many characters of a private alphabet before the text is
parsed. They parse as text in plain, flow and quoted scalars alike, and afterwards
`Scanned.restore` makes expressions of them again. A value can therefore never break the YAML,
columns stay true, and an expression in a comment is gone like the comment.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

import msgspec

from engine.values import Deferred, Value

_LATER: Final = (
    r"[^\x00-,./:-@\[-^`{-\x7f\s]"  # a letter of any script with its marks, a digit, "-" or "_"
)
NAME: Final = rf"[^\W\d]{_LATER}*"
"""Pattern of a variable's name, in any script."""
DOTTED: Final = rf"{NAME}(?:\.{_LATER}+)*"
"""Pattern of a name and the keys that lead further into its value."""
_DEFAULT = r"(?:\|[^\n\]]*)?"
_EXPRESSION: Final = re.compile(
    rf"\[\[[ ]*\.?{DOTTED}[ ]*{_DEFAULT}\]\]"  # a variable
    rf"|\[\[[ ]*{NAME}[ ]+[\w\"'\\][^\n\[\],]*?\]\]"  # env NAME, or a function that does not exist
    # a reference, or another program's expression; quotes and escapes are left to YAML
    r"|\$\{\{[^{}\n\"'\\]*\}\}"
)
_ALPHABETS: Final = range(0xE000, 0xF8C0, 64)
"""Starts of the blocks of 64 private-use characters.

Placeholders are written in the first block that the text does not use.
"""


class SourceText(msgspec.Struct, frozen=True, eq=False):
    """A file's text and how messages call it."""

    name: str
    text: str

    def at(self, offset: int) -> str:
        """Give `file:line:column` of a character."""
        line_start = self.text.rfind("\n", 0, offset) + 1
        return f"{self.name}:{self.text.count(chr(10), 0, offset) + 1}:{offset - line_start + 1}"


class Expression(msgspec.Struct, frozen=True):
    """One expression as written, brackets included, and where it starts in its source."""

    text: str
    source: SourceText
    offset: int

    @property
    def where(self) -> str:
        """`file:line:column`."""
        return self.source.at(self.offset)

    @property
    def is_in_comment(self) -> bool:
        """True if it stands on a line that is a comment."""
        text = self.source.text
        return text[text.rfind("\n", 0, self.offset) + 1 : self.offset].lstrip().startswith("#")


class TextTemplate(Deferred, frozen=True):
    """A scalar with expressions inside."""

    parts: tuple[str | Expression, ...]

    def __str__(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)


class TemplateKey(str):
    """A map key with expressions inside; as text it is what the source says."""

    __slots__ = ("template",)
    template: TextTemplate

    @classmethod
    def of(cls, template: TextTemplate) -> TemplateKey:
        """Make the key that a template will become."""
        key = cls(template)
        key.template = template
        return key


RawValue: TypeAlias = Value
"""A value as parsed.

Its leaves may also be Literals (of undecided type) and TextTemplates (not yet rendered).
"""


class ScannedText(msgspec.Struct, frozen=True):
    """A text that YAML can read, and the expressions behind its placeholders in order."""

    text: str
    expressions: tuple[Expression, ...] = ()
    alphabet: int = 0

    @property
    def has_variables(self) -> bool:
        """True if rendering may bring in values that the text itself does not hold."""
        return any(not expression.text.startswith("$") for expression in self.expressions)

    def restore(self, value: RawValue) -> RawValue:
        """Turn placeholders back: strings with some become TextTemplates, map keys Keys."""
        match value:
            case str():
                # Placeholders are never ASCII: this cheap test is enough for most texts.
                return value if value.isascii() else self._string(value)
            case dict():
                return {
                    key if key.isascii() else self._key(key): self.restore(item)
                    for key, item in value.items()
                }
            case list():
                return [self.restore(item) for item in value]
            case _:
                return value

    def _key(self, text: str) -> str:
        found = self._string(text)
        return found if isinstance(found, str) else TemplateKey.of(found)

    def _string(self, text: str) -> str | TextTemplate:
        first, second, last = (chr(self.alphabet + digit) for digit in (0, 1, 63))
        found = re.split(f"({first}[{second}-{last}]+)", text)
        if len(found) == 1:
            return text
        parts = [self._expression(part) if index % 2 else part for index, part in enumerate(found)]
        return TextTemplate(tuple(part for part in parts if part))

    def _expression(self, placeholder: str) -> Expression:
        number = 0
        for char in placeholder[1:].lstrip(chr(self.alphabet + 1)):
            number = number * 63 + ord(char) - self.alphabet - 1
        return self.expressions[number]


def replace_expressions(source: SourceText) -> ScannedText:
    """Replace every expression by its placeholder, unless the text uses all private alphabets."""
    text = source.text
    if "[[" not in text and "${{" not in text:
        return ScannedText(text)
    alphabet = next((start for start in _ALPHABETS if not _uses(text, start)), None)
    if alphabet is None:
        return ScannedText(text)
    expressions: list[Expression] = []

    def replace(found: re.Match[str]) -> str:
        expressions.append(Expression(found[0], source, found.start()))
        return _placeholder(alphabet, len(expressions) - 1, len(found[0]))

    return ScannedText(_EXPRESSION.sub(replace, text), tuple(expressions), alphabet)


def _uses(text: str, alphabet: int) -> bool:
    """Tell if a text holds characters of an alphabet, as such or as escapes."""
    escape = rf"\\[uU](?:0000)?{alphabet >> 8:x}"
    return bool(re.search(f"[{chr(alphabet)}-{chr(alphabet + 63)}]|(?i:{escape})", text))


def _placeholder(alphabet: int, number: int, width: int) -> str:
    """Write a number in base 63, behind a start character and leading zeros.

    The shortest expression, `[[a]]`, leaves room for 15 million placeholders.
    """
    digits = ""
    while number:
        number, digit = divmod(number, 63)
        digits = chr(alphabet + 1 + digit) + digits
    return chr(alphabet) + digits.rjust(width - 1, chr(alphabet + 1))
