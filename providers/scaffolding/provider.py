"""`repo-scaffolding`: a repository that begins as a rendered template, one commit, and is kept as the template says."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Generic, TypeVar, cast

import msgspec

from engine.errors import ProviderError
from engine.ports import Call, Provider
from engine.state import Resource
from engine.values import Attributes, Value
from providers._git.repository import GitFile, GitRepository, TreeEntry, blob_id
from providers._git.urls import canonical, is_path
from providers.scaffolding.options import (
    GithubOptions,
    GitlabOptions,
    Order,
    ScaffoldOptions,
    ScaffoldOutputs,
    Visibility,
    golang_order,
    order,
)
from providers.scaffolding.removal import remove
from providers.scaffolding.source import on_disk

MODES: Final[Mapping[Visibility, int]] = {"public": 0o755, "internal": 0o750, "private": 0o700}
KINDS: Final = {"100755": " (executable)", "120000": " (link)", "160000": " (submodule)"}
O = TypeVar("O", bound=msgspec.Struct)  # noqa: E741 - the options Struct


class Scaffolding(Generic[O]):
    """A repository made from a template: one commit at first, one more for each change, and nothing else ever touched.

    Drift is found in content and mode of each file that was written; files of others do not matter. A repository
    that this state did not make is refused. What somebody else changed in a file that was written is put back with one
    more commit. Deleting removes a repository on this machine if dtm made it, but one with a commit of others is kept
    under another name, `NAME.kept-1`; from any other it removes, with a commit, the files that dtm wrote.
    """

    plugin = "repo-scaffolding"
    outputs: type[msgspec.Struct] | None = ScaffoldOutputs

    def __init__(self, options: type[O], order: Callable[[O], Order]) -> None:
        self.options, self._order = options, order

    def requires(self, options: O) -> Sequence[str]:
        """The git program."""
        return () if shutil.which("git") else ("the git program is not on the PATH: install git",)

    def inputs(self, options: O) -> Mapping[str, str]:
        """The template, where it is on this machine."""
        path = on_disk(self._order(options).template)
        return {} if path is None else {"sourceRepo": path}

    def identity(self, options: O) -> str | None:
        """`github.com/me/app`, or the path."""
        return self._order(options).place.identity

    def predict(self, options: O, resource: Resource | None) -> Mapping[str, Value]:
        """Everything. Raises ProviderError if the repository is another than the recorded one."""
        asked = self._order(options)
        recorded = resource.outputs.get("repoURL") if resource else None
        if (
            resource is not None
            and recorded is not None
            and _differ(str(recorded), asked.place.url)
        ):
            _refuse_another(asked, resource)
        return asked.outputs()

    def read(self, options: O, resource: Resource | None, call: Call) -> Resource | None:
        """Blob id and mode of each file that was written; with `visibility` also who may read it."""
        asked = self._order(options)
        url, branch = _recorded(asked, resource, call)
        repository = GitRepository(url, branch, call=call, token=asked.place.token)
        heads = repository.heads()
        if not heads or (resource is not None and branch not in heads):
            return None
        tip = repository.tip()
        written = _written(resource) or (asked.files(call) if tip else {})
        found = (
            {path: entry for path, entry in tip.entries.items() if path in written}
            if tip
            else dict[str, TreeEntry]()
        )
        if not found and _ours(_first(repository, heads), call):
            return None
        outputs = dict(resource.outputs) if resource else asked.outputs()
        return Resource(
            asked.place.identity if resource is None else resource.id,
            _facts(found, asked, repository),
            outputs,
        )

    def create(self, options: O, call: Call) -> Resource:
        """Make the repository where that is on this machine, and its first commit; complete what was begun before."""
        asked = self._order(options)
        repository = GitRepository(
            asked.place.url, asked.place.branch, call=call, token=asked.place.token
        )
        files = asked.files(call)
        heads = repository.heads()
        if heads is None:
            repository.init_bare(_marks(call))
        _refuse_foreign(repository, heads, call)
        message = f"Scaffold {asked.place.name}"
        repository.commit(files, message, author=asked.author, first=not heads)
        return _made(asked, files, repository)

    def update(self, options: O, resource: Resource, call: Call) -> Resource:
        """One commit with what differs; a new branch begins at the old one."""
        asked = self._order(options)
        _recorded(asked, resource, call)
        repository = GitRepository(
            asked.place.url, asked.place.branch, call=call, token=asked.place.token
        )
        files = asked.files(call)
        changes: dict[str, bytes | GitFile | None] = {
            **files,
            **{path: None for path in _written(resource) if path not in files},
        }
        before = str(resource.outputs.get("branch") or "")
        repository.commit(
            changes,
            f"Update {asked.place.name} from its template",
            author=asked.author,
            start=before,
        )
        return _made(asked, files, repository)

    def delete(self, options: O, resource: Resource, call: Call) -> None:
        """Remove it if dtm made it on this machine, else the files in it."""
        asked = self._order(options)
        url, branch = str(resource.outputs["repoURL"]), str(resource.outputs["branch"])
        url = (
            asked.place.url if asked.outputs()["repoURL"] == url else url
        )  # may hold what lets us in
        repository = GitRepository(url, branch, call=call, token=asked.place.token)
        heads = repository.heads()
        if heads and not _ours(_first(repository, heads), call):
            raise ProviderError(
                f"{repository.location} was not made by this state, so it is not deleted",
                hint=f"dtm state rm {call.address} forgets it; delete it by hand if you want it gone",
            )
        if repository.path is not None and (heads is None or _ours(repository.marks(), call)):
            if kept := remove(repository, lambda trailers: _ours(_plain(trailers), call)):
                call.warn(
                    f"others committed to {repository.location}, so it is not removed but kept as {kept}"
                )
        elif heads is None:
            return
        elif branch in heads:
            repository.commit(
                dict.fromkeys(_written(resource)),
                f"Remove the scaffolding of {asked.place.name}",
                author=asked.author,
            )
            call.warn(
                f"{repository.location} stays, without the files that were written to it: only its host can remove it"
            )


def _recorded(asked: Order, resource: Resource | None, call: Call) -> tuple[str, str]:
    """URL and branch of what is recorded; what the options say where nothing is. A repository elsewhere is refused."""
    place = asked.place
    if resource is None or "repoURL" not in resource.outputs:
        return place.url, place.branch
    recorded, branch = (
        str(resource.outputs["repoURL"]),
        str(resource.outputs.get("branch") or place.branch),
    )
    old, new = (GitRepository(url, call=call).identity for url in (recorded, place.url))
    if old == new:
        return place.url, branch
    _refuse_another(asked, resource)
    return recorded, branch  # owner, org or name differ: it will be replaced


def _refuse_another(asked: Order, resource: Resource) -> None:
    """Another repository than the recorded one; where owner, org or name differ it will be replaced."""
    named = asked.outputs()
    if asked.by_url or all(
        resource.outputs.get(key) == named[key] for key in ("owner", "org", "repo")
    ):
        raise ProviderError(
            f"this tool made {resource.outputs['repoURL']}, and now names another repository, {named['repoURL']}",
            hint="give the new one an instanceID of its own; the old one is then deleted, or kept by dtm state rm",
        )


def _differ(recorded: str, url: str) -> bool:
    """Whether they are two for sure; a path below the configuration and another way to write it may be the same."""
    if is_path(recorded) and is_path(url) and _inside(recorded) != _inside(url):
        return False
    return canonical(recorded) != canonical(url)


def _inside(url: str) -> bool:
    """Whether it is a path below the configuration."""
    return not canonical(url).startswith(("/", "../"))


def _written(resource: Resource | None) -> Attributes:
    """Paths of the files that are there and ours."""
    return cast("Attributes", resource.attributes.get("files") or {}) if resource else {}


def _marks(call: Call) -> dict[str, str]:
    found = {"address": str(call.address), "lineage": call.lineage, "token": call.token}
    return {key: value for key, value in found.items() if value}


def _first(repository: GitRepository, heads: Mapping[str, str]) -> dict[str, str]:
    """Marks of the first commit of the branch, or of any other where the branch is absent."""
    if not heads:
        return {}
    branch = repository.branch if repository.branch in heads else min(heads)
    tip = repository.on(branch).tip(history=True)
    return _plain(tip.first) if tip else {}


def _plain(trailers: Mapping[str, str]) -> dict[str, str]:
    return {key.removeprefix("Dtm-").lower(): value for key, value in trailers.items()}


def _ours(marks: Mapping[str, str], call: Call) -> bool:
    return "address" in marks and marks.get("lineage", "") == call.lineage


def _refuse_foreign(repository: GitRepository, heads: Mapping[str, str] | None, call: Call) -> None:
    """Only an unmarked empty repository, or what this very tool began, may be written to."""
    marks = _first(repository, heads) if heads else repository.marks()
    same = marks.get("address") == str(call.address) or (
        call.token and marks.get("token") == call.token
    )
    if (heads or marks) and not (same and _ours(marks, call)):
        raise ProviderError(
            f"{repository.location} exists and was not made by {call.address} of this state",
            hint="choose another name or place, or remove what is there",
        )


def _facts(
    found: Mapping[str, TreeEntry], asked: Order, repository: GitRepository
) -> dict[str, Value]:
    facts: dict[str, Value] = {
        "files": {path: _fact(entry) for path, entry in sorted(found.items())}
    }
    if asked.visibility is not None and repository.path is not None:
        facts["visibility"] = _visibility(stat.S_IMODE(repository.path.stat().st_mode))
    return facts


def _fact(entry: TreeEntry) -> str:
    return entry.blob + KINDS.get(entry.mode, "")


def _visibility(mode: int) -> Visibility:
    return "public" if mode & 0o005 == 0o005 else "internal" if mode & 0o050 == 0o050 else "private"


def _made(asked: Order, files: Mapping[str, GitFile], repository: GitRepository) -> Resource:
    if asked.visibility is not None and repository.path is not None:
        repository.path.chmod(MODES[asked.visibility])
    entries = {path: TreeEntry(file.mode, blob_id(file.data)) for path, file in files.items()}
    return Resource(asked.place.identity, _facts(entries, asked, repository), asked.outputs())


def repo_scaffolding() -> Scaffolding[ScaffoldOptions]:
    """`repo-scaffolding`."""
    return Scaffolding(ScaffoldOptions, order)


def github_golang() -> Scaffolding[GithubOptions]:
    """`github-repo-scaffolding-golang`."""
    return Scaffolding(GithubOptions, golang_order)


def gitlab_golang() -> Scaffolding[GitlabOptions]:
    """`gitlab-repo-scaffolding-golang`."""
    return Scaffolding(GitlabOptions, golang_order)


_conforms: Provider[ScaffoldOptions] = repo_scaffolding()
