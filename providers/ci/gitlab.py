"""The `gitlab-ci` provider and its older names `gitlabci-*`, which keep a pipeline."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

import msgspec

from engine.ports import Provider
from engine.schema import Field, Options
from engine.values import UnknownValueError
from providers._git.scm import Location
from providers.ci.files import CIFiles, FileSource
from providers.ci.options import (
    CIOptions,
    Commands,
    Pipeline,
    UnitTests,
    collect_variables,
    has_own_files,
    list_commands,
    list_secrets,
    locate_destination,
)
from providers.ci.pipeline import Stage, Stages, render_pipeline
from providers.ci.recipe import Image, Recipe, build_recipe, require_job
from providers.ci.user_files import GITLAB

REGISTRY_SECRET = "DOCKERHUB_TOKEN"


class BaseOption(Options, frozen=True, kw_only=True):
    """The options that the stages package, build and deploy share."""

    enable: Annotated[bool, Field("Add this stage.")] = True
    image: Annotated[str, Field("Image in which the stage runs.")] = ""
    tags: Annotated[
        Commands,
        Field(
            "Tags of the runners that may run the stage: a list, or a text with commas.",
            example="gitlab-java",
        ),
    ] = msgspec.field(default_factory=list[str])
    allowed_branch: Annotated[
        list[str],
        Field(
            "Branches for which the stage runs. The default is the branch of the repository.",
            example=["main"],
        ),
    ] = msgspec.field(default_factory=list[str])


class Package(Options, frozen=True, kw_only=True):
    """The stage that compiles the code and builds a package."""

    base_option: Annotated[
        BaseOption | None, Field("Image, runners and branches of the stage.")
    ] = None
    script_command: Annotated[
        Commands,
        Field("One command or a list of commands.", example=["mvn clean package"]),
    ] = "mvn -B clean package"


class Registry(Options, frozen=True, kw_only=True):
    """An account on Docker Hub."""

    username: Annotated[
        str,
        Field(
            "Account at Docker Hub. The pipeline reads its token from the CI/CD variable "
            "DOCKERHUB_TOKEN. Create that variable yourself.",
            example="me",
            min_length=1,
        ),
    ]


class ImageBuild(Options, frozen=True, kw_only=True):
    """The stage that builds an image from the Dockerfile and pushes it to Docker Hub."""

    base_option: Annotated[
        BaseOption | None, Field("Image, runners and branches of the stage.")
    ] = None
    registry: Annotated[Registry, Field("The account at Docker Hub.")]
    image_name: Annotated[
        str, Field("Name of the image. The default is the name of the repository.")
    ] = ""


class Deploy(Options, frozen=True, kw_only=True):
    """The stage that installs the Helm chart helm/<repository> in a cluster."""

    base_option: Annotated[
        BaseOption | None, Field("Image, runners and branches of the stage.")
    ] = None
    k8s_agent_name: Annotated[
        str, Field("GitLab agent of the cluster, in the form path/to/project:agent.")
    ] = ""


class Runner(Options, frozen=True, kw_only=True):
    """A runner for the project."""

    enable: Annotated[bool, Field("Install a runner. This version only accepts false.")] = False

    def __post_init__(self) -> None:
        if self.enable is True:
            raise ValueError(
                "runner.enable: this version cannot install a GitLab runner. "
                "Register one yourself and remove runner"
            )


class GitLabOptions(CIOptions, frozen=True, kw_only=True):
    """The repository and its pipeline.

    All options except scm, pipeline and runner are those of DevStream's older plugins.
    """

    pipeline: Annotated[Pipeline | None, Field("The pipeline that runs on every push.")] = None
    runner: Annotated[Runner | None, Field("A runner for the project.")] = None
    path_with_namespace: Annotated[
        str, Field("Older form of scm: group/project.", example="me/app")
    ] = ""
    template_url: Annotated[str, Field("Older form of pipeline.configLocation.")] = msgspec.field(
        default="", name="templateURL"
    )
    template_variables: Annotated[
        dict[str, Any], Field("Values for {{ .name }} in the file at templateURL.")
    ] = msgspec.field(default_factory=dict[str, Any])
    package: Annotated[
        Package | None, Field("The stage that compiles the code and builds a package.")
    ] = None
    build: Annotated[
        ImageBuild | None,
        Field("The stage that builds an image. Set either this or pipeline.imageRepo."),
    ] = None
    deploy: Annotated[
        Deploy | None, Field("The stage that installs the Helm chart in a cluster.")
    ] = None

    def __post_init__(self) -> None:
        with suppress(UnknownValueError):
            locate(self)
            check_options(self)


def locate(options: GitLabOptions) -> Location:
    """Return the location of the repository. Raises ValueError for one on GitHub."""
    flat: CIOptions = options
    if options.path_with_namespace:
        owner, _, name = str(options.path_with_namespace).strip("/").rpartition("/")
        if options.owner or options.org or options.repo:
            raise ValueError(
                "pathWithNamespace cannot be set together with owner, org or repo: "
                "remove pathWithNamespace"
            )
        flat = CIOptions(
            scm=options.scm,
            url=options.url,
            org=owner,
            repo=name,
            branch=options.branch,
            base_url=options.base_url,
            scm_type=options.scm_type,
        )
    found = locate_destination(flat, "gitlab")
    if found.scm_type == "github":
        raise ValueError("gitlab ci only support gitlab repo: use the plugin github-actions")
    return found


def merge_pipeline(options: GitLabOptions) -> Pipeline:
    """Return `pipeline` with the older options that are set next to it."""
    given = options.pipeline or Pipeline()
    if options.template_url:
        if has_own_files(given):
            raise ValueError(
                "templateURL cannot be set together with pipeline.configLocation or "
                "pipeline.configContents: remove templateURL"
            )
        given = msgspec.structs.replace(given, config_location=options.template_url)
    stages = options.package is not None or options.build is not None or options.deploy is not None
    if has_own_files(given) and stages:
        raise ValueError(
            "package, build and deploy configure the generated pipeline: "
            "remove them, or remove your own files"
        )
    if options.template_variables and not has_own_files(given):
        raise ValueError("templateVariables needs templateURL: set both")
    # DevStream's pipeline of three stages has no test stage: `mvn package` runs the tests.
    quiet = stages and given.language is None and given.test is None
    return msgspec.structs.replace(given, test=UnitTests(enable=False)) if quiet else given


def check_options(options: GitLabOptions) -> None:
    """Raise ValueError for options that are wrong whatever the default language is."""
    given = merge_pipeline(options)
    if has_own_files(given):
        _build_source(options, "app", "").list_paths()
    else:
        _build_recipe(options, "app", "go")


class GitLabCI(CIFiles[GitLabOptions]):
    """A GitLab CI pipeline in a git repository: generated from options, or your own file.

    The generated pipeline tests every push. Further options add jobs that analyze the code, build a
    package, build and push an image, deploy a Helm chart and send a message. Each change is one
    commit. Content that was changed outside dtm is drift. Deleting removes the file with a commit.
    dtm does not create the CI/CD variables that the pipeline needs: the output `secrets` lists
    them.
    """

    plugin = "gitlab-ci"
    options = GitLabOptions
    language = ""
    """The language of the code if the options name none."""

    def locate(self, options: GitLabOptions) -> Location:
        """Return the location of the repository. Raises ValueError for one on GitHub."""
        return locate(options)

    def build_source(self, options: GitLabOptions, name: str) -> FileSource:
        """Return the user's file or the generated pipeline."""
        return _build_source(options, name, self.language)

    def list_secrets(self, options: GitLabOptions) -> list[str]:
        """Return the names of the CI/CD variables that the options need."""
        build = [REGISTRY_SECRET] if _is_enabled(options.build) else []
        return sorted([*list_secrets(merge_pipeline(options)), *build])


