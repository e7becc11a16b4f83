"""The `directory` provider, which manages one directory on this machine but not its content."""

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
    """The path and the permissions of the directory."""

    path: Annotated[
        PathText,
        Field(
            "Path of the directory. Missing parent directories are created.",
            example="out",
            replace=True,
        ),
    ]
    mode: Annotated[ModeText, Field("Permissions as a quoted octal number.")] = "0755"


class DirectoryOutputs(Outputs, frozen=True, kw_only=True):
    """The outputs of `directory`."""

    path: Annotated[str, Field("Path of the directory, as written in the option `path`.")]


class DirectoryProvider:
    """A directory on this machine with the given permissions.

    dtm does not manage the content of the directory. It creates the directory only if the path is
    free or holds an empty directory, and it deletes the directory only if it is empty. Permissions
    that were changed outside dtm are drift.
    """

    plugin = "directory"
    options = DirectoryOptions
    outputs = DirectoryOutputs

    def identity(self, options: DirectoryOptions) -> str | None:
        """Use the normalized path."""
        return f"directory:{normalize_path(options.path)}"

    def predict(self, options: DirectoryOptions, resource: Resource | None) -> Mapping[str, Value]:
        """Predict the output `path`."""
        return {"path": normalize_path(options.path)}

    def read(
        self, options: DirectoryOptions, resource: Resource | None, call: Call
    ) -> Resource | None:
        """Read the permissions. Raises ProviderError if the path is not a directory."""
        path = resolve_path(options.path, call)
        with map_os_errors("read", path):
            try:
                status = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        if not stat.S_ISDIR(status.st_mode):
            raise ProviderError(f"{path} is not a directory", hint=PATH_TAKEN_HINT)
        name = normalize_path(options.path)
        return Resource(name, {"mode": format_mode(status)}, {"path": name})

    def create(self, options: DirectoryOptions, call: Call) -> Resource:
        """Create the directory, or adopt an empty one. Raises ProviderError if it is not empty."""
        path = resolve_path(options.path, call)
        with map_os_errors("create", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.mkdir()
            except FileExistsError:
                # dtm may have been killed between an earlier mkdir and recording the result. The
                # directory is empty in that case, so an empty one is accepted.
                if path.is_symlink() or not path.is_dir() or any(path.iterdir()):
                    raise ProviderError(
                        f"{path} exists and was not created by dtm", hint=PATH_TAKEN_HINT
                    ) from None
        return self.update(options, Resource(normalize_path(options.path)), call)

    def update(self, options: DirectoryOptions, resource: Resource, call: Call) -> Resource:
        """Set the permissions."""
        path = resolve_path(options.path, call)
        # After mkdir, because the umask reduces the mode that is given to mkdir.
        with map_os_errors("set the mode of", path):
            path.chmod(int(options.mode, 8))
        created = self.read(options, None, call)
        if created is None:
            raise ProviderError(f"{path} was removed while dtm set its mode")
        return created

    def delete(self, options: DirectoryOptions, resource: Resource, call: Call) -> None:
        """Remove the directory. Raises ProviderError if it is not empty."""
        path = resolve_path(options.path, call)
        with map_os_errors("remove", path), suppress(FileNotFoundError, NotADirectoryError):
            content = sorted(item.name for item in path.iterdir())
            if content:
                raise ProviderError(
                    f"cannot delete {path}: it is not empty (it contains {_format_names(content)})",
                    hint="move the content away, or keep the directory and "
                    f"run dtm state rm {call.address.dotted}",
                )
            path.rmdir()


def _format_names(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


_conforms: type[Provider[DirectoryOptions]] = DirectoryProvider
