r"""Nesting of a YAML text, measured before a parser in C or Rust could overflow its stack.

is_flat("a: [1, 2]\n")   # every bracket closes on its own line
is_deep("[" * 1000)      # only PyYAML's own parser, in Python, may read this
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

_STAIRS: Final = re.compile(r"(?:[-?:][ \t]+){20}")
"""Lists in lists in lists, begun on one line."""
_MAX_DEPTH: Final = 20


def is_flat(text: str) -> bool:
    """Tell if every bracket closes on its own line, with little nesting."""
    # Brackets inside quotes count too. At worst PyYAML reads the text, which is only slower.
    left = _only(text, b"[]{}\n")
    for _ in range(_MAX_DEPTH):
        before, left = left, left.replace(b"[]", b"").replace(b"{}", b"")
        if left == before:
            break
    return not left.strip(b"\n") and not _STAIRS.search(text)


def is_deep(text: str) -> bool:
    """Tell if a text may nest so deeply that a parser in C would overflow its stack."""
    steps = (1 if bracket in b"[{" else -1 for bracket in _only(text, b"[]{}"))
    return max(accumulate(steps), default=0) > _MAX_DEPTH or bool(_STAIRS.search(text))


def _only(text: str, kept: bytes) -> bytes:
    return text.encode("utf-8", "replace").translate(None, bytes(set(range(256)) - set(kept)))
