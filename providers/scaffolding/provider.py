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
from providers._git.managed_files import open_repository
from providers._git.objects import GitFile, TreeEntry, build_marks, hash_blob
from providers._git.repository import GitRepository
from providers._git.scm import Location
from providers._git.urls import is_path, normalize_url
from providers.scaffolding.options import (
    GithubOptions,
    GitlabOptions,
    ScaffoldOptions,
    ScaffoldOutputs,
    ScaffoldRequest,
    Visibility,
    build_golang_request,
    build_request,
)
from providers.scaffolding.removal import remove_repository
from providers.scaffolding.source import find_local_template

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

    def __init__(self, options: type[O], build_request: Callable[[O], ScaffoldRequest]) -> None:
        self.options, self._build_request = options, build_request

    def missing_requirements(self, options: O) -> Sequence[str]:
        """Demand the git program."""
        return () if shutil.which("git") else ("the git program is not on the PATH: install git",)

    def input_paths(self, options: O) -> Mapping[str, str]:
        """Name the template, where it is on this machine."""
        path = find_local_template(self._build_request(options).template)
        return {} if path is None else {"sourceRepo": path}

    def identity(self, options: O) -> str | None:
        """Name the repository: `github.com/me/app`, or the path."""
        return self._build_request(options).location.identity

    def predict(self, options: O, resource: Resource | None) -> Mapping[str, Value]:
        """Predict all outputs.

        Raises ProviderError if the repository is another than the recorded one.
        """
        request = self._build_request(options)
        recorded = resource.outputs.get("repoURL") if resource else None
        if (
            resource
            and recorded is not None
            and _are_different(str(recorded), request.location.url)
        ):
            _refuse_other_repository(request, resource)
        return request.build_outputs()

    def read(self, options: O, resource: Resource | None, call: Call) -> Resource | None:
        """Report blob id and mode of each file that dtm wrote; with `visibility` its readers."""
        request = self._build_request(options)
        repository = open_repository(_locate_recorded(request, resource, call), call)
        heads = repository.list_branches()
        if not heads or (resource is not None and repository.branch not in heads):
            return None
        tip = repository.read_tip()
        entries: Mapping[str, TreeEntry] = tip.entries if tip else {}
        # Without a record the wanted files are looked for: an interrupted create is found again.
        written = _recorded_files(resource) or (request.render_files(call) if tip else {})
        found = {path: entry for path, entry in entries.items() if path in written}
        # Without a file of ours, a foreign repository is still reported: create must not take it.
        if not found and _is_from_this_state(_read_root_marks(repository, heads), call):
            return None
        name = resource.id if resource else request.location.identity
        outputs = dict(resource.outputs) if resource else request.build_outputs()
        return Resource(name, _build_attributes(found, request, repository), outputs)

    def create(self, options: O, call: Call) -> Resource:
        """Make the repository, where it is on this machine, and its first commit.

        A create that was interrupted is completed.
        """
        request = self._build_request(options)
        repository = open_repository(request.location, call)
        files = request.render_files(call)
        heads = repository.list_branches()
        if heads is None:
            repository.init_bare(build_marks(call))
        # After `init_bare`, which leaves a repository alone that another run made just now.
        _refuse_unless_own(repository, heads, call)
        message = f"Scaffold {request.location.name}"
        # `first`: two clients that both found an empty repository must not both write to it.
        repository.commit(files, message, author=request.author, must_be_first=not heads)
        return _build_resource(request, files, repository)

    def update(self, options: O, resource: Resource, call: Call) -> Resource:
        """Commit what differs; a new branch begins at the old one."""
        request = self._build_request(options)
        _locate_recorded(request, resource, call)  # refuses another repository
        repository = open_repository(request.location, call)
        files = request.render_files(call)
        gone: dict[str, bytes | GitFile | None] = dict.fromkeys(_recorded_files(resource))
        message = f"Update {request.location.name} from its template"
        before = str(resource.outputs.get("branch") or "")
        repository.commit(gone | files, message, author=request.author, start_branch=before)
        return _build_resource(request, files, repository)

    def delete(self, options: O, resource: Resource, call: Call) -> None:
        """Remove the repository if dtm made it on this machine, else the files in it."""
        request = self._build_request(options)
        url, branch = str(resource.outputs["repoURL"]), str(resource.outputs["branch"])
        if url == request.build_outputs()["repoURL"]:
            url = request.location.url  # unlike the recorded one it may hold credentials
        repository = open_repository(replace(request.location, url=url, branch=branch), call)
        heads, local = repository.list_branches(), repository.local
        if heads and not _is_from_this_state(_read_root_marks(repository, heads), call):
            raise ProviderError(
                f"{repository.location} was not made by this state, so it is not deleted",
                hint=f"dtm state rm {call.address} forgets it; "
                "delete it by hand if you want it gone",
            )
        if local and (heads is None or _is_from_this_state(local.read_marks(), call)):
            if kept := remove_repository(local, lambda marks: _is_from_this_state(marks, call)):
                call.warn(
                    f"others committed to {repository.location}, "
                    f"so it is not removed but kept as {kept}"
                )
        elif branch in (heads or {}):
            message = f"Remove the scaffolding of {request.location.name}"
            repository.commit(
                dict.fromkeys(_recorded_files(resource)), message, author=request.author
            )
            call.warn(
                f"{repository.location} stays, without the files that were written to it: "
                "only its host can remove it"
            )


