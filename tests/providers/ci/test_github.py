"""Every option of github-actions and its older names changes the workflow, which stays valid."""

from __future__ import annotations

from typing import Any

import pytest

from providers.ci.github import (
    GitHubActions,
    GitHubActionsGolang,
    GitHubActionsNodejs,
    GitHubActionsPython,
)
from tests.providers._git.repos import faults, options
from tests.providers.ci.pipelines import (
    GO,
    IMAGE,
    SCM,
    SECRETS,
    SONAR,
    TALK,
    WITH_SECRETS,
    Options,
    OptionTable,
    build_table,
    in_pipeline,
    render_files,
)
from tests.providers.ci.schemas import load, problems

FLAT = {"scmType": "local", "owner": "me", "repo": "app"}


def text(given: Options, provider: GitHubActions | None = None) -> str:
    [content] = render_files(provider or GitHubActions(), given).values()
    return content


def job(given: Options, name: str) -> Options:
    found: Options = load(text(given))["jobs"][name]
    return found


def with_older_options(**given: Any) -> Options:
    return {**FLAT, **GO, **given}


def with_own_file(event: str) -> Options:
    return in_pipeline(
        configContents={"x.yml": OWN_FILE.replace("push", "[[ event ]]")}, vars={"event": event}
    )


def next_to_pipeline(given: Options) -> Options:
    """Move the older options next to `pipeline`, where DevStream had them."""
    pipeline = given["pipeline"]
    kept = {key: value for key, value in pipeline.items() if key not in OLDER_NAMES}
    return {
        **given,
        "pipeline": kept,
        **{key: pipeline[key] for key in OLDER_NAMES if key in pipeline},
    }


OWN_FILE = "on: push\njobs: {a: {runs-on: x, steps: [{run: 'true'}]}}\n"
OLDER_NAMES = ("language", "build", "test", "docker")
DOCKER = {"registry": {"username": "me"}}
HARBOR = {"type": "harbor", "username": "me", "repository": "harbor.example.com:80/library/app"}

OWN_OPTIONS: OptionTable = {
    "pipeline.configContents": (
        in_pipeline(),
        in_pipeline(configContents={"x.yml": OWN_FILE}),
        OWN_FILE,
    ),
    "pipeline.configLocation": (
        in_pipeline(),
        in_pipeline(configLocation="github.yml"),
        "echo from a file",
    ),
    "pipeline.vars": (with_own_file("push"), with_own_file("pull_request"), "on: pull_request"),
    "pipeline.language.framework": (
        in_pipeline(),
        in_pipeline(language={"framework": "django"}),
        "actions/setup-python@",
    ),
    "pipeline.language.frameWork": (
        in_pipeline(),
        in_pipeline(language={"frameWork": "spring-boot"}),
        "mvn -B test",
    ),
    "pipeline.build.enable": (
        in_pipeline(build={"enable": False}),
        in_pipeline(build={"enable": True}),
        "run: go build ./...",
    ),
    "pipeline.build.command": (
        in_pipeline(build={}),
        in_pipeline(build={"command": "make"}),
        "run: make",
    ),
    "pipeline.test.command as text": (
        in_pipeline(),
        in_pipeline(test={"command": "make check"}),
        "run: make check",
    ),
    "pipeline.docker": (
        in_pipeline(),
        in_pipeline(docker=DOCKER),
        "password: ${{ secrets.DOCKERHUB_TOKEN }}",
    ),
    "pipeline.docker.enable": (
        in_pipeline(docker={"enable": False, **DOCKER}),
        in_pipeline(docker=DOCKER),
        "tags: me/app:",
    ),
    "pipeline.docker.registry.type": (
        in_pipeline(docker={"registry": {**HARBOR, "type": "dockerhub"}}),
        in_pipeline(docker={"registry": HARBOR}),
        "registry: harbor.example.com:80",
    ),
    "pipeline.docker.registry.username": (
        in_pipeline(docker=DOCKER),
        in_pipeline(docker={"registry": {"username": "you"}}),
        "username: you",
    ),
    "pipeline.docker.registry.repository": (
        in_pipeline(docker=DOCKER),
        in_pipeline(docker={"registry": {"username": "me", "repository": "other"}}),
        "tags: me/other:",
    ),
    "repo": (
        with_older_options(docker=DOCKER),
        with_older_options(docker=DOCKER) | {"repo": "web"},
        "tags: me/web:",
    ),
    "branch": (with_older_options(), with_older_options(branch="trunk"), "branches: [trunk]"),
}
OPTIONS = build_table(
    {
        "scm.name": "tags: me/web:",
        "scm.branch": "branches: [trunk]",
        "pipeline.branch": "branches: [release]",
        "pipeline.language.name": "python3 -m unittest",
        "pipeline.language.version": "go-version: '1.22'",
        "pipeline.test.enable": "needs: [test]",
        "pipeline.test.command": "go vet\n          make check",
        "pipeline.test.containerName": "container: golang:1.21-alpine",
        "pipeline.test.coverageCommand": "run: make cover",
        "pipeline.test.coverageStatusCommand": "cat c.txt",
        "pipeline.test.coverage.enable": "go test ./... -race -covermode=atomic"
        " -coverprofile=coverage.out",
        "pipeline.test.coverage.profile": "run: go test ./... -covermode=set"
        " -coverprofile=coverage.out",
        "pipeline.test.coverage.output": "-func=c.out",
        "pipeline.imageRepo": "tags: me/app:${{ needs.tag.outputs.version }}",
        "pipeline.imageRepo.url": "tags: harbor.example.com:8443/library/me/app:",
        "pipeline.imageRepo.user": "tags: you/app:",
        "pipeline.imageRepo.password": "password: ${{ secrets.IMAGE_REPO_SECRET }}",
        "pipeline.sonarqube": "-Dsonar.projectKey=key",
        "pipeline.sonarqube.name": "-Dsonar.projectKey=other",
        "pipeline.sonarqube.url": "SONAR_HOST_URL: https://s.io",
        "pipeline.sonarqube.token": "SONAR_TOKEN: ${{ secrets.SONAR_SECRET_TOKEN }}",
        "pipeline.dingTalk": "DINGTALK_TOKEN: ${{ secrets.DINGTALK_SECURITY_TOKEN }}",
        "pipeline.dingTalk.name": "TITLE: Robot",
        "pipeline.dingTalk.webhook": "DINGTALK_URL: https://proxy.example.com/ding",
        "pipeline.dingTalk.securityType": "DINGTALK_SECURITY: KEY",
        "pipeline.dingTalk.securityValue": "DINGTALK_VALUE: ${{ secrets.DINGTALK_SECURITY_VALUE }}",
        "pipeline.dingTalk.atUsers": "DINGTALK_AT: 138,139",
    },
    OWN_OPTIONS,
)
OPTIONS |= {
    name.removeprefix("pipeline."): (next_to_pipeline(before), next_to_pipeline(after), expected)
    for name, (before, after, expected) in OPTIONS.items()
    if name.removeprefix("pipeline.").partition(".")[0] in OLDER_NAMES
}


