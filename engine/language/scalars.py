"""Unquoted scalars, by the core schema of YAML 1.2.

An example:

    read("1")  # 1
    read("1.10")  # Literal(1.1, "1.10"): a version or a number, as the option's type decides
"""

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
_MAX_DIGITS: Final = 300
"""A longer text is not a number. Python itself refuses to read more than 4300 digits."""


class Literal(Deferred, frozen=True):
    """An unquoted scalar that keeps its text: `1.10`, `0644`, `True`, a number of 30 digits."""

    value: bool | int | float
    text: str

    @property
    def is_storable(self) -> bool:
        """True if JSON can represent the value: it is finite and fits into 64 bits."""
        return -(2**63) <= self.value < 2**64 and math.isfinite(self.value)


Scalar: TypeAlias = "None | bool | int | float | str | Literal"


def read(text: str) -> Scalar:
    """Parse an unquoted scalar. Return a Literal if its value cannot replace its text.

    The value would be written differently, or JSON cannot represent it.
    """
    if text in NULLS:
        return None
    value = _parse_number(text) if (known := _BOOLEANS.get(text)) is None else known
    if value is None:
        return text
    literal = Literal(value, text)
    return value if to_text(value) == text and literal.is_storable else literal


def unwrap_literal(leaf: Value) -> Value:
    """Return the value of a Literal, and any other value unchanged."""
    return leaf.value if isinstance(leaf, Literal) else leaf


def _parse_number(text: str) -> int | float | None:
    # Most scalars are words. A look at their first character is cheaper than the patterns.
    if len(text) > _MAX_DIGITS or (text[0] not in "+-." and not text[0].isdigit()):
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) or _SPECIAL.fullmatch(text):
        # YAML writes `.inf` and `.nan`, Python expects `inf` and `nan`.
        return float(text.replace(".", "", 1) if _SPECIAL.fullmatch(text) else text)
    if _OCTAL.fullmatch(text) or _HEXADECIMAL.fullmatch(text):
        return int(text, 0)
    return None


def to_text(value: bool | float | str | Literal) -> str:
    """Return a scalar as the user wrote it if that is known, otherwise as dtm writes it."""
    match value:
        case Literal():
            return value.text
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case _:
            return repr(value)
