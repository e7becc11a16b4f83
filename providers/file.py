"""The `file` provider, which manages one regular file on this machine.

A file is first written completely to a *staging file*, `.NAME.dtm` in the same directory, and then
renamed. So other programs see the old file or the new one, never a part of it.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, BinaryIO

from engine.errors import ProviderError
from engine.ports import Call, HasDerivedAttributes, HasInputFiles, Provider
from engine.schema import Field, Options, Outputs
from engine.state import Resource
from engine.values import UNKNOWN, Value
from providers._local import (
    PATH_TAKEN_HINT,
    ModeText,
    PathText,
    format_mode,
    map_os_errors,
    normalize_path,
    rename_without_replacing,
    resolve_path,
)

READ_SIZE = 1 << 20
"""Bytes that are read at once."""


class FileOptions(Options, frozen=True, kw_only=True):
    """The path, the content and the permissions of the file."""

    path: Annotated[
        PathText,
        Field(
            "Path of the file. Missing parent directories are created.",
            example="hello.txt",
            replace=True,
        ),
    ]
    content: Annotated[
        str | None,
        Field(
            "Text of the file, written as UTF-8. Set either this or `source`.", example="hello\n"
        ),
    ] = None
    source: Annotated[
        PathText | None, Field("Path of a file to copy. Set either this or `content`.")
    ] = None
    mode: Annotated[ModeText, Field("Permissions as a quoted octal number.")] = "0644"

    def __post_init__(self) -> None:
        if (self.content is None) == (self.source is None):
            raise ValueError("set exactly one of content and source")


class FileOutputs(Outputs, frozen=True, kw_only=True):
    """The outputs of `file`."""

    path: Annotated[str, Field("Path of the file, as written in the option `path`.")]
    sha256: Annotated[str, Field("SHA-256 digest of the content, in hex.")]


class FileProvider:
    """A file on this machine with the given content and permissions.

    The file is replaced in one step: other programs read the old content or the new one, never a
    part of it. Content or permissions that were changed outside dtm are drift. If the file at
    `source` changes, the next apply copies it again. A file that exists already and has other
    content is not overwritten. Deleting removes the file, but no directory.
    """

    plugin = "file"
    options = FileOptions
    outputs = FileOutputs

    def identity(self, options: FileOptions) -> str | None:
        """Use the normalized path."""
        return f"file:{normalize_path(options.path)}"

    def predict(self, options: FileOptions, resource: Resource | None) -> Mapping[str, Value]:
        """Predict all outputs. The digest of a `source` is unknown until it is copied."""
        sha256 = (
            UNKNOWN
            if options.content is None
            else _hash_stream(io.BytesIO(options.content.encode()))
        )
        return {"path": normalize_path(options.path), "sha256": sha256}

    def read(self, options: FileOptions, resource: Resource | None, call: Call) -> Resource | None:
        """Read permissions, size and digest of the file.

        With the option `source`, the attribute `source` is the current digest of that file, None if
        it does not exist.
        """
        path = resolve_path(options.path, call)
        with map_os_errors("read", path):
            live = _read_digest_and_status(path)
        if live is None:
            return None
        sha256, status = live
        attributes: dict[str, Value] = {
            "mode": format_mode(status),
            "sha256": sha256,
            "size": status.st_size,
        }
        if options.source is not None:
            source = resolve_path(options.source, call)
            with map_os_errors("read", source):
                copied = _read_digest_and_status(source)
            attributes["source"] = copied and copied[0]
        name = normalize_path(options.path)
        return Resource(name, attributes, {"path": name, "sha256": sha256})

    def input_paths(self, options: FileOptions) -> Mapping[str, str]:
        """Return the path of the source, which must exist before the first change of a run."""
        return {} if options.source is None else {"source": options.source}

    def derived_attributes(self) -> Collection[str]:
        """Name the attribute that changes when the source changes, although no option does."""
        return ("source",)

    def create(self, options: FileOptions, call: Call) -> Resource:
        """Create the file. Raises ProviderError if it exists with other content."""
        path = resolve_path(options.path, call)
        with map_os_errors("write", path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with _write_staging_file(options, call) as (staged, sha256):
            try:
                rename_without_replacing(staged, path)
            except FileExistsError:
                # dtm may have been killed between an earlier rename and recording the result. The
                # file has the wanted content in that case, so it is accepted.
                live = _read_digest_and_status(path)
                if live is None or live[0] != sha256:
                    raise ProviderError(
                        f"{path} exists and was not created by dtm", hint=PATH_TAKEN_HINT
                    ) from None
                staged.replace(path)
        return self._read_back(options, call)

    def update(self, options: FileOptions, resource: Resource, call: Call) -> Resource:
        """Replace content and permissions in one step."""
        path = resolve_path(options.path, call)
        with _write_staging_file(options, call) as (staged, _):
            staged.replace(path)
        return self._read_back(options, call)

    def delete(self, options: FileOptions, resource: Resource, call: Call) -> None:
        """Remove the file, and a staging file that a killed process left."""
        path = resolve_path(options.path, call)
        with map_os_errors("remove", path), suppress(FileNotFoundError, NotADirectoryError):
            _staging_path(options, call).unlink(missing_ok=True)
            path.unlink()
            _fsync_directory(path.parent)

    def _read_back(self, options: FileOptions, call: Call) -> Resource:
        path = resolve_path(options.path, call)
        with map_os_errors("write", path):
            _fsync_directory(path.parent)
        resource = self.read(options, None, call)
        if resource is None:
            raise ProviderError(f"{path} was removed while dtm wrote it")
        return resource


@contextmanager
def _write_staging_file(
    options: FileOptions, call: Call
) -> Generator[tuple[Path, str], None, None]:
    """Write the complete staging file to disk; yield its path and digest.

    The caller renames it. If it did not, the staging file is removed at the end of the block.
    """
    staged = _staging_path(options, call)
    with _open_content(options, call) as content, map_os_errors("write", staged):
        # A killed process may have left a staging file. It may be a hard link to the real file (see
        # `rename_without_replacing`), so it is unlinked: truncating it would destroy the real file.
        staged.unlink(missing_ok=True)
        # O_EXCL refuses a symbolic link that another user may have put at this path. With mode 0600
        # no other user can read a secret before the wanted permissions are set.
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as out:
                sha256 = _hash_stream(content, out)
                # fchmod, since the mode given to os.open is reduced by the umask.
                os.fchmod(out.fileno(), int(options.mode, 8))
                out.flush()
                # Before the rename: after a power failure the new name must not show an empty file.
                os.fsync(out.fileno())
            yield staged, sha256
        finally:
            staged.unlink(missing_ok=True)


def _staging_path(options: FileOptions, call: Call) -> Path:
    path = resolve_path(options.path, call)
    return path.with_name(f".{path.name}.dtm")


def _open_content(options: FileOptions, call: Call) -> BinaryIO:
    if options.source is None:
        return io.BytesIO((options.content or "").encode())
    source = resolve_path(options.source, call)
    with map_os_errors("read the source", source):
        return source.open("rb")


def _hash_stream(content: BinaryIO, copy: BinaryIO | None = None) -> str:
    """Return the SHA-256 in hex of the rest of a stream; write the bytes to `copy` as well."""
    digest = hashlib.sha256()
    while part := content.read(READ_SIZE):
        digest.update(part)
        if copy is not None:
            copy.write(part)
    return digest.hexdigest()


def _read_digest_and_status(path: Path) -> tuple[str, os.stat_result] | None:
    """Return digest and status of a regular file, None if the path does not exist.

    Raises ProviderError if the path is a directory, a link or a device; OSError.
    """
    try:
        # lstat: a symbolic link is refused, since a rename would replace the link, not its target.
        # Opening a FIFO would block until another program writes to it.
        if not stat.S_ISREG(path.lstat().st_mode):
            raise ProviderError(f"{path} is not a regular file", hint=PATH_TAKEN_HINT)
        with path.open("rb") as stream:
            # fstat on the open file, so that digest and status belong to the same file.
            return _hash_stream(stream), os.fstat(stream.fileno())
    except (FileNotFoundError, NotADirectoryError):
        return None


def _fsync_directory(directory: Path) -> None:
    """Write the entries of the directory to disk: a rename or removal survives a power failure."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_conforms: type[Provider[FileOptions]] = FileProvider
_has_derived_attributes: type[HasDerivedAttributes] = FileProvider
_has_input_files: type[HasInputFiles] = FileProvider
