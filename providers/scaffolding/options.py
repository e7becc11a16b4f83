"""The options of `repo-scaffolding` and of its older names, reduced to a scaffold request."""

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
    """The repository to create."""

    visibility: Annotated[
        Visibility | None,
        Field(
            "Who may read a local repository: all users of this machine (public), your group "
            "(internal) or only you (private)."
        ),
    ] = None

    def __post_init__(self) -> None:
        if not is_all_known(self):
            return
        if not is_path(locate(self).url) and self.visibility is not None:
            raise ValueError(
                "visibility can only be set for a repository on this machine: remove visibility, "
                "and set it on the web page of the host"
            )


AUTHOR_FIELD: Final = Field(
    "Author of the commits. The default is user.name and user.email of git.",
    example="Ann <ann@example.com>",
    pattern=f"^({AUTHOR.pattern})?$",
)


SourceRepo: TypeAlias = Annotated[
    str | TemplateRepo,
    Field(
        "Template: golang-gin, golang-cli, python-flask, java-springboot or nodejs-express (these "
        "ship with dtm), a directory, a zip or tar archive, or a git repository.",
        example="golang-gin",
    ),
]
Vars: TypeAlias = Annotated[
    dict[str, Any],
    Field(
        "Values for [[ key ]] in files of the template whose name ends in .tpl.",
        example={"imageRepo": "me/app"},
    ),
]


class ScaffoldOptions(Options, frozen=True, kw_only=True):
    """The repository to create and the template for its files."""

    destination_repo: Annotated[DestinationRepo, Field("The repository to create.")]
    source_repo: SourceRepo = source.DEFAULT_TEMPLATE
    vars: Vars = msgspec.field(default_factory=dict[str, Any])
    author: Annotated[str, AUTHOR_FIELD] = ""

    def __post_init__(self) -> None:
        _check_source(self.source_repo)


class GolangOptions(DestinationRepo, frozen=True, kw_only=True):
    """The options of the older names: DevStream's flat ones, or those of repo-scaffolding.

    The default template is golang-gin.
    """

    destination_repo: Annotated[
        DestinationRepo | None,
        Field(
            "The repository to create, as in repo-scaffolding. Set it instead of url, owner, org, "
            "name, branch, token and visibility."
        ),
    ] = None
    source_repo: SourceRepo = source.DEFAULT_TEMPLATE
    vars: Vars = msgspec.field(default_factory=dict[str, Any])
    image_repo: Annotated[
        str,
        Field(
            "Image that the Helm chart runs. The default is owner/name.",
            example="me/app",
        ),
    ] = ""
    author: Annotated[str, AUTHOR_FIELD] = ""

    def __post_init__(self) -> None:
        _check_source(self.source_repo)
        if self.destination_repo is None:
            DestinationRepo.__post_init__(self)
        elif misplaced := [name for name in _REPO_FIELDS if _is_given(getattr(self, name))]:
            raise ValueError(
                f"{', '.join(misplaced)} must be set inside destinationRepo, not next to it"
            )


_REPO_FIELDS: Final = ("url", "owner", "org", "name", "branch", "token", "visibility")


def _is_given(value: Value | Unknown) -> bool:
    return isinstance(value, Unknown) or bool(value)


def _check_source(given: str | TemplateRepo) -> None:
    if isinstance(given, str):  # a TemplateRepo checks itself; the option may also be UNKNOWN
        source.resolve_template(given)


class GithubOptions(GolangOptions, frozen=True, kw_only=True):
    """GolangOptions with GitHub as the default host."""

    scm_type: Annotated[
        ScmType | None, Field("Kind of host: local, github, gitlab or git.", example="local")
    ] = "github"


class GitlabOptions(GolangOptions, frozen=True, kw_only=True):
    """GolangOptions with GitLab as the default host."""

    scm_type: Annotated[
        ScmType | None, Field("Kind of host: local, github, gitlab or git.", example="local")
    ] = "gitlab"


class ScaffoldOutputs(Outputs, frozen=True, kw_only=True):
    """The outputs of `repo-scaffolding`."""

    owner: Annotated[str, Field("User who owns the repository. Empty if an organization owns it.")]
    org: Annotated[str, Field("Organization that owns the repository. Empty if a user owns it.")]
    repo: Annotated[str, Field("Name of the repository.")]
    repo_url: Annotated[
        str,
        Field(
            "URL or path of the repository, without credentials. A relative path is relative to "
            "the config file."
        ),
    ] = msgspec.field(name="repoURL")
    branch: Annotated[str, Field("Branch that holds the files.")]


class ScaffoldRequest(msgspec.Struct, frozen=True):
    """The repository to create, its template and the values, whatever the spelling of the options.

    `is_named_by_url` is True if the option `url` is set. A change of `url` does not replace the
    tool, whereas a change of owner, org or name does.
    """

    location: Location
    template: TemplateRepo | str
    vars: Mapping[str, Any]
    author: str
    visibility: Visibility | None
    is_named_by_url: bool

    def build_outputs(self) -> dict[str, Value]:
        """Build the outputs, which all follow from the options."""
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
        """Load the template and return the rendered files by path. Raises ProviderError."""
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
    """Rename given keys to the known ones: `image_repo` and `imageRepo` become `ImageRepo`."""
    spelled = {name.lower(): name for name in known}
    return {spelled.get(key.replace("_", "").lower(), key): value for key, value in given.items()}


def build_request(options: ScaffoldOptions) -> ScaffoldRequest:
    """Return the request that these options describe.

    Raises ProviderError for recorded options that are not valid any more, UnknownValueError.
    """
    return _build_request(options, options.destination_repo, options.vars)


def build_golang_request(options: GolangOptions) -> ScaffoldRequest:
    """Return the request of the flat or the nested options. Raises as `build_request`."""
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
