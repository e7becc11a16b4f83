"""One branch of a git repository, read and changed through the git binary.

The repository is anything that git can reach by a URL, or a path on this machine. Nothing is ever
checked out and nothing is ever forced: a commit is built on the tip in a scratch repository and
pushed; a refused push is built again on the new tip. Paths use "/", contents are bytes.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import os
import random
import re
import tempfile
import time
from collections.abc import Collection, Generator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from engine.errors import CancelledError, NotFoundError, OutcomeUnknownError, ProviderError
from engine.ports import Call
from engine.values import HIDDEN
from providers._git.command import Git, GitResult
from providers._git.local import LocalRepository
from providers._git.objects import (
    GitFile,
    TreeEntry,
    append_marks,
    build_commit,
    list_entries,
    read_contents,
    read_root_marks,
)
from providers._git.urls import is_path, local_path, normalize_url, strip_credentials

FALLBACK_AUTHOR = "dtm <dtm@localhost>"
AUTHOR = re.compile(r"[^<>\n]*<[^<>\n]+>")
BRANCH_MOVED = re.compile(
    r"fetch first|non-fast-forward|stale info|"
    r"cannot lock ref|failed to update ref|incorrect old value"
)
LOCK_FAILURE = re.compile(r"(cannot lock ref .*?)\s*$", re.MULTILINE)
CANNOT_CREATE_FILE = re.compile(r"Unable to create '.*': (?!File exists)")
NO_REMOTE_GC = "--receive-pack=git -c receive.autogc=false receive-pack"
"""On this machine dtm ends the receiving git too, which must not be in the middle of a gc then."""
CONNECTION_LOST = re.compile(
    r"hung up unexpectedly|unexpected disconnect|RPC failed|early EOF|"
    r"[Bb]roken pipe|Connection reset"
)
HEAD_REF = re.compile(r"^ref: refs/heads/(.+)\tHEAD$", re.MULTILINE)
SUBMODULE = "160000"
MAX_TRIES = 30
MIN_SECRET_LENGTH = 6


class BranchTip(msgspec.Struct, frozen=True):
    """A branch at one moment.

    `first` holds the marks of its first commit (`call_marks`), empty unless history was asked for.
    """

    sha: str
    entries: Mapping[str, TreeEntry]
    root_marks: Mapping[str, str]


class GitRepository:
    """One branch of one repository, for one provider call.

    `url` is anything git understands; a relative path is taken from the call's base directory.
    `token` is the password of http URLs and never stands on a command line. `local` is the
    repository on this machine, None for one elsewhere. Every method may raise AuthError (denied),
    ProviderError (unreachable, out of time), CancelledError. A repository counts as absent only
    where the other side says so.
    """

    def __init__(self, url: str, branch: str = "main", *, call: Call, token: str = "") -> None:
        self.branch, self.call = branch, call
        path = call.base_dir / local_path(url) if is_path(url) else None
        self.url = str(path) if path else url
        self.location = strip_credentials(self.url)
        self.identity = normalize_url(self.url)
        secrets = _list_secrets(url, self.location, token)
        self._git = Git(call, env=_build_token_config(url, token), secrets=secrets)
        self.local = LocalRepository(path, self._git) if path else None

    def with_branch(self, branch: str) -> GitRepository:
        """Take another branch of the same repository."""
        other = copy.copy(self)
        other.branch = branch
        return other

    def list_branches(self) -> dict[str, str] | None:
        """Map each branch to its commit id; None if there is no such repository.

        Raises ProviderError for a directory that holds anything else.
        """
        if self.local and self.local.find_git_directory() is None:
            return None
        try:
            listed = self._git("ls-remote", "--heads", "--", self._git_address()).text
        except NotFoundError:
            return None
        pairs = (line.split("\trefs/heads/", 1) for line in listed.splitlines())
        return {name: sha for sha, name in pairs}

    def read_tip(self, *, history: bool = False) -> BranchTip | None:
        """Look at the branch now; None if repository or branch are absent."""
        with self._open_tip(history=history) as (git, sha):
            if sha is None:
                return None
            return BranchTip(
                sha, list_entries(git, sha), read_root_marks(git, sha) if history else {}
            )

    def read(self, paths: Collection[str] | None = None) -> dict[str, bytes] | None:
        """Read these files, or all, by path; None if repository or branch are absent."""
        found = self.read_files(paths)
        return None if found is None else {path: file.data for path, file in found.items()}

    def read_files(self, paths: Collection[str] | None = None) -> dict[str, GitFile] | None:
        """Read as `read` does, with modes; submodules are left out."""
        with self._open_tip(blobs=paths is None) as (git, sha):
            if sha is None:
                return None
            entries = {
                path: entry
                for path, entry in list_entries(git, sha).items()
                if entry.mode != SUBMODULE and (paths is None or path in paths)
            }
            contents = read_contents(git, [entry.blob for entry in entries.values()])
            return {
                path: GitFile(data, entries[path].mode)
                for path, data in zip(entries, contents, strict=True)
            }

    def read_default_branch(self) -> str | None:
        """Name the branch that a clone checks out; None if repository or branch are absent."""
        if self.list_branches() is None:
            return None
        said = self._git("ls-remote", "--symref", "--", self._git_address(), "HEAD").text
        match = HEAD_REF.search(said)
        return match[1] if match else None

    def commit(
        self,
        changes: Mapping[str, bytes | GitFile | None],
        message: str,
        *,
        author: str = "",
        start_branch: str = "",
        must_be_first: bool = False,
    ) -> str:
        """Write (bytes, GitFile) and remove (None) these files in one commit; return its id.

        The tip's id if nothing differs. Bytes keep a file's mode. `author` is `Name <mail>`, "" for
        git's own identity. An absent branch begins at the tip of the branch `start`, or anew. With
        `first` only the very first commit of the branch is made: ProviderError if there is one.
        Raises NotFoundError if the repository is absent, OutcomeUnknownError if the push was cut
        off.
        """
        text = append_marks(message, self.call)
        refused = ""
        for attempt in range(MAX_TRIES):
            heads = self.list_branches()
            if heads is None:
                raise NotFoundError(
                    f"there is no repository {self.location}", hint="make an empty one there first"
                )
            there, parent = (
                heads.get(self.branch),
                heads.get(self.branch) or heads.get(start_branch),
            )
            if there and must_be_first:
                raise ProviderError(
                    f"{self.location}: somebody else began the branch {self.branch} just now"
                )
            with self._open_scratch(parent) as git:
                # Built anew each time: on a new tip, so that the push adds to it.
                sha = build_commit(git, parent, changes, text, self._resolve_author(author))
                refused = "" if sha == there else self._push(git, sha, there)
                if not refused:
                    return sha
            self._wait_before_retry(attempt, refused)
        raise self._build_refusal(refused, f"in {MAX_TRIES} tries")

    def init_bare(self, marks: Mapping[str, str] | None = None) -> None:
        """Make the repository where that is on this machine, as `LocalRepository.make` does."""
        if self.local is None:
            raise NotFoundError(
                f"{self.location} does not exist, "
                "and git cannot make repositories on other machines",
                hint="make an empty repository there first, or use scmType: local",
            )
        self.local.create(self.branch, marks or {})

    def _git_address(self) -> str:
        return str(self.local.find_git_directory()) if self.local else self.url

    @contextlib.contextmanager
    def _open_tip(
        self, *, history: bool = False, blobs: bool = False
    ) -> Generator[tuple[Git, str | None]]:
        """Yield a git that sees the branch's tip, and the tip's id (None: absent)."""
        sha = (self.list_branches() or {}).get(self.branch)
        if sha is None:
            yield self._git, None
            return
        if self.local:
            # Read in place: nothing needs to be fetched.
            yield Git(self.call, self.local.find_git_directory()), sha
            return
        with self._open_scratch(sha, history=history, blobs=blobs) as git:
            yield git, sha

    @contextlib.contextmanager
    def _open_scratch(
        self, sha: str | None, *, history: bool = False, blobs: bool = False
    ) -> Generator[Git]:
        """Yield a git in a temporary repository that sees `sha` and, with `history`, all before it.

        Without `blobs` contents may stay away: git fetches those that are read one by one, and a
        commit needs none.
        """
        with tempfile.TemporaryDirectory(prefix="dtm-git-", ignore_cleanup_errors=True) as place:
            git = Git(self.call, Path(place), self._git.env, self._git.secrets)
            # No template: it could bring the user's hooks into the scratch repository.
            self._git("init", "-q", "--bare", "--template=", place)
            git("config", "remote.origin.url", self._git_address())
            if self.local:
                info = Path(place, "objects", "info")
                info.mkdir(exist_ok=True)
                # Objects on this machine are borrowed instead of copied.
                (info / "alternates").write_text(
                    f"{self._git_address()}/objects\n", encoding="utf-8"
                )
            elif sha is not None:
                depth = () if history else ("--depth=1",)
                less = () if blobs else ("--filter=blob:none",)
                git("fetch", "-q", "--no-tags", *depth, *less, "origin", sha)
            yield git

    def _resolve_author(self, asked: str) -> str:
        found = (
            asked
            # Without useConfigOnly git would make an address up from user and host name.
            or self._git.run("-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT").text
            or FALLBACK_AUTHOR
        )
        match = AUTHOR.match(found)
        if not match:
            raise ProviderError(f'author "{asked}" must look like: Name <mail@example.com>')
        return match[0]

    def _push(self, git: Git, sha: str, there: str | None) -> str:
        """Move the branch to `sha`; return "", or why it stays, if others moved or hold it."""
        # --no-verify: a global core.hooksPath would run the user's pre-push hook.
        options = ("--porcelain", "--no-verify", *((NO_REMOTE_GC,) if self.local else ()))
        refspec = f"{sha}:refs/heads/{self.branch}"
        done = git.run("push", *options, "origin", refspec, pushes=True)
        if done.code == 0:
            return ""
        refusal = "\n".join(line for line in done.text.splitlines() if line.startswith("!"))
        # Git says "cannot lock ref" both while others write and where nothing ever can be written.
        if BRANCH_MOVED.search(refusal) and not CANNOT_CREATE_FILE.search(done.err):
            why = LOCK_FAILURE.search(done.err)
            return why[1] if why else "others moved it each time"
        if not refusal and CONNECTION_LOST.search(done.err):
            return self._check_cut_off_push(sha, there)
        words = "\n".join(f"error: {line[1:].strip()}" for line in refusal.splitlines())
        raise git.build_error(
            GitResult(done.code, b"", git.redact("\n".join((done.err, words)).strip()))
        )

    def _check_cut_off_push(self, sha: str, there: str | None) -> str:
        now = (self.list_branches() or {}).get(self.branch)
        # An unmoved branch proves nothing: the other end may still be at work on the push.
        if now == there:
            raise OutcomeUnknownError(
                f"{self.location}: the push was cut off, it may or may not have arrived"
            )
        return "" if now == sha else "others moved it each time"

    def _build_refusal(self, why: str, when: str) -> ProviderError:
        """Make the error of a branch that others kept from being written."""
        held = "File exists" in why
        hint = "if no git is at work there, one that was killed has left that file: remove it"
        return ProviderError(
            f"{self.location}: {self.branch} could not be written {when}: {why}",
            retryable=not held,
            hint=hint if held else "",
        )

    def _wait_before_retry(self, attempt: int, refused: str) -> None:
        if time.monotonic() > self.call.deadline:
            raise self._build_refusal(refused, "within its time")
        longest = min(1.0, 0.05 * 2**attempt)
        # Random, so that two clients that collided do not collide again.
        until = time.monotonic() + random.uniform(0.01, longest)  # noqa: S311 - no secret
        while (now := time.monotonic()) < until:
            if self.call.cancelled():
                raise CancelledError("git commit was cancelled")
            time.sleep(min(0.1, until - now))


def _build_token_config(url: str, token: str) -> dict[str, str]:
    """Make git settings that send the token to this URL's host only.

    They go by the environment, which, unlike arguments, other users do not see in a process list.
    """
    parts = urlsplit(url)
    if not token or not parts.scheme.startswith("http"):
        return {}
    # GitLab wants this user name beside an OAuth token; GitHub takes any.
    basic = base64.b64encode(f"oauth2:{token}".encode()).decode()
    # Behind the settings that the user passes the same way.
    n = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    host = parts.netloc.rpartition("@")[2]
    return {
        "GIT_CONFIG_COUNT": str(n + 1),
        f"GIT_CONFIG_KEY_{n}": f"http.{parts.scheme}://{host}/.extraHeader",
        f"GIT_CONFIG_VALUE_{n}": f"Authorization: Basic {basic}",
    }


def _list_secrets(url: str, shown: str, token: str) -> tuple[tuple[str, str], ...]:
    """List what git may repeat, each with what is shown instead.

    A short password alone is left out: it would hide parts of ordinary words.
    """
    parts = urlsplit(url) if "://" in url else None
    if parts is None or "@" not in parts.netloc:
        return ((token, HIDDEN),) if token else ()
    words = [word for word in (parts.password or "", token) if len(word) >= MIN_SECRET_LENGTH]
    return (
        (url, shown),
        (f"{parts.netloc.rpartition('@')[0]}@", ""),
        *((word, HIDDEN) for word in words),
    )
