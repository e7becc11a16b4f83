"""The `ci-generic` provider, which keeps the user's own CI files in a repository."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec

from engine.ports import Provider
from engine.schema import Field, Options
from engine.values import UnknownValueError
from providers._git.scm import Location
from providers.ci.files import CIFiles, FileSource
from providers.ci.options import Scm, locate_scm
from providers.ci.user_files import SYSTEMS


class CI(Options, frozen=True, kw_only=True):
    """The CI files."""

    type: Annotated[
        Literal["github", "gitlab", "jenkins"], Field("CI system that reads the files.")
    ]
    config_location: Annotated[
        str,
        Field(
            "The files: a path relative to the config file, a directory or a URL. Set either this "
            "or configContents.",
            example="ci/",
        ),
    ] = ""
    config_contents: Annotated[
        dict[str, str],
        Field("The files as a map of name to text. It takes precedence over configLocation."),
    ] = msgspec.field(default_factory=dict[str, str])
    vars: Annotated[
        dict[str, Any],
        Field(
            "Values for [[ name ]] in the files. If no values are set, the files are written "
            "without replacement."
        ),
    ] = msgspec.field(default_factory=dict[str, Any])


class GenericOptions(Options, frozen=True, kw_only=True):
    """The repository and the CI files that it gets."""

    scm: Annotated[
        Scm,
        Field("The repository that gets the files. It must exist.", aliases=("projectRepo",)),
    ]
    ci: Annotated[CI, Field("The CI files.")]

    def __post_init__(self) -> None:
        with suppress(UnknownValueError):
            if not (self.ci.config_location or self.ci.config_contents):
                raise ValueError("set ci.configLocation or ci.configContents")
            _build_source(self).list_paths()


class CIGeneric(CIFiles[GenericOptions]):
    """Your own CI files for GitHub Actions, GitLab CI or Jenkins, kept in a git repository.

    Each change is one commit. Content that was changed outside dtm is drift. A file that exists
    already and has other content is not overwritten. Deleting removes the files with a commit.
    """

    plugin = "ci-generic"
    options = GenericOptions

    def locate(self, options: GenericOptions) -> Location:
        """Return the location of the repository."""
        return locate_scm(options.scm)

    def build_source(self, options: GenericOptions, name: str) -> FileSource:
        """Return the user's files."""
        return _build_source(options)

    def list_secrets(self, options: GenericOptions) -> list[str]:
        """Return none: dtm cannot know which secrets the user's files need."""
        return []


def _build_source(options: GenericOptions) -> FileSource:
    ci = options.ci
    return FileSource(
        system=SYSTEMS[ci.type],
        contents=ci.config_contents,
        location=ci.config_location,
        square_values=lambda: ci.vars,
    )


_conforms: type[Provider[GenericOptions]] = CIGeneric
