"""The `directory` provider: keeps one directory on this machine, without what is in it."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated

from engine.errors import ProviderError
from engine.ports import Call, Provider
from engine.schema import Field, Options, Outputs
from engine.state import Resource
from engine.values import Value
from providers._local import (
    PATH_TAKEN_HINT,
    ModeText,
    PathText,
    format_mode,
    map_os_errors,
    normalize_path,
    resolve_path,
)


class DirectoryOptions(Options, frozen=True, kw_only=True):
    """The place and the permissions of the directory."""

    path: Annotated[
        PathText,
        Field("where the directory is; missing parents are made", example="out", replace=True),
    ]
    mode: Annotated[ModeText, Field("permissions in octal, quoted")] = "0755"


class DirectoryOutputs(Outputs, frozen=True, kw_only=True):
    """The outputs that references may name."""

    path: Annotated[str, Field("where the directory is, as `path` says")]


class DirectoryProvider:
    """A directory on this machine with the given mode.

    What is inside belongs to others: a directory that holds something is never removed, and one
    that was there before is refused.
    """

    plugin = "directory"
    options = DirectoryOptions
    outputs = DirectoryOutputs

    def identity(self, options: DirectoryOptions) -> str | None:
        """Name the directory by its path."""
        return f"directory:{normalize_path(options.path)}"

    def predict(self, options: DirectoryOptions, resource: Resource | None) -> Mapping[str, Value]:
        """Predict the path."""
        return {"path": normalize_path(options.path)}

    def read(
        self, options: DirectoryOptions, resource: Resource | None, call: Call
    ) -> Resource | None:
        """Report the mode."""
        path = resolve_path(options.path, call)
        with map_os_errors("read", path):
            try:
                status = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        if not stat.S_ISDIR(status.st_mode):
            raise ProviderError(
                f"{path} is not a directory", hint="move it away, or choose another path"
            )
        name = normalize_path(options.path)
        return Resource(name, {"mode": format_mode(status)}, {"path": name})

    def create(self, options: DirectoryOptions, call: Call) -> Resource:
        """Make the directory; complete an empty one, refuse one that holds something."""
        path = resolve_path(options.path, call)
        with map_os_errors("make", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.mkdir()
            except FileExistsError:
                # An empty one may be left by a create that was interrupted before its record.
                if path.is_symlink() or not path.is_dir() or any(path.iterdir()):
                    raise ProviderError(
                        f"{path} exists and was not made by dtm", hint=PATH_TAKEN_HINT
                    ) from None
        return self.update(options, Resource(normalize_path(options.path)), call)

    def update(self, options: DirectoryOptions, resource: Resource, call: Call) -> Resource:
        """Set the mode."""
        path = resolve_path(options.path, call)
        with map_os_errors("set the mode of", path):
            path.chmod(int(options.mode, 8))
        made = self.read(options, None, call)
        if made is None:
            raise ProviderError(f"{path} was removed while it was being made")
        return made

    def delete(self, options: DirectoryOptions, resource: Resource, call: Call) -> None:
        """Remove the directory, which only works while it is empty."""
        path = resolve_path(options.path, call)
        with map_os_errors("remove", path), suppress(FileNotFoundError, NotADirectoryError):
            held = sorted(item.name for item in path.iterdir())
            if held:
                raise ProviderError(
                    f"{path} is not empty: it holds {_format_names(held)}",
                    hint="only an empty directory is removed",
                )
            path.rmdir()


def _format_names(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


_conforms: type[Provider[DirectoryOptions]] = DirectoryProvider
