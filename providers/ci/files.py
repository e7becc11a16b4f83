"""The base of the CI providers: keeps rendered files in a branch of a git repository."""

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

O = TypeVar("O", bound=msgspec.Struct)  # noqa: E741 - the options Struct of a plugin


class FileSource(msgspec.Struct, frozen=True, kw_only=True):
    """The origin of the files: `contents`, else `location`, else the text that `built_in` makes.

    `square` and `curly` are the variables for `[[ ]]` and `{{ }}` in files of the user's.
    """

    system: CISystem
    contents: Mapping[str, str]
    location: str
    built_in: Callable[[], str] | None = None
    square_values: Callable[[], Mapping[str, Any]] = dict
    curly_values: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])

    def list_paths(self) -> list[str] | None:
        """Name the files' paths, sorted; None if only looking at `location` can tell. Pure.

        Raises ValueError, UnknownValueError.
        """
        if self.contents:
            return sorted(map_contents(self.contents, self.system))
        if self.location:
            path = predict_path(str(self.location), self.system)
            return [path] if path else ([self.system.only_path] if self.system.only_path else None)
        return [self.system.default_path]

    def load_files(self, base: Path) -> dict[str, bytes]:
        """Map paths to wanted contents. Raises ProviderError, ValueError."""
        if self.contents:
            texts = map_contents(self.contents, self.system)
        elif self.location:
            texts = fetch_files(self.location, self.system, base)
        else:
            assert self.built_in is not None  # options without any source are refused before
            return {self.system.default_path: self.built_in().encode()}
        return check_files(
            fill_in_variables(texts, self.square_values(), self.curly_values), self.system
        )


class CIFiles(ABC, Generic[O]):
    """CI files in a repository, committed together and compared by content.

    Attributes: `files` maps each path to git's id of the content in the branch, `rendered` to that
    of the wanted content, which changes with a template, be it the user's or the built-in one.
    Deleting removes the files, never more.
    """

    plugin: str
    options: type[O]
    outputs: type[msgspec.Struct] | None = CIOutputs

    @abstractmethod
    def locate(self, options: O) -> Location:
        """Find the repository. Raises ValueError, UnknownValueError."""

    @abstractmethod
    def build_source(self, options: O, name: str) -> FileSource:
        """Find the origin of the files for a repository of that name.

        Raises ValueError, UnknownValueError.
        """

    @abstractmethod
    def list_secrets(self, options: O) -> list[str]:
        """Name the CI secrets that the files use. Raises as `source`."""

    def identity(self, options: O) -> str | None:
        """Name the files by repository, branch and paths."""
        found = self.locate(options)
        source = self.build_source(options, found.name)
        paths = source.list_paths()
        files = source.location if paths is None else ",".join(paths)
        return f"{found.identity}@{found.branch}:{files}"

    def predict(self, options: O, resource: Resource | None) -> Mapping[str, Value]:
        """Predict all outputs, but not the paths of files in a directory or behind a URL."""
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
        """Demand the git binary."""
        return check_git_installed()

    def input_paths(self, options: O) -> Mapping[str, str]:
        """Name the repository, where it is on this machine."""
        return list_local_inputs("scm", self.locate(options))

    def read(self, options: O, resource: Resource | None, call: Call) -> Resource | None:
        """Report the recorded files, or without a record those that would be written.

        None if none of them is there.
        """
        location, wanted = self._load_wanted_files(options, call)
        paths = _recorded_paths(resource) if resource else list(wanted)
        live = read_blob_ids(open_recorded_repository(location, resource, call), paths)
        return self._build_resource(options, location, wanted, live, resource) if live else None

    def derived_attributes(self) -> Collection[str]:
        """Name the wanted contents: a template may change without the options."""
        return ("rendered",)

    def create(self, options: O, call: Call) -> Resource:
        """Commit the files; refuse files that dtm did not write unless they are as wanted."""
        return self._write_files(options, [], call)

    def update(self, options: O, resource: Resource, call: Call) -> Resource:
        """Commit what differs, and remove files that are not wanted any more.

        Where the options name another repository now, the old one loses all of them.
        """
        old = open_former_repository(
            map_option_errors(lambda: self.locate(options)), resource, call
        )
        # Written before the old ones are removed: a failure leaves the pipeline in one repository.
        made = self._write_files(options, [] if old else _recorded_paths(resource), call)
        if old:
            remove_files(old, _recorded_paths(resource), "ci: move to another repository")
        return made

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
                f"{location.name} needs these CI secrets, which dtm does not set: "
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
        """Make the resource of these live files; outputs stay as recorded."""
        attributes = {"files": live, "rendered": hash_files(wanted)}
        outputs: dict[str, Any] = {
            **build_repo_outputs(location),
            "files": sorted(wanted),
            "secrets": map_option_errors(lambda: self.list_secrets(options)),
        }
        # Outputs as recorded: what the options changed is shown by the update, not as drift.
        if record:
            outputs = {key: record.outputs.get(key, value) for key, value in outputs.items()}
        # The recorded id stays, although the tool may have moved: an id that changes is drift.
        name = record.id if record else f"{location.identity}@{location.branch}:{self.plugin}"
        # The casts: a map of text is one of values, which mypy does not accept.
        return Resource(
            name, cast("dict[str, Value]", attributes), cast("dict[str, Value]", outputs)
        )


def _recorded_paths(resource: Resource) -> list[str]:
    """Name the recorded files; a state of DevStream has each file under its path."""
    files = resource.attributes.get("files")
    if isinstance(files, dict):
        return sorted(files)
    return sorted(path for path in resource.attributes if DEVSTREAM_PATH.fullmatch(path))


def _value_or_unknown(compute: Callable[[], object]) -> object:
    try:
        return compute()
    except UnknownValueError:
        return UNKNOWN
