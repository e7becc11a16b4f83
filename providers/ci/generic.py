"""The `ci-generic` provider: keeps the user's own CI files, for any of three systems."""

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
    """The files."""

    type: Annotated[Literal["github", "gitlab", "jenkins"], Field("whose files these are")]
    config_location: Annotated[
        str,
        Field(
            "a path (relative to the configuration), a directory or a URL; "
            "either this or configContents",
            example="ci/",
        ),
    ] = ""
    config_contents: Annotated[
        dict[str, str], Field("the files themselves, name to text; wins over configLocation")
    ] = msgspec.field(default_factory=dict[str, str])
    vars: Annotated[
        dict[str, Any],
        Field("values for [[ name ]] in the files; without any they stay as they are"),
    ] = msgspec.field(default_factory=dict[str, Any])


class GenericOptions(Options, frozen=True, kw_only=True):
    """The repository and the files that go into it."""

    scm: Annotated[Scm, Field("the repository that the files go into", aliases=("projectRepo",))]
    ci: Annotated[CI, Field("the files")]

    def __post_init__(self) -> None:
        with suppress(UnknownValueError):
            if not (self.ci.config_location or self.ci.config_contents):
                raise ValueError("ci.configLocation or ci.configContents is needed")
            _build_source(self).list_paths()


class CIGeneric(CIFiles[GenericOptions]):
    """The user's own CI files, kept in a repository."""

    plugin = "ci-generic"
    options = GenericOptions

    def locate(self, options: GenericOptions) -> Location:
        """Find the repository."""
        return locate_scm(options.scm)

    def build_source(self, options: GenericOptions, name: str) -> FileSource:
        """Take the user's files."""
        return _build_source(options)

    def list_secrets(self, options: GenericOptions) -> list[str]:
        """Name none: only the user knows the secrets that these files need."""
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
