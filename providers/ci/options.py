"""Options that the CI plugins share: today's under `pipeline`, DevStream's older ones beside it."""

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
"""Keys of the options below that hold secrets."""


class Scm(Repo, frozen=True, kw_only=True):
    """The repository that the files go into; it must exist.

    Without `url` and `baseURL`, scmType says which host is meant.
    """

    def __post_init__(self) -> None:
        if is_all_known(self):
            locate_scm(self)


def locate_scm(scm: Scm) -> Location:
    """Find out where that is. Raises ValueError, UnknownValueError."""
    host = "" if scm.base_url or scm.url else PUBLIC_HOSTS.get(scm.scm_type or "", "")
    return locate(msgspec.structs.replace(scm, base_url=host) if host else scm)


class CIOptions(Options, frozen=True, kw_only=True):
    """The repository of the files: `scm`, or DevStream's older options beside it."""

    scm: Annotated[
        Scm | None, Field("the repository that the files go into", aliases=("projectRepo",))
    ] = None
    url: Annotated[str, Field("instead of scm: its URL or path", aliases=("repoURL",))] = ""
    owner: Annotated[str, Field("instead of scm: the user who owns it")] = ""
    org: Annotated[str, Field("instead of scm: the organisation that owns it")] = ""
    repo: Annotated[str, Field("instead of scm: its name")] = ""
    branch: Annotated[str, Field("instead of scm: its branch")] = ""
    base_url: Annotated[str, Field("instead of scm: what owner/repo.git is appended to")] = (
        msgspec.field(default="", name="baseURL")
    )
    scm_type: Annotated[ScmType | None, Field("instead of scm: the kind of host")] = None


