"""Removal of a repository on this machine, unless other authors have committed to it.

Another user can push while dtm checks the commits. So dtm checks twice: first in place, then after
it has moved the repository to a hidden path, where no push finds it any more.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from engine.errors import ProviderError
from providers._git.command import Git
from providers._git.local import LocalRepository
from providers._git.objects import read_all_marks

IsOwnCommit = Callable[[Mapping[str, str]], bool]
"""Returns whether a commit with these marks was made by this state."""


def remove_repository(repository: LocalRepository, is_own_commit: IsOwnCommit) -> str:
    """Remove the repository. Does nothing if it is already gone.

    A repository with a commit of another author is renamed to `PATH.kept-N` instead. Returns that
    path, or "" if the repository was removed. Raises ProviderError if the parent directory cannot
    be written.
    """
    path = repository.path

    # Two hidden paths, so that a run after a crash knows whether the second check was done:
    # `hidden` has not been checked again, `to_delete` may be deleted.
    hidden, to_delete = repository.sibling_path("old"), repository.sibling_path("gone")

    def has_only_own_commits(directory: Path) -> bool:
        return all(map(is_own_commit, read_all_marks(Git(repository.git.call, directory))))

    def finish_removal() -> str:
        if not hidden.exists():
            return ""
        if not has_only_own_commits(hidden):  # another user pushed after the first check
            return _keep(hidden, path)
        hidden.rename(to_delete)
        shutil.rmtree(to_delete)
        return ""

    try:
        shutil.rmtree(to_delete, ignore_errors=True)  # a killed process may have left a part of it
        kept = finish_removal()
        if not path.exists():
            return kept
        if not has_only_own_commits(path):
            return _keep(path, path)
        # From here on no push finds the repository, so the second check is final.
        path.rename(hidden)
        kept = finish_removal() or kept
    except OSError as error:
        hint = f"make sure that your user may write to {path.parent}"
        raise ProviderError(f"cannot remove {path}: {error.strerror}", hint=hint) from error
    return kept


def _keep(directory: Path, path: Path) -> str:
    """Rename the repository to the first free `PATH.kept-N`; return that path."""
    number = 1
    # lexists, because a broken symbolic link takes the name too.
    while os.path.lexists(kept := f"{path}.kept-{number}"):
        number += 1
    directory.rename(kept)
    return kept
