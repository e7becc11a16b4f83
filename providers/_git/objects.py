"""Files, trees and commits as git stores them, read and built without a working tree."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping

import msgspec

from engine.errors import ProviderError
from engine.ports import Call
from providers._git.command import Git

MARK_TRAILER = re.compile(r"^Dtm-(\w+): (.+)$", re.MULTILINE)
"""Pattern of a mark in a commit message."""


class GitFile(msgspec.Struct, frozen=True):
    """Content and git mode: 100644, 100755 (executable) or 120000 (link, `data` is its target)."""

    data: bytes
    mode: str = "100644"


class TreeEntry(msgspec.Struct, frozen=True):
    """The mode and the blob ID of a file. The ID is the hex SHA-1 of a header and the content."""

    mode: str
    blob: str


def hash_blob(data: bytes) -> str:
    """Return the blob ID that git computes for this content."""
    import hashlib

    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def build_marks(call: Call) -> dict[str, str]:
    """Return the marks of a call: tool (`address`), state (`lineage`) and operation (`token`)."""
    marks = {"address": str(call.address), "lineage": call.lineage, "token": call.token}
    return {key: value for key, value in marks.items() if value}


def append_marks(subject: str, call: Call) -> str:
    """Return a commit message that ends with the marks of the call as trailers."""
    trailers = (f"Dtm-{key.title()}: {value}\n" for key, value in build_marks(call).items())
    return subject.rstrip("\n") + "\n\n" + "".join(trailers)


def read_root_marks(git: Git, sha: str) -> dict[str, str]:
    """Return the marks of the root commit, which is the oldest ancestor of `sha`.

    Only first parents are followed. So a merge does not change the result, even if the merged
    branch has another root commit.
    """
    root = git("rev-list", "--first-parent", "--max-parents=0", sha).text
    return _parse_marks(git("cat-file", "commit", root).text)


def read_all_marks(git: Git) -> list[dict[str, str]]:
    """Return the marks of every commit that is reachable from a branch, a tag or a note."""
    _, *messages = git("log", "--all", "--format=%x00%B").text.split("\0")
    return [_parse_marks(message) for message in messages]


def _parse_marks(message: str) -> dict[str, str]:
    return {key.lower(): value for key, value in MARK_TRAILER.findall(message)}


def list_entries(git: Git, sha: str) -> dict[str, TreeEntry]:
    """Return the files of a commit by path."""
    found: dict[str, TreeEntry] = {}
    for item in git("ls-tree", "-r", "-z", "--full-tree", sha).text.split("\0"):
        if item:
            facts, path = item.split("\t", 1)
            mode, _kind, blob = facts.split(" ")
            found[path] = TreeEntry(mode, blob)
    return found


def read_contents(git: Git, blobs: list[str]) -> Iterator[bytes]:
    """Yield the contents of these blobs in the same order."""
    if not blobs:
        return
    out, at = git("cat-file", "--batch", stdin="\n".join([*blobs, ""]).encode()).out, 0
    for _ in blobs:
        end = out.index(b"\n", at)
        size = int(out[at:end].split()[2])
        yield out[end + 1 : end + 1 + size]
        # One newline ends the header, another one ends the content.
        at = end + size + 2


def build_commit(
    git: Git,
    parent: str | None,
    changes: Mapping[str, bytes | GitFile | None],
    message: str,
    author: str,
) -> str:
    """Build a commit with these changes on top of `parent` and return its ID.

    Returns `parent` if the changes change nothing. Raises ProviderError for a path that is not
    valid in a repository, or that conflicts with a file or directory in it.
    """
    present = list_entries(git, parent) if parent else {}
    for path in changes:
        _check_path(path, present)
    # fast-import builds the commit from this stream, without a working tree or an index. The branch
    # `dtm` exists only in the scratch repository.
    who = f"{author} {int(time.time())} +0000\n"
    head = f"commit refs/heads/dtm\nauthor {who}committer {who}"
    parts = [head.encode(), b"data %d\n%s" % (len(message.encode()), message.encode())]
    parts += [f"from {parent}\n".encode()] if parent else []
    parts += [
        _format_file_change(path, change, present.get(path)) for path, change in changes.items()
    ]
    # --done: git creates no commit if the input ends too early.
    git("fast-import", "--quiet", "--done", stdin=b"".join([*parts, b"done\n"]))
    trees = [f"{parent}^{{tree}}"] if parent else []
    ids = git("rev-parse", "refs/heads/dtm", "refs/heads/dtm^{tree}", *trees).text
    sha, tree, *old = ids.splitlines()
    # The trees are equal if nothing has changed. Then no empty commit is added.
    return parent if parent and old == [tree] else sha


def _check_path(path: str, present: Mapping[str, TreeEntry]) -> None:
    parts = path.split("/")
    # Compared in lower case: on a file system that ignores case, a checkout of .GIT would
    # overwrite the repository itself, including its hooks.
    if any(part in ("", ".", "..") or part.lower() == ".git" for part in parts):
        raise ProviderError(
            f'"{path}" is not a valid path for a file in a repository',
            hint="set a relative path without . and .., outside of .git",
        )
    above = ["/".join(parts[:n]) for n in range(1, len(parts))]
    if blocker := next((p for p in above if p in present), ""):
        raise ProviderError(f'cannot write "{path}": the repository has a file "{blocker}" there')
    # git would silently replace the whole directory by the file.
    if any(other.startswith(path + "/") for other in present):
        raise ProviderError(f'cannot write "{path}": the repository has a directory of that name')


def _format_file_change(
    path: str, change: bytes | GitFile | None, present: TreeEntry | None
) -> bytes:
    quoted = '"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if change is None:
        return f"D {quoted}\n".encode()
    if isinstance(change, bytes):
        # Keep the mode, so that a script stays executable when only its content changes.
        change = GitFile(change, present.mode if present else "100644")
    head = f"M {change.mode} inline {quoted}\ndata {len(change.data)}\n"
    return head.encode() + change.data + b"\n"
