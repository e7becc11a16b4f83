"""A repository at a path on this machine: found, made, and marked as dtm's."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.errors import ProviderError
from providers._git.command import Git
from providers._git.objects import hash_blob


class LocalRepository(msgspec.Struct, frozen=True):
    """A place on this machine where a repository is or may be; `git` works for the present call."""

    path: Path
    git: Git

    def find_git_directory(self) -> Path | None:
        """Find the git directory, bare or in a work tree; None if there is nothing.

        Raises ProviderError for a file, or a directory that holds anything else.
        """
        for place in (self.path, self.path / ".git"):
            if (place / "HEAD").is_file() and (place / "objects").is_dir():
                return place
        if self.path.is_file() or (self.path.is_dir() and any(self.path.iterdir())):
            raise ProviderError(
                f"{self.path} is there, but is no git repository",
                hint="choose another path or move it away",
            )
        return None

    def create(self, branch: str, marks: Mapping[str, str]) -> None:
        """Make a bare repository, all or nothing; leave one that is there as it is.

        `marks` go to its config as `dtm.*`. Raises ProviderError.
        """
        # Made beside and renamed: a kill never leaves half a repository at the path.
        fresh = self.sibling_path("new")
        shutil.rmtree(fresh, ignore_errors=True)  # left by a process that was killed
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            branch_option = f"--initial-branch={branch}"
            self.git("init", "-q", "--bare", "--template=", branch_option, str(fresh))
            with (fresh / "config").open("a", encoding="utf-8") as config:
                config.write("[dtm]\n")
                config.writelines(f'\t{key} = "{value}"\n' for key, value in marks.items())
            fresh.rename(self.path)
        except OSError as error:
            # The rename fails where another process was faster: then all is as it should be.
            if self.find_git_directory() is None:
                raise ProviderError(f"cannot make {self.path}: {error.strerror}") from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def read_marks(self) -> dict[str, str]:
        """Read the marks that `make` wrote; empty if there is no repository."""
        directory = self.find_git_directory()
        if directory is None:
            return {}
        git = Git(self.git.call, directory)
        listed = git.run("config", "--local", "-z", "--get-regexp", r"^dtm\.").text
        pairs = (item.split("\n", 1) for item in listed.split("\0") if "\n" in item)
        return {key.removeprefix("dtm."): value for key, value in pairs}

    def sibling_path(self, what: str) -> Path:
        """Name a hidden path next to the repository, the same when the operation is repeated."""
        call = self.git.call
        mark = hash_blob(f"{call.lineage}\n{call.address}\n{call.token}".encode())[:8]
        return self.path.with_name(f".{self.path.name}.{mark}.{what}")
