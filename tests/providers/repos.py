"""Bare repositories on disk, changed by git itself and by nobody's provider."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.address import Address
from engine.decode import build, decode
from engine.ports import AnyProvider, Call


def git(bare: Path, *args: str, stdin: bytes = b"") -> str:
    done = subprocess.run(["git", "--git-dir", str(bare), *args], input=stdin, capture_output=True, check=True)
    return done.stdout.decode()


def make(directory: Path, name: str = "repos/me/app.git", branch: str = "main") -> Path:
    """A bare repository with a README, at ./repos/me/app.git below the directory unless told otherwise."""
    bare = directory / name
    subprocess.run(["git", "init", "-q", "--bare", "--initial-branch", branch, str(bare)], check=True)
    push(bare, {"README.md": "hello\n"}, branch=branch)
    return bare


def push(bare: Path, files: Mapping[str, str | None], branch: str = "main") -> None:
    """A commit by a person: these files written, or removed where None."""
    known = subprocess.run(
        ["git", "--git-dir", str(bare), "rev-parse", "-q", "--verify", branch], capture_output=True, check=False
    )
    parent = [f"from refs/heads/{branch}^0\n".encode()] if known.returncode == 0 else []
    changes = [
        f'D "{path}"\n'.encode() if text is None else f'M 100644 inline "{path}"\ndata {len(text.encode())}\n{text}\n'.encode()
        for path, text in files.items()
    ]
    head = f"commit refs/heads/{branch}\ncommitter Ann <ann@example.com> 1700000000 +0000\ndata 7\nby hand\n".encode()
    git(bare, "fast-import", "--quiet", stdin=b"".join([head, *parent, *changes]))


def show(bare: Path, path: str, branch: str = "main") -> str:
    return git(bare, "show", f"{branch}:{path}")


def listed(bare: Path, branch: str = "main") -> set[str]:
    return set(git(bare, "ls-tree", "-r", "--name-only", branch).split())


def log(bare: Path, branch: str = "main") -> list[str]:
    """Whole messages, newest first."""
    return [message.strip() for message in git(bare, "log", "--format=%B%x00", branch).split("\0") if message.strip()]


def call(directory: Path, plugin: str = "ci") -> Call:
    return Call(Address(plugin, "a"), directory, token="t-1", lineage="line-1")


def options(provider: AnyProvider, **given: Any) -> Any:
    """Options as a configuration has them, by the engine's own decoder."""
    values, faults = decode(given, provider.options, env={})
    assert not faults, faults
    return build(values, provider.options)


def faults(provider: AnyProvider, **given: Any) -> str:
    """What validation says of options."""
    return "\n".join(fault.message for fault in decode(given, provider.options, env={})[1])
