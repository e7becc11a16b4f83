"""Whole files that one tool keeps in a git repository, written or removed in one commit."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence

from engine.errors import NotFoundError, ProviderError
from engine.ports import Call
from engine.state import Resource
from providers._git.objects import TreeEntry, blob_id
from providers._git.repository import GitRepository
from providers._git.scm import Location
from providers._git.urls import is_path, local_path, without_credentials

FOREIGN = "remove it from the repository, or choose another path"


def opened(location: Location, call: Call) -> GitRepository:
    """Take the branch, for one call."""
    return GitRepository(location.url, location.branch, call=call, token=location.token)


def recorded(location: Location, resource: Resource | None, call: Call) -> GitRepository:
    """Take the branch that the record names: that of the options, unless they have changed."""
    repository = opened(location, call)
    if resource is None or "repoURL" not in resource.outputs:
        return repository
    url, branch = str(resource.outputs["repoURL"]), str(resource.outputs["branch"])
    old = GitRepository(url, branch, call=call)
    return repository.on(branch) if old.identity == repository.identity else old


def left_behind(location: Location, resource: Resource, call: Call) -> GitRepository | None:
    """Take the recorded branch if the options now name another; None if the files stay there."""
    before, now = recorded(location, resource, call), opened(location, call)
    same = (before.identity, before.branch) == (now.identity, now.branch)
    return None if same else before


def required() -> Sequence[str]:
    """Answer `requires`: the git binary."""
    return [] if shutil.which("git") else ["git is not installed, or not on the PATH"]


def needed(option: str, location: Location) -> dict[str, str]:
    """Answer `inputs`: the repository, where it is on this machine."""
    return {option: str(local_path(location.url))} if is_path(location.url) else {}


def shown(location: Location) -> dict[str, str]:
    """Make the outputs that say where the files are."""
    return {"repoURL": without_credentials(location.url), "branch": location.branch}


def blobs(repository: GitRepository, paths: Collection[str]) -> dict[str, str]:
    """Map each of these paths that is there to git's id of its content."""
    tip = repository.tip()
    found: Mapping[str, TreeEntry] = tip.entries if tip else {}
    return {path: found[path].blob for path in sorted(paths) if path in found}


def blobs_of(files: Mapping[str, bytes]) -> dict[str, str]:
    """Make the same map of files that are not written yet."""
    return {path: blob_id(files[path]) for path in sorted(files)}


def write(
    repository: GitRepository, wanted: Mapping[str, bytes], owned: Collection[str], subject: str
) -> None:
    """Bring the files to these contents and remove other owned ones.

    Files of others are refused unless equal. An empty repository gets its branch; a branch that is
    missing beside others is an error, since it would start without the code.
    """
    heads = repository.heads()
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
    found = blobs(repository, others) if others else {}
    # Equal content may be dtm's own, of a create that was interrupted before its record.
    foreign = [path for path, blob in found.items() if blob != blob_id(wanted[path])]
    if foreign:
        raise ProviderError(
            f"{repository.location} already has {', '.join(foreign)}, not made by dtm", hint=FOREIGN
        )
    gone: dict[str, bytes | None] = dict.fromkeys(set(owned) - wanted.keys())
    repository.commit({**wanted, **gone}, subject)


def remove(repository: GitRepository, owned: Collection[str], subject: str) -> None:
    """Remove these files; one that is gone already is fine."""
    left = blobs(repository, owned)
    # No commit if all of them are gone: an interrupted delete may be made again.
    if left:
        repository.commit(dict.fromkeys(left), subject)
