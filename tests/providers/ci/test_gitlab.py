"""Every option of gitlab-ci and its older names changes the pipeline, which stays valid."""

from __future__ import annotations

from typing import Any

import pytest

from providers.ci.gitlab import GitLabCI, GitLabCIGolang, GitLabCIJava
from tests.providers._git.repos import faults, options
from tests.providers.ci.pipelines import (
    GO,
    IMAGE,
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

BUILD = {"registry": {"username": "me"}}
OWN_FILE = "stages: [x]\nx: {script: [echo own]}\n"


def text(given: Options, provider: GitLabCI | None = None) -> str:
    [(path, content)] = render_files(provider or GitLabCI(), given).items()
    assert path == ".gitlab-ci.yml"
    return content


def with_own_file(who: str) -> Options:
    return in_pipeline(
        configContents={".gitlab-ci.yml": OWN_FILE.replace("own", "[[ who ]]")}, vars={"who": who}
    )


def with_stages(**stages: Any) -> Options:
    return {"pathWithNamespace": "me/app", "branch": "main", **stages}


def base_option(**option: Any) -> Options:
    return {"baseOption": option}


OWN_OPTIONS: OptionTable = {
    "pipeline.configContents": (
        in_pipeline(),
        in_pipeline(configContents={".gitlab-ci.yml": OWN_FILE}),
        "echo own",
    ),
    "pipeline.configLocation": (
        in_pipeline(),
        in_pipeline(configLocation="gitlab.yml"),
        "echo from a file",
    ),
    "pipeline.vars": (with_own_file("Ann"), with_own_file("Bob"), "echo Bob"),
    "templateURL": (
        with_stages(package={}),
        with_stages(templateURL="gitlab.yml"),
        "echo from a file",
    ),
    "templateVariables": (
        with_stages(templateURL="gitlab.yml"),
        with_stages(templateURL="gitlab.yml", templateVariables={"who": "Ann"}),
        "from a file, Ann",
    ),
    "pipeline.language.framework": (
        in_pipeline(),
        in_pipeline(language={"framework": "spring-boot"}),
        "maven:3.9-eclipse-temurin-17",
    ),
    "pipeline.test.coverage": (
        in_pipeline(),
        in_pipeline(test={"coverage": {}}),
        "- go tool cover -func=coverage.out",
    ),
    "pipeline.dingTalk.atUsers as text": (
        in_pipeline(dingTalk=TALK),
        in_pipeline(dingTalk={**TALK, "atUsers": "138, 139"}),
        "DINGTALK_AT: 138, 139",
    ),
    "pathWithNamespace": (
        with_stages(build=BUILD),
        with_stages(build=BUILD) | {"pathWithNamespace": "us/group/web"},
        "me/web:",
    ),
    "branch": (with_stages(package={}), with_stages(package={}) | {"branch": "trunk"}, '"trunk"'),
    "package.baseOption.enable": (
        with_stages(deploy={}, package=base_option(enable=False)),
        with_stages(deploy={}, package=base_option(enable=True)),
        "mvn -B clean package",
    ),
    "package.baseOption.image": (
        with_stages(package={}),
        with_stages(package=base_option(image="maven:3-jdk-21")),
        "image: maven:3-jdk-21",
    ),
    "package.baseOption.tags": (
        with_stages(package={}),
        with_stages(package=base_option(tags="gitlab-java,big")),
        "tags: [gitlab-java, big]",
    ),
    "package.baseOption.allowedBranch": (
        with_stages(package={}),
        with_stages(package=base_option(allowedBranch=["a", "b"])),
        '$CI_COMMIT_BRANCH == "a" || $CI_COMMIT_BRANCH == "b"',
    ),
    "package.scriptCommand": (
        with_stages(package={}),
        with_stages(package={"scriptCommand": ["mvn a", "mvn b"]}),
        "- mvn a\n    - mvn b",
    ),
    "build.baseOption.image": (
        with_stages(build=BUILD),
        with_stages(build={**BUILD, **base_option(image="docker:27")}),
        "image: docker:27",
    ),
    "build.baseOption.tags": (
        with_stages(build=BUILD),
        with_stages(build={**BUILD, **base_option(tags=["big"])}),
        "tags: [big]",
    ),
    "build.baseOption.allowedBranch": (
        with_stages(build=BUILD),
        with_stages(build={**BUILD, **base_option(allowedBranch=["c"])}),
        '  rules:\n    - if: $CI_COMMIT_BRANCH == "c"',
    ),
    "build.baseOption.enable": (
        with_stages(package={}, build={**BUILD, **base_option(enable=False)}),
        with_stages(package={}, build=BUILD),
        "docker push",
    ),
    "build.registry.username": (
        with_stages(build=BUILD),
        with_stages(build={"registry": {"username": "you"}}),
        "--username you",
    ),
    "build.imageName": (
        with_stages(build=BUILD),
        with_stages(build={**BUILD, "imageName": "spring"}),
        "me/spring:",
    ),
    "deploy": (
        with_stages(package={}),
        with_stages(package={}, deploy={}),
        "helm upgrade --install app helm/app --wait",
    ),
    "deploy.k8sAgentName": (
        with_stages(deploy={}),
        with_stages(deploy={"k8sAgentName": "me/app:agent"}),
        "use-context me/app:agent",
    ),
    "deploy.baseOption.enable": (
        with_stages(package={}, deploy=base_option(enable=False)),
        with_stages(package={}, deploy=base_option(enable=True)),
        "helm upgrade --install app",
    ),
    "deploy.baseOption.image": (
        with_stages(deploy={}),
        with_stages(deploy=base_option(image="alpine/k8s:1.30.0")),
        "image: alpine/k8s:1.30.0",
    ),
    "deploy.baseOption.tags": (
        with_stages(deploy={}),
        with_stages(deploy=base_option(tags="cluster")),
        "tags: [cluster]",
    ),
    "deploy.baseOption.allowedBranch": (
        with_stages(deploy={}),
        with_stages(deploy=base_option(allowedBranch=["c"])),
        '  rules:\n    - if: $CI_COMMIT_BRANCH == "c"',
    ),
}
OPTIONS = build_table(
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
    OWN_OPTIONS,
)


@pytest.mark.parametrize(("before", "after", "expected"), OPTIONS.values(), ids=OPTIONS)
def test_every_option_changes_the_file(before: Options, after: Options, expected: str) -> None:
    assert expected not in text(before)
    assert expected in text(after)
    assert problems("gitlab-ci", text(before)) == []
    assert problems("gitlab-ci", text(after)) == []


def test_snake_case_options_are_accepted() -> None:
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


def test_older_java_pipeline_has_three_stages() -> None:
    pipeline = load(text(with_stages(package={}, build=BUILD, deploy={}), GitLabCIJava()))
    assert pipeline["stages"] == ["package", "build", "deploy"]
    assert pipeline["deploy"]["script"] == [
        "helm upgrade --install app helm/app --set image.repository=me/app"
        ' --set image.tag="$CI_COMMIT_SHORT_SHA" --wait'
    ]


@pytest.mark.parametrize("stage", ["package", "build", "deploy"])
def test_workflow_rules_include_the_branches_of_a_stage(stage: str) -> None:
    other = {"package": {}, "build": BUILD, "deploy": {}}[stage] | base_option(
        allowedBranch=["main", "release"]
    )
    pipeline = load(text(with_stages(**{stage: other})))
    assert pipeline["workflow"]["rules"][1] == {
        "if": '$CI_COMMIT_BRANCH == "main" || $CI_COMMIT_BRANCH == "release"'
    }


@pytest.mark.parametrize(
    ("provider", "expected"),
    [(GitLabCIGolang(), "go test ./..."), (GitLabCIJava(), "mvn -B test")],
    ids=["gitlabci-golang", "gitlabci-java"],
)
def test_older_name_sets_a_default_language(provider: GitLabCI, expected: str) -> None:
    assert expected in text({"pathWithNamespace": "me/app", "branch": "main"}, provider)
    assert provider.plugin == GitLabCI.plugin


@pytest.mark.parametrize("name", ["go", "java", "nodejs", "python"])
def test_each_language_has_an_image_and_a_cache(name: str) -> None:
    job = load(text(in_pipeline(language={"name": name})))["test"]
    assert job["image"].partition(":")[0] in {"golang", "maven", "node", "python"}
    assert job["cache"]["paths"]


def test_every_job_runs_in_a_declared_stage() -> None:
    everything = in_pipeline(
        test={"coverage": {}}, imageRepo={**IMAGE, "password": "p"}, sonarqube=SONAR, dingTalk=TALK
    ) | {"package": {}, "deploy": {}}
    pipeline = load(text(everything))
    jobs = {name: job for name, job in pipeline.items() if isinstance(job, dict) and "stage" in job}
    assert {job["stage"] for job in jobs.values()} - {".post"} == set(pipeline["stages"])


def test_file_refers_to_secrets_without_their_values() -> None:
    assert "hush" not in text(WITH_SECRETS)
    provider = GitLabCI()
    assert provider.list_secrets(options(provider, **WITH_SECRETS)) == SECRETS


REFUSED: dict[str, tuple[Options, str]] = {
    "no repository": ({"pipeline": GO}, "scm is required"),
    "github": (
        {"scm": {"url": "https://github.com/me/app"}, "pipeline": GO},
        "gitlab ci only support gitlab repo",
    ),
    "runner": (
        in_pipeline() | {"runner": {"enable": True}},
        "this version cannot install a GitLab runner",
    ),
    "owner twice": (
        with_stages() | {"owner": "me"},
        "pathWithNamespace cannot be set together with owner",
    ),
    "unknown language": (
        in_pipeline(language={"name": "cobol"}, test={"command": "x"}),
        "test.containerName is required",
    ),
    "two locations": (
        in_pipeline(configLocation="x.yml") | {"templateURL": "y.yml"},
        "cannot be set together",
    ),
    "stages of own file": (
        with_stages(package={}) | {"templateURL": "y.yml"},
        "configure the generated pipeline",
    ),
    "variables of none": (
        with_stages() | {"templateVariables": {"a": 1}},
        "templateVariables needs templateURL",
    ),
    "two images": (
        in_pipeline(imageRepo=IMAGE) | {"build": BUILD},
        "build and pipeline.imageRepo cannot be set together",
    ),
    "wrong name": (
        in_pipeline(configContents={"ci.yml": ""}),
        "GitLab CI does not read ci.yml: rename to .gitlab-ci.yml",
    ),
}


@pytest.mark.parametrize(("given", "expected"), REFUSED.values(), ids=REFUSED)
def test_invalid_options_are_refused(given: Options, expected: str) -> None:
    assert expected in faults(GitLabCI(), **given)


def test_disabled_runner_is_accepted() -> None:
    assert text(in_pipeline() | {"runner": {"enable": False}}) == text(in_pipeline())
