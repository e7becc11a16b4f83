"""The `file` provider: keeps one regular file on this machine, written whole or not at all."""

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
from engine.ports import Call, Consuming, Deriving, Provider
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


class FileOptions(Options, frozen=True, kw_only=True):
    """The place, the content and the permissions of the file."""

    path: Annotated[
        PathText,
        Field("where the file is; missing directories are made", example="hello.txt", replace=True),
    ]
    content: Annotated[
        str | None, Field("its text, written as UTF-8; either this or `source`", example="hello\n")
    ] = None
    source: Annotated[PathText | None, Field("a file to copy; either this or `content`")] = None
    mode: Annotated[ModeText, Field("permissions in octal, quoted")] = "0644"

    def __post_init__(self) -> None:
        if (self.content is None) == (self.source is None):
            raise ValueError("exactly one of content and source is needed")


class FileOutputs(Outputs, frozen=True, kw_only=True):
    """The outputs that references may name."""

    path: Annotated[str, Field("where the file is, as `path` says")]
    sha256: Annotated[str, Field("hex digest of the content")]


class FileProvider:
    """A file on this machine with the given content and mode.

    Readers see the old content or the new one, never a part. Drift is found in content and mode; a
    change of the source is copied. A file that somebody else made is refused. Deleting leaves
    directories alone.
    """

    plugin = "file"
    options = FileOptions
    outputs = FileOutputs

    def identity(self, options: FileOptions) -> str | None:
        """Name the file by its path."""
        return f"file:{normalize_path(options.path)}"

    def predict(self, options: FileOptions, resource: Resource | None) -> Mapping[str, Value]:
        """Predict all outputs, but not the digest of a source, which is known after apply."""
        sha256 = (
            UNKNOWN
            if options.content is None
            else _hash_stream(io.BytesIO(options.content.encode()))
        )
        return {"path": normalize_path(options.path), "sha256": sha256}

    def read(self, options: FileOptions, resource: Resource | None, call: Call) -> Resource | None:
        """Report mode, size and digest.

        With `source` also the source's digest as it is now, null if the source is gone.
        """
        path = resolve_path(options.path, call)
        with map_os_errors("read", path):
            found = _read_digest_and_status(path)
        if found is None:
            return None
        sha256, status = found
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

    def inputs(self, options: FileOptions) -> Mapping[str, str]:
        """Name the source."""
        return {} if options.source is None else {"source": options.source}

    def derived(self) -> Collection[str]:
        """Name the source's digest: the source may change without the options."""
        return ("source",)

    def create(self, options: FileOptions, call: Call) -> Resource:
        """Make the file; refuse one that is there already unless its content is the wanted one."""
        path = resolve_path(options.path, call)
        with map_os_errors("write", path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with _write_staging_file(options, call) as (staged, sha256):
            try:
                rename_without_replacing(staged, path)
            except FileExistsError:
                # A create that was interrupted after the rename left just this content.
                found = _read_digest_and_status(path)
                if found is None or found[0] != sha256:
                    raise ProviderError(
                        f"{path} exists and was not made by dtm", hint=PATH_TAKEN_HINT
                    ) from None
                staged.replace(path)
        return self._read_back(options, call)

    def update(self, options: FileOptions, resource: Resource, call: Call) -> Resource:
        """Replace content and mode in one step."""
        path = resolve_path(options.path, call)
        with _write_staging_file(options, call) as (staged, _):
            staged.replace(path)
        return self._read_back(options, call)

    def delete(self, options: FileOptions, resource: Resource, call: Call) -> None:
        """Remove the file."""
        path = resolve_path(options.path, call)
        with map_os_errors("remove", path), suppress(FileNotFoundError, NotADirectoryError):
            _staging_path(options, call).unlink(missing_ok=True)
            path.unlink()
            _fsync_directory(path.parent)

    def _read_back(self, options: FileOptions, call: Call) -> Resource:
        path = resolve_path(options.path, call)
        with map_os_errors("write", path):
            _fsync_directory(path.parent)
        made = self.read(options, None, call)
        if made is None:
            raise ProviderError(f"{path} was removed while it was being written")
        return made


@contextmanager
def _write_staging_file(
    options: FileOptions, call: Call
) -> Generator[tuple[Path, str], None, None]:
    """Write the wanted file, whole and durable, beside its place; yield that and its digest.

    It is removed at the end of the block, unless it was renamed.
    """
    staged = _staging_path(options, call)
    with _open_content(options, call) as content, map_os_errors("write", staged):
        # A process that was killed left it. It may be a second name of the real file, see
        # `rename_new`: so it must not be overwritten in place.
        staged.unlink(missing_ok=True)
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as out:
                sha256 = _hash_stream(content, out)
                os.fchmod(out.fileno(), int(options.mode, 8))
                out.flush()
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
    """Compute the SHA-256 in hex of the rest of a stream, which is copied on the way."""
    digest = hashlib.sha256()
    while chunk := content.read(READ_SIZE):
        digest.update(chunk)
        if copy is not None:
            copy.write(chunk)
    return digest.hexdigest()


def _read_digest_and_status(path: Path) -> tuple[str, os.stat_result] | None:
    """Read digest and status of one and the same regular file; None if nothing is there.

    Raises OSError, ProviderError.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise ProviderError(
                f"{path} is not a regular file", hint="move it away, or choose another path"
            )
        with path.open("rb") as stream:
            return _hash_stream(stream), os.fstat(stream.fileno())
    except (FileNotFoundError, NotADirectoryError):
        return None


def _fsync_directory(directory: Path) -> None:
    """Make a rename or removal inside durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_conforms: type[Provider[FileOptions]] = FileProvider
_derives: type[Deriving] = FileProvider
_consumes: type[Consuming] = FileProvider
