"""Removal of a repository from this machine, but never of what others committed to it."""

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
"""Tells if a commit with these marks is this state's."""


def remove_repository(repository: LocalRepository, is_own_commit: IsOwnCommit) -> str:
    """Remove it, at once for readers; already gone is fine.

    One that holds a commit of others is kept under a name next to it that nothing has: returned,
    else "". Raises ProviderError where the directory cannot be written to.
    """
    path = repository.path

    # Two names, so that a run after a crash knows what the killed one had looked into.
    hidden, condemned = repository.sibling_path("old"), repository.sibling_path("gone")

    def has_only_own_commits(there: Path) -> bool:
        return all(map(is_own_commit, read_all_marks(Git(repository.git.call, there))))

    def finish() -> str:
        if not hidden.exists():
            return ""
        if not has_only_own_commits(hidden):  # pushed in between; nobody can push any more
            return _keep(hidden, path)
        hidden.rename(condemned)
        shutil.rmtree(condemned)
        return ""

    try:
        shutil.rmtree(condemned, ignore_errors=True)  # half removed by a process that was killed
        kept = finish()
        if not path.exists():
            return kept
        if not has_only_own_commits(path):
            return _keep(path, path)
        # From here on no push finds it, so the second check is final.
        path.rename(hidden)
        kept = finish() or kept
    except OSError as error:
        hint = f"see that {path.parent} can be written to"
        raise ProviderError(f"cannot remove {path}: {error.strerror}", hint=hint) from error
    return kept


def _keep(there: Path, path: Path) -> str:
    number = 1
    while os.path.lexists(kept := f"{path}.kept-{number}"):
        number += 1
    there.rename(kept)
    return kept
