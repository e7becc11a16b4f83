"""The `repo-scaffolding` provider, which creates a repository from a template."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Generic, TypeVar, cast

import msgspec
from msgspec.structs import replace

from engine.errors import ProviderError
from engine.ports import Call, Provider
from engine.state import Resource
from engine.values import Attributes, Value
from providers._git.managed_files import check_git_installed, open_repository
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
"""Permissions of a local repository for each value of `visibility`."""
KINDS: Final = {"100755": " (executable)", "120000": " (link)", "160000": " (submodule)"}
O = TypeVar("O", bound=msgspec.Struct)  # noqa: E741 - the options Struct


class Scaffolding(Generic[O]):
    """A git repository that is created from a template.

    dtm commits the files of the template, and makes one more commit for each change. If the content
    or the mode of a file that dtm wrote is changed outside dtm, the next apply restores it with a
    commit. dtm does not touch other files. It does not adopt a repository that already has commits.

    Deleting removes a repository that dtm created on this machine. If other authors have committed
    to it, it is kept under the name `NAME.kept-1` instead. A repository that dtm did not create
    stays: one commit removes the files that dtm wrote.
    """

    plugin = "repo-scaffolding"
    outputs: type[msgspec.Struct] | None = ScaffoldOutputs

    def __init__(self, options: type[O], build_request: Callable[[O], ScaffoldRequest]) -> None:
        self.options, self._build_request = options, build_request

    def missing_requirements(self, options: O) -> Sequence[str]:
        """Report a missing git program."""
        return check_git_installed()

    def input_paths(self, options: O) -> Mapping[str, str]:
        """Return the path of the template if it is on this machine."""
        path = find_local_template(self._build_request(options).template)
        return {} if path is None else {"sourceRepo": path}

    def identity(self, options: O) -> str | None:
        """Use the normalized URL of the repository: `github.com/me/app`, or the path."""
        return self._build_request(options).location.identity

    def predict(self, options: O, resource: Resource | None) -> Mapping[str, Value]:
        """Predict all outputs.

        Raises ProviderError if the options name another repository than the recorded one.
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
        """Read blob ID and mode of each file that dtm wrote, and the visibility if it is set."""
        request = self._build_request(options)
        repository = open_repository(_locate_recorded(request, resource, call), call)
        branches = repository.list_branches()
        if not branches or (resource is not None and repository.branch not in branches):
            return None
        tip = repository.read_tip()
        entries: Mapping[str, TreeEntry] = tip.entries if tip else {}
        # Without a record, look for the files of the template: so an interrupted create is found.
        written = _recorded_files(resource) or (request.render_files(call) if tip else {})
        found = {path: entry for path, entry in entries.items() if path in written}
        # If none of the files exists, the tool is gone. But a repository that another author began
        # is still reported as existing, since `create` must not write to it.
        if not found and _is_from_this_state(_read_root_marks(repository, branches), call):
            return None
        name = resource.id if resource else request.location.identity
        outputs = dict(resource.outputs) if resource else request.build_outputs()
        return Resource(name, _build_attributes(found, request, repository), outputs)

    def create(self, options: O, call: Call) -> Resource:
        """Create the repository if it is on this machine, and make the first commit.

        Completes a create that was interrupted. Raises ProviderError if another tool or author has
        begun the repository.
        """
        request = self._build_request(options)
        repository = open_repository(request.location, call)
        files = request.render_files(call)
        branches = repository.list_branches()
        if branches is None:
            repository.init_bare(build_marks(call))
        # After `init_bare`, because another run may have created the repository at the same time:
        # `init_bare` keeps that repository, and the check finds the marks of the other run.
        _refuse_unless_own(repository, branches, call)
        message = f"Scaffold {request.location.name}"
        # Two clients may both find an empty repository. Only one may make the first commit.
        repository.commit(files, message, author=request.author, must_be_first=not branches)
        return _build_resource(request, files, repository)

    def update(self, options: O, resource: Resource, call: Call) -> Resource:
        """Commit the changes. If the branch changed, the new one starts at the recorded one."""
        request = self._build_request(options)
        _locate_recorded(request, resource, call)  # raises if the options name another repository
        repository = open_repository(request.location, call)
        files = request.render_files(call)
        removed: dict[str, bytes | GitFile | None] = dict.fromkeys(_recorded_files(resource))
        message = f"Update {request.location.name} from its template"
        before = str(resource.outputs.get("branch") or "")
        repository.commit(removed | files, message, author=request.author, start_branch=before)
        return _build_resource(request, files, repository)

    def delete(self, options: O, resource: Resource, call: Call) -> None:
        """Remove the repository if dtm created it on this machine, else the files in it."""
        request = self._build_request(options)
        url, branch = str(resource.outputs["repoURL"]), str(resource.outputs["branch"])
        if url == request.build_outputs()["repoURL"]:
            url = request.location.url  # the recorded URL has no credentials, this one may
        repository = open_repository(replace(request.location, url=url, branch=branch), call)
        branches, local = repository.list_branches(), repository.local
        if branches and not _is_from_this_state(_read_root_marks(repository, branches), call):
            raise ProviderError(
                f"cannot delete {repository.location}: it was not created by this state",
                hint=f"run dtm state rm {call.address.dotted} to forget it, "
                "and delete the repository yourself if it is not needed",
            )
        if local and (branches is None or _is_from_this_state(local.read_marks(), call)):
            if kept := remove_repository(local, lambda marks: _is_from_this_state(marks, call)):
                call.warn(
                    f"{repository.location} has commits of other authors. "
                    f"It is not deleted, but kept as {kept}."
                )
        elif branch in (branches or {}):
            message = f"Remove the scaffolding of {request.location.name}"
            repository.commit(
                dict.fromkeys(_recorded_files(resource)), message, author=request.author
            )
            call.warn(
                f"The files that dtm wrote to {repository.location} are removed. "
                "The repository itself stays, because dtm did not create it."
            )


