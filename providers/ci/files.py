"""The base class of the CI providers, which keep files in a branch of a git repository."""

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
    build_repo_outputs,
    check_git_installed,
    hash_files,
    list_local_inputs,
    open_former_repository,
    open_recorded_repository,
    open_repository,
    read_blob_ids,
    remove_files,
    write_files,
)
from providers._git.scm import Location, map_option_errors
from providers.ci.options import CIOutputs
from providers.ci.user_files import (
    CISystem,
    check_files,
    fetch_files,
    fill_in_variables,
    map_contents,
    predict_path,
)

DEVSTREAM_PATH = re.compile(r"\.github/workflows/.+|\.gitlab-ci\.yml|Jenkinsfile")
"""A key in the attributes of a state by DevStream that is the path of a file."""

O = TypeVar("O", bound=msgspec.Struct)  # noqa: E741 - the options Struct of a plugin


class FileSource(msgspec.Struct, frozen=True, kw_only=True):
    """The source of the files: `contents`, else `location`, else the text that `built_in` returns.

    `square_values` and `curly_values` replace `[[ name ]]` and `{{ name }}` in user files. The
    functions are only called when their result is needed: an option in it may be unknown.
    """

    system: CISystem
    contents: Mapping[str, str]
    location: str
    built_in: Callable[[], str] | None = None
    square_values: Callable[[], Mapping[str, Any]] = dict
    curly_values: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])

    def list_paths(self) -> list[str] | None:
        """Return the paths of the files, sorted; None if `location` must be read for it. Pure.

        Raises ValueError, UnknownValueError.
        """
        if self.contents:
            return sorted(map_contents(self.contents, self.system))
        if self.location:
            path = predict_path(str(self.location), self.system)
            return [path] if path else ([self.system.only_path] if self.system.only_path else None)
        return [self.system.default_path]

    def load_files(self, base: Path) -> dict[str, bytes]:
        """Return the wanted content of each path. Raises ProviderError, ValueError."""
        if self.contents:
            texts = map_contents(self.contents, self.system)
        elif self.location:
            texts = fetch_files(self.location, self.system, base)
        else:
            # Options without any source are refused when they are checked.
            assert self.built_in is not None
            return {self.system.default_path: self.built_in().encode()}
        return check_files(
            fill_in_variables(texts, self.square_values(), self.curly_values), self.system
        )


