"""The `repo-scaffolding` provider: makes a repository from a template and keeps it that way."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Generic, TypeVar, cast

import msgspec
from msgspec.structs import replace

from engine.errors import ProviderError
from engine.ports import Call, Provider
from engine.state import Resource
from engine.values import Attributes, Value
from providers._git.managed_files import opened
from providers._git.objects import GitFile, TreeEntry, blob_id, call_marks
from providers._git.repository import GitRepository
from providers._git.scm import Location
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
    """A repository made from a template: one commit at first, and one more for each change.

    Drift is found in content and mode of each file that dtm wrote, and undone with one more commit;
    files of others do not matter. A repository that this state did not make is refused. Deleting
    removes a repository on this machine if dtm made it, but one with a commit of others is kept
    under another name, `NAME.kept-1`; from any other it removes, with a commit, the files that dtm
    wrote.
    """

    plugin = "repo-scaffolding"
    outputs: type[msgspec.Struct] | None = ScaffoldOutputs

    def __init__(self, options: type[O], order: Callable[[O], Order]) -> None:
        self.options, self._order = options, order

    def requires(self, options: O) -> Sequence[str]:
        """Demand the git program."""
        return () if shutil.which("git") else ("the git program is not on the PATH: install git",)

    def inputs(self, options: O) -> Mapping[str, str]:
        """Name the template, where it is on this machine."""
        path = on_disk(self._order(options).template)
        return {} if path is None else {"sourceRepo": path}

    def identity(self, options: O) -> str | None:
        """Name the repository: `github.com/me/app`, or the path."""
        return self._order(options).place.identity

    def predict(self, options: O, resource: Resource | None) -> Mapping[str, Value]:
        """Predict all outputs.

        Raises ProviderError if the repository is another than the recorded one.
        """
        asked = self._order(options)
        recorded = resource.outputs.get("repoURL") if resource else None
        if resource and recorded is not None and _differ(str(recorded), asked.place.url):
            _refuse_another(asked, resource)
        return asked.outputs()

    def read(self, options: O, resource: Resource | None, call: Call) -> Resource | None:
        """Report blob id and mode of each file that dtm wrote; with `visibility` its readers."""
        asked = self._order(options)
        repository = opened(_recorded(asked, resource, call), call)
        heads = repository.heads()
        if not heads or (resource is not None and repository.branch not in heads):
            return None
        tip = repository.tip()
        entries: Mapping[str, TreeEntry] = tip.entries if tip else {}
        # Without a record the wanted files are looked for: an interrupted create is found again.
        written = _written(resource) or (asked.files(call) if tip else {})
        found = {path: entry for path, entry in entries.items() if path in written}
        # Without a file of ours, a foreign repository is still reported: create must not take it.
        if not found and _ours(_first(repository, heads), call):
            return None
        name = resource.id if resource else asked.place.identity
        outputs = dict(resource.outputs) if resource else asked.outputs()
        return Resource(name, _facts(found, asked, repository), outputs)

    def create(self, options: O, call: Call) -> Resource:
        """Make the repository, where it is on this machine, and its first commit.

        A create that was interrupted is completed.
        """
        asked = self._order(options)
        repository = opened(asked.place, call)
        files = asked.files(call)
        heads = repository.heads()
        if heads is None:
            repository.init_bare(call_marks(call))
        # After `init_bare`, which leaves a repository alone that another run made just now.
        _refuse_foreign(repository, heads, call)
        message = f"Scaffold {asked.place.name}"
        # `first`: two clients that both found an empty repository must not both write to it.
        repository.commit(files, message, author=asked.author, first=not heads)
        return _made(asked, files, repository)

    def update(self, options: O, resource: Resource, call: Call) -> Resource:
        """Commit what differs; a new branch begins at the old one."""
        asked = self._order(options)
        _recorded(asked, resource, call)  # refuses another repository
        repository = opened(asked.place, call)
        files = asked.files(call)
        gone: dict[str, bytes | GitFile | None] = dict.fromkeys(_written(resource))
        message = f"Update {asked.place.name} from its template"
        before = str(resource.outputs.get("branch") or "")
        repository.commit(gone | files, message, author=asked.author, start=before)
        return _made(asked, files, repository)

    def delete(self, options: O, resource: Resource, call: Call) -> None:
        """Remove the repository if dtm made it on this machine, else the files in it."""
        asked = self._order(options)
        url, branch = str(resource.outputs["repoURL"]), str(resource.outputs["branch"])
        if url == asked.outputs()["repoURL"]:
            url = asked.place.url  # unlike the recorded one it may hold credentials
        repository = opened(replace(asked.place, url=url, branch=branch), call)
        heads, local = repository.heads(), repository.local
        if heads and not _ours(_first(repository, heads), call):
            raise ProviderError(
                f"{repository.location} was not made by this state, so it is not deleted",
                hint=f"dtm state rm {call.address} forgets it; "
                "delete it by hand if you want it gone",
            )
        if local and (heads is None or _ours(local.marks(), call)):
            if kept := remove(local, lambda marks: _ours(marks, call)):
                call.warn(
                    f"others committed to {repository.location}, "
                    f"so it is not removed but kept as {kept}"
                )
        elif branch in (heads or {}):
            message = f"Remove the scaffolding of {asked.place.name}"
            repository.commit(dict.fromkeys(_written(resource)), message, author=asked.author)
            call.warn(
                f"{repository.location} stays, without the files that were written to it: "
                "only its host can remove it"
            )


def _recorded(asked: Order, resource: Resource | None, call: Call) -> Location:
    """Find what is recorded, else what the options say. A repository elsewhere is refused."""
    place = asked.place
    if resource is None or "repoURL" not in resource.outputs:
        return place
    recorded = str(resource.outputs["repoURL"])
    branch = str(resource.outputs.get("branch") or place.branch)
    old, new = (GitRepository(url, call=call).identity for url in (recorded, place.url))
    if old == new:
        return replace(place, branch=branch)
    _refuse_another(asked, resource)
    return replace(place, url=recorded, branch=branch)


def _refuse_another(asked: Order, resource: Resource) -> None:
    """Refuse another repository than the recorded one.

    Where owner, org or name differ it is allowed: these options replace the tool when they change.
    """
    named = asked.outputs()
    same_name = all(resource.outputs.get(key) == named[key] for key in ("owner", "org", "repo"))
    if asked.by_url or same_name:
        raise ProviderError(
            f"this tool made {resource.outputs['repoURL']}, "
            f"and now names another repository, {named['repoURL']}",
            hint="give the new one an instanceID of its own; "
            "the old one is then deleted, or kept by dtm state rm",
        )


def _differ(recorded: str, url: str) -> bool:
    """Tell if these are two repositories for sure.

    One path may be relative to the configuration and the other absolute: that proves nothing.
    """
    if is_path(recorded) and is_path(url) and _inside(recorded) != _inside(url):
        return False
    return canonical(recorded) != canonical(url)


def _inside(url: str) -> bool:
    """Tell if it is a path below the configuration."""
    return not canonical(url).startswith(("/", "../"))


def _written(resource: Resource | None) -> Attributes:
    """List the files that dtm wrote, by path."""
    return cast("Attributes", resource.attributes.get("files") or {}) if resource else {}


def _first(repository: GitRepository, heads: Mapping[str, str]) -> Mapping[str, str]:
    """Read the marks of the first commit of the branch, or of any other where that is absent."""
    if not heads:
        return {}
    # min: the same branch each time, whatever order git lists them in.
    branch = repository.branch if repository.branch in heads else min(heads)
    tip = repository.on(branch).tip(history=True)
    return tip.first if tip else {}


def _ours(marks: Mapping[str, str], call: Call) -> bool:
    # A commit without an address was not made by dtm, even if no lineage is known yet.
    return "address" in marks and marks.get("lineage", "") == call.lineage


def _refuse_foreign(repository: GitRepository, heads: Mapping[str, str] | None, call: Call) -> None:
    """Refuse all but an unmarked empty repository and one that this very tool began."""
    local = repository.local
    marks = _first(repository, heads) if heads else local.marks() if local else {}
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
    if asked.visibility is not None and repository.local:
        facts["visibility"] = _visibility(stat.S_IMODE(repository.local.path.stat().st_mode))
    return facts


def _fact(entry: TreeEntry) -> str:
    return entry.blob + KINDS.get(entry.mode, "")


def _visibility(mode: int) -> Visibility:
    return "public" if mode & 0o005 == 0o005 else "internal" if mode & 0o050 == 0o050 else "private"


def _made(asked: Order, files: Mapping[str, GitFile], repository: GitRepository) -> Resource:
    if asked.visibility is not None and repository.local:
        repository.local.path.chmod(MODES[asked.visibility])
    entries = {path: TreeEntry(file.mode, blob_id(file.data)) for path, file in files.items()}
    return Resource(asked.place.identity, _facts(entries, asked, repository), asked.outputs())


def repo_scaffolding() -> Scaffolding[ScaffoldOptions]:
    """Make the provider of `repo-scaffolding`."""
    return Scaffolding(ScaffoldOptions, order)


def github_golang() -> Scaffolding[GithubOptions]:
    """Make the provider of `github-repo-scaffolding-golang`."""
    return Scaffolding(GithubOptions, golang_order)


def gitlab_golang() -> Scaffolding[GitlabOptions]:
    """Make the provider of `gitlab-repo-scaffolding-golang`."""
    return Scaffolding(GitlabOptions, golang_order)


_conforms: Provider[ScaffoldOptions] = repo_scaffolding()