def _locate_recorded(request: ScaffoldRequest, resource: Resource | None, call: Call) -> Location:
    """Return the recorded location; without a record, that of the options.

    Raises ProviderError if the options name another repository.
    """
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
    """Raise ProviderError, unless the change of the options replaces the tool.

    A change of owner, org or name replaces it: dtm deletes the old repository, then creates the new
    one. A change of url or baseURL does not, so it must not silently abandon the old repository.
    """
    named = request.build_outputs()
    same_name = all(resource.outputs.get(key) == named[key] for key in ("owner", "org", "repo"))
    if request.is_named_by_url or same_name:
        raise ProviderError(
            f"the recorded repository is {resource.outputs['repoURL']}, "
            f"but the options name another one, {named['repoURL']}",
            hint="use a new instanceID for the new repository: dtm apply then deletes the old one, "
            "unless dtm state rm removes it from the state first",
        )


def _are_different(recorded: str, url: str) -> bool:
    """Return whether two URLs certainly name different repositories.

    A path that is relative to the config file and an absolute one may name the same repository.
    Only a provider call knows the directory of the config file, so it decides.
    """
    if is_path(recorded) and is_path(url) and _is_below_config(recorded) != _is_below_config(url):
        return False
    return normalize_url(recorded) != normalize_url(url)


def _is_below_config(url: str) -> bool:
    """Return whether this is a relative path below the directory of the config file."""
    return not normalize_url(url).startswith(("/", "../"))


def _recorded_files(resource: Resource | None) -> Attributes:
    """Return the recorded files by path, empty without a record."""
    return cast("Attributes", resource.attributes.get("files") or {}) if resource else {}


def _read_root_marks(repository: GitRepository, branches: Mapping[str, str]) -> Mapping[str, str]:
    """Return the marks of the root commit of the branch, or of another branch if it is absent."""
    if not branches:
        return {}
    # min, because the result must not depend on the order in which git lists branches.
    branch = repository.branch if repository.branch in branches else min(branches)
    tip = repository.with_branch(branch).read_tip(history=True)
    return tip.root_marks if tip else {}


def _is_from_this_state(marks: Mapping[str, str], call: Call) -> bool:
    # Before the first apply the lineage is "", which is also the default of a commit without marks.
    # So an address is required: dtm writes it in every commit.
    return "address" in marks and marks.get("lineage", "") == call.lineage


def _refuse_unless_own(
    repository: GitRepository, branches: Mapping[str, str] | None, call: Call
) -> None:
    """Raise ProviderError unless this tool began the repository, or it is empty and unmarked."""
    local = repository.local
    marks = (
        _read_root_marks(repository, branches) if branches else local.read_marks() if local else {}
    )
    is_same_tool = marks.get("address") == str(call.address) or (
        call.token and marks.get("token") == call.token
    )
    if (branches or marks) and not (is_same_tool and _is_from_this_state(marks, call)):
        raise ProviderError(
            f"{repository.location} exists and was not created by {call.address} of this state",
            hint="set another name or url, or remove the repository",
        )


def _build_attributes(
    found: Mapping[str, TreeEntry], request: ScaffoldRequest, repository: GitRepository
) -> dict[str, Value]:
    attributes: dict[str, Value] = {
        "files": {path: _describe_entry(entry) for path, entry in sorted(found.items())}
    }
    if request.visibility is not None and repository.local:
        attributes["visibility"] = _visibility_of_mode(
            stat.S_IMODE(repository.local.path.stat().st_mode)
        )
    return attributes


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
    """Return the provider of `repo-scaffolding`."""
    return Scaffolding(ScaffoldOptions, build_request)


def github_golang() -> Scaffolding[GithubOptions]:
    """Return the provider of `github-repo-scaffolding-golang`."""
    return Scaffolding(GithubOptions, build_golang_request)


def gitlab_golang() -> Scaffolding[GitlabOptions]:
    """Return the provider of `gitlab-repo-scaffolding-golang`."""
    return Scaffolding(GitlabOptions, build_golang_request)


_conforms: Provider[ScaffoldOptions] = repo_scaffolding()
