"""The options of `repo-scaffolding` in all their spellings, and the order that they come to."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from engine.ports import Call
from engine.schema import Field, Options, Outputs
from engine.values import Unknown, UnknownValueError, Value
from providers._git.objects import GitFile
from providers._git.repository import AUTHOR
from providers._git.scm import Location, Repo, ScmType, is_all_known, locate, locate_in_call
from providers._git.urls import is_path, strip_credentials
from providers.scaffolding import source
from providers.scaffolding.render import render
from providers.scaffolding.source import TemplateRepo

Visibility = Literal["public", "internal", "private"]


class DestinationRepo(Repo, frozen=True, kw_only=True):
    """The repository to make."""

    visibility: Annotated[
        Visibility | None,
        Field(
            "who on this machine may read a local repository: "
            "public everybody, internal the group, private only you"
        ),
    ] = None

    def __post_init__(self) -> None:
        if not is_all_known(self):
            return
        if not is_path(locate(self).url) and self.visibility is not None:
            raise ValueError(
                "visibility can only be set for a repository on this machine: "
                "git cannot set it elsewhere"
            )


AUTHOR_FIELD: Final = Field(
    "author of the commits; git's own user.name and user.email if not given",
    example="Ann <ann@example.com>",
    pattern=f"^({AUTHOR.pattern})?$",
)


SourceRepo: TypeAlias = Annotated[
    str | TemplateRepo,
    Field(
        "the template: golang-gin, golang-cli, python-flask, java-springboot or nodejs-express, "
        "which ship inside; a directory; a zip or tar archive; or any git repository",
        example="golang-gin",
    ),
]
Vars: TypeAlias = Annotated[
    dict[str, Any],
    Field("values for [[ key ]] in the template's .tpl files", example={"imageRepo": "me/app"}),
]


class ScaffoldOptions(Options, frozen=True, kw_only=True):
    """The repository to make, and the template to make it from."""

    destination_repo: Annotated[DestinationRepo, Field("the repository to make")]
    source_repo: SourceRepo = source.DEFAULT_TEMPLATE
    vars: Vars = msgspec.field(default_factory=dict[str, Any])
    author: Annotated[str, AUTHOR_FIELD] = ""

    def __post_init__(self) -> None:
        _check_source(self.source_repo)


class GolangOptions(DestinationRepo, frozen=True, kw_only=True):
    """DevStream's flat spelling, or the options of repo-scaffolding.

    The template is golang-gin unless one is named.
    """

    destination_repo: Annotated[
        DestinationRepo | None,
        Field("the repository to make, as in repo-scaffolding; instead of its options beside this"),
    ] = None
    source_repo: SourceRepo = source.DEFAULT_TEMPLATE
    vars: Vars = msgspec.field(default_factory=dict[str, Any])
    image_repo: Annotated[
        str, Field("the image that the Helm chart runs; owner/name if not given", example="me/app")
    ] = ""
    author: Annotated[str, AUTHOR_FIELD] = ""

    def __post_init__(self) -> None:
        _check_source(self.source_repo)
        if self.destination_repo is None:
            DestinationRepo.__post_init__(self)
        elif beside := [name for name in _REPO_FIELDS if _is_given(getattr(self, name))]:
            raise ValueError(
                f"{', '.join(beside)}: given beside destinationRepo, but must stand inside it"
            )


_REPO_FIELDS: Final = ("url", "owner", "org", "name", "branch", "token", "visibility")


def _is_given(value: Value | Unknown) -> bool:
    return isinstance(value, Unknown) or bool(value)


def _check_source(given: str | TemplateRepo) -> None:
    if isinstance(given, str):  # a Template checks itself; it may also be unknown
        source.resolve_template(given)


class GithubOptions(GolangOptions, frozen=True, kw_only=True):
    """GolangOptions, for GitHub unless another host is given."""

    scm_type: Annotated[ScmType | None, Field("local, github, gitlab or git", example="local")] = (
        "github"
    )


class GitlabOptions(GolangOptions, frozen=True, kw_only=True):
    """GolangOptions, for GitLab unless another host is given."""

    scm_type: Annotated[ScmType | None, Field("local, github, gitlab or git", example="local")] = (
        "gitlab"
    )


class ScaffoldOutputs(Outputs, frozen=True, kw_only=True):
    """The outputs that references may name."""

    owner: Annotated[str, Field("the user who owns it, empty if an organisation does")]
    org: Annotated[str, Field("the organisation that owns it, empty if a user does")]
    repo: Annotated[str, Field("its name")]
    repo_url: Annotated[
        str,
        Field("its URL for git, without credentials; a relative path is relative to the config"),
    ] = msgspec.field(name="repoURL")
    branch: Annotated[str, Field("the branch that was written")]


class ScaffoldRequest(msgspec.Struct, frozen=True):
    """One spelling for all options: the repository to make, from which template, with which values.

    `by_url`: the repository is named by its URL, so that another one does not replace it.
    """

    location: Location
    template: TemplateRepo | str
    vars: Mapping[str, Any]
    author: str
    visibility: Visibility | None
    is_named_by_url: bool

    def build_outputs(self) -> dict[str, Value]:
        """Make the outputs, which are all known beforehand."""
        location, url = self.location, strip_credentials(self.location.url)
        if location.url.startswith("./"):
            url = f"./{os.path.normpath(location.url)}"
        return {
            "owner": location.owner,
            "org": location.org,
            "repo": location.name,
            "repoURL": url,
            "branch": location.branch,
        }

    def render_files(self, call: Call) -> dict[str, GitFile]:
        """Render the template."""
        location, owner = self.location, self.location.org or self.location.owner
        path = "/".join(part for part in (owner, location.name) if part)
        module = path if is_path(location.url) else location.identity
        known = {
            "AppName": location.name,
            "ImageRepo": path.lower(),
            "App": {"Name": location.name, "Module": re.sub(r"[^\w./~-]", "-", module)},
            "Repo": {
                "Name": location.name,
                "Owner": owner,
                "URL": self.build_outputs()["repoURL"],
                "Branch": location.branch,
            },
        }
        values = known | _match_known_names(known, self.vars)
        return render(source.load_template(self.template, call), location.name, values)


def _match_known_names(known: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Spell given names as known ones: `image_repo` and `imageRepo` mean `ImageRepo`."""
    spelled = {name.lower(): name for name in known}
    return {spelled.get(key.replace("_", "").lower(), key): value for key, value in given.items()}


def build_request(options: ScaffoldOptions) -> ScaffoldRequest:
    """Read the nested spelling.

    Raises ProviderError for options that validation would refuse, UnknownValueError.
    """
    return _build_request(options, options.destination_repo, options.vars)


def build_golang_request(options: GolangOptions) -> ScaffoldRequest:
    """Read either spelling. Raises as `order`."""
    values = {"ImageRepo": options.image_repo} if options.image_repo else {}
    target = options if options.destination_repo is None else options.destination_repo
    return _build_request(options, target, {**values, **options.vars})


def _build_request(
    options: ScaffoldOptions | GolangOptions, target: DestinationRepo, values: Mapping[str, Any]
) -> ScaffoldRequest:
    if isinstance(target, Unknown):
        raise UnknownValueError("destinationRepo is only known after apply")
    return ScaffoldRequest(
        locate_in_call(target),
        options.source_repo,
        values,
        options.author,
        target.visibility,
        bool(target.url),
    )
