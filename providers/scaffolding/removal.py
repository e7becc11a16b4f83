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
    # `hidden` has not been checked again, `condemned` may be deleted.
    hidden, condemned = repository.sibling_path("old"), repository.sibling_path("gone")

    def has_only_own_commits(there: Path) -> bool:
        return all(map(is_own_commit, read_all_marks(Git(repository.git.call, there))))

    def finish() -> str:
        if not hidden.exists():
            return ""
        if not has_only_own_commits(hidden):  # another user pushed after the first check
            return _keep(hidden, path)
        hidden.rename(condemned)
        shutil.rmtree(condemned)
        return ""

    try:
        shutil.rmtree(condemned, ignore_errors=True)  # a killed process may have left a part of it
        kept = finish()
        if not path.exists():
            return kept
        if not has_only_own_commits(path):
            return _keep(path, path)
        # From here on no push finds the repository, so the second check is final.
        path.rename(hidden)
        kept = finish() or kept
    except OSError as error:
        hint = f"make sure that your user may write to {path.parent}"
        raise ProviderError(f"cannot remove {path}: {error.strerror}", hint=hint) from error
    return kept


def _keep(there: Path, path: Path) -> str:
    number = 1
    while os.path.lexists(kept := f"{path}.kept-{number}"):
        number += 1
    there.rename(kept)
    return kept
