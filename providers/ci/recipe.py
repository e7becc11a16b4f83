"""The recipe of a pipeline for any CI system: the checked options with all defaults."""

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
    "Written by dtm. Change the options of the tool instead of this file: "
    "the next `dtm apply` undoes edits."
)


class Image(msgspec.Struct, frozen=True):
    """An image to build and push.

    `registry` is "" for Docker Hub. `secret` is the CI secret that holds the password, "" for no
    login.
    """

    name: str
    registry: str
    user: str
    secret: str


class Analysis(msgspec.Struct, frozen=True):
    """A SonarQube scan. `secret` is the CI secret that holds the token, "" for anonymous access."""

    project: str
    url: str
    secret: str


class Message(msgspec.Struct, frozen=True):
    """A DingTalk message. `url` has no token. `token` and `value` are CI secrets, "" for none."""

    title: str
    url: str
    at: str
    security: str
    token: str
    value: str

    def environment(self, secret: str) -> dict[str, str]:
        """Return the variables that the script reads. `secret` formats a reference to a secret."""
        given = {
            "DINGTALK_URL": self.url,
            "DINGTALK_TOKEN": secret.format(self.token) if self.token else "",
            "DINGTALK_SECURITY": self.security,
            "DINGTALK_VALUE": secret.format(self.value) if self.value else "",
            "DINGTALK_AT": self.at,
        }
        return {name: value for name, value in given.items() if value}


class Recipe(msgspec.Struct, frozen=True):
    """A pipeline. Without commands a job is left out. `container` "" means the default image."""

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
    """Return the recipe for these options, with all defaults.

    `build` None means no build job, [] the default command of the language. `image` is the image of
    older options. `language` is used if the options name none. Raises ValueError with a message for
    the user, UnknownValueError if an option is not known yet.
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
    """Raise ValueError for a recipe without a job. A message alone is not a job."""
    if not (recipe.build or recipe.test or recipe.image or recipe.analysis):
        raise ValueError("the pipeline has no job: set language, test.command, build or imageRepo")


def _choose_language(
    options: LanguageOptions | None, otherwise: str
) -> tuple[Language | None, str, str]:
    """Return the language (None: unknown), its version, and its name as requested."""
    named, suited = (
        find_language(str(options.name), str(options.framework)) if options else ("", "")
    )
    named = named or otherwise
    found = LANGUAGES.get(named)
    version = str(options.version) if options else ""
    if version and not found:
        raise ValueError(
            f"language.version has no effect for {named or 'a pipeline without language.name'}: "
            "remove it, and set test.containerName to an image of that version"
        )
    return found, version or suited or (found.version if found else ""), named


def _list_build_commands(commands: list[str] | None, language: Language | None) -> list[str]:
    if commands == [] and language is None:
        raise ValueError("build.command is required, because the language has no default command")
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
    assert options.coverage is not None  # checked by the caller
    if language is None or language.name != "go":
        raise ValueError(
            "test.coverage is only for Go: set test.coverageCommand and "
            "test.coverageStatusCommand instead"
        )
    if options.coverage_command or options.coverage_status_command:
        raise ValueError(
            "test.coverage cannot be set together with test.coverageCommand or "
            "test.coverageStatusCommand: remove test.coverage"
        )
    parts = (command, options.coverage.profile, f"-coverprofile={options.coverage.output}")
    return " ".join(part for part in parts if part)


def _coverage_status_command(options: UnitTests) -> str:
    if options.coverage and options.coverage.enable:
        return f"go tool cover -func={options.coverage.output}"
    return str(options.coverage_status_command)


def build_image(repo: ImageRepo, app: str) -> Image:
    """Return the image that `imageRepo` describes. Raises ValueError."""
    if repo.password and not repo.user:
        raise ValueError("imageRepo.user is required, because imageRepo.password is set")
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
        raise ValueError("dingTalk.webhook must be the URL of a DingTalk robot")
    return Message(
        title=str(options.name),
        # Query and user part may hold the token of the robot, which must not be in the file.
        url=parts._replace(query="", fragment="", netloc=parts.netloc.rpartition("@")[2]).geturl(),
        at=",".join(list_commands(options.at_users)),
        security=options.security_type or "",
        token=DINGTALK_TOKEN if "access_token" in parse_qs(parts.query) else "",
        value=DINGTALK_VALUE if options.security_value else "",
    )


def build_dingtalk_command() -> str:
    """Return the shell command that sends the message. It reads all data from the environment."""
    script = files("providers.ci").joinpath("templates/dingtalk.py").read_text(encoding="utf-8")
    return f"python3 - <<'EOF'\n{script}EOF\n"
