"""Rendering of a recipe as a GitLab CI pipeline."""

from __future__ import annotations

from shlex import quote

import msgspec

from providers.ci.recipe import HEADER, Analysis, Image, Message, Recipe, build_dingtalk_command
from providers.ci.yamltext import Commented, Node, dump

DOCKER = "docker:28.5"
DEPLOYER = "alpine/k8s:1.31.13"
SCANNER = "sonarsource/sonar-scanner-cli:11"
MESSENGER = "python:3.13-alpine"

CACHES: dict[str, tuple[str, dict[str, str], tuple[str, ...]]] = {
    "go": ("go.sum", {"GOPATH": "$CI_PROJECT_DIR/.cache/go"}, (".cache/go/pkg/mod/",)),
    "java": (
        "pom.xml",
        {"MAVEN_OPTS": "-Dmaven.repo.local=$CI_PROJECT_DIR/.cache/maven"},
        (".cache/maven/",),
    ),
    "nodejs": (
        "package-lock.json",
        {"npm_config_cache": "$CI_PROJECT_DIR/.cache/npm"},
        (".cache/npm/",),
    ),
    "python": (
        "requirements.txt",
        {"PIP_CACHE_DIR": "$CI_PROJECT_DIR/.cache/pip"},
        (".cache/pip/",),
    ),
}
"""Language -> file that invalidates the cache, variables that move the cache, its paths.

GitLab only caches files inside the directory of the project, so the variables move the cache there.
"""

PERCENT = r"/(\d+(?:\.\d+)?)%/"
"""The pattern by which GitLab finds the coverage in the log of a job."""

Job = dict[str, Node]


class Stage(msgspec.Struct, frozen=True):
    """A stage of DevStream's Java pipeline. An empty value means the default."""

    script: list[str] = msgspec.field(default_factory=list[str])
    image: str = ""
    tags: tuple[str, ...] = ()
    branches: tuple[str, ...] = ()


class Stages(msgspec.Struct, frozen=True):
    """DevStream's stages. `deploy` goes to the cluster of the GitLab agent `agent`."""

    package: Stage | None = None
    build: Stage | None = None
    deploy: Stage | None = None
    agent: str = ""

    def branches(self) -> list[str]:
        """Return the branches of all stages.

        The workflow rules must include them: without a pipeline for its branch, a stage never runs.
        """
        return [
            branch
            for stage in (self.package, self.build, self.deploy)
            if stage
            for branch in stage.branches
        ]


def render_pipeline(recipe: Recipe, stages: Stages) -> str:
    """Return the text of .gitlab-ci.yml."""
    jobs = _build_jobs(recipe, stages)
    used = list(
        dict.fromkeys(
            str(job["stage"]) for job in jobs.values() if "stage" in job and job["stage"] != ".post"
        )
    )
    document: dict[str, Node] = {
        "workflow": Commented(
            "One pipeline for each push: for merge requests, and for the branch itself.",
            {
                "rules": [
                    {"if": '$CI_PIPELINE_SOURCE == "merge_request_event"'},
                    _branch_rule(recipe.branch, *stages.branches()),
                ]
            },
        ),
        "default": Commented(
            "A newer commit stops the interruptible jobs of an older one.",
            {"interruptible": True},
        ),
        "stages": tuple(used),
        **jobs,
    }
    return dump(document, HEADER)


def _branch_rule(*branches: str) -> Job:
    return {
        "if": " || ".join(f'$CI_COMMIT_BRANCH == "{branch}"' for branch in dict.fromkeys(branches))
    }


def _build_jobs(recipe: Recipe, stages: Stages) -> dict[str, Job]:
    jobs: dict[str, Job] = {}
    if recipe.test:
        jobs["test"] = {"stage": "test", **_language_settings(recipe), **_test_script(recipe)}
    if recipe.analysis:
        jobs["sonarqube"] = _analysis_job(recipe.analysis)
    if stages.package:
        kept: Job = {"artifacts": {"paths": ("target/*.jar",), "expire_in": "1 week"}}
        jobs["package"] = _apply_stage(
            {
                "stage": "package",
                **_language_settings(recipe),
                "script": list(stages.package.script),
                **kept,
            },
            stages.package,
        )
    if recipe.image:
        jobs["build-image"] = _apply_stage(
            _image_job(recipe.image, recipe.branch), stages.build or Stage()
        )
    if stages.deploy:
        jobs["deploy"] = _apply_stage(_deploy_job(recipe, stages.agent), stages.deploy)
    if recipe.message:
        jobs |= _notify_jobs(recipe.message, recipe.branch)
    return jobs


