"""The `github-actions` provider and DevStream's `githubactions-*`: keep a workflow."""

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

    enable: Annotated[bool, Field("whether there is one")] = True
    command: Annotated[
        Commands, Field("what it runs; the default is the language's", example="go build ./...")
    ] = msgspec.field(default_factory=list[str])


class DockerRegistry(Options, frozen=True, kw_only=True):
    """The registry that the image goes to."""

    type: Annotated[
        Literal["dockerhub", "harbor"], Field("Docker Hub, or a Harbor of one's own")
    ] = "dockerhub"
    username: Annotated[str, Field("the account", example="me", min_length=1)]
    repository: Annotated[
        str,
        Field("the image's name; the repository's if not given, with host and project for harbor"),
    ] = ""


class Docker(Options, frozen=True, kw_only=True):
    """An image built from the Dockerfile; imageRepo says the same for any registry."""

    enable: Annotated[bool, Field("whether there is one")] = True
    registry: Annotated[DockerRegistry | None, Field("where the image goes")] = None


class GitHubPipeline(Pipeline, frozen=True, kw_only=True):
    """A pipeline with a build job and DevStream's older way to describe the image."""

    build: Annotated[Build | None, Field("the build job")] = None
    docker: Annotated[
        Docker | None, Field("build an image and push it; either this or imageRepo")
    ] = None


class GitHubOptions(CIOptions, frozen=True, kw_only=True):
    """The repository and its workflow.

    `language`, `build`, `test` and `docker` may stand under `pipeline` or beside it.
    """

    pipeline: Annotated[GitHubPipeline | None, Field("what runs on every push")] = None
    language: Annotated[LanguageOptions | None, Field("as pipeline.language")] = None
    build: Annotated[Build | None, Field("as pipeline.build")] = None
    test: Annotated[UnitTests | None, Field("as pipeline.test")] = None
    docker: Annotated[Docker | None, Field("as pipeline.docker")] = None

    def __post_init__(self) -> None:
        with suppress(UnknownValueError):
            locate(self)
            check_options(self)


def locate(options: GitHubOptions) -> Location:
    """Find the repository, which may not be GitLab's."""
    found = locate_destination(options, "github")
    if found.scm_type == "gitlab":
        raise ValueError("github action only support github repo: use gitlab-ci")
    return found


def merge_pipeline(options: GitHubOptions) -> GitHubPipeline:
    """Join the options under `pipeline` and beside it."""
    return merge_older_options(
        options.pipeline or GitHubPipeline(), options, ("language", "build", "test", "docker")
    )


def check_options(options: GitHubOptions) -> None:
    """Raise ValueError for options that contradict each other under every name of the plugin."""
    given = merge_pipeline(options)
    if has_own_files(given):
        _build_source(options, "app", "").list_paths()
    else:
        _build_recipe(options, "app", "go")


class GitHubActions(CIFiles[GitHubOptions]):
    """A GitHub Actions workflow: build, test, analysis, image, message; or the user's own files."""

    plugin = "github-actions"
    options = GitHubOptions
    language = ""
    """The language of the code where the options do not say."""

    def locate(self, options: GitHubOptions) -> Location:
        """Find the repository, which may not be GitLab's."""
        return locate(options)

    def build_source(self, options: GitHubOptions, name: str) -> FileSource:
        """Take the user's files, or the built-in workflow."""
        return _build_source(options, name, self.language)

    def list_secrets(self, options: GitHubOptions) -> list[str]:
        """Name those that the options call for."""
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
        raise ValueError("docker and imageRepo say the same: give one of them")
    if registry is None:
        raise ValueError("docker.registry is needed: where the image goes")
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
            "docker.registry.repository needs the host for harbor: harbor.example.com/project/app"
        )
    return Image(image.lower().rstrip("/"), host, registry.username, DOCKER_SECRETS["harbor"])


class GitHubActionsGolang(GitHubActions):
    """A GitHub Actions workflow, for Go where the options name no language."""

    language = "go"


class GitHubActionsNodejs(GitHubActions):
    """A GitHub Actions workflow, for Node.js where the options name no language."""

    language = "nodejs"


class GitHubActionsPython(GitHubActions):
    """A GitHub Actions workflow, for Python where the options name no language."""

    language = "python"


_conforms: type[Provider[GitHubOptions]] = GitHubActions