def _locate_recorded(request: ScaffoldRequest, resource: Resource | None, call: Call) -> Location:
    """Find what is recorded, else what the options say. A repository elsewhere is refused."""
    place = request.location
    if resource is None or "repoURL" not in resource.outputs:
        return place
    recorded = str(resource.outputs["repoURL"])
    branch = str(resource.outputs.get("branch") or place.branch)
    old, new = (GitRepository(url, call=call).identity for url in (recorded, place.url))
    if old == new:
        return replace(place, branch=branch)
    _refuse_other_repository(request, resource)
    return replace(place, url=recorded, branch=branch)


def _refuse_other_repository(request: ScaffoldRequest, resource: Resource) -> None:
    """Refuse another repository than the recorded one.

    Where owner, org or name differ it is allowed: these options replace the tool when they change.
    """
    named = request.build_outputs()
    same_name = all(resource.outputs.get(key) == named[key] for key in ("owner", "org", "repo"))
    if request.is_named_by_url or same_name:
        raise ProviderError(
            f"this tool made {resource.outputs['repoURL']}, "
            f"and now names another repository, {named['repoURL']}",
            hint="give the new one an instanceID of its own; "
            "the old one is then deleted, or kept by dtm state rm",
        )


def _are_different(recorded: str, url: str) -> bool:
    """Tell if these are two repositories for sure.

    One path may be relative to the configuration and the other absolute: that proves nothing.
    """
    if is_path(recorded) and is_path(url) and _is_below_config(recorded) != _is_below_config(url):
        return False
    return normalize_url(recorded) != normalize_url(url)


def _is_below_config(url: str) -> bool:
    """Tell if it is a path below the configuration."""
    return not normalize_url(url).startswith(("/", "../"))


def _recorded_files(resource: Resource | None) -> Attributes:
    """List the files that dtm wrote, by path."""
    return cast("Attributes", resource.attributes.get("files") or {}) if resource else {}


def _read_root_marks(repository: GitRepository, heads: Mapping[str, str]) -> Mapping[str, str]:
    """Read the marks of the first commit of the branch, or of any other where that is absent."""
    if not heads:
        return {}
    # min: the same branch each time, whatever order git lists them in.
    branch = repository.branch if repository.branch in heads else min(heads)
    tip = repository.with_branch(branch).read_tip(history=True)
    return tip.root_marks if tip else {}


def _is_from_this_state(marks: Mapping[str, str], call: Call) -> bool:
    # A commit without an address was not made by dtm, even if no lineage is known yet.
    return "address" in marks and marks.get("lineage", "") == call.lineage


def _refuse_unless_own(
    repository: GitRepository, heads: Mapping[str, str] | None, call: Call
) -> None:
    """Refuse all but an unmarked empty repository and one that this very tool began."""
    local = repository.local
    marks = _read_root_marks(repository, heads) if heads else local.read_marks() if local else {}
    same = marks.get("address") == str(call.address) or (
        call.token and marks.get("token") == call.token
    )
    if (heads or marks) and not (same and _is_from_this_state(marks, call)):
        raise ProviderError(
            f"{repository.location} exists and was not made by {call.address} of this state",
            hint="choose another name or place, or remove what is there",
        )


def _build_attributes(
    found: Mapping[str, TreeEntry], request: ScaffoldRequest, repository: GitRepository
) -> dict[str, Value]:
    facts: dict[str, Value] = {
        "files": {path: _describe_entry(entry) for path, entry in sorted(found.items())}
    }
    if request.visibility is not None and repository.local:
        facts["visibility"] = _visibility_of_mode(
            stat.S_IMODE(repository.local.path.stat().st_mode)
        )
    return facts


def _describe_entry(entry: TreeEntry) -> str:
    return entry.blob + KINDS.get(entry.mode, "")


def _visibility_of_mode(mode: int) -> Visibility:
    return "public" if mode & 0o005 == 0o005 else "internal" if mode & 0o050 == 0o050 else "private"


def _build_resource(
    request: ScaffoldRequest, files: Mapping[str, GitFile], repository: GitRepository
) -> Resource:
    if request.visibility is not None and repository.local:
        repository.local.path.chmod(MODES[request.visibility])
    entries = {path: TreeEntry(file.mode, hash_blob(file.data)) for path, file in files.items()}
    return Resource(
        request.location.identity,
        _build_attributes(entries, request, repository),
        request.build_outputs(),
    )


def repo_scaffolding() -> Scaffolding[ScaffoldOptions]:
    """Make the provider of `repo-scaffolding`."""
    return Scaffolding(ScaffoldOptions, build_request)


def github_golang() -> Scaffolding[GithubOptions]:
    """Make the provider of `github-repo-scaffolding-golang`."""
    return Scaffolding(GithubOptions, build_golang_request)


def gitlab_golang() -> Scaffolding[GitlabOptions]:
    """Make the provider of `gitlab-repo-scaffolding-golang`."""
    return Scaffolding(GitlabOptions, build_golang_request)


_conforms: Provider[ScaffoldOptions] = repo_scaffolding()