@pytest.mark.parametrize(("before", "after", "expected"), OPTIONS.values(), ids=OPTIONS)
def test_every_option_changes_the_file(before: Options, after: Options, expected: str) -> None:
    assert expected not in text(before)
    assert expected in text(after)
    assert problems("github-workflows", text(before)) == []
    assert problems("github-workflows", text(after)) == []


SNAKE = {
    **FLAT,
    "test": {
        "container_name": "golang:1.21",
        "coverage_command": "c",
        "coverage_status_command": "d",
    },
    "language": {"name": "golang", "frame_work": "gin"},
}


def test_snake_case_options_are_accepted() -> None:
    camel = {
        **FLAT,
        "test": {
            "containerName": "golang:1.21",
            "coverageCommand": "c",
            "coverageStatusCommand": "d",
        },
        "language": {"name": "go", "frameWork": "gin"},
    }
    assert text(SNAKE) == text(camel)


def test_older_options_render_the_same_file() -> None:
    block = {**GO, "build": {}, "test": {"command": "make"}, "docker": DOCKER}
    assert text({**FLAT, **block}) == text({"scm": SCM, "pipeline": block})


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        (GitHubActionsGolang(), "go test ./..."),
        (GitHubActionsNodejs(), "npm ci"),
        (GitHubActionsPython(), "python3 -m unittest"),
    ],
    ids=["githubactions-golang", "githubactions-nodejs", "githubactions-python"],
)
def test_older_name_sets_a_default_language(provider: GitHubActions, expected: str) -> None:
    assert expected in text(FLAT, provider)
    assert provider.plugin == GitHubActions.plugin
    assert expected in text({**FLAT, "language": {"name": provider.language}})


EVERYTHING = in_pipeline(
    build={},
    test={"coverage": {}},
    imageRepo={**IMAGE, "password": "p"},
    sonarqube={**SONAR, "token": "t"},
    dingTalk={**TALK, "securityType": "SECRET", "securityValue": "k"},
)


def test_jobs_only_need_existing_jobs() -> None:
    for given in (
        EVERYTHING,
        in_pipeline(test={"enable": False}, imageRepo=IMAGE),
        with_older_options(test={"enable": False}, docker=DOCKER),
    ):
        jobs = load(text(given))["jobs"]
        assert {need for job in jobs.values() for need in job.get("needs", [])} <= jobs.keys()


def test_jobs_have_the_least_permissions() -> None:
    workflow = load(text(EVERYTHING))
    assert workflow["permissions"] == {"contents": "read"}
    beyond = {
        name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job
    }
    assert beyond == {"tag": {"contents": "write"}, "notify": {}}


def test_actions_are_pinned_to_commits_with_their_release() -> None:
    uses = [line for line in text(EVERYTHING).splitlines() if "uses:" in line]
    assert len(uses) >= 10
    for line in uses:
        action, _, release = line.partition(" # ")
        assert len(action.rpartition("@")[2]) == 40
        assert release.startswith("v")


def test_scripts_contain_no_expressions() -> None:
    steps = [step for job in load(text(EVERYTHING))["jobs"].values() for step in job["steps"]]
    assert all("${{" not in step.get("run", "") for step in steps)


