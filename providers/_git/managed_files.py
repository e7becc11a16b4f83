"""Whole files that one tool keeps in a git repository, written or removed in one commit."""

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
    """Take the branch, for one call."""
    return GitRepository(location.url, location.branch, call=call, token=location.token)


def open_recorded_repository(
    location: Location, resource: Resource | None, call: Call
) -> GitRepository:
    """Take the branch that the record names: that of the options, unless they have changed."""
    repository = open_repository(location, call)
    if resource is None or "repoURL" not in resource.outputs:
        return repository
    url, branch = str(resource.outputs["repoURL"]), str(resource.outputs["branch"])
    old = GitRepository(url, branch, call=call)
    return repository.with_branch(branch) if old.identity == repository.identity else old


def open_former_repository(
    location: Location, resource: Resource, call: Call
) -> GitRepository | None:
    """Take the recorded branch if the options now name another; None if the files stay there."""
    before, now = (
        open_recorded_repository(location, resource, call),
        open_repository(location, call),
    )
    same = (before.identity, before.branch) == (now.identity, now.branch)
    return None if same else before


def check_git_installed() -> Sequence[str]:
    """Answer `requires`: the git binary."""
    return [] if shutil.which("git") else ["git is not installed, or not on the PATH"]


def list_local_inputs(option: str, location: Location) -> dict[str, str]:
    """Answer `inputs`: the repository, where it is on this machine."""
    return {option: str(local_path(location.url))} if is_path(location.url) else {}


def build_repo_outputs(location: Location) -> dict[str, str]:
    """Make the outputs that say where the files are."""
    return {"repoURL": strip_credentials(location.url), "branch": location.branch}


def read_blob_ids(repository: GitRepository, paths: Collection[str]) -> dict[str, str]:
    """Map each of these paths that is there to git's id of its content."""
    tip = repository.read_tip()
    found: Mapping[str, TreeEntry] = tip.entries if tip else {}
    return {path: found[path].blob for path in sorted(paths) if path in found}


def hash_files(files: Mapping[str, bytes]) -> dict[str, str]:
    """Make the same map of files that are not written yet."""
    return {path: hash_blob(files[path]) for path in sorted(files)}


def write_files(
    repository: GitRepository, wanted: Mapping[str, bytes], owned: Collection[str], subject: str
) -> None:
    """Bring the files to these contents and remove other owned ones.

    Files of others are refused unless equal. An empty repository gets its branch; a branch that is
    missing beside others is an error, since it would start without the code.
    """
    heads = repository.list_branches()
    if heads is None:
        raise NotFoundError(
            f"there is no repository {repository.location}",
            hint="make it first, for example with repo-scaffolding, "
            "and let this tool depend on that one",
        )
    if heads and repository.branch not in heads:
        raise ProviderError(
            f"{repository.location} has no branch {repository.branch}",
            hint=f"it has {', '.join(sorted(heads))}",
        )
    others = wanted.keys() - set(owned)
    found = read_blob_ids(repository, others) if others else {}
    # Equal content may be dtm's own, of a create that was interrupted before its record.
    foreign = [path for path, blob in found.items() if blob != hash_blob(wanted[path])]
    if foreign:
        raise ProviderError(
            f"{repository.location} already has {', '.join(foreign)}, not made by dtm",
            hint=FILE_TAKEN_HINT,
        )
    gone: dict[str, bytes | None] = dict.fromkeys(set(owned) - wanted.keys())
    repository.commit({**wanted, **gone}, subject)


def remove_files(repository: GitRepository, owned: Collection[str], subject: str) -> None:
    """Remove these files; one that is gone already is fine."""
    left = read_blob_ids(repository, owned)
    # No commit if all of them are gone: an interrupted delete may be made again.
    if left:
        repository.commit(dict.fromkeys(left), subject)
