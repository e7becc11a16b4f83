"""The `github-actions` provider and its older names `githubactions-*`, which keep a workflow."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Literal

import msgspec

from engine.ports import Provider
from engine.schema import Field, Options
from engine.values import UnknownValueError
from providers._git.scm import Location
from providers.ci.files import CIFiles, FileSource
from providers.ci.options import (
    CIOptions,
    Commands,
    LanguageOptions,
    Pipeline,
    UnitTests,
    collect_variables,
    has_own_files,
    list_commands,
    list_secrets,
    locate_destination,
    merge_older_options,
)
from providers.ci.recipe import Image, Recipe, build_recipe, require_job
from providers.ci.user_files import GITHUB
from providers.ci.workflow import render_workflow

DOCKER_SECRETS = {"dockerhub": "DOCKERHUB_TOKEN", "harbor": "HARBOR_TOKEN"}


class Build(Options, frozen=True, kw_only=True):
    """The build job."""

    enable: Annotated[bool, Field("Add a build job.")] = True
    command: Annotated[
        Commands,
        Field(
            "One command or a list of commands. The default depends on the language.",
            example="go build ./...",
        ),
    ] = msgspec.field(default_factory=list[str])


class DockerRegistry(Options, frozen=True, kw_only=True):
    """The registry that gets the image."""

    type: Annotated[
        Literal["dockerhub", "harbor"],
        Field("Registry: Docker Hub, or a Harbor server of your own."),
    ] = "dockerhub"
    username: Annotated[str, Field("Account at the registry.", example="me", min_length=1)]
    repository: Annotated[
        str,
        Field(
            "Name of the image. The default is the name of the repository. For harbor include host "
            "and project: harbor.example.com/project/app."
        ),
    ] = ""


class Docker(Options, frozen=True, kw_only=True):
    """The image job in DevStream's older form. `imageRepo` does the same for any registry."""

    enable: Annotated[bool, Field("Add a job that builds and pushes an image.")] = True
    registry: Annotated[DockerRegistry | None, Field("The registry that gets the image.")] = None


class GitHubPipeline(Pipeline, frozen=True, kw_only=True):
    """A pipeline with a build job and DevStream's older form of the image job."""

    build: Annotated[Build | None, Field("The build job.")] = None
    docker: Annotated[
        Docker | None,
        Field("The image job in DevStream's older form. Set either this or imageRepo."),
    ] = None


class GitHubOptions(CIOptions, frozen=True, kw_only=True):
    """The repository and its workflow.

    `language`, `build`, `test` and `docker` are accepted inside `pipeline` and next to it.
    """

    pipeline: Annotated[GitHubPipeline | None, Field("The pipeline that runs on every push.")] = (
        None
    )
    language: Annotated[LanguageOptions | None, Field("Older form of pipeline.language.")] = None
    build: Annotated[Build | None, Field("Older form of pipeline.build.")] = None
    test: Annotated[UnitTests | None, Field("Older form of pipeline.test.")] = None
    docker: Annotated[Docker | None, Field("Older form of pipeline.docker.")] = None

    def __post_init__(self) -> None:
        with suppress(UnknownValueError):
            locate(self)
            check_options(self)


def locate(options: GitHubOptions) -> Location:
    """Return the location of the repository. Raises ValueError for one on GitLab."""
    found = locate_destination(options, "github")
    if found.scm_type == "gitlab":
        raise ValueError("github action only support github repo: use the plugin gitlab-ci")
    return found


def merge_pipeline(options: GitHubOptions) -> GitHubPipeline:
    """Return `pipeline` with the older options that are set next to it."""
    return merge_older_options(
        options.pipeline or GitHubPipeline(), options, ("language", "build", "test", "docker")
    )


def check_options(options: GitHubOptions) -> None:
    """Raise ValueError for options that are wrong whatever the default language is."""
    given = merge_pipeline(options)
    if has_own_files(given):
        _build_source(options, "app", "").list_paths()
    else:
        _build_recipe(options, "app", "go")


class GitHubActions(CIFiles[GitHubOptions]):
    """A GitHub Actions workflow in a git repository: generated from options, or your own files.

    The generated workflow tests every push and pull request. Further options add jobs that build
    the code, analyze it, build and push an image, and send a message. Each change is one commit.
    Content that was changed outside dtm is drift. Deleting removes the files with a commit. dtm
    does not create the CI secrets that the workflow needs: the output `secrets` lists them.
    """

    plugin = "github-actions"
    options = GitHubOptions
    language = ""
    """The language of the code if the options name none."""

    def locate(self, options: GitHubOptions) -> Location:
        """Return the location of the repository. Raises ValueError for one on GitLab."""
        return locate(options)

    def build_source(self, options: GitHubOptions, name: str) -> FileSource:
        """Return the user's files or the generated workflow."""
        return _build_source(options, name, self.language)

    def list_secrets(self, options: GitHubOptions) -> list[str]:
        """Return the names of the CI secrets that the options need."""
        given = merge_pipeline(options)
        docker = given.docker.registry if given.docker and given.docker.enable else None
        return sorted([*list_secrets(given), *([DOCKER_SECRETS[docker.type]] if docker else [])])


def _build_source(options: GitHubOptions, name: str, language: str) -> FileSource:
    given = merge_pipeline(options)
    return FileSource(
        system=GITHUB,
        contents=given.config_contents,
        location=given.config_location,
        built_in=lambda: render_workflow(_build_recipe(options, name, language)),
        square_values=lambda: collect_variables(given, name),
    )


def _build_recipe(options: GitHubOptions, name: str, language: str) -> Recipe:
    given = merge_pipeline(options)
    # None: no build job. An empty list: a build job with the default command of the language.
    commands = list_commands(given.build.command) if given.build and given.build.enable else None
    branch, image = locate(options).branch, _build_image(given, name)
    found = build_recipe(given, name, branch, build=commands, image=image, language=language)
    require_job(found)
    return found


def _build_image(given: GitHubPipeline, name: str) -> Image | None:
    if not given.docker or not given.docker.enable:
        return None
    registry = given.docker.registry
    if given.image_repo:
        raise ValueError("docker and imageRepo cannot be set together: remove docker")
    if registry is None:
        raise ValueError("docker.registry is required: set it to the registry that gets the image")
    if registry.type == "dockerhub":
        return Image(
            f"{registry.username}/{str(registry.repository) or name}".lower(),
            "",
            registry.username,
            DOCKER_SECRETS["dockerhub"],
        )
    image = str(registry.repository).partition("://")[2] or str(registry.repository)
    host, _, rest = image.partition("/")
    if not rest or not set(".:") & set(host):
        raise ValueError(
            "docker.registry.repository must include the host for harbor, for example "
            "harbor.example.com/project/app"
        )
    return Image(image.lower().rstrip("/"), host, registry.username, DOCKER_SECRETS["harbor"])


class GitHubActionsGolang(GitHubActions):
    """A GitHub Actions workflow. The default language is Go."""

    language = "go"


class GitHubActionsNodejs(GitHubActions):
    """A GitHub Actions workflow. The default language is Node.js."""

    language = "nodejs"


class GitHubActionsPython(GitHubActions):
    """A GitHub Actions workflow. The default language is Python."""

    language = "python"


_conforms: type[Provider[GitHubOptions]] = GitHubActions
