"""Each option of gitlab-ci and its aliases shows in the pipeline, which is always valid."""

from __future__ import annotations

from typing import Any

import pytest

from providers.ci.gitlab import GitLabCI, GitLabCIGolang, GitLabCIJava
from tests.providers._git.repos import faults, options
from tests.providers.ci.pipelines import (
    GO,
    HUSH,
    IMAGE,
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

BUILD = {"registry": {"username": "me"}}
OWN = "stages: [x]\nx: {script: [echo own]}\n"


def text(given: Given, provider: GitLabCI | None = None) -> str:
    [(path, content)] = files(provider or GitLabCI(), given).items()
    assert path == ".gitlab-ci.yml"
    return content


def own(who: str) -> Given:
    return new(
        configContents={".gitlab-ci.yml": OWN.replace("own", "[[ who ]]")}, vars={"who": who}
    )


def java(**stages: Any) -> Given:
    return {"pathWithNamespace": "me/app", "branch": "main", **stages}


def base(**option: Any) -> Given:
    return {"baseOption": option}


OTHERS: Shown = {
    "pipeline.configContents": (new(), new(configContents={".gitlab-ci.yml": OWN}), "echo own"),
    "pipeline.configLocation": (new(), new(configLocation="gitlab.yml"), "echo from a file"),
    "pipeline.vars": (own("Ann"), own("Bob"), "echo Bob"),
    "templateURL": (java(package={}), java(templateURL="gitlab.yml"), "echo from a file"),
    "templateVariables": (
        java(templateURL="gitlab.yml"),
        java(templateURL="gitlab.yml", templateVariables={"who": "Ann"}),
        "from a file, Ann",
    ),
    "pipeline.language.framework": (
        new(),
        new(language={"framework": "spring-boot"}),
        "maven:3.9-eclipse-temurin-17",
    ),
    "pipeline.test.coverage": (
        new(),
        new(test={"coverage": {}}),
        "- go tool cover -func=coverage.out",
    ),
    "pipeline.dingTalk.atUsers as text": (
        new(dingTalk=TALK),
        new(dingTalk={**TALK, "atUsers": "138, 139"}),
        "DINGTALK_AT: 138, 139",
    ),
    "pathWithNamespace": (
        java(build=BUILD),
        java(build=BUILD) | {"pathWithNamespace": "us/group/web"},
        "me/web:",
    ),
    "branch": (java(package={}), java(package={}) | {"branch": "trunk"}, '"trunk"'),
    "package.baseOption.enable": (
        java(deploy={}, package=base(enable=False)),
        java(deploy={}, package=base(enable=True)),
        "mvn -B clean package",
    ),
    "package.baseOption.image": (
        java(package={}),
        java(package=base(image="maven:3-jdk-21")),
        "image: maven:3-jdk-21",
    ),
    "package.baseOption.tags": (
        java(package={}),
        java(package=base(tags="gitlab-java,big")),
        "tags: [gitlab-java, big]",
    ),
    "package.baseOption.allowedBranch": (
        java(package={}),
        java(package=base(allowedBranch=["a", "b"])),
        '$CI_COMMIT_BRANCH == "a" || $CI_COMMIT_BRANCH == "b"',
    ),
    "package.scriptCommand": (
        java(package={}),
        java(package={"scriptCommand": ["mvn a", "mvn b"]}),
        "- mvn a\n    - mvn b",
    ),
    "build.baseOption.image": (
        java(build=BUILD),
        java(build={**BUILD, **base(image="docker:27")}),
        "image: docker:27",
    ),
    "build.baseOption.tags": (
        java(build=BUILD),
        java(build={**BUILD, **base(tags=["big"])}),
        "tags: [big]",
    ),
    "build.baseOption.allowedBranch": (
        java(build=BUILD),
        java(build={**BUILD, **base(allowedBranch=["c"])}),
        '  rules:\n    - if: $CI_COMMIT_BRANCH == "c"',
    ),
    "build.baseOption.enable": (
        java(package={}, build={**BUILD, **base(enable=False)}),
        java(package={}, build=BUILD),
        "docker push",
    ),
    "build.registry.username": (
        java(build=BUILD),
        java(build={"registry": {"username": "you"}}),
        "--username you",
    ),
    "build.imageName": (
        java(build=BUILD),
        java(build={**BUILD, "imageName": "spring"}),
        "me/spring:",
    ),
    "deploy": (
        java(package={}),
        java(package={}, deploy={}),
        "helm upgrade --install app helm/app --wait",
    ),
    "deploy.k8sAgentName": (
        java(deploy={}),
        java(deploy={"k8sAgentName": "me/app:agent"}),
        "use-context me/app:agent",
    ),
    "deploy.baseOption.enable": (
        java(package={}, deploy=base(enable=False)),
        java(package={}, deploy=base(enable=True)),
        "helm upgrade --install app",
    ),
    "deploy.baseOption.image": (
        java(deploy={}),
        java(deploy=base(image="alpine/k8s:1.30.0")),
        "image: alpine/k8s:1.30.0",
    ),
    "deploy.baseOption.tags": (
        java(deploy={}),
        java(deploy=base(tags="cluster")),
        "tags: [cluster]",
    ),
    "deploy.baseOption.allowedBranch": (
        java(deploy={}),
        java(deploy=base(allowedBranch=["c"])),
        '  rules:\n    - if: $CI_COMMIT_BRANCH == "c"',
    ),
}
SHOWN = shown(
    {
        "scm.name": "me/web:$CI_COMMIT_SHORT_SHA",
        "scm.branch": '$CI_COMMIT_BRANCH == "trunk"',
        "pipeline.branch": '$CI_COMMIT_BRANCH == "release"',
        "pipeline.language.name": "image: python:3.9",
        "pipeline.language.version": "image: golang:1.22",
        "pipeline.test.enable": "go test ./...",
        "pipeline.test.command": "- go vet\n    - make check",
        "pipeline.test.containerName": "image: golang:1.21-alpine",
        "pipeline.test.coverageCommand": "- make cover",
        "pipeline.test.coverageStatusCommand": "coverage: /",
        "pipeline.test.coverage.enable": "- go test ./... -race -covermode=atomic"
        " -coverprofile=coverage.out",
        "pipeline.test.coverage.profile": "- go test ./... -covermode=set"
        " -coverprofile=coverage.out",
        "pipeline.test.coverage.output": "-func=c.out",
        "pipeline.imageRepo": 'docker push "me/app:$CI_COMMIT_SHORT_SHA"',
        "pipeline.imageRepo.url": 'docker push "harbor.example.com:8443/library/me/app:',
        "pipeline.imageRepo.user": 'docker push "you/app:',
        "pipeline.imageRepo.password": 'echo "$IMAGE_REPO_SECRET"'
        " | docker login --username me --password-stdin",
        "pipeline.sonarqube": "-Dsonar.projectKey=key",
        "pipeline.sonarqube.name": "-Dsonar.projectKey=other",
        "pipeline.sonarqube.url": "SONAR_HOST_URL: https://s.io",
        "pipeline.sonarqube.token": "SONAR_TOKEN: $SONAR_",
        "pipeline.dingTalk": "DINGTALK_TOKEN: $DINGTALK_SECURITY_TOKEN",
        "pipeline.dingTalk.name": "TITLE: Robot",
        "pipeline.dingTalk.webhook": "DINGTALK_URL: https://proxy.example.com/ding",
        "pipeline.dingTalk.securityType": "DINGTALK_SECURITY: KEY",
        "pipeline.dingTalk.securityValue": "DINGTALK_VALUE: $DINGTALK_SECURITY_VALUE",
        "pipeline.dingTalk.atUsers": "DINGTALK_AT: 138,139",
    },
    OTHERS,
)


@pytest.mark.parametrize(("before", "after", "said"), SHOWN.values(), ids=SHOWN)
def test_an_option_shows_in_the_file(before: Given, after: Given, said: str) -> None:
    assert said not in text(before)
    assert said in text(after)
    assert problems("gitlab-ci", text(before)) == []
    assert problems("gitlab-ci", text(after)) == []


def test_snake_case_says_the_same() -> None:
    snake = {
        "path_with_namespace": "me/app",
        "package": {"base_option": {"allowed_branch": ["x"]}, "script_command": "mvn"},
        "deploy": {"k8s_agent_name": "a"},
    }
    camel = {
        "pathWithNamespace": "me/app",
        "package": {"baseOption": {"allowedBranch": ["x"]}, "scriptCommand": "mvn"},
        "deploy": {"k8sAgentName": "a"},
    }
    assert text(snake) == text(camel)


def test_the_old_java_pipeline_has_its_three_stages() -> None:
    pipeline = load(text(java(package={}, build=BUILD, deploy={}), GitLabCIJava()))
    assert pipeline["stages"] == ["package", "build", "deploy"]
    assert pipeline["deploy"]["script"] == [
        "helm upgrade --install app helm/app --set image.repository=me/app"
        ' --set image.tag="$CI_COMMIT_SHORT_SHA" --wait'
    ]


@pytest.mark.parametrize("stage", ["package", "build", "deploy"])
def test_a_stage_s_branches_get_a_pipeline_to_run_in(stage: str) -> None:
    other = {"package": {}, "build": BUILD, "deploy": {}}[stage] | base(
        allowedBranch=["main", "release"]
    )
    pipeline = load(text(java(**{stage: other})))
    assert pipeline["workflow"]["rules"][1] == {
        "if": '$CI_COMMIT_BRANCH == "main" || $CI_COMMIT_BRANCH == "release"'
    }


@pytest.mark.parametrize(
    ("provider", "said"),
    [(GitLabCIGolang(), "go test ./..."), (GitLabCIJava(), "mvn -B test")],
    ids=["gitlabci-golang", "gitlabci-java"],
)
def test_an_old_name_is_the_plugin_with_a_language(provider: GitLabCI, said: str) -> None:
    assert said in text({"pathWithNamespace": "me/app", "branch": "main"}, provider)
    assert provider.plugin == GitLabCI.plugin


@pytest.mark.parametrize("name", ["go", "java", "nodejs", "python"])
def test_each_language_has_an_image_and_a_cache(name: str) -> None:
    job = load(text(new(language={"name": name})))["test"]
    assert job["image"].partition(":")[0] in {"golang", "maven", "node", "python"}
    assert job["cache"]["paths"]


def test_every_job_runs_in_a_declared_stage_and_waits_for_none_that_is_absent() -> None:
    everything = new(
        test={"coverage": {}}, imageRepo={**IMAGE, "password": "p"}, sonarqube=SONAR, dingTalk=TALK
    ) | {"package": {}, "deploy": {}}
    pipeline = load(text(everything))
    jobs = {name: job for name, job in pipeline.items() if isinstance(job, dict) and "stage" in job}
    assert {job["stage"] for job in jobs.values()} - {".post"} == set(pipeline["stages"])


def test_secrets_are_named_and_never_told() -> None:
    assert "hush" not in text(HUSH)
    provider = GitLabCI()
    assert provider.list_secrets(options(provider, **HUSH)) == SECRETS


REFUSED: dict[str, tuple[Given, str]] = {
    "no repository": ({"pipeline": GO}, "scm is required"),
    "github": (
        {"scm": {"url": "https://github.com/me/app"}, "pipeline": GO},
        "gitlab ci only support gitlab repo",
    ),
    "runner": (new() | {"runner": {"enable": True}}, "this version cannot install a GitLab runner"),
    "owner twice": (
        java() | {"owner": "me"},
        "pathWithNamespace cannot be set together with owner",
    ),
    "unknown language": (
        new(language={"name": "cobol"}, test={"command": "x"}),
        "test.containerName is required",
    ),
    "two locations": (
        new(configLocation="x.yml") | {"templateURL": "y.yml"},
        "cannot be set together",
    ),
    "stages of own file": (
        java(package={}) | {"templateURL": "y.yml"},
        "configure the generated pipeline",
    ),
    "variables of none": (
        java() | {"templateVariables": {"a": 1}},
        "templateVariables needs templateURL",
    ),
    "two images": (
        new(imageRepo=IMAGE) | {"build": BUILD},
        "build and pipeline.imageRepo cannot be set together",
    ),
    "wrong name": (
        new(configContents={"ci.yml": ""}),
        "GitLab CI does not read ci.yml: rename to .gitlab-ci.yml",
    ),
}


@pytest.mark.parametrize(("given", "said"), REFUSED.values(), ids=REFUSED)
def test_nonsense_is_refused_before_anything_runs(given: Given, said: str) -> None:
    assert said in faults(GitLabCI(), **given)


def test_a_runner_that_is_not_wanted_is_fine() -> None:
    assert text(new() | {"runner": {"enable": False}}) == text(new())
