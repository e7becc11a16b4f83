"""Each option of github-actions and its aliases shows in the workflow, which is always valid."""

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
    HUSH,
    IMAGE,
    SCM,
    SECRETS,
    SONAR,
    TALK,
    Given,
    Shown,
    files,
    new,
    shown,
)
from tests.providers.ci.schemas import load, problems

FLAT = {"scmType": "local", "owner": "me", "repo": "app"}


def text(given: Given, provider: GitHubActions | None = None) -> str:
    [content] = files(provider or GitHubActions(), given).values()
    return content


def job(given: Given, name: str) -> Given:
    found: Given = load(text(given))["jobs"][name]
    return found


def old(**given: Any) -> Given:
    return {**FLAT, **GO, **given}


def own(event: str) -> Given:
    return new(configContents={"x.yml": OWN.replace("push", "[[ event ]]")}, vars={"event": event})


def beside(given: Given) -> Given:
    """Give the older options where DevStream had them: beside `pipeline`."""
    pipeline = given["pipeline"]
    kept = {key: value for key, value in pipeline.items() if key not in BESIDE}
    return {**given, "pipeline": kept, **{key: pipeline[key] for key in BESIDE if key in pipeline}}


OWN = "on: push\njobs: {a: {runs-on: x, steps: [{run: 'true'}]}}\n"
BESIDE = ("language", "build", "test", "docker")
DOCKER = {"registry": {"username": "me"}}
HARBOR = {"type": "harbor", "username": "me", "repository": "harbor.example.com:80/library/app"}

OTHERS: Shown = {
    "pipeline.configContents": (new(), new(configContents={"x.yml": OWN}), OWN),
    "pipeline.configLocation": (new(), new(configLocation="github.yml"), "echo from a file"),
    "pipeline.vars": (own("push"), own("pull_request"), "on: pull_request"),
    "pipeline.language.framework": (
        new(),
        new(language={"framework": "django"}),
        "actions/setup-python@",
    ),
    "pipeline.language.frameWork": (
        new(),
        new(language={"frameWork": "spring-boot"}),
        "mvn -B test",
    ),
    "pipeline.build.enable": (
        new(build={"enable": False}),
        new(build={"enable": True}),
        "run: go build ./...",
    ),
    "pipeline.build.command": (new(build={}), new(build={"command": "make"}), "run: make"),
    "pipeline.test.command as text": (
        new(),
        new(test={"command": "make check"}),
        "run: make check",
    ),
    "pipeline.docker": (new(), new(docker=DOCKER), "password: ${{ secrets.DOCKERHUB_TOKEN }}"),
    "pipeline.docker.enable": (
        new(docker={"enable": False, **DOCKER}),
        new(docker=DOCKER),
        "tags: me/app:",
    ),
    "pipeline.docker.registry.type": (
        new(docker={"registry": {**HARBOR, "type": "dockerhub"}}),
        new(docker={"registry": HARBOR}),
        "registry: harbor.example.com:80",
    ),
    "pipeline.docker.registry.username": (
        new(docker=DOCKER),
        new(docker={"registry": {"username": "you"}}),
        "username: you",
    ),
    "pipeline.docker.registry.repository": (
        new(docker=DOCKER),
        new(docker={"registry": {"username": "me", "repository": "other"}}),
        "tags: me/other:",
    ),
    "repo": (old(docker=DOCKER), old(docker=DOCKER) | {"repo": "web"}, "tags: me/web:"),
    "branch": (old(), old(branch="trunk"), "branches: [trunk]"),
}
SHOWN = shown(
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
    OTHERS,
)
SHOWN |= {
    name.removeprefix("pipeline."): (beside(before), beside(after), said)
    for name, (before, after, said) in SHOWN.items()
    if name.removeprefix("pipeline.").partition(".")[0] in BESIDE
}


@pytest.mark.parametrize(("before", "after", "said"), SHOWN.values(), ids=SHOWN)
def test_an_option_shows_in_the_file(before: Given, after: Given, said: str) -> None:
    assert said not in text(before)
    assert said in text(after)
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


def test_snake_case_says_the_same() -> None:
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


def test_both_generations_say_the_same() -> None:
    block = {**GO, "build": {}, "test": {"command": "make"}, "docker": DOCKER}
    assert text({**FLAT, **block}) == text({"scm": SCM, "pipeline": block})


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        (GitHubActionsGolang(), "go test ./..."),
        (GitHubActionsNodejs(), "npm ci"),
        (GitHubActionsPython(), "python3 -m unittest"),
    ],
    ids=["githubactions-golang", "githubactions-nodejs", "githubactions-python"],
)
def test_an_old_name_is_the_plugin_with_a_language(provider: GitHubActions, said: str) -> None:
    assert said in text(FLAT, provider)
    assert provider.plugin == GitHubActions.plugin
    assert said in text({**FLAT, "language": {"name": provider.language}})