def locate_destination(options: CIOptions, scm_type: ScmType) -> Location:
    """Find the one repository that is meant.

    `scm_type` is that of the older options unless they say another. Raises as `at`.
    """
    beside = [
        key
        for key in ("url", "owner", "org", "repo", "branch", "base_url", "scm_type")
        if getattr(options, key)
    ]
    if options.scm:
        if beside:
            raise ValueError(f"{', '.join(beside)}: given beside scm, which says it all")
        return locate_scm(options.scm)
    if not (options.url or options.repo):
        raise ValueError(
            "which repository? scm is required (or DevStream's older repo with owner or org)"
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
    """The language of the code, which decides tools, cache and the default commands."""

    name: Annotated[
        str, Field("go, java, nodejs or python; any other needs `test.command`", example="go")
    ] = ""
    version: Annotated[
        str, Field("its version, quoted; the default is the language's", example="1.22")
    ] = ""
    framework: Annotated[
        str, Field("gin, springboot, django, flask or express: implies the language", example="gin")
    ] = ""


class Coverage(Options, frozen=True, kw_only=True):
    """Coverage of Go tests."""

    enable: Annotated[bool, Field("measure it")] = True
    profile: Annotated[str, Field("flags for `go test`")] = "-race -covermode=atomic"
    output: Annotated[str, Field("the profile's file", min_length=1)] = "coverage.out"


class UnitTests(Options, frozen=True, kw_only=True):
    """The test job."""

    enable: Annotated[bool, Field("whether there is one")] = True
    command: Annotated[
        Commands, Field("what it runs, one command or several; the default is the language's")
    ] = msgspec.field(default_factory=list[str])
    container_name: Annotated[
        str, Field("the image it runs in; the default fits the language", example="golang:1.22")
    ] = ""
    coverage_command: Annotated[str, Field("run after the tests to measure coverage")] = ""
    coverage_status_command: Annotated[
        str, Field("prints the coverage, which the job then shows")
    ] = ""
    coverage: Annotated[
        Coverage | None, Field("coverage of Go tests; either this or coverageCommand")
    ] = None


class DingTalk(Options, frozen=True, kw_only=True):
    """A robot that tells a DingTalk group how the pipeline ended."""

    name: Annotated[str, Field("title of the message")] = "CI"
    webhook: Annotated[
        str,
        Field("the robot's URL; its access_token goes into a CI secret", secret=True, min_length=1),
    ]
    security_type: Annotated[
        Literal["KEY", "SECRET"] | None, Field("what the robot wants: a keyword or a signature")
    ] = None
    security_value: Annotated[
        str, Field("that keyword or signing key; goes into a CI secret", secret=True)
    ] = ""
    at_users: Annotated[
        Commands,
        Field("phone numbers of people to mention, a list or with commas", example="13800000000"),
    ] = msgspec.field(default_factory=list[str])

    def __post_init__(self) -> None:
        with suppress(UnknownValueError):
            paired = bool(self.security_type) == bool(self.security_value)
            if not paired:
                raise ValueError(
                    "dingTalk.securityType and dingTalk.securityValue are needed together"
                )


class SonarQube(Options, frozen=True, kw_only=True):
    """Code analysis by a SonarQube server."""

    name: Annotated[str, Field("the project's key on the server", min_length=1)]
    url: Annotated[str, Field("the server", example="https://sonar.example.com")] = (
        "https://sonarcloud.io"
    )
    token: Annotated[
        str,
        Field(
            "goes into the CI secret SONAR_SECRET_TOKEN; without it the analysis is anonymous",
            secret=True,
        ),
    ] = ""


class Pipeline(Options, frozen=True, kw_only=True):
    """The pipeline that runs on every push, either described by options or given as files."""

    config_location: Annotated[
        str,
        Field(
            "the CI files: a path (relative to the configuration), a directory or a URL; "
            "default: built in"
        ),
    ] = ""
    config_contents: Annotated[
        dict[str, str], Field("the CI files themselves, name to text; wins over configLocation")
    ] = msgspec.field(default_factory=dict[str, str])
    vars: Annotated[
        dict[str, Any],
        Field("values for [[ name ]] in given CI files; without any they stay as they are"),
    ] = msgspec.field(default_factory=dict[str, Any])
    branch: Annotated[str, Field("the branch whose pushes run it; default: the repository's")] = ""
    language: Annotated[LanguageOptions | None, Field("what the code is written in")] = None
    test: Annotated[UnitTests | None, Field("the test job")] = None
    image_repo: Annotated[
        ImageRepo | None, Field("build an image from the Dockerfile and push it there")
    ] = None
    sonarqube: Annotated[SonarQube | None, Field("analyse the code")] = None
    ding_talk: Annotated[DingTalk | None, Field("tell a DingTalk group")] = None


class CIOutputs(Outputs, frozen=True, kw_only=True):
    """The outputs that references may name."""

    repo_url: Annotated[
        str, Field("the repository, as the options name it, without credentials")
    ] = msgspec.field(name="repoURL")
    branch: Annotated[str, Field("the branch that was written")]
    files: Annotated[list[str], Field("paths of the files in the repository, sorted")]
    secrets: Annotated[
        list[str],
        Field("CI secrets (variables, in GitLab) that must exist in the repository, sorted"),
    ]


def list_commands(commands: Commands) -> list[str]:
    """List one command or several, without empty ones. Raises UnknownValueError."""
    given = [commands] if isinstance(commands, str) else [str(line) for line in commands]
    return [line for line in given if line.strip()]


def merge_older_options(pipeline: PipelineT, beside: Options, names: tuple[str, ...]) -> PipelineT:
    """Put the older options that stand beside the pipeline into it.

    Raises ValueError if one is given in both places.
    """
    given = {name: value for name in names if (value := getattr(beside, name)) is not None}
    twice = [name for name in given if getattr(pipeline, name) is not None]
    if twice:
        raise ValueError(f"{', '.join(twice)}: given twice, under pipeline and beside it")
    return msgspec.structs.replace(pipeline, **given)


def has_own_files(pipeline: Pipeline) -> bool:
    """Tell if the user brings the files. Raises UnknownValueError."""
    return bool(pipeline.config_contents) or bool(pipeline.config_location)


def collect_variables(pipeline: Pipeline, app: str) -> dict[str, Any]:
    """Collect the names that `[[ ]]` in the user's files may use; empty if no option gives any.

    They are `vars` and the other options, but no secrets.
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
    """Make a map of an options block, without its secrets. Raises UnknownValueError."""
    # A whole block may be a reference to an output that is not there yet.
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
    """Refuse UNKNOWN, the only value here that is not plain data."""
    raise UnknownValueError("a pipeline option is only known after apply")


def list_secrets(pipeline: Pipeline) -> list[str]:
    """Name the CI secrets that these options call for. Raises UnknownValueError."""
    image, sonar, talk = pipeline.image_repo, pipeline.sonarqube, pipeline.ding_talk
    needed = {
        IMAGE_SECRET: image is not None and bool(image.password),
        SONAR_SECRET: sonar is not None and bool(sonar.token),
        DINGTALK_TOKEN: talk is not None
        and "access_token" in parse_qs(urlsplit(str(talk.webhook)).query),
        DINGTALK_VALUE: talk is not None and bool(talk.security_value),
    }
    return [name for name, used in needed.items() if used]
