"""Plain scalars by the core schema of YAML 1.2, with their text where it matters."""

from __future__ import annotations

import math
import re
from typing import Final, TypeAlias

from engine.values import Deferred, Value

NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {
    text: text.lower() == "true" for text in ("true", "True", "TRUE", "false", "False", "FALSE")
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL: Final = re.compile(r"0o[0-7]+")
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_DIGITS: Final = 300
"""More digits than a user means as a number; Python refuses to convert 4300 and more."""


class Literal(Deferred, frozen=True):
    """A plain scalar whose value dtm would write differently (`1.10`, `0644`, `True`, `1e3`)."""

    value: bool | int | float
    text: str

    @property
    def is_storable(self) -> bool:
        """True if JSON can hold the value: it is finite and fits 64 bits."""
        return -(2**63) <= self.value < 2**64 and math.isfinite(self.value)


Scalar: TypeAlias = "None | bool | int | float | str | Literal"


def read(text: str) -> Scalar:
    """Read an unquoted scalar; as a Literal where the value alone does not give its text back."""
    if text in NULLS:
        return None
    value = _number(text) if (known := _BOOLEANS.get(text)) is None else known
    if value is None:
        return text
    literal = Literal(value, text)
    return value if to_text(value) == text and literal.is_storable else literal


def unwrap_literal(leaf: Value) -> Value:
    """Give the value of a Literal; every other value as it is."""
    return leaf.value if isinstance(leaf, Literal) else leaf


def _number(text: str) -> int | float | None:
    # Most scalars are words: their first character spares them all patterns.
    if len(text) > _DIGITS or (text[0] not in "+-." and not text[0].isdigit()):
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) or _SPECIAL.fullmatch(text):
        # Python spells infinity without the dot.
        return float(text.replace(".", "", 1) if _SPECIAL.fullmatch(text) else text)
    if _OCTAL.fullmatch(text) or _HEXADECIMAL.fullmatch(text):
        return int(text, 0)
    return None


def to_text(value: bool | float | str | Literal) -> str:
    """Write a scalar as text: as in the source where that is known, else as dtm writes it."""
    match value:
        case Literal():
            return value.text
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case _:
            return repr(value)
