"""Keys of stores that use them as paths."""

from __future__ import annotations


def is_path(key: str) -> bool:
    """Return whether each part of `key` between slashes is a plain name, not "", "." or ".."."""
    return all(part not in ("", ".", "..") for part in key.split("/"))
