"""Options of all CI plugins: the current ones in `pipeline`, DevStream's older ones next to it."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal, NoReturn, TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec

from engine.schema import Field, Options, Outputs
from engine.values import Unknown, UnknownValueError
from providers._git.scm import PUBLIC_HOSTS, Location, Repo, ScmType, is_all_known, locate
from providers._image import ImageRepo

Commands = list[str] | str

PipelineT = TypeVar("PipelineT", bound="Pipeline")

IMAGE_SECRET = "IMAGE_REPO_SECRET"
SONAR_SECRET = "SONAR_SECRET_TOKEN"
DINGTALK_TOKEN = "DINGTALK_SECURITY_TOKEN"
DINGTALK_VALUE = "DINGTALK_SECURITY_VALUE"

SECRET_KEYS = frozenset({"password", "token", "webhook", "securityValue"})
"""Keys of options in `pipeline` that hold secrets, which the user's files must not contain."""


class Scm(Repo, frozen=True, kw_only=True):
    """The repository that gets the files. It must exist.

    Without `url` and `baseURL`, scmType `github` or `gitlab` selects the public host.
    """

    def __post_init__(self) -> None:
        if is_all_known(self):
            locate_scm(self)


def locate_scm(scm: Scm) -> Location:
    """Return the location of the repository. Raises ValueError, UnknownValueError."""
    host = "" if scm.base_url or scm.url else PUBLIC_HOSTS.get(scm.scm_type or "", "")
    return locate(msgspec.structs.replace(scm, base_url=host) if host else scm)


class CIOptions(Options, frozen=True, kw_only=True):
    """The repository that gets the files: `scm`, or DevStream's older options next to it."""

    scm: Annotated[
        Scm | None,
        Field("The repository that gets the files. It must exist.", aliases=("projectRepo",)),
    ] = None
    url: Annotated[str, Field("Older form of scm.url.", aliases=("repoURL",))] = ""
    owner: Annotated[str, Field("Older form of scm.owner.")] = ""
    org: Annotated[str, Field("Older form of scm.org.")] = ""
    repo: Annotated[str, Field("Older form of scm.name.")] = ""
    branch: Annotated[str, Field("Older form of scm.branch.")] = ""
    base_url: Annotated[str, Field("Older form of scm.baseURL.")] = msgspec.field(
        default="", name="baseURL"
    )
    scm_type: Annotated[ScmType | None, Field("Older form of scm.scmType.")] = None


def locate_destination(options: CIOptions, scm_type: ScmType) -> Location:
    """Return the location of the repository, from `scm` or from the older options.

    `scm_type` is the default host of the older options. Raises as `locate_scm`.
    """
    older_options = [
        key
        for key, value in {
            "url": options.url,
            "owner": options.owner,
            "org": options.org,
            "repo": options.repo,
            "branch": options.branch,
            "baseURL": options.base_url,
            "scmType": options.scm_type,
        }.items()
        if value
    ]
    if options.scm:
        if older_options:
            raise ValueError(
                f"{', '.join(older_options)} cannot be set together with scm: set them inside scm"
            )
        return locate_scm(options.scm)
    if not (options.url or options.repo):
        raise ValueError(
            "scm is required: set the repository, for example scm: {url: ./repos/me/app.git}"
        )
    kind = options.scm_type or (None if options.url or options.base_url else scm_type)
    return locate_scm(
        Scm(
            url=options.url,
            owner=options.owner,
            org=options.org,
            name=options.repo,
            branch=options.branch,
            base_url=options.base_url,
            scm_type=kind,
        )
    )


class LanguageOptions(Options, frozen=True, kw_only=True):
    """The language of the code. It selects tools, cache and default commands."""

    name: Annotated[
        str,
        Field(
            "Language: go, java, nodejs or python. Any other language needs `test.command`.",
            example="go",
        ),
    ] = ""
    version: Annotated[
        str,
        Field(
            "Version of the language, quoted. The default depends on framework and language.",
            example="1.22",
        ),
    ] = ""
    framework: Annotated[
        str,
        Field(
            "Framework: gin, springboot, django, flask or express. It implies the language.",
            example="gin",
        ),
    ] = ""


