"""Helpers for bare repositories on disk, which use git itself and no provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dtm.trials.repositories import git, make, push, show
from engine.address import Address
from engine.options.decode import build, decode
from engine.ports import AnyProvider, Call

__all__ = [
    "call",
    "faults",
    "git",
    "list_files",
    "list_messages",
    "make",
    "options",
    "push",
    "show",
]


def list_files(bare: Path, branch: str = "main") -> set[str]:
    return set(git(bare, "ls-tree", "-r", "--name-only", branch).split())


def list_messages(bare: Path, branch: str = "main") -> list[str]:
    """Return the complete commit messages, newest first."""
    return [
        message.strip()
        for message in git(bare, "log", "--format=%B%x00", branch).split("\0")
        if message.strip()
    ]


def call(directory: Path, plugin: str = "ci") -> Call:
    return Call(Address(plugin, "a"), directory, token="t-1", lineage="line-1")


def options(provider: AnyProvider, **given: Any) -> Any:
    """Decode options as a config file has them."""
    values, faults = decode(given, provider.options, env={})
    assert not faults, faults
    return build(values, provider.options)


def faults(provider: AnyProvider, **given: Any) -> str:
    """Return the messages of all problems in these options."""
    return "\n".join(fault.message for fault in decode(given, provider.options, env={})[1])