def _build_source(options: GitLabOptions, name: str, language: str) -> FileSource:
    given = merge_pipeline(options)
    return FileSource(
        system=GITLAB,
        contents=given.config_contents,
        location=given.config_location,
        built_in=lambda: render_pipeline(
            _build_recipe(options, name, language), _build_stages(options)
        ),
        square_values=lambda: collect_variables(given, name),
        curly_values=options.template_variables,
    )


def _build_recipe(options: GitLabOptions, name: str, language: str) -> Recipe:
    given = merge_pipeline(options)
    if _is_enabled(options.build) and given.image_repo:
        raise ValueError("build and pipeline.imageRepo cannot be set together: remove build")
    stages, image = _build_stages(options), _build_image(options, name)
    language = "java" if options.package else language
    found = build_recipe(given, name, locate(options).branch, image=image, language=language)
    if stages.package is None and stages.deploy is None:
        require_job(found)
    if found.test and not (found.container or found.language):
        raise ValueError(
            "test.containerName is required, because the language has no default image"
        )
    return found


def _build_image(options: GitLabOptions, name: str) -> Image | None:
    if options.build is None or not _is_enabled(options.build):
        return None
    user = options.build.registry.username
    image = f"{user}/{str(options.build.image_name) or name}".lower()
    return Image(image, "", user, REGISTRY_SECRET)


def _is_enabled(stage: Package | ImageBuild | Deploy | None) -> bool:
    return stage is not None and (stage.base_option is None or bool(stage.base_option.enable))


def _build_stages(options: GitLabOptions) -> Stages:
    package, build, deploy = options.package, options.build, options.deploy
    return Stages(
        package=_build_stage(package, list_commands(package.script_command) if package else []),
        build=_build_stage(build, []),
        deploy=_build_stage(deploy, []),
        agent=str(deploy.k8s_agent_name) if deploy else "",
    )


def _build_stage(stage: Package | ImageBuild | Deploy | None, script: list[str]) -> Stage | None:
    if stage is None or not _is_enabled(stage):
        return None
    given = stage.base_option or BaseOption()
    tags = tuple(
        tag.strip() for line in list_commands(given.tags) for tag in line.split(",") if tag.strip()
    )
    return Stage(script, str(given.image), tags, tuple(given.allowed_branch))


class GitLabCIGolang(GitLabCI):
    """A GitLab CI pipeline. The default language is Go."""

    language = "go"


class GitLabCIJava(GitLabCI):
    """A GitLab CI pipeline. The default language is Java."""

    language = "java"


_conforms: type[Provider[GitLabOptions]] = GitLabCI
