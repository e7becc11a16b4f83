"""Bare repositories on disk, changed by git itself and by nobody's provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dtm.trials.repositories import git, make, push, show
from engine.address import Address
from engine.options.decode import build, decode
from engine.ports import AnyProvider, Call

__all__ = ["call", "faults", "git", "listed", "log", "make", "options", "push", "show"]


def listed(bare: Path, branch: str = "main") -> set[str]:
    return set(git(bare, "ls-tree", "-r", "--name-only", branch).split())


def log(bare: Path, branch: str = "main") -> list[str]:
    """Whole messages, newest first."""
    return [
        message.strip()
        for message in git(bare, "log", "--format=%B%x00", branch).split("\0")
        if message.strip()
    ]


def call(directory: Path, plugin: str = "ci") -> Call:
    return Call(Address(plugin, "a"), directory, token="t-1", lineage="line-1")


def options(provider: AnyProvider, **given: Any) -> Any:
    """Make options as a configuration has them, by the engine's own decoder."""
    values, faults = decode(given, provider.options, env={})
    assert not faults, faults
    return build(values, provider.options)


def faults(provider: AnyProvider, **given: Any) -> str:
    """Collect the faults that validation finds in options."""
    return "\n".join(fault.message for fault in decode(given, provider.options, env={})[1])
