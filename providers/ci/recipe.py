"""A pipeline, whatever CI system runs it: options with defaults filled in and checked."""

from __future__ import annotations

from importlib.resources import files
from urllib.parse import parse_qs, urlsplit

import msgspec

from providers._image import ImageRepo, build_image_name, get_registry_host
from providers.ci.languages import LANGUAGES, Language, find_language
from providers.ci.options import (
    DINGTALK_TOKEN,
    DINGTALK_VALUE,
    IMAGE_SECRET,
    SONAR_SECRET,
    DingTalk,
    LanguageOptions,
    Pipeline,
    SonarQube,
    UnitTests,
    list_commands,
)

HEADER = (
    "Written by dtm: change the tool's options instead, "
    "what is edited here is undone by the next `dtm apply`."
)


class Image(msgspec.Struct, frozen=True):
    """An image to build and push.

    `registry` is "" for Docker Hub; `secret` is the CI secret with the password, "" for no login.
    """

    name: str
    registry: str
    user: str
    secret: str


class Analysis(msgspec.Struct, frozen=True):
    """A SonarQube scan; `secret` is "" where it is anonymous."""

    project: str
    url: str
    secret: str


class Message(msgspec.Struct, frozen=True):
    """A DingTalk message: `url` without its token; secrets are "" where the robot wants none."""

    title: str
    url: str
    at: str
    security: str
    token: str
    value: str

    def environment(self, secret: str) -> dict[str, str]:
        """List the variables that `dingtalk` reads; `secret` is the form of a CI secret."""
        given = {
            "DINGTALK_URL": self.url,
            "DINGTALK_TOKEN": secret.format(self.token) if self.token else "",
            "DINGTALK_SECURITY": self.security,
            "DINGTALK_VALUE": secret.format(self.value) if self.value else "",
            "DINGTALK_AT": self.at,
        }
        return {name: value for name, value in given.items() if value}


class Recipe(msgspec.Struct, frozen=True):
    """One pipeline: an empty list of commands means no such job, `container` "" the default one."""

    app: str
    branch: str
    language: Language | None
    version: str
    container: str
    build: list[str]
    test: list[str]
    coverage: list[str]
    coverage_status: str
    image: Image | None
    analysis: Analysis | None
    message: Message | None


def build_recipe(
    options: Pipeline,
    app: str,
    branch: str,
    *,
    build: list[str] | None = None,
    image: Image | None = None,
    language: str = "",
) -> Recipe:
    """Make a recipe from options, with defaults filled in.

    `build` None: no build job, []: the language's command. `image` is that of older options.
    `language` counts if the options name none. Raises ValueError with a sentence for people,
    UnknownValueError where an option is not known yet.
    """
    chosen, version, named = _choose_language(options.language, language)
    tests = options.test or UnitTests()
    run, compiled = _list_test_commands(tests, chosen, named), _list_build_commands(build, chosen)
    return Recipe(
        app=app,
        branch=str(options.branch) or branch,
        language=chosen,
        version=version,
        container=str(tests.container_name),
        build=compiled,
        test=run,
        coverage=list_commands(tests.coverage_command) if run else [],
        coverage_status=_coverage_status_command(tests) if run else "",
        image=image or (build_image(options.image_repo, app) if options.image_repo else None),
        analysis=_build_analysis(options.sonarqube) if options.sonarqube else None,
        message=_build_message(options.ding_talk) if options.ding_talk else None,
    )


def require_job(recipe: Recipe) -> None:
    """Raise ValueError for a recipe without any job: a message alone is none."""
    if not (recipe.build or recipe.test or recipe.image or recipe.analysis):
        raise ValueError("the pipeline has no job: give language, test.command, build or imageRepo")


def _choose_language(
    options: LanguageOptions | None, otherwise: str
) -> tuple[Language | None, str, str]:
    """Find the language if it is a known one, its version, and the name that was meant."""
    named, suited = (
        find_language(str(options.name), str(options.framework)) if options else ("", "")
    )
    named = named or otherwise
    found = LANGUAGES.get(named)
    version = str(options.version) if options else ""
    if version and not found:
        raise ValueError(
            "language.version is set, but there is nothing to set up for "
            f"{named or 'no language'}: name the version in test.containerName"
        )
    return found, version or suited or (found.version if found else ""), named


def _list_build_commands(commands: list[str] | None, language: Language | None) -> list[str]:
    if commands == [] and language is None:
        raise ValueError("build.command is needed: there is no default without a known language")
    return commands or ([language.build] if language and commands is not None else [])


def _list_test_commands(options: UnitTests, language: Language | None, named: str) -> list[str]:
    if not options.enable:
        return []
    run = list_commands(options.command) or (list(language.test) if language else [])
    if not run and named:
        known = ", ".join(LANGUAGES)
        raise ValueError(
            f'there is no default test for language "{named}" (known: {known}): set test.command'
        )
    if options.coverage and options.coverage.enable and run:
        run[-1] = _add_coverage(options, run[-1], language)
    return run


def _add_coverage(options: UnitTests, command: str, language: Language | None) -> str:
    assert options.coverage is not None  # the caller looked
    if language is None or language.name != "go":
        raise ValueError(
            "test.coverage is for Go: use test.coverageCommand and test.coverageStatusCommand"
        )
    if options.coverage_command or options.coverage_status_command:
        raise ValueError("test.coverage and test.coverageCommand exclude each other")
    parts = (command, options.coverage.profile, f"-coverprofile={options.coverage.output}")
    return " ".join(part for part in parts if part)


def _coverage_status_command(options: UnitTests) -> str:
    if options.coverage and options.coverage.enable:
        return f"go tool cover -func={options.coverage.output}"
    return str(options.coverage_status_command)


def build_image(repo: ImageRepo, app: str) -> Image:
    """Make the image that `imageRepo` describes."""
    if repo.password and not repo.user:
        raise ValueError("imageRepo.user is needed to log in with imageRepo.password")
    secret = IMAGE_SECRET if repo.password else ""
    return Image(
        build_image_name(str(repo.url), str(repo.user), app),
        get_registry_host(str(repo.url)),
        str(repo.user),
        secret,
    )


def _build_analysis(options: SonarQube) -> Analysis:
    return Analysis(str(options.name), str(options.url), SONAR_SECRET if options.token else "")


def _build_message(options: DingTalk) -> Message:
    parts = urlsplit(str(options.webhook))
    if not parts.hostname:
        raise ValueError("dingTalk.webhook must be a URL")
    return Message(
        title=str(options.name),
        # The query and the user part may hold the robot's token.
        url=parts._replace(query="", fragment="", netloc=parts.netloc.rpartition("@")[2]).geturl(),
        at=",".join(list_commands(options.at_users)),
        security=options.security_type or "",
        token=DINGTALK_TOKEN if "access_token" in parse_qs(parts.query) else "",
        value=DINGTALK_VALUE if options.security_value else "",
    )


def build_dingtalk_command() -> str:
    """Make the shell command that sends the message, with all data in environment variables."""
    script = files("providers.ci").joinpath("templates/dingtalk.py").read_text(encoding="utf-8")
    return f"python3 - <<'EOF'\n{script}EOF\n"