class Coverage(Options, frozen=True, kw_only=True):
    """The coverage of Go tests."""

    enable: Annotated[bool, Field("Measure the coverage.")] = True
    profile: Annotated[str, Field("Flags for `go test`.")] = "-race -covermode=atomic"
    output: Annotated[str, Field("File for the coverage profile.", min_length=1)] = "coverage.out"


class UnitTests(Options, frozen=True, kw_only=True):
    """The test job."""

    enable: Annotated[bool, Field("Add a test job.")] = True
    command: Annotated[
        Commands, Field("One command or a list of commands. The default depends on the language.")
    ] = msgspec.field(default_factory=list[str])
    container_name: Annotated[
        str,
        Field(
            "Image in which the job runs. The default depends on the language.",
            example="golang:1.22",
        ),
    ] = ""
    coverage_command: Annotated[
        str, Field("Command that measures the coverage, run after the tests.")
    ] = ""
    coverage_status_command: Annotated[
        str, Field("Command that prints the coverage. The job shows its output.")
    ] = ""
    coverage: Annotated[
        Coverage | None, Field("The coverage of Go tests. Set either this or coverageCommand.")
    ] = None


class DingTalk(Options, frozen=True, kw_only=True):
    """A message to a DingTalk group about the result of each pipeline."""

    name: Annotated[str, Field("Title of the message.")] = "CI"
    webhook: Annotated[
        str,
        Field(
            "URL of the DingTalk robot. The pipeline reads its access_token from the CI secret "
            "DINGTALK_SECURITY_TOKEN. Create that secret yourself.",
            secret=True,
            min_length=1,
        ),
    ]
    security_type: Annotated[
        Literal["KEY", "SECRET"] | None,
        Field("How the robot checks messages: by a keyword (KEY) or a signature (SECRET)."),
    ] = None
    security_value: Annotated[
        str,
        Field(
            "Keyword or signing key. The pipeline reads it from the CI secret "
            "DINGTALK_SECURITY_VALUE. Create that secret yourself.",
            secret=True,
        ),
    ] = ""
    at_users: Annotated[
        Commands,
        Field(
            "Phone numbers of the users to mention: a list, or a text with commas.",
            example="13800000000",
        ),
    ] = msgspec.field(default_factory=list[str])

    def __post_init__(self) -> None:
        with suppress(UnknownValueError):
            paired = bool(self.security_type) == bool(self.security_value)
            if not paired:
                raise ValueError(
                    "set both dingTalk.securityType and dingTalk.securityValue, or neither"
                )


class SonarQube(Options, frozen=True, kw_only=True):
    """The code analysis on a SonarQube server."""

    name: Annotated[str, Field("Key of the project on the server.", min_length=1)]
    url: Annotated[str, Field("URL of the server.", example="https://sonar.example.com")] = (
        "https://sonarcloud.io"
    )
    token: Annotated[
        str,
        Field(
            "Token of the project. If set, the pipeline reads it from the CI secret "
            "SONAR_SECRET_TOKEN. Create that secret yourself. Without it the analysis is "
            "anonymous.",
            secret=True,
        ),
    ] = ""


class Pipeline(Options, frozen=True, kw_only=True):
    """The pipeline that runs on every push: generated from options, or your own CI files."""

    config_location: Annotated[
        str,
        Field(
            "Your own CI files: a path relative to the config file, a directory or a URL. By "
            "default dtm generates the pipeline."
        ),
    ] = ""
    config_contents: Annotated[
        dict[str, str],
        Field("Your own CI files: a map of name to text. It takes precedence over configLocation."),
    ] = msgspec.field(default_factory=dict[str, str])
    vars: Annotated[
        dict[str, Any],
        Field(
            "Values for [[ name ]] in your own CI files. If no values are set, the files are "
            "written without replacement."
        ),
    ] = msgspec.field(default_factory=dict[str, Any])
    branch: Annotated[
        str, Field("Branch whose pushes run the pipeline. The default is the one of scm.")
    ] = ""
    language: Annotated[LanguageOptions | None, Field("The language of the code.")] = None
    test: Annotated[UnitTests | None, Field("The test job.")] = None
    image_repo: Annotated[
        ImageRepo | None,
        Field("The registry. If set, an image is built from the Dockerfile and pushed to it."),
    ] = None
    sonarqube: Annotated[SonarQube | None, Field("The code analysis on a SonarQube server.")] = None
    ding_talk: Annotated[
        DingTalk | None, Field("A message to a DingTalk group about the result of each pipeline.")
    ] = None