def _apply_stage(job: Job, stage: Stage) -> Job:
    """Return the job with the settings of the stage, with its keys in the usual order."""
    changed: Job = {"image": stage.image} if stage.image else {}
    changed |= {"tags": stage.tags} if stage.tags else {}
    changed |= {"rules": [_branch_rule(*stage.branches)]} if stage.branches else {}
    merged = {**job, **changed}
    order = (
        "stage",
        "image",
        "services",
        "tags",
        "rules",
        "interruptible",
        "variables",
        "cache",
        "script",
        "artifacts",
    )
    return {key: merged[key] for key in order if key in merged}


def _language_settings(recipe: Recipe) -> Job:
    language = recipe.language
    image = recipe.container or (language.image.format(recipe.version) if language else "")
    job: Job = {"image": image} if image else {}
    if language:
        stale, variables, paths = CACHES[language.name]
        job |= {
            "variables": dict(variables),
            "cache": {"key": {"files": (stale,)}, "paths": paths},
        }
    return job


def _test_script(recipe: Recipe) -> Job:
    """Return the script of the test job, and the pattern that finds the coverage in its log."""
    shown = [recipe.coverage_status] if recipe.coverage_status else []
    first = [recipe.language.prepare] if recipe.language and recipe.language.prepare else []
    script: Job = {"script": [*first, *recipe.test, *recipe.coverage, *shown]}
    return {**script, "coverage": PERCENT} if shown else script


def _analysis_job(analysis: Analysis) -> Job:
    token: Job = {"SONAR_TOKEN": f"${analysis.secret}"} if analysis.secret else {}
    return {
        "stage": "test",
        # The entrypoint of the image is the scanner, but GitLab needs a shell to run the script.
        "image": {"name": SCANNER, "entrypoint": ("",)},
        "variables": {
            "SONAR_HOST_URL": analysis.url,
            **token,
            "GIT_DEPTH": Commented(
                "The whole history, so that SonarQube can assign findings to authors.", "0"
            ),
        },
        "script": ["sonar-scanner " + quote(f"-Dsonar.projectKey={analysis.project}")],
    }


def _image_job(image: Image, branch: str) -> Job:
    login = (
        f"docker login --username {quote(image.user)} --password-stdin {image.registry}".rstrip()
    )
    logged_in: list[Node] = [f'echo "${image.secret}" | {login}'] if image.secret else []
    name = f"{image.name}:$CI_COMMIT_SHORT_SHA"
    return {
        "stage": "build",
        "image": DOCKER,
        "services": Commented(
            "Docker in Docker needs a runner that allows privileged containers. "
            "The runners of gitlab.com do.",
            [f"{DOCKER}-dind"],
        ),
        "rules": [_branch_rule(branch)],
        "interruptible": False,
        "variables": {"DOCKER_TLS_CERTDIR": "/certs"},
        "script": [*logged_in, f'docker build --pull --tag "{name}" .', f'docker push "{name}"'],
    }


def _deploy_job(recipe: Recipe, agent: str) -> Job:
    cluster: list[Node] = [f"kubectl config use-context {quote(agent)}"] if agent else []
    image = (
        [f"--set image.repository={recipe.image.name}", '--set image.tag="$CI_COMMIT_SHORT_SHA"']
        if recipe.image
        else []
    )
    release = " ".join(
        ["helm upgrade --install", quote(recipe.app), quote(f"helm/{recipe.app}"), *image, "--wait"]
    )
    return {
        "stage": "deploy",
        "image": {"name": DEPLOYER, "entrypoint": ("",)},
        "rules": [_branch_rule(recipe.branch)],
        "interruptible": False,
        "script": [*cluster, release],
    }


def _notify_jobs(message: Message, branch: str) -> dict[str, Job]:
    """Return one job for each result, because a GitLab job does not know how its pipeline ended."""
    shared: Job = {
        "TITLE": message.title,
        "REVISION": "$CI_COMMIT_SHA",
        "RUN_URL": "$CI_PIPELINE_URL",
        **message.environment("${}"),
    }
    jobs: dict[str, Job] = {
        ".notify": {"stage": ".post", "image": MESSENGER, "script": [build_dingtalk_command()]}
    }
    for result, when in (("passed", "on_success"), ("failed", "on_failure")):
        jobs[f"notify-{result}"] = {
            "extends": ".notify",
            "variables": {"RESULT": result, **shared},
            "rules": [{**_branch_rule(branch), "when": when}],
        }
    return jobs
