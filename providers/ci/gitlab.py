"""The `gitlab-ci` provider and DevStream's `gitlabci-*`: keep a pipeline."""

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
    """The options that the three stages of the Java pipeline have in common."""

    enable: Annotated[bool, Field("whether there is this stage")] = True
    image: Annotated[str, Field("the image that it runs in")] = ""
    tags: Annotated[
        Commands,
        Field("tags of the runners that may run it, a list or with commas", example="gitlab-java"),
    ] = msgspec.field(default_factory=list[str])
    allowed_branch: Annotated[
        list[str], Field("branches that it runs for; default: the repository's", example=["main"])
    ] = msgspec.field(default_factory=list[str])


class Package(Options, frozen=True, kw_only=True):
    """Compile and pack."""

    base_option: Annotated[BaseOption | None, Field("where and when it runs")] = None
    script_command: Annotated[Commands, Field("what it runs", example=["mvn clean package"])] = (
        "mvn -B clean package"
    )


class Registry(Options, frozen=True, kw_only=True):
    """An account on Docker Hub."""

    username: Annotated[
        str,
        Field(
            "the account; the CI variable DOCKERHUB_TOKEN holds its token",
            example="me",
            min_length=1,
        ),
    ]


class ImageBuild(Options, frozen=True, kw_only=True):
    """Build the image from the Dockerfile and push it to Docker Hub."""

    base_option: Annotated[BaseOption | None, Field("where and when it runs")] = None
    registry: Annotated[Registry, Field("where the image goes")]
    image_name: Annotated[str, Field("the image's name; the repository's if not given")] = ""


class Deploy(Options, frozen=True, kw_only=True):
    """Install the chart in helm/<repository>."""

    base_option: Annotated[BaseOption | None, Field("where and when it runs")] = None
    k8s_agent_name: Annotated[
        str, Field("the GitLab agent whose cluster it goes to, path/to/project:agent")
    ] = ""


class Runner(Options, frozen=True, kw_only=True):
    """A runner for the project."""

    enable: Annotated[bool, Field("install one; not in this version")] = False

    def __post_init__(self) -> None:
        if self.enable is True:
            raise ValueError(
                "runner.enable: installing a GitLab runner comes with a later version; "
                "register one and leave it out"
            )


class GitLabOptions(CIOptions, frozen=True, kw_only=True):
    """The repository and its pipeline.

    All but scm, pipeline and runner are the options of DevStream's older plugins.
    """

    pipeline: Annotated[Pipeline | None, Field("what runs on every push")] = None
    runner: Annotated[Runner | None, Field("a runner for the project")] = None
    path_with_namespace: Annotated[
        str, Field("instead of scm: group/project", example="me/app")
    ] = ""
    template_url: Annotated[str, Field("as pipeline.configLocation")] = msgspec.field(
        default="", name="templateURL"
    )
    template_variables: Annotated[
        dict[str, Any], Field("values for {{ .name }} in the file at templateURL")
    ] = msgspec.field(default_factory=dict[str, Any])
    package: Annotated[Package | None, Field("a stage that compiles and packs")] = None
    build: Annotated[
        ImageBuild | None, Field("a stage that builds the image; either this or pipeline.imageRepo")
    ] = None
    deploy: Annotated[Deploy | None, Field("a stage that installs the chart")] = None

    def __post_init__(self) -> None:
        with suppress(UnknownValueError):
            locate(self)
            check_options(self)


def locate(options: GitLabOptions) -> Location:
    """Find the repository, which may not be GitHub's."""
    flat: CIOptions = options
    if options.path_with_namespace:
        owner, _, name = str(options.path_with_namespace).strip("/").rpartition("/")
        if options.owner or options.org or options.repo:
            raise ValueError("pathWithNamespace says owner and repo already: give one of them")
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
        raise ValueError("gitlab ci only support gitlab repo: use github-actions")
    return found


def merge_pipeline(options: GitLabOptions) -> Pipeline:
    """Join the options under `pipeline` and beside it."""
    given = options.pipeline or Pipeline()
    if options.template_url:
        if has_own_files(given):
            raise ValueError(
                "templateURL and pipeline.configLocation or configContents say the same: "
                "give one of them"
            )
        given = msgspec.structs.replace(given, config_location=options.template_url)
    stages = options.package is not None or options.build is not None or options.deploy is not None
    if has_own_files(given) and stages:
        raise ValueError(
            "package, build and deploy belong to the built-in pipeline: "
            "leave them out, or the files"
        )
    if options.template_variables and not has_own_files(given):
        raise ValueError("templateVariables need templateURL")
    # DevStream's pipeline of three stages had no test of its own: packaging runs the tests.
    quiet = stages and given.language is None and given.test is None
    return msgspec.structs.replace(given, test=UnitTests(enable=False)) if quiet else given


def check_options(options: GitLabOptions) -> None:
    """Raise ValueError for options that contradict each other under every name of the plugin."""
    given = merge_pipeline(options)
    if has_own_files(given):
        _build_source(options, "app", "").list_paths()
    else:
        _build_recipe(options, "app", "go")


class GitLabCI(CIFiles[GitLabOptions]):
    """A GitLab CI pipeline: test, analysis, package, image, deployment, message; or your file."""

    plugin = "gitlab-ci"
    options = GitLabOptions
    language = ""
    """The language of the code where the options do not say."""

    def locate(self, options: GitLabOptions) -> Location:
        """Find the repository, which may not be GitHub's."""
        return locate(options)

    def build_source(self, options: GitLabOptions, name: str) -> FileSource:
        """Take the user's file, or the built-in pipeline."""
        return _build_source(options, name, self.language)

    def list_secrets(self, options: GitLabOptions) -> list[str]:
        """Name those that the options call for; GitLab calls them variables."""
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
        raise ValueError("build and pipeline.imageRepo say the same: give one of them")
    stages, image = _build_stages(options), _build_image(options, name)
    language = "java" if options.package else language
    found = build_recipe(given, name, locate(options).branch, image=image, language=language)
    if stages.package is None and stages.deploy is None:
        require_job(found)
    if found.test and not (found.container or found.language):
        raise ValueError(
            "test.containerName is needed: there is no default image without a known language"
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
    """A GitLab CI pipeline, for Go where the options name no language."""

    language = "go"


class GitLabCIJava(GitLabCI):
    """A GitLab CI pipeline, for Java where the options name no language."""

    language = "java"


_conforms: type[Provider[GitLabOptions]] = GitLabCI