ALL = new(
    build={},
    test={"coverage": {}},
    imageRepo={**IMAGE, "password": "p"},
    sonarqube={**SONAR, "token": "t"},
    dingTalk={**TALK, "securityType": "SECRET", "securityValue": "k"},
)


def test_jobs_wait_only_for_jobs_that_are_there() -> None:
    for given in (
        ALL,
        new(test={"enable": False}, imageRepo=IMAGE),
        old(test={"enable": False}, docker=DOCKER),
    ):
        jobs = load(text(given))["jobs"]
        assert {need for job in jobs.values() for need in job.get("needs", [])} <= jobs.keys()


def test_nobody_gets_more_rights_than_needed() -> None:
    workflow = load(text(ALL))
    assert workflow["permissions"] == {"contents": "read"}
    beyond = {
        name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job
    }
    assert beyond == {"tag": {"contents": "write"}, "notify": {}}


def test_actions_are_pinned_to_commits_and_say_their_release() -> None:
    uses = [line for line in text(ALL).splitlines() if "uses:" in line]
    assert len(uses) >= 10
    for line in uses:
        action, _, release = line.partition(" # ")
        assert len(action.rpartition("@")[2]) == 40
        assert release.startswith("v")


def test_scripts_never_hold_expressions_that_others_fill() -> None:
    steps = [step for job in load(text(ALL))["jobs"].values() for step in job["steps"]]
    assert all("${{" not in step.get("run", "") for step in steps)


def test_secrets_are_named_and_never_told() -> None:
    assert "hush" not in text(HUSH)
    provider = GitHubActions()
    assert provider.list_secrets(options(provider, **HUSH)) == SECRETS
    assert all(f"secrets.{name} " in text(HUSH) for name in SECRETS)


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
def test_a_framework_means_its_language(framework: str, language: str, cache: str | None) -> None:
    setup = job({"scm": SCM, "pipeline": {"language": {"framework": framework}}}, "test")["steps"][
        1
    ]
    assert f"setup-{language}" in setup["uses"]
    assert setup["with"].get("cache") == cache


def test_an_unknown_framework_leaves_the_language() -> None:
    assert "go test" in text(new(language={"name": "golang", "framework": "echo"}))


def test_a_cache_is_kept_only_where_its_lock_file_is_used() -> None:
    assert (
        "cache"
        not in job(new(language={"name": "nodejs"}, test={"command": "npm install-test"}), "test")[
            "steps"
        ][1]["with"]
    )


REFUSED: dict[str, tuple[Given, str]] = {
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
    "twice": (new() | GO, "language is set twice"),
    "unknown language": (new(language={"name": "cobol"}), 'no default test for language "cobol"'),
    "contradiction": (new(language={"name": "java", "framework": "gin"}), "is for go"),
    "version of nothing": (
        new(language={"name": "cobol", "version": "6"}, test={"command": "x"}),
        "language.version has no effect for cobol",
    ),
    "coverage of python": (
        new(language={"name": "python"}, test={"coverage": {}}),
        "test.coverage is only for Go",
    ),
    "two coverages": (
        new(test={"coverage": {}, "coverageCommand": "x"}),
        "test.coverage cannot be set together",
    ),
    "two images": (
        new(imageRepo=IMAGE, docker=DOCKER),
        "docker and imageRepo cannot be set together",
    ),
    "docker without registry": (new(docker={}), "docker.registry is required"),
    "harbor without host": (
        new(docker={"registry": {"type": "harbor", "username": "me"}}),
        "must include the host",
    ),
    "password without user": (new(imageRepo={"password": "p"}), "imageRepo.user is required"),
    "security without value": (
        new(dingTalk={**TALK, "securityType": "KEY"}),
        "set both dingTalk.securityType and",
    ),
    "webhook": (new(dingTalk={"webhook": "robot"}), "must be the URL of a DingTalk robot"),
    "wrong name": (
        new(configContents={"ci.txt": ""}),
        "GitHub Actions does not read ci.txt: rename to *.yml or *.yaml",
    ),
    "same name": (
        new(configContents={"a/x.yml": "", "b/x.yml": ""}),
        "several files get the same path",
    ),
    "unknown": (new(imagRepo=IMAGE), "imagRepo"),
}


@pytest.mark.parametrize(("given", "said"), REFUSED.values(), ids=REFUSED)
def test_nonsense_is_refused_before_anything_runs(given: Given, said: str) -> None:
    assert said in faults(GitHubActions(), **given)


def test_nothing_to_do_is_refused() -> None:
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
def test_the_version_is_the_asked_one_then_the_framework_s_then_the_language_s(
    language: dict[str, str], version: str
) -> None:
    inputs = job({"scm": SCM, "pipeline": {"language": language}}, "test")["steps"][1]["with"]
    assert version in inputs.values()


def test_go_resolves_its_modules_where_go_sum_was_not_committed_yet() -> None:
    for given in (new(build={}), new(build={}, test={"containerName": "golang:1.22"})):
        for name in ("build", "test"):
            assert "test -f go.sum || go mod tidy" in [
                step.get("run") for step in job(given, name)["steps"]
            ]
