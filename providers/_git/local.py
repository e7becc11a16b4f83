"""Repositories at a path on this machine: finding, creating and marking them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.errors import ProviderError
from providers._git.command import Git
from providers._git.objects import hash_blob


class LocalRepository(msgspec.Struct, frozen=True):
    """A path on this machine at which a repository exists or can be created.

    `git` belongs to the current provider call.
    """

    path: Path
    git: Git

    def find_git_directory(self) -> Path | None:
        """Return the git directory, bare or `.git`; None if the path is free.

        Raises ProviderError if the path is a file or a directory with other content.
        """
        for place in (self.path, self.path / ".git"):
            if (place / "HEAD").is_file() and (place / "objects").is_dir():
                return place
        if self.path.is_file() or (self.path.is_dir() and any(self.path.iterdir())):
            raise ProviderError(
                f"{self.path} exists, but is not a git repository",
                hint="move it away, or choose another path",
            )
        return None

    def create(self, branch: str, marks: Mapping[str, str]) -> None:
        """Create a bare repository with `marks` in its config, or keep an existing one unchanged.

        Raises ProviderError if the path cannot be written.
        """
        # Created at a hidden path and then renamed: if dtm is killed, the path never holds an
        # incomplete repository.
        fresh = self.sibling_path("new")
        shutil.rmtree(fresh, ignore_errors=True)  # a killed process may have left it
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            branch_option = f"--initial-branch={branch}"
            self.git("init", "-q", "--bare", "--template=", branch_option, str(fresh))
            with (fresh / "config").open("a", encoding="utf-8") as config:
                config.write("[dtm]\n")
                config.writelines(f'\t{key} = "{value}"\n' for key, value in marks.items())
            fresh.rename(self.path)
        except OSError as error:
            # The rename fails if another process created the repository at the same time.
            if self.find_git_directory() is None:
                raise ProviderError(
                    f"cannot create {self.path}: {error.strerror}",
                    hint=f"make sure that your user may write to the directory {self.path.parent}",
                ) from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def read_marks(self) -> dict[str, str]:
        """Return the marks that `create` wrote, empty if there is no repository."""
        directory = self.find_git_directory()
        if directory is None:
            return {}
        git = Git(self.git.call, directory)
        listed = git.run("config", "--local", "-z", "--get-regexp", r"^dtm\.").text
        pairs = (item.split("\n", 1) for item in listed.split("\0") if "\n" in item)
        return {key.removeprefix("dtm."): value for key, value in pairs}

    def sibling_path(self, suffix: str) -> Path:
        """Return a hidden path next to the repository.

        It is the same in each attempt of an operation, so that a new attempt finds what a killed
        one left. Other tools and operations get another path.
        """
        call = self.git.call
        digest = hash_blob(f"{call.lineage}\n{call.address}\n{call.token}".encode())[:8]
        return self.path.with_name(f".{self.path.name}.{digest}.{suffix}")
