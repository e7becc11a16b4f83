r"""The expressions in a configuration file, `[[ ... ]]` and `${{ ... }}`.

A file with expressions is not valid YAML: `image: [[ a ]]/[[ b ]]`, `{o: ${{ a.b.outputs.c }}}`.
So `replace_expressions` replaces each expression by a placeholder before the text is parsed. A
placeholder is as long as its expression and consists of characters from the private use area of
Unicode, which YAML reads as text in plain, flow and quoted scalars. After parsing,
`ScannedText.restore` turns the placeholders back into expressions.

A value therefore never breaks the YAML around it, columns in messages are correct, and an
expression in a comment disappears with the comment.

    scanned = replace_expressions(SourceText("config.yaml", "image: [[ a ]]\n"))
    scanned.expressions[0].text  # "[[ a ]]"
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

import msgspec

from engine.values import Deferred, Value

# A letter of any script with its marks, a digit, "-" or "_".
_NAME_CHARACTER: Final = r"[^\x00-,./:-@\[-^`{-\x7f\s]"
NAME: Final = rf"[^\W\d]{_NAME_CHARACTER}*"
"""Pattern of the name of a variable, in any script."""
DOTTED: Final = rf"{NAME}(?:\.{_NAME_CHARACTER}+)*"
"""Pattern of a name, followed by keys into its value: `name.key.key`."""
_DEFAULT = r"(?:\|[^\n\]]*)?"
_EXPRESSION: Final = re.compile(
    rf"\[\[[ ]*\.?{DOTTED}[ ]*{_DEFAULT}\]\]"  # a variable
    rf"|\[\[[ ]*{NAME}[ ]+[\w\"'\\][^\n\[\],]*?\]\]"  # env NAME, or a function that does not exist
    # A reference, or an expression of another program. One with quotes or escapes is left to
    # the YAML parser, since a quote may end the scalar around it.
    r"|\$\{\{[^{}\n\"'\\]*\}\}"
)
_ALPHABETS: Final = range(0xE000, 0xF8C0, 64)
"""First code points of the alphabets: blocks of 64 characters of the private use area.

Placeholders use the first alphabet that does not occur in the text.
"""


class SourceText(msgspec.Struct, frozen=True, eq=False):
    """The text of a file, and the name of the file in messages."""

    name: str
    text: str

    def at(self, offset: int) -> str:
        """Return `file:line:column` of the character at an offset."""
        line_start = self.text.rfind("\n", 0, offset) + 1
        return f"{self.name}:{self.text.count(chr(10), 0, offset) + 1}:{offset - line_start + 1}"


class Expression(msgspec.Struct, frozen=True):
    """One expression with its brackets, and the offset at which it starts in its source."""

    text: str
    source: SourceText
    offset: int

    @property
    def where(self) -> str:
        """The place of the expression as `file:line:column`."""
        return self.source.at(self.offset)

    @property
    def is_in_comment(self) -> bool:
        """True if its line is a comment."""
        text = self.source.text
        return text[text.rfind("\n", 0, self.offset) + 1 : self.offset].lstrip().startswith("#")


class TextTemplate(Deferred, frozen=True):
    """A scalar that contains expressions."""

    parts: tuple[str | Expression, ...]

    def __str__(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)


class TemplateKey(str):
    """A map key that contains expressions. Its text is the key as the user wrote it."""

    __slots__ = ("template",)
    template: TextTemplate

    @classmethod
    def of(cls, template: TextTemplate) -> TemplateKey:
        """Return the key for a template, which is rendered later."""
        key = cls(template)
        key.template = template
        return key


RawValue: TypeAlias = Value
"""A parsed value. Its leaves may be Literals (type not decided yet) and TextTemplates."""


class ScannedText(msgspec.Struct, frozen=True):
    """A text with placeholders that YAML can read, and their expressions in order."""

    text: str
    expressions: tuple[Expression, ...] = ()
    alphabet: int = 0

    @property
    def has_variables(self) -> bool:
        """True if the text contains variables, whose values are not in the text itself."""
        return any(not expression.text.startswith("$") for expression in self.expressions)

    def restore(self, value: RawValue) -> RawValue:
        """Replace texts with placeholders by TextTemplates, and such map keys by TemplateKeys."""
        match value:
            case str():
                # Placeholders are never ASCII, so that this cheap test is enough for most texts.
                return value if value.isascii() else self._restore_string(value)
            case dict():
                return {
                    key if key.isascii() else self._restore_key(key): self.restore(item)
                    for key, item in value.items()
                }
            case list():
                return [self.restore(item) for item in value]
            case _:
                return value

    def _restore_key(self, text: str) -> str:
        found = self._restore_string(text)
        return found if isinstance(found, str) else TemplateKey.of(found)

    def _restore_string(self, text: str) -> str | TextTemplate:
        first, second, last = (chr(self.alphabet + digit) for digit in (0, 1, 63))
        found = re.split(f"({first}[{second}-{last}]+)", text)
        if len(found) == 1:
            return text
        parts = [
            self._find_expression(part) if index % 2 else part for index, part in enumerate(found)
        ]
        return TextTemplate(tuple(part for part in parts if part))

    def _find_expression(self, placeholder: str) -> Expression:
        number = 0
        for char in placeholder[1:].lstrip(chr(self.alphabet + 1)):
            number = number * 63 + ord(char) - self.alphabet - 1
        return self.expressions[number]


def replace_expressions(source: SourceText) -> ScannedText:
    """Replace every expression by a placeholder, unless the text uses all private alphabets."""
    text = source.text
    if "[[" not in text and "${{" not in text:
        return ScannedText(text)
    alphabet = next((start for start in _ALPHABETS if not _uses_alphabet(text, start)), None)
    if alphabet is None:
        return ScannedText(text)
    expressions: list[Expression] = []

    def replace(found: re.Match[str]) -> str:
        expressions.append(Expression(found[0], source, found.start()))
        return _format_placeholder(alphabet, len(expressions) - 1, len(found[0]))

    return ScannedText(_EXPRESSION.sub(replace, text), tuple(expressions), alphabet)


def _uses_alphabet(text: str, alphabet: int) -> bool:
    """Return whether a text contains characters of an alphabet, also as YAML escapes."""
    escape = rf"\\[uU](?:0000)?{alphabet >> 8:x}"
    return bool(re.search(f"[{chr(alphabet)}-{chr(alphabet + 63)}]|(?i:{escape})", text))


def _format_placeholder(alphabet: int, number: int, width: int) -> str:
    """Return a number in base 63, padded to `width` with a start character and leading zeros.

    The start character separates adjacent placeholders. The shortest expression, `[[a]]`, leaves
    four digits, which is enough for 15 million placeholders.
    """
    digits = ""
    while number:
        number, digit = divmod(number, 63)
        digits = chr(alphabet + 1 + digit) + digits
    return chr(alphabet) + digits.rjust(width - 1, chr(alphabet + 1))
