"""What the CI plugins share: rendered files on the one side, a branch of a git repository on the other."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import msgspec

from engine.ports import Call
from engine.state import Resource
from engine.values import UNKNOWN, UnknownValueError, Value
from providers._git.managed_files import (
    blobs,
    blobs_of,
    left_behind,
    needed,
    opened,
    recorded,
    remove,
    required,
    shown,
    write,
)
from providers._git.scm import Location, in_call
from providers.ci.options import CIOutputs
from providers.ci.source import Kind, checked, fetched, named, rendered, written

DEVSTREAM_PATH = re.compile(r"\.github/workflows/.+|\.gitlab-ci\.yml|Jenkinsfile")

O = TypeVar("O", bound=msgspec.Struct)  # noqa: E741 - the options Struct of a plugin


class FileSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where the text of the files comes from: `contents`, else `location`, else what `built_in` makes.

    `square` and `curly` are the variables for `[[ ]]` and `{{ }}` in files of the user's.
    """

    kind: Kind
    contents: Mapping[str, str]
    location: str
    built_in: Callable[[], str] | None = None
    square: Callable[[], Mapping[str, Any]] = dict
    curly: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])

    def paths(self) -> list[str] | None:
        """The files' paths, sorted; None if only looking tells. Pure; raises ValueError, UnknownValueError."""
        if self.contents:
            return sorted(written(self.contents, self.kind))
        if self.location:
            path = named(str(self.location), self.kind)
            return [path] if path else ([self.kind.fixed] if self.kind.fixed else None)
        return [self.kind.default]

    def files(self, base: Path) -> dict[str, bytes]:
        """Path -> content, as it should be in the repository. Raises ProviderError, ValueError."""
        if self.contents:
            texts = written(self.contents, self.kind)
        elif self.location:
            texts = fetched(self.location, self.kind, base)
        else:
            assert self.built_in is not None  # options without any source are refused before
            return {self.kind.default: self.built_in().encode()}
        return checked(rendered(texts, self.square(), self.curly), self.kind)


class CIFiles(ABC, Generic[O]):
    """CI files in a repository, committed together and compared by content.

    Attributes: `files` maps each path to git's id of what is in the branch, `rendered` to that of what should be: it
    moves when a template does, be it the user's or the built-in one. Deleting removes the files, never more.
    """

    plugin: str
    options: type[O]
    outputs: type[msgspec.Struct] | None = CIOutputs

    @abstractmethod
    def location(self, options: O) -> Location:
        """The repository. Raises ValueError, UnknownValueError."""

    @abstractmethod
    def source(self, options: O, name: str) -> FileSource:
        """Where the files come from, for a repository of that name. Raises ValueError, UnknownValueError."""

    @abstractmethod
    def secrets(self, options: O) -> list[str]:
        """CI secrets that the files use. Raises as `source`."""

    def identity(self, options: O) -> str | None:
        """Repository, branch and files."""
        found = self.location(options)
        source = self.source(options, found.name)
        paths = source.paths()
        return f"{found.identity}@{found.branch}:{','.join(paths) if paths is not None else source.location}"

    def predict(self, options: O, resource: Resource | None) -> Mapping[str, Value]:
        """Everything, but for the paths of files in a directory or behind a URL."""
        found = {
            "repoURL": _known(lambda: shown(self.location(options))["repoURL"]),
            "branch": _known(lambda: self.location(options).branch),
            "files": _known(lambda: self.source(options, "name").paths() or UNKNOWN),
            "secrets": _known(lambda: self.secrets(options)),
        }
        return cast("dict[str, Value]", found)  # text and lists of text

    def requires(self, options: O) -> Sequence[str]:
        """The git binary."""
        return required()

    def inputs(self, options: O) -> Mapping[str, str]:
        """The repository, where it is on this machine."""
        return needed("scm", self.location(options))

    def read(self, options: O, resource: Resource | None, call: Call) -> Resource | None:
        """The recorded files, or without a record those that would be made; None if none of them is there."""
        location, wanted = self._wanted(options, call)
        paths = _owned(resource) if resource else list(wanted)
        live = blobs(recorded(location, resource, call), paths)
        return self._resource(options, location, wanted, live, resource) if live else None

    def derived(self) -> Collection[str]:
        """What the files should be."""
        return ("rendered",)

    def create(self, options: O, call: Call) -> Resource:
        """Commit the files; those of somebody else are refused unless they are just as they should be."""
        return self._write(options, [], call)

    def update(self, options: O, resource: Resource, call: Call) -> Resource:
        """Commit what differs, and remove what is no longer wanted, also from a repository that no longer is."""
        old = left_behind(in_call(lambda: self.location(options)), resource, call)
        made = self._write(options, [] if old else _owned(resource), call)
        if old:
            remove(old, _owned(resource), "ci: move to another repository")
        return made

    def delete(self, options: O, resource: Resource, call: Call) -> None:
        """Commit the removal of the files."""
        place = recorded(in_call(lambda: self.location(options)), resource, call)
        owned = _owned(resource)
        remove(place, owned, f"ci: remove {', '.join(owned)}")

    def _write(self, options: O, owned: Sequence[str], call: Call) -> Resource:
        location, wanted = self._wanted(options, call)
        write(opened(location, call), wanted, owned, f"ci: write {', '.join(wanted)}")
        secrets = in_call(lambda: self.secrets(options))
        if secrets:
            call.report(
                f"{location.name} needs these CI secrets, which dtm does not set: {', '.join(secrets)}"
            )
        return self._resource(options, location, wanted, blobs_of(wanted))

    def _wanted(self, options: O, call: Call) -> tuple[Location, dict[str, bytes]]:
        location = in_call(lambda: self.location(options))
        return location, in_call(lambda: self.source(options, location.name).files(call.base_dir))

    def _resource(
        self,
        options: O,
        location: Location,
        wanted: Mapping[str, bytes],
        live: Mapping[str, str],
        record: Resource | None = None,
    ) -> Resource:
        """What is there; outputs stay as recorded."""
        attributes = {"files": live, "rendered": blobs_of(wanted)}
        outputs: dict[str, Any] = {
            **shown(location),
            "files": sorted(wanted),
            "secrets": in_call(lambda: self.secrets(options)),
        }
        if record:
            outputs = {key: record.outputs.get(key, value) for key, value in outputs.items()}
        name = record.id if record else f"{location.identity}@{location.branch}:{self.plugin}"
        return Resource(
            name, cast("dict[str, Value]", attributes), cast("dict[str, Value]", outputs)
        )  # text all through


def _owned(resource: Resource) -> list[str]:
    """Paths by the record; DevStream's has each file under its path."""
    files = resource.attributes.get("files")
    return sorted(
        files
        if isinstance(files, dict)
        else (path for path in resource.attributes if DEVSTREAM_PATH.fullmatch(path))
    )


def _known(compute: Callable[[], object]) -> object:
    try:
        return compute()
    except UnknownValueError:
        return UNKNOWN
