"""Durations in the form that users write.

An example:

    parse_duration("1h30m")  # 5400.0
"""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)"


def parse_duration(text: str) -> float:
    """Return the seconds of `30`, `1.5s`, `5m0s`, `1h30m` or `500ms`.

    Raises ValueError with a message for the user.
    """
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text):
        return float(text)
    if not re.fullmatch(f"(?:{_PART})+", text):
        raise ValueError(
            f'"{text}" is not a duration: write a number with h, m, s or ms, such as 90s or 1h30m'
        )
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, text))
