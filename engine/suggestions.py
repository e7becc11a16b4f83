"""Similar names for hints. No other module compares names by similarity.

An example:

    suggest("pth", ["path", "mode"])  # 'check the spelling: "path" is similar'
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def find_similar(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most similar, ignoring case; "" if none is similar."""
    # Imported here: most runs contain no typo, and start-up must stay fast.
    from difflib import get_close_matches

    spelled = {key.lower(): key for key in reversed(list(known))}  # the first spelling wins
    found = get_close_matches(name.lower(), spelled, n=1)
    return spelled[found[0]] if found else ""


def suggest(name: str, known: Sequence[str], *, few: int = 12) -> str:
    """Return a hint with the most similar known name, or with all names if at most `few` exist.

    Return "" if no name is similar and more than `few` exist.
    """
    if similar := find_similar(name, known):
        return f'check the spelling: "{similar}" is similar'
    return f"use one of: {', '.join(known)}" if 0 < len(known) <= few else ""