class CIOutputs(Outputs, frozen=True, kw_only=True):
    """The outputs of the CI plugins."""

    repo_url: Annotated[
        str, Field("URL or path of the repository as in the options, without credentials.")
    ] = msgspec.field(name="repoURL")
    branch: Annotated[str, Field("Branch that holds the files.")]
    files: Annotated[list[str], Field("Paths of the files in the repository, sorted.")]
    secrets: Annotated[
        list[str],
        Field("Names of the CI secrets (GitLab: CI/CD variables) that you must create, sorted."),
    ]


def list_commands(commands: Commands) -> list[str]:
    """Return the commands as a list without empty ones. Raises UnknownValueError."""
    given = [commands] if isinstance(commands, str) else [str(line) for line in commands]
    return [line for line in given if line.strip()]


def merge_older_options(
    pipeline: PipelineT, older_options: Options, names: tuple[str, ...]
) -> PipelineT:
    """Return the pipeline with the older options that were set next to it.

    Raises ValueError if an option is set in both places.
    """
    given = {name: value for name in names if (value := getattr(older_options, name)) is not None}
    twice = [name for name in given if getattr(pipeline, name) is not None]
    if twice:
        raise ValueError(f"{', '.join(twice)} is set twice: keep the one inside pipeline")
    return msgspec.structs.replace(pipeline, **given)


def has_own_files(pipeline: Pipeline) -> bool:
    """Return whether the user gives CI files of their own. Raises UnknownValueError."""
    return bool(pipeline.config_contents) or bool(pipeline.config_location)


def collect_variables(pipeline: Pipeline, app: str) -> dict[str, Any]:
    """Return the values for `[[ name ]]` in the user's files, empty if no option is set.

    These are `vars` and the other options of the pipeline, except secrets.
    """
    blocks = {
        "language": pipeline.language,
        "test": pipeline.test,
        "imageRepo": pipeline.image_repo,
        "sonarqube": pipeline.sonarqube,
        "dingTalk": pipeline.ding_talk,
    }
    named: dict[str, Any] = {
        key: _without_secrets(block) for key, block in blocks.items() if block is not None
    }
    if pipeline.branch:
        named["branch"] = pipeline.branch
    return {"app": app, **named, **pipeline.vars} if named or pipeline.vars else {}


def _without_secrets(block: Options) -> dict[str, Any]:
    """Return a block of options as a map without secrets. Raises UnknownValueError."""
    # A whole block may be a reference to an output that is not known yet.
    if isinstance(block, Unknown):
        _refuse_unknown(block)
    values = {
        field.encode_name: getattr(block, field.name) for field in msgspec.structs.fields(block)
    }
    return {
        key: msgspec.to_builtins(value, enc_hook=_refuse_unknown)
        for key, value in values.items()
        if key not in SECRET_KEYS
    }


def _refuse_unknown(_value: object) -> NoReturn:
    """Raise UnknownValueError. Only UNKNOWN gets here, all other values are plain data."""
    raise UnknownValueError("a pipeline option is only known after apply")


def list_secrets(pipeline: Pipeline) -> list[str]:
    """Return the names of the CI secrets that these options need. Raises UnknownValueError."""
    image, sonar, talk = pipeline.image_repo, pipeline.sonarqube, pipeline.ding_talk
    needed = {
        IMAGE_SECRET: image is not None and bool(image.password),
        SONAR_SECRET: sonar is not None and bool(sonar.token),
        DINGTALK_TOKEN: talk is not None
        and "access_token" in parse_qs(urlsplit(str(talk.webhook)).query),
        DINGTALK_VALUE: talk is not None and bool(talk.security_value),
    }
    return [name for name, used in needed.items() if used]
