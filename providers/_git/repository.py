"""Files in a git repository, read and changed through the git binary: any URL that git can reach, or a path on disk.

Nothing is ever checked out and nothing is ever forced: a commit is built on the tip in a scratch repository and pushed;
a refused push is built again on the new tip. Paths use "/", contents are bytes.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import os
import random
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Generator, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from engine.errors import CancelledError, NotFoundError, OutcomeUnknownError, ProviderError
from engine.ports import Call
from engine.values import HIDDEN
from providers._git.command import Git, GitResult
from providers._git.urls import canonical, is_path, local_path, without_credentials

FALLBACK_AUTHOR = "dtm <dtm@localhost>"
AUTHOR = re.compile(r"[^<>\n]*<[^<>\n]+>")
TRAILER = re.compile(r"^(Dtm-\w+): (.+)$", re.MULTILINE)
MOVED = re.compile(
    r"fetch first|non-fast-forward|stale info|cannot lock ref|failed to update ref|incorrect old value"
)
LOCKED = re.compile(r"(cannot lock ref .*?)\s*$", re.MULTILINE)
BARRED = re.compile(r"Unable to create '.*': (?!File exists)")
OTHER_END = "--receive-pack=git -c receive.autogc=false receive-pack"
"""On this machine the other end is ours to end, too: it is not to be in the middle of tidying up then."""
CUT_OFF = re.compile(
    r"hung up unexpectedly|unexpected disconnect|RPC failed|early EOF|[Bb]roken pipe|Connection reset"
)
HEAD_REF = re.compile(r"^ref: refs/heads/(.+)\tHEAD$", re.MULTILINE)
SUBMODULE = "160000"
MAX_TRIES = 30
SHORTEST_SECRET = 6


class GitFile(msgspec.Struct, frozen=True):
    """Content and git mode: 100644, 100755 (executable) or 120000 (symbolic link, the content is its target)."""

    data: bytes
    mode: str = "100644"


class TreeEntry(msgspec.Struct, frozen=True):
    """A file as git lists it: its mode and its blob id (hex SHA-1 of header and content)."""

    mode: str
    blob: str


class Tip(msgspec.Struct, frozen=True):
    """A branch at one moment. `first` holds the Dtm-* trailers of its first commit, empty unless history was asked for."""

    sha: str
    entries: Mapping[str, TreeEntry]
    first: Mapping[str, str]


def blob_id(data: bytes) -> str:
    """The id git gives to this content."""
    import hashlib

    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def call_trailers(call: Call) -> dict[str, str]:
    """What marks a commit as ours, and as of this very operation."""
    found = {"Dtm-Address": str(call.address), "Dtm-Lineage": call.lineage, "Dtm-Token": call.token}
    return {key: value for key, value in found.items() if value}


class GitRepository:
    """One branch of one repository, for one provider call.

    `url` is anything git understands; a relative path is taken from the call's base directory. `token` goes along as
    the password of http URLs, never on a command line. Every method may raise AuthError (denied), ProviderError
    (unreachable, out of time), CancelledError. Only what the other side says is not there counts as absent.
    """

    def __init__(self, url: str, branch: str = "main", *, call: Call, token: str = "") -> None:
        self.branch, self.call = branch, call
        self.path = call.base_dir / local_path(url) if is_path(url) else None
        self.url = str(self.path) if self.path else url
        self.location = without_credentials(self.url)
        self.identity = canonical(self.url)
        self._git = Git(
            call, env=_token_config(url, token), secrets=_secrets(url, self.location, token)
        )

    def on(self, branch: str) -> GitRepository:
        """The same repository, another branch."""
        other = copy.copy(self)
        other.branch = branch
        return other

    def heads(self) -> dict[str, str] | None:
        """Branch name to commit id; None if there is no such repository. A directory that is none is a ProviderError."""
        if self.path is not None and self._directory() is None:
            return None
        try:
            listed = self._git("ls-remote", "--heads", "--", self._address()).text
        except NotFoundError:
            return None
        pairs = (line.split("\trefs/heads/", 1) for line in listed.splitlines())
        return {name: sha for sha, name in pairs}

    def exists(self) -> bool:
        """Whether the repository is there, empty or not."""
        return self.heads() is not None

    def tip(self, *, history: bool = False) -> Tip | None:
        """The branch's newest files; None if repository or branch are absent."""
        with self._opened(history=history) as (git, sha):
            if sha is None:
                return None
            return Tip(sha, _list(git, sha), _first_trailers(git, sha) if history else {})

    def read(
        self, paths: Collection[str] | None = None, *, prefix: str = ""
    ) -> dict[str, bytes] | None:
        """Contents by path, of these paths or of all under `prefix`; None if repository or branch are absent."""
        found = self.files(paths, prefix=prefix)
        return None if found is None else {path: file.data for path, file in found.items()}

    def files(
        self, paths: Collection[str] | None = None, *, prefix: str = ""
    ) -> dict[str, GitFile] | None:
        """As `read`, with modes; submodules are left out."""
        with self._opened(blobs=paths is None) as (git, sha):
            if sha is None:
                return None
            entries = {
                path: entry
                for path, entry in _list(git, sha).items()
                if entry.mode != SUBMODULE
                and (path.startswith(prefix) if paths is None else path in paths)
            }
            contents = _contents(git, [entry.blob for entry in entries.values()])
            return {
                path: GitFile(data, entries[path].mode)
                for path, data in zip(entries, contents, strict=True)
            }

    def default_branch(self) -> str | None:
        """The branch that a clone checks out; None if repository or branch are absent."""
        if self.heads() is None:
            return None
        said = self._git("ls-remote", "--symref", "--", self._address(), "HEAD").text
        match = HEAD_REF.search(said)
        return match[1] if match else None

    def commit(
        self,
        changes: Mapping[str, bytes | GitFile | None],
        message: str,
        *,
        trailers: Mapping[str, str] | None = None,
        author: str = "",
        start: str = "",
        first: bool = False,
    ) -> str:
        """Write (bytes, File) and remove (None) these files in one commit; its id, or the tip's if nothing differs.

        `trailers` default to those of the call; bytes keep a file's mode. `author` is `Name <mail>`, "" for git's own
        identity. An absent branch begins at the tip of the branch `start`, or anew. With `first` only the very first
        commit of the branch is made: ProviderError if there is one. Raises NotFoundError if the repository is absent,
        OutcomeUnknownError if the push was cut off.
        """
        marks = call_trailers(self.call) if trailers is None else trailers
        text = (
            message.rstrip("\n")
            + "\n\n"
            + "".join(f"{key}: {value}\n" for key, value in marks.items())
        )
        refused = ""
        for attempt in range(MAX_TRIES):
            heads = self.heads()
            if heads is None:
                raise NotFoundError(
                    f"there is no repository {self.location}", hint="make an empty one there first"
                )
            there, parent = heads.get(self.branch), heads.get(self.branch) or heads.get(start)
            if there and first:
                raise ProviderError(
                    f"{self.location}: somebody else began the branch {self.branch} just now"
                )
            with self._scratch(parent) as git:
                sha = _build(git, parent, changes, text, self._author(author))
                refused = "" if sha == there else self._push(git, sha, there)
                if not refused:
                    return sha
            self._pause(attempt, refused)
        raise self._refused(refused, f"in {MAX_TRIES} tries")

    def init_bare(self, marks: Mapping[str, str] | None = None) -> None:
        """Make the bare repository at this path, all or nothing; `marks` go to its config as `dtm.*`. There already is fine."""
        if self.path is None:
            raise NotFoundError(
                f"{self.location} does not exist, and git cannot make repositories on other machines",
                hint="make an empty repository there first, or use scmType: local",
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.beside("new")
        shutil.rmtree(fresh, ignore_errors=True)  # left by a process that was killed
        try:
            self._git(
                "init", "-q", "--bare", "--template=", f"--initial-branch={self.branch}", str(fresh)
            )
            with (fresh / "config").open("a", encoding="utf-8") as config:
                config.write(
                    "[dtm]\n"
                    + "".join(f'\t{key} = "{value}"\n' for key, value in (marks or {}).items())
                )
            fresh.rename(self.path)
        except OSError as error:
            if self._directory() is None:
                raise ProviderError(f"cannot make {self.path}: {error.strerror}") from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def marks(self) -> dict[str, str]:
        """What `init_bare` noted about a repository on this machine; empty for any other."""
        directory = self._directory() if self.path is not None else None
        if directory is None:
            return {}
        listed = (
            Git(self.call, directory).run("config", "--local", "-z", "--get-regexp", r"^dtm\.").text
        )
        pairs = (item.split("\n", 1) for item in listed.split("\0") if "\n" in item)
        return {key.removeprefix("dtm."): value for key, value in pairs}

    def beside(self, what: str) -> Path:
        """A hidden place next to the repository, the same whenever this operation is tried again."""
        assert self.path is not None  # callers know that the repository is local
        mark = blob_id(f"{self.call.lineage}\n{self.call.address}\n{self.call.token}".encode())[:8]
        return self.path.with_name(f".{self.path.name}.{mark}.{what}")

    def _directory(self) -> Path | None:
        assert self.path is not None  # callers know that the repository is local
        for place in (self.path, self.path / ".git"):
            if (place / "HEAD").is_file() and (place / "objects").is_dir():
                return place
        if self.path.is_file() or (self.path.is_dir() and any(self.path.iterdir())):
            raise ProviderError(
                f"{self.path} is there, but is no git repository",
                hint="choose another path or move it away",
            )
        return None

    def _address(self) -> str:
        return str(self._directory()) if self.path is not None else self.url

    @contextlib.contextmanager
    def _opened(
        self, *, history: bool = False, blobs: bool = False
    ) -> Generator[tuple[Git, str | None]]:
        """A git that sees the branch's tip, and the tip's commit id (None: absent); both end with the block."""
        sha = (self.heads() or {}).get(self.branch)
        if sha is None:
            yield self._git, None
            return
        if self.path is not None:
            yield Git(self.call, self._directory()), sha
            return
        with self._scratch(sha, history=history, blobs=blobs) as git:
            yield git, sha

    @contextlib.contextmanager
    def _scratch(
        self, sha: str | None, *, history: bool = False, blobs: bool = False
    ) -> Generator[Git]:
        """A git in an empty repository of our own that sees the commit `sha` and, with `history`, those before it.

        Without `blobs` contents may stay away: git gets those that are read one by one, and a commit needs none.
        """
        with tempfile.TemporaryDirectory(prefix="dtm-git-", ignore_cleanup_errors=True) as place:
            git = Git(self.call, Path(place), self._git.env, self._git.secrets)
            self._git("init", "-q", "--bare", "--template=", place)
            git("config", "remote.origin.url", self._address())
            if self.path is not None:
                info = Path(place, "objects", "info")
                info.mkdir(exist_ok=True)
                (info / "alternates").write_text(f"{self._address()}/objects\n", encoding="utf-8")
            elif sha is not None:
                depth, less = (
                    () if history else ("--depth=1",),
                    () if blobs else ("--filter=blob:none",),
                )
                git("fetch", "-q", "--no-tags", *depth, *less, "origin", sha)
            yield git

    def _author(self, asked: str) -> str:
        found = (
            asked
            or self._git.run("-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT").text
            or FALLBACK_AUTHOR
        )
        match = AUTHOR.match(found)
        if not match:
            raise ProviderError(f'author "{asked}" must look like: Name <mail@example.com>')
        return match[0]

    def _push(self, git: Git, sha: str, there: str | None) -> str:
        """Empty if the branch now stands at `sha`; why not, if others moved it or are about to."""
        other = () if self.path is None else (OTHER_END,)
        done = git.run(
            "push",
            "--porcelain",
            "--no-verify",
            *other,
            "origin",
            f"{sha}:refs/heads/{self.branch}",
            sends=True,
        )
        if done.code == 0:
            return ""
        refusal = "\n".join(line for line in done.text.splitlines() if line.startswith("!"))
        if MOVED.search(refusal) and not BARRED.search(done.err):
            why = LOCKED.search(done.err)
            return why[1] if why else "others moved it each time"
        if not refusal and CUT_OFF.search(done.err):
            return self._arrived(sha, there)
        words = "\n".join(f"error: {line[1:].strip()}" for line in refusal.splitlines())
        raise git.failure(
            GitResult(done.code, b"", git.clean("\n".join((done.err, words)).strip()))
        )

    def _arrived(self, sha: str, there: str | None) -> str:
        now = (self.heads() or {}).get(self.branch)
        if now == there:
            raise OutcomeUnknownError(
                f"{self.location}: the push was cut off, it may or may not have arrived"
            )
        return "" if now == sha else "others moved it each time"

    def _refused(self, why: str, when: str) -> ProviderError:
        """The error of a branch that others did not let us write."""
        held = "File exists" in why
        return ProviderError(
            f"{self.location}: {self.branch} could not be written {when}: {why}",
            retryable=not held,
            hint="if no git is at work there, one that was killed has left that file: remove it"
            if held
            else "",
        )

    def _pause(self, attempt: int, refused: str) -> None:
        if time.monotonic() > self.call.deadline:
            raise self._refused(refused, "within its time")
        until = time.monotonic() + random.uniform(0.01, min(1.0, 0.05 * 2**attempt))  # noqa: S311 - no secret
        while (now := time.monotonic()) < until:
            if self.call.cancelled():
                raise CancelledError("git commit was cancelled")
            time.sleep(min(0.1, until - now))


def _token_config(url: str, token: str) -> dict[str, str]:
    """Git settings by environment that send the token to this URL's host only; never seen in a process list."""
    parts = urlsplit(url)
    if not token or not parts.scheme.startswith("http"):
        return {}
    basic = base64.b64encode(f"oauth2:{token}".encode()).decode()
    n = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    host = parts.netloc.rpartition("@")[2]
    return {
        "GIT_CONFIG_COUNT": str(n + 1),
        f"GIT_CONFIG_KEY_{n}": f"http.{parts.scheme}://{host}/.extraHeader",
        f"GIT_CONFIG_VALUE_{n}": f"Authorization: Basic {basic}",
    }


def _secrets(url: str, shown: str, token: str) -> tuple[tuple[str, str], ...]:
    """What git may repeat, and what is shown for it; a short password alone would blacken innocent words."""
    parts = urlsplit(url) if "://" in url else None
    if parts is None or "@" not in parts.netloc:
        return ((token, HIDDEN),) if token else ()
    words = [word for word in (parts.password or "", token) if len(word) >= SHORTEST_SECRET]
    return (
        (url, shown),
        (f"{parts.netloc.rpartition('@')[0]}@", ""),
        *((word, HIDDEN) for word in words),
    )


def _list(git: Git, sha: str) -> dict[str, TreeEntry]:
    found: dict[str, TreeEntry] = {}
    for item in git("ls-tree", "-r", "-z", "--full-tree", sha).text.split("\0"):
        if item:
            facts, path = item.split("\t", 1)
            mode, _kind, blob = facts.split(" ")
            found[path] = TreeEntry(mode, blob)
    return found


def _contents(git: Git, blobs: list[str]) -> Iterator[bytes]:
    if not blobs:
        return
    out, at = (
        git("cat-file", "--batch", stdin="".join(f"{blob}\n" for blob in blobs).encode()).out,
        0,
    )
    for _ in blobs:
        end = out.index(b"\n", at)
        size = int(out[at:end].split()[2])
        yield out[end + 1 : end + 1 + size]
        at = end + size + 2


def _first_trailers(git: Git, sha: str) -> dict[str, str]:
    """Along first parents, so that merging a foreign history in, or ours into a foreign one, changes nothing."""
    root = git("rev-list", "--first-parent", "--max-parents=0", sha).text
    return dict(TRAILER.findall(git("cat-file", "commit", root).text))


def all_trailers(git: Git) -> list[dict[str, str]]:
    """Of every commit that any reference leads to: branches, tags, notes."""
    _, *messages = git("log", "--all", "--format=%x00%B").text.split("\0")
    return [dict(TRAILER.findall(message)) for message in messages]


def _build(
    git: Git,
    parent: str | None,
    changes: Mapping[str, bytes | GitFile | None],
    message: str,
    author: str,
) -> str:
    """The id of a commit with these changes on `parent`; `parent` itself if they change nothing."""
    present = _list(git, parent) if parent else {}
    for path in changes:
        _check_path(path, present)
    head = f"commit refs/heads/dtm\nauthor {author} {int(time.time())} +0000\ncommitter {author} {int(time.time())} +0000\n"
    parts = [head.encode(), b"data %d\n%s" % (len(message.encode()), message.encode())]
    parts += [f"from {parent}\n".encode()] if parent else []
    parts += [_file_change(path, change, present.get(path)) for path, change in changes.items()]
    git("fast-import", "--quiet", "--done", stdin=b"".join([*parts, b"done\n"]))
    trees = [f"{parent}^{{tree}}"] if parent else []
    sha, tree, *old = git(
        "rev-parse", "refs/heads/dtm", "refs/heads/dtm^{tree}", *trees
    ).text.splitlines()
    return parent if parent and old == [tree] else sha


def _check_path(path: str, present: Mapping[str, TreeEntry]) -> None:
    parts = path.split("/")
    if any(part in ("", ".", "..") or part.lower() == ".git" for part in parts):
        raise ProviderError(f'"{path}" cannot be a file in a repository')
    above = ["/".join(parts[:n]) for n in range(1, len(parts))]
    if blocker := next((p for p in above if p in present), ""):
        raise ProviderError(f'cannot write "{path}": the repository has a file "{blocker}" there')
    if any(other.startswith(path + "/") for other in present):
        raise ProviderError(f'cannot write "{path}": the repository has a directory of that name')


def _file_change(path: str, change: bytes | GitFile | None, present: TreeEntry | None) -> bytes:
    quoted = '"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if change is None:
        return f"D {quoted}\n".encode()
    file = (
        change
        if isinstance(change, GitFile)
        else GitFile(change, present.mode if present else "100644")
    )
    return f"M {file.mode} inline {quoted}\ndata {len(file.data)}\n".encode() + file.data + b"\n"
