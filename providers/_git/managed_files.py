"""Complete files that one tool keeps in a git repository, written or removed in one commit."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence

from engine.errors import NotFoundError, ProviderError
from engine.ports import Call
from engine.state import Resource
from providers._git.objects import TreeEntry, hash_blob
from providers._git.repository import GitRepository
from providers._git.scm import Location
from providers._git.urls import is_path, local_path, strip_credentials

FILE_TAKEN_HINT = "remove it from the repository, or choose another path"


def open_repository(location: Location, call: Call) -> GitRepository:
    """Return the repository and branch that the options name."""
    return GitRepository(location.url, location.branch, call=call, token=location.token)


def open_recorded_repository(
    location: Location, resource: Resource | None, call: Call
) -> GitRepository:
    """Return the recorded repository and branch; without a record, those of the options."""
    repository = open_repository(location, call)
    if resource is None or "repoURL" not in resource.outputs:
        return repository
    url, branch = str(resource.outputs["repoURL"]), str(resource.outputs["branch"])
    old = GitRepository(url, branch, call=call)
    return repository.with_branch(branch) if old.identity == repository.identity else old


def open_former_repository(
    location: Location, resource: Resource, call: Call
) -> GitRepository | None:
    """Return the recorded repository and branch if the options now name another one, else None."""
    before, now = (
        open_recorded_repository(location, resource, call),
        open_repository(location, call),
    )
    same = (before.identity, before.branch) == (now.identity, now.branch)
    return None if same else before


def check_git_installed() -> Sequence[str]:
    """Return the result of `missing_requirements`: a sentence if git is not installed."""
    return () if shutil.which("git") else ("git is not installed, or not on the PATH: install git",)


def list_local_inputs(option: str, location: Location) -> dict[str, str]:
    """Return the result of `input_paths`: the repository, if it is on this machine."""
    return {option: str(local_path(location.url))} if is_path(location.url) else {}


def build_repo_outputs(location: Location) -> dict[str, str]:
    """Build the outputs that name repository and branch."""
    return {"repoURL": strip_credentials(location.url), "branch": location.branch}


def read_blob_ids(repository: GitRepository, paths: Collection[str]) -> dict[str, str]:
    """Return the blob ID of each of these files that exists in the branch."""
    tip = repository.read_tip()
    existing: Mapping[str, TreeEntry] = tip.entries if tip else {}
    return {path: existing[path].blob for path in sorted(paths) if path in existing}


def hash_files(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the blob IDs that these files will have."""
    return {path: hash_blob(files[path]) for path in sorted(files)}


def write_files(
    repository: GitRepository, wanted: Mapping[str, bytes], owned: Collection[str], subject: str
) -> None:
    """Commit the wanted files, and remove the owned files that are not wanted any more.

    `owned` are the paths that this tool wrote before. Raises NotFoundError if the repository does
    not exist. Raises ProviderError if it lacks the branch, or if a file that is not owned exists
    with other content. In an empty repository the branch is created.
    """
    branches = repository.list_branches()
    if branches is None:
        raise NotFoundError(
            f"there is no repository {repository.location}",
            hint="create it, for example with a repo-scaffolding tool: refer to its output with "
            "url: ${{ repo-scaffolding.NAME.outputs.repoURL }}",
        )
    # Creating the branch would publish the files without the code of the other branches.
    if branches and repository.branch not in branches:
        raise ProviderError(
            f"{repository.location} has no branch {repository.branch}",
            hint=f"set branch to {' or '.join(sorted(branches))}, "
            f"or push {repository.branch} first",
        )
    others = wanted.keys() - set(owned)
    existing = read_blob_ids(repository, others) if others else {}
    # A file with the wanted content is accepted: dtm may have been killed after an earlier push and
    # before it recorded the result.
    taken = [path for path, blob in existing.items() if blob != hash_blob(wanted[path])]
    if taken:
        raise ProviderError(
            f"{repository.location} already has {', '.join(taken)}, not created by dtm",
            hint=FILE_TAKEN_HINT,
        )
    removed: dict[str, bytes | None] = dict.fromkeys(set(owned) - wanted.keys())
    repository.commit({**wanted, **removed}, subject)


def remove_files(repository: GitRepository, owned: Collection[str], subject: str) -> None:
    """Commit the removal of these files. Files that are already gone are ignored."""
    remaining = read_blob_ids(repository, owned)
    # No commit if all files are gone, so that an interrupted delete can be repeated.
    if remaining:
        repository.commit(dict.fromkeys(remaining), subject)
