"""Bare git repositories on this machine, which are changed by git, as other users would."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path


def git(bare: Path, *args: str, stdin: bytes = b"") -> str:
    """Run git and return its output. Raises CalledProcessError."""
    done = subprocess.run(
        ["git", "--git-dir", str(bare), *args], input=stdin, capture_output=True, check=True
    )
    return done.stdout.decode()


def make(directory: Path, name: str = "repos/me/app.git", branch: str = "main") -> Path:
    """Create a bare repository with a README, by default at ./repos/me/app.git."""
    bare = directory / name
    subprocess.run(
        ["git", "init", "-q", "--bare", "--initial-branch", branch, str(bare)], check=True
    )
    push(bare, {"README.md": "hello\n"}, branch=branch)
    return bare


def push(bare: Path, files: Mapping[str, str | None], branch: str = "main") -> None:
    """Commit as another user: write the given files, and remove those with None."""
    known = subprocess.run(
        ["git", "--git-dir", str(bare), "rev-parse", "-q", "--verify", branch],
        capture_output=True,
        check=False,
    )
    parent = [f"from refs/heads/{branch}^0\n".encode()] if known.returncode == 0 else []
    changes = [
        f'D "{path}"\n'.encode()
        if text is None
        else f'M 100644 inline "{path}"\ndata {len(text.encode())}\n{text}\n'.encode()
        for path, text in files.items()
    ]
    head = (
        f"commit refs/heads/{branch}\ncommitter Ann <ann@example.com> 1700000000 +0000\n"
        "data 7\nby hand\n"
    ).encode()
    git(bare, "fast-import", "--quiet", stdin=b"".join([head, *parent, *changes]))


def show(bare: Path, path: str, branch: str = "main") -> str:
    """Return the content of a file. Raises CalledProcessError if it does not exist."""
    return git(bare, "show", f"{branch}:{path}")