class CIFiles(ABC, Generic[O]):
    """CI files in a repository, committed together and compared by content.

    The attribute `files` holds the blob ID of each file in the branch. The attribute `rendered`
    holds the blob ID of the wanted content. It changes when a user file or the code that generates
    the file changes, although no option does.
    """

    plugin: str
    options: type[O]
    outputs: type[msgspec.Struct] | None = CIOutputs

    @abstractmethod
    def locate(self, options: O) -> Location:
        """Return the location of the repository. Raises ValueError, UnknownValueError."""

    @abstractmethod
    def build_source(self, options: O, name: str) -> FileSource:
        """Return the source of the files, for a repository of that name.

        Raises ValueError, UnknownValueError.
        """

    @abstractmethod
    def list_secrets(self, options: O) -> list[str]:
        """Return the names of the CI secrets that the files use. Raises as `build_source`."""

    def identity(self, options: O) -> str | None:
        """Use repository, branch and the paths of the files."""
        found = self.locate(options)
        source = self.build_source(options, found.name)
        paths = source.list_paths()
        files = source.location if paths is None else ",".join(paths)
        return f"{found.identity}@{found.branch}:{files}"

    def predict(self, options: O, resource: Resource | None) -> Mapping[str, Value]:
        """Predict all outputs. The paths of files in a directory are unknown until it is read."""
        found = {
            "repoURL": _value_or_unknown(
                lambda: build_repo_outputs(self.locate(options))["repoURL"]
            ),
            "branch": _value_or_unknown(lambda: self.locate(options).branch),
            "files": _value_or_unknown(
                lambda: self.build_source(options, "name").list_paths() or UNKNOWN
            ),
            "secrets": _value_or_unknown(lambda: self.list_secrets(options)),
        }
        return cast("dict[str, Value]", found)  # text and lists of text

    def missing_requirements(self, options: O) -> Sequence[str]:
        """Report a missing git program."""
        return check_git_installed()

    def input_paths(self, options: O) -> Mapping[str, str]:
        """Return the repository if it is a path: it must exist before the first change of a run."""
        return list_local_inputs("scm", self.locate(options))

    def read(self, options: O, resource: Resource | None, call: Call) -> Resource | None:
        """Read the recorded files; without a record, those that would be written.

        Returns None if none of them exists.
        """
        location, wanted = self._load_wanted_files(options, call)
        paths = _recorded_paths(resource) if resource else list(wanted)
        live = read_blob_ids(open_recorded_repository(location, resource, call), paths)
        return self._build_resource(options, location, wanted, live, resource) if live else None

    def derived_attributes(self) -> Collection[str]:
        """Name the attribute that changes when a user file changes, although no option does."""
        return ("rendered",)

    def create(self, options: O, call: Call) -> Resource:
        """Commit the files. Raises ProviderError if one exists with other content."""
        return self._write_files(options, [], call)

    def update(self, options: O, resource: Resource, call: Call) -> Resource:
        """Commit the changes, and remove files that are not wanted any more.

        If the options name another repository or branch, the files are moved to it.
        """
        old = open_former_repository(
            map_option_errors(lambda: self.locate(options)), resource, call
        )
        # Write first, then remove: after a failure at least one repository has the pipeline.
        updated = self._write_files(options, [] if old else _recorded_paths(resource), call)
        if old:
            remove_files(old, _recorded_paths(resource), "ci: move to another repository")
        return updated

    def delete(self, options: O, resource: Resource, call: Call) -> None:
        """Commit the removal of the files."""
        place = open_recorded_repository(
            map_option_errors(lambda: self.locate(options)), resource, call
        )
        owned = _recorded_paths(resource)
        remove_files(place, owned, f"ci: remove {', '.join(owned)}")

    def _write_files(self, options: O, owned: Sequence[str], call: Call) -> Resource:
        location, wanted = self._load_wanted_files(options, call)
        write_files(
            open_repository(location, call), wanted, owned, f"ci: write {', '.join(wanted)}"
        )
        secrets = map_option_errors(lambda: self.list_secrets(options))
        if secrets:
            call.report(
                f"Create these CI secrets in {location.name}, since dtm does not: "
                f"{', '.join(secrets)}"
            )
        return self._build_resource(options, location, wanted, hash_files(wanted))

    def _load_wanted_files(self, options: O, call: Call) -> tuple[Location, dict[str, bytes]]:
        location = map_option_errors(lambda: self.locate(options))
        return location, map_option_errors(
            lambda: self.build_source(options, location.name).load_files(call.base_dir)
        )

    def _build_resource(
        self,
        options: O,
        location: Location,
        wanted: Mapping[str, bytes],
        live: Mapping[str, str],
        record: Resource | None = None,
    ) -> Resource:
        """Build the resource of these live files. With a record, ID and outputs are its own."""
        attributes = {"files": live, "rendered": hash_files(wanted)}
        outputs: dict[str, Any] = {
            **build_repo_outputs(location),
            "files": sorted(wanted),
            "secrets": map_option_errors(lambda: self.list_secrets(options)),
        }
        # Recorded outputs are kept. Otherwise a changed option would look like drift.
        if record:
            outputs = {key: record.outputs.get(key, value) for key, value in outputs.items()}
        # The recorded ID is kept, although the files may have moved: another ID would be drift.
        name = record.id if record else f"{location.identity}@{location.branch}:{self.plugin}"
        # The casts are needed, because mypy does not accept a map of text as a map of values.
        return Resource(
            name, cast("dict[str, Value]", attributes), cast("dict[str, Value]", outputs)
        )


def _recorded_paths(resource: Resource) -> list[str]:
    """Return the recorded paths. In a state by DevStream they are keys of the attributes."""
    files = resource.attributes.get("files")
    if isinstance(files, dict):
        return sorted(files)
    return sorted(path for path in resource.attributes if DEVSTREAM_PATH.fullmatch(path))


def _value_or_unknown(compute: Callable[[], object]) -> object:
    try:
        return compute()
    except UnknownValueError:
        return UNKNOWN
