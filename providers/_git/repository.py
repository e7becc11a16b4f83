"""One branch of a git repository, read and changed with the git program.

The repository is at any URL that git can reach, or at a path on this machine. dtm checks out no
files and forces no push. It builds a commit on top of the tip in a scratch repository and pushes
it. If the branch has moved meanwhile, dtm builds the commit again on the new tip. Paths use "/",
the contents of files are bytes.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import os
import random
import re
import shlex
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
"""Refusals of a push because another client has moved the branch, or is moving it."""
LOCK_FAILURE = re.compile(r"(cannot lock ref .*?)\s*$", re.MULTILINE)
LOCK_FILE = re.compile(r"Unable to create '(.*)': File exists")
"""A lock file that another git process holds, or that a killed one has left."""
CANNOT_CREATE_FILE = re.compile(r"Unable to create '.*': (?!File exists)")
"""A lock file that can never be created, for example because its name is too long."""
CANNOT_WRITE = re.compile(r"insufficient permission|unable to create temporary|unpacker error")
NO_REMOTE_GC = "--receive-pack=git -c receive.autogc=false receive-pack"
"""Keeps the receiving git from a garbage collection.

For a repository on this machine, dtm also ends the receiving git at the deadline. A garbage
collection that is ended leaves lock files and temporary files behind.
"""
CONNECTION_LOST = re.compile(
    r"hung up unexpectedly|unexpected disconnect|RPC failed|early EOF|"
    r"[Bb]roken pipe|Connection reset"
)
"""Messages of a git that lost the connection, so that the result of a push is unknown."""
HEAD_REF = re.compile(r"^ref: refs/heads/(.+)\tHEAD$", re.MULTILINE)
SUBMODULE = "160000"
"""The git mode of a submodule, which is a commit ID of another repository."""
MAX_TRIES = 30
MIN_SECRET_LENGTH = 6
BRANCH_BUSY = "other clients keep pushing to this branch"


class BranchTip(msgspec.Struct, frozen=True):
    """The newest commit of a branch at the time of the read.

    `root_marks` holds the marks of the root commit. It is empty if no history was requested.
    """

    sha: str
    entries: Mapping[str, TreeEntry]
    root_marks: Mapping[str, str]


class GitRepository:
    """One branch of one repository, for one provider call.

    `url` is any URL or path that git accepts. A relative path is relative to the base directory of
    the call. `token` is the password for an http URL. `local` is the repository if it is on this
    machine, else None. Every method may raise AuthError (no access), ProviderError (unreachable,
    timeout) and CancelledError. A repository is absent only if its host says so.

        repository = GitRepository("./repos/app.git", call=call)
        repository.commit({"a.txt": b"new", "old.txt": None}, "Replace a file")
        repository.read(["a.txt"])  # {"a.txt": b"new"}
    """

    def __init__(self, url: str, branch: str = "main", *, call: Call, token: str = "") -> None:
        self.branch, self.call = branch, call
        path = call.base_dir / local_path(url) if is_path(url) else None
        self.url = str(path) if path else url
        self.location = strip_credentials(self.url)
        self.identity = normalize_url(self.url)
        secrets = _list_secrets(url, self.location, token)
        self._git = Git(
            call, env=_build_token_config(url, token), secrets=secrets, location=self.location
        )
        self.local = LocalRepository(path, self._git) if path else None

    def with_branch(self, branch: str) -> GitRepository:
        """Return another branch of the same repository."""
        other = copy.copy(self)
        other.branch = branch
        return other

    def list_branches(self) -> dict[str, str] | None:
        """Return the branches and their commit IDs, None if the repository does not exist.

        Raises ProviderError if the path is a directory with other content.
        """
        # Checked before git runs, because git reports a directory with other content in the same
        # words as an absent repository.
        if self.local and self.local.find_git_directory() is None:
            return None
        try:
            # "--", so that git does not read a URL that begins with a dash as an option.
            listed = self._git("ls-remote", "--heads", "--", self._git_address()).text
        except NotFoundError:
            return None
        pairs = (line.split("\trefs/heads/", 1) for line in listed.splitlines())
        return {name: sha for sha, name in pairs}

    def read_tip(self, *, history: bool = False) -> BranchTip | None:
        """Return the tip of the branch, None if the repository or the branch does not exist."""
        with self._open_tip(history=history) as (git, sha):
            if sha is None:
                return None
            return BranchTip(
                sha, list_entries(git, sha), read_root_marks(git, sha) if history else {}
            )

    def read(self, paths: Collection[str] | None = None) -> dict[str, bytes] | None:
        """Return these files (default: all) by path; None without repository or branch."""
        found = self.read_files(paths)
        return None if found is None else {path: file.data for path, file in found.items()}

    def read_files(self, paths: Collection[str] | None = None) -> dict[str, GitFile] | None:
        """Return these files as `read` does, with their modes. Submodules are left out."""
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
        """Return the branch that a clone checks out; None without repository or branch."""
        if self.list_branches() is None:
            return None
        listed = self._git("ls-remote", "--symref", "--", self._git_address(), "HEAD").text
        match = HEAD_REF.search(listed)
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
        """Commit changes and push the commit; return its ID, or the tip's if nothing changed.

        `changes` maps a path to the new content, or to None to remove the file. Bytes keep the mode
        of an existing file. `author` is `Name <mail>`; the default is the identity of git. If the
        branch does not exist, it is created from the tip of the branch `start_branch`, or without a
        parent. With `must_be_first`, ProviderError is raised if the branch exists.

        Raises NotFoundError if the repository does not exist. Raises OutcomeUnknownError if the
        connection was lost during the push.
        """
        text = append_marks(message, self.call)
        reason = ""
        for attempt in range(MAX_TRIES):
            # Read again in each attempt: the refused push shows that the branch has moved.
            branches = self.list_branches()
            if branches is None:
                raise NotFoundError(
                    f"there is no repository {self.location}",
                    hint="create an empty repository there first",
                )
            current = branches.get(self.branch)
            parent = current or branches.get(start_branch)
            if current and must_be_first:
                raise ProviderError(
                    f"{self.location}: another client has just created the branch {self.branch}",
                    hint="run dtm plan again",
                )
            with self._open_scratch(parent) as git:
                # Built again in each attempt: without force, git accepts only a child of the tip.
                sha = build_commit(git, parent, changes, text, self._resolve_author(author))
                reason = "" if sha == current else self._push(git, sha, current)
                if not reason:
                    return sha
            self._wait_before_retry(attempt, reason)
        raise self._build_push_error(reason, f"in {MAX_TRIES} attempts")

    def init_bare(self, marks: Mapping[str, str] | None = None) -> None:
        """Create the repository as `LocalRepository.create` does.

        Raises NotFoundError if it is not on this machine.
        """
        if self.local is None:
            raise NotFoundError(
                f"{self.location} does not exist, and git cannot create repositories on a host",
                hint="create an empty repository there first, or set scmType: local",
            )
        self.local.create(self.branch, marks or {})

    def _git_address(self) -> str:
        return str(self.local.find_git_directory()) if self.local else self.url

    @contextlib.contextmanager
    def _open_tip(
        self, *, history: bool = False, blobs: bool = False
    ) -> Generator[tuple[Git, str | None]]:
        """Yield a git that can read the tip, and the commit ID of the tip (None: absent)."""
        sha = (self.list_branches() or {}).get(self.branch)
        if sha is None:
            yield self._git, None
            return
        if self.local:
            # On this machine the objects are read where they are, without a fetch.
            yield Git(self.call, self.local.find_git_directory(), location=self.location), sha
            return
        with self._open_scratch(sha, history=history, blobs=blobs) as git:
            yield git, sha

    @contextlib.contextmanager
    def _open_scratch(
        self, sha: str | None, *, history: bool = False, blobs: bool = False
    ) -> Generator[Git]:
        """Yield a git in a scratch repository that can read the commit `sha`.

        With `history` it can read the ancestors of `sha` too. Without `blobs` the contents of files
        are not fetched, if the host supports it: a new commit does not need them. git fetches the
        content of a file when it is read.
        """
        with tempfile.TemporaryDirectory(
            prefix="dtm-git-", ignore_cleanup_errors=True
        ) as directory:
            git = Git(self.call, Path(directory), self._git.env, self._git.secrets, self.location)
            # Without --template= the template of the user could install hooks, which would run.
            self._git("init", "-q", "--bare", "--template=", directory)
            git("config", "remote.origin.url", self._git_address())
            if self.local:
                info = Path(directory, "objects", "info")
                info.mkdir(exist_ok=True)
                # With `alternates` git reads the objects of the other repository without a copy.
                (info / "alternates").write_text(
                    f"{self._git_address()}/objects\n", encoding="utf-8"
                )
            elif sha is not None:
                # The commit ID instead of the branch, which may have moved since it was listed.
                # A new commit needs only the tree of its parent: the history is not fetched.
                depth_option = () if history else ("--depth=1",)
                filter_option = () if blobs else ("--filter=blob:none",)
                git("fetch", "-q", "--no-tags", *depth_option, *filter_option, "origin", sha)
            yield git

    def _resolve_author(self, wanted: str) -> str:
        found = (
            wanted
            # Without useConfigOnly git would build an email address from user and host name.
            or self._git.run("-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT").text
            or FALLBACK_AUTHOR
        )
        match = AUTHOR.match(found)
        if not match:
            raise ProviderError(
                f'invalid author "{wanted}"', hint="set author to: Name <mail@example.com>"
            )
        return match[0]

    def _push(self, git: Git, sha: str, current: str | None) -> str:
        """Push `sha`; return "", or the reason if another client moved or locked the branch."""
        # Without --no-verify a global core.hooksPath would run the pre-push hook of the user.
        options = ("--porcelain", "--no-verify", *((NO_REMOTE_GC,) if self.local else ()))
        refspec = f"{sha}:refs/heads/{self.branch}"
        done = git.run("push", *options, "origin", refspec, pushes=True)
        if done.code == 0:
            return ""
        refusal = "\n".join(line for line in done.text.splitlines() if line.startswith("!"))
        # git reports "cannot lock ref" both if another client is writing, which passes, and if the
        # lock file can never be created. Only the first is worth another attempt.
        if BRANCH_MOVED.search(refusal) and not CANNOT_CREATE_FILE.search(done.err):
            why = LOCK_FAILURE.search(done.err)
            return why[1] if why else BRANCH_BUSY
        if not refusal and CONNECTION_LOST.search(done.err):
            return self._check_lost_push(sha, current)
        # The reason is on standard output (--porcelain), where build_error does not look.
        words = "\n".join(f"error: {line[1:].strip()}" for line in refusal.splitlines())
        message = git.redact("\n".join((done.err, words)).strip())
        raise git.build_error(
            GitResult(done.code, b"", message), hint=self._refusal_hint(message) if refusal else ""
        )

    def _refusal_hint(self, message: str) -> str:
        """Return the next step after a push that the repository refused."""
        if "checked out" in message:
            return f"check out another branch in {self.location}, or use a bare repository"
        if CANNOT_WRITE.search(message):
            return f"make sure that {self.location} is writable and that its disk is not full"
        return (
            f"check the branch rules and the hooks of {self.location}: "
            f"they must accept a push to {self.branch}"
        )

    def _check_lost_push(self, sha: str, current: str | None) -> str:
        """Find out whether a push without an answer took effect; return as `_push` does."""
        now = (self.list_branches() or {}).get(self.branch)
        # If the branch has not moved, the host may still be processing the push.
        if now == current:
            raise OutcomeUnknownError(
                f"the connection was lost during the push to {self.location}: "
                "the commit may or may not have arrived"
            )
        return "" if now == sha else BRANCH_BUSY

    def _build_push_error(self, reason: str, when: str) -> ProviderError:
        """Return the error for a branch that could not be written because of other clients."""
        message = f"cannot push to branch {self.branch} of {self.location} {when}: {reason}"
        lock = LOCK_FILE.search(reason)
        if lock is None:
            return ProviderError(message, retryable=True)
        # git never removes the lock file of a process that was killed, so a retry cannot succeed.
        path = shlex.quote(os.path.normpath(lock[1]))
        return ProviderError(
            message,
            hint="if no git process uses the repository, a killed one has left this lock file: "
            f"run rm {path}{'' if self.local else ' on the host'}",
        )

    def _wait_before_retry(self, attempt: int, reason: str) -> None:
        if time.monotonic() > self.call.deadline:
            raise self._build_push_error(reason, "before the timeout")
        longest = min(1.0, 0.05 * 2**attempt)
        # A random time, so that two clients that collided do not collide again.
        until = time.monotonic() + random.uniform(0.01, longest)  # noqa: S311 - no secret
        while (now := time.monotonic()) < until:
            if self.call.cancelled():
                raise CancelledError(f"the commit to {self.location} was cancelled")
            time.sleep(min(0.1, until - now))


def _build_token_config(url: str, token: str) -> dict[str, str]:
    """Return git settings, as environment variables, that send the token to the host of the URL.

    The setting is bound to the host, so that a redirect does not send the token to another one.
    Arguments would be visible to other users of the machine in the process list.
    """
    parts = urlsplit(url)
    if not token or not parts.scheme.startswith("http"):
        return {}
    # GitLab expects the user name `oauth2` with an OAuth token. GitHub accepts any user name.
    basic = base64.b64encode(f"oauth2:{token}".encode()).decode()
    # Appended to the settings that the user passes in the same way.
    n = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    host = parts.netloc.rpartition("@")[2]
    return {
        "GIT_CONFIG_COUNT": str(n + 1),
        f"GIT_CONFIG_KEY_{n}": f"http.{parts.scheme}://{host}/.extraHeader",
        f"GIT_CONFIG_VALUE_{n}": f"Authorization: Basic {basic}",
    }


def _list_secrets(url: str, shown: str, token: str) -> tuple[tuple[str, str], ...]:
    """Return the secrets that messages of git may contain, each with its replacement.

    A short password is replaced only as a part of the URL: elsewhere, the same letters could be a
    part of an ordinary word.
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
