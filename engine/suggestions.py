"""The nearest known name, for hints: the only place where names are compared by likeness."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def find_similar(name: str, known: Iterable[str]) -> str:
    """Find the known name that is the most like this one, letter case aside; "" if none is."""
    from difflib import get_close_matches  # only when something is wrong

    spelled = {key.lower(): key for key in reversed(list(known))}  # the first spelling counts
    found = get_close_matches(name.lower(), spelled, n=1)
    return spelled[found[0]] if found else ""


def suggest(name: str, known: Sequence[str], *, few: int = 12) -> str:
    """Give a hint that names the nearest known name, else all of them if they are at most `few`.

    Returns "" where there is nothing to name.
    """
    if meant := find_similar(name, known):
        return f'did you mean "{meant}"?'
    return f"known: {', '.join(known)}" if 0 < len(known) <= few else ""
