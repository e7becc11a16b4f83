r"""The nesting depth of a YAML text, checked before a parser in C or Rust reads it.

Such a parser recurses without a limit. Deep nesting overflows its stack, which ends the process
without an error message.

    is_flat("a: [1, 2]\n")  # True: every bracket closes on the line where it opens
    is_deep("[" * 1000)  # True: only PyYAML's parser in Python may read this
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

_NESTED_INDICATORS: Final = re.compile(r"(?:[-?:][ \t]+){20}")
"""Twenty nested lists or maps that begin on one line: `- - - ...`."""
_MAX_DEPTH: Final = 20


def is_flat(text: str) -> bool:
    """Return whether every bracket closes on the line where it opens, at most 20 deep."""
    # Brackets inside quotes count as well: at worst PyYAML reads the text, which is only slower.
    left = _keep_bytes(text, b"[]{}\n")
    for _ in range(_MAX_DEPTH):
        before, left = left, left.replace(b"[]", b"").replace(b"{}", b"")
        if left == before:
            break
    return not left.strip(b"\n") and not _NESTED_INDICATORS.search(text)


def is_deep(text: str) -> bool:
    """Return whether a text may be nested so deeply that a parser in C overflows its stack."""
    steps = (1 if bracket in b"[{" else -1 for bracket in _keep_bytes(text, b"[]{}"))
    return max(accumulate(steps), default=0) > _MAX_DEPTH or bool(_NESTED_INDICATORS.search(text))


def _keep_bytes(text: str, kept: bytes) -> bytes:
    return text.encode("utf-8", "replace").translate(None, bytes(set(range(256)) - set(kept)))
