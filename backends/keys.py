"""Keys of stores that lay them out as paths."""

from __future__ import annotations


def is_path(key: str) -> bool:
    """Return whether every part of `key` between slashes is a plain name: not "", "." or ".."."""
    return all(part not in ("", ".", "..") for part in key.split("/"))