def test_file_refers_to_secrets_without_their_values() -> None:
    assert "hush" not in text(WITH_SECRETS)
    provider = GitHubActions()
    assert provider.list_secrets(options(provider, **WITH_SECRETS)) == SECRETS
    assert all(f"secrets.{name} " in text(WITH_SECRETS) for name in SECRETS)


@pytest.mark.parametrize(
    ("framework", "language", "cache"),
    [
        ("gin", "go", None),
        ("springboot", "java", "maven"),
        ("django", "python", "pip"),
        ("flask", "python", "pip"),
        ("express", "node", "npm"),
    ],
)
def test_framework_implies_its_language(framework: str, language: str, cache: str | None) -> None:
    setup = job({"scm": SCM, "pipeline": {"language": {"framework": framework}}}, "test")["steps"][
        1
    ]
    assert f"setup-{language}" in setup["uses"]
    assert setup["with"].get("cache") == cache


def test_unknown_framework_keeps_the_language() -> None:
    assert "go test" in text(in_pipeline(language={"name": "golang", "framework": "echo"}))


def test_cache_is_used_only_with_its_lock_file() -> None:
    assert (
        "cache"
        not in job(
            in_pipeline(language={"name": "nodejs"}, test={"command": "npm install-test"}), "test"
        )["steps"][1]["with"]
    )


REFUSED: dict[str, tuple[Options, str]] = {
    "no repository": ({"pipeline": GO}, "scm is required"),
    "gitlab": (
        {"scm": {"url": "https://gitlab.com/me/app"}, "pipeline": GO},
        "github action only support github repo",
    ),
    "scm and repo": (
        {"scm": SCM, "repo": "app", "pipeline": GO},
        "repo cannot be set together with scm",
    ),
    "owner and org": ({**FLAT, "org": "us", **GO}, "owner can't be configured at the same time"),
    "twice": (in_pipeline() | GO, "language is set twice"),
    "unknown language": (
        in_pipeline(language={"name": "cobol"}),
        'no default test for language "cobol"',
    ),
    "contradiction": (in_pipeline(language={"name": "java", "framework": "gin"}), "is for go"),
    "version of nothing": (
        in_pipeline(language={"name": "cobol", "version": "6"}, test={"command": "x"}),
        "language.version has no effect for cobol",
    ),
    "coverage of python": (
        in_pipeline(language={"name": "python"}, test={"coverage": {}}),
        "test.coverage is only for Go",
    ),
    "two coverages": (
        in_pipeline(test={"coverage": {}, "coverageCommand": "x"}),
        "test.coverage cannot be set together",
    ),
    "two images": (
        in_pipeline(imageRepo=IMAGE, docker=DOCKER),
        "docker and imageRepo cannot be set together",
    ),
    "docker without registry": (in_pipeline(docker={}), "docker.registry is required"),
    "harbor without host": (
        in_pipeline(docker={"registry": {"type": "harbor", "username": "me"}}),
        "must include the host",
    ),
    "password without user": (
        in_pipeline(imageRepo={"password": "p"}),
        "imageRepo.user is required",
    ),
    "security without value": (
        in_pipeline(dingTalk={**TALK, "securityType": "KEY"}),
        "set both dingTalk.securityType and",
    ),
    "webhook": (in_pipeline(dingTalk={"webhook": "robot"}), "must be the URL of a DingTalk robot"),
    "wrong name": (
        in_pipeline(configContents={"ci.txt": ""}),
        "GitHub Actions does not read ci.txt: rename to *.yml or *.yaml",
    ),
    "same name": (
        in_pipeline(configContents={"a/x.yml": "", "b/x.yml": ""}),
        "several files get the same path",
    ),
    "unknown": (in_pipeline(imagRepo=IMAGE), "imagRepo"),
}


@pytest.mark.parametrize(("given", "expected"), REFUSED.values(), ids=REFUSED)
def test_invalid_options_are_refused(given: Options, expected: str) -> None:
    assert expected in faults(GitHubActions(), **given)


def test_pipeline_without_a_job_is_refused() -> None:
    with pytest.raises(ValueError, match="has no job"):
        text({"scm": SCM})


@pytest.mark.parametrize(
    ("language", "version"),
    [
        ({"name": "go"}, "1.17"),
        ({"name": "java"}, "8"),
        ({"name": "nodejs"}, "18"),
        ({"name": "python"}, "3.9"),
        ({"framework": "gin"}, "1.22"),
        ({"name": "go", "framework": "gin", "version": "1.23"}, "1.23"),
    ],
)
def test_version_comes_from_option_framework_or_language(
    language: dict[str, str], version: str
) -> None:
    inputs = job({"scm": SCM, "pipeline": {"language": language}}, "test")["steps"][1]["with"]
    assert version in inputs.values()


def test_go_jobs_run_mod_tidy_without_go_sum() -> None:
    for given in (
        in_pipeline(build={}),
        in_pipeline(build={}, test={"containerName": "golang:1.22"}),
    ):
        for name in ("build", "test"):
            assert "test -f go.sum || go mod tidy" in [
                step.get("run") for step in job(given, name)["steps"]
            ]
