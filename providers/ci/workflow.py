"""Rendering of a recipe as a GitHub Actions workflow."""

from __future__ import annotations

from providers.ci.languages import Language
from providers.ci.recipe import HEADER, Analysis, Image, Message, Recipe, build_dingtalk_command
from providers.ci.yamltext import Commented, Node, dump

PINS = {
    "actions/checkout": ("08c6903cd8c0fde910a37f88322edcfb5dd907a8", "v5.0.0"),
    "actions/setup-go": ("44694675825211faa026b3c33043df3e48a5fa00", "v6.0.0"),
    "actions/setup-java": ("dded0888837ed1f317902acf8a20df0ad188d165", "v5.0.0"),
    "actions/setup-node": ("a0853c24544627f65ddf259abe73b1d18a591444", "v5.0.0"),
    "actions/setup-python": ("e797f83bcb11b83ae66e0230d6156d7c80228e7c", "v6.0.0"),
    "docker/setup-buildx-action": ("e468171a9de216ec08956ac3ada2f0791b6bd435", "v3.11.1"),
    "docker/login-action": ("5e57cd118135c172c3672efd75eb46360885c0ef", "v3.6.0"),
    "docker/build-push-action": ("263435318d21b8e681c14492fe198d362a7d2c83", "v6.18.0"),
    "SonarSource/sonarqube-scan-action": ("fd88b7d7ccbaefd23d8f36f73b59db7a3d246602", "v6.0.0"),
}
"""Action -> commit and release.

Workflows name the commit, because a tag can be moved to other code, but a commit cannot.
"""

SETUP = {"go": "setup-go", "java": "setup-java", "nodejs": "setup-node", "python": "setup-python"}
VERSION_INPUT = {
    "go": "go-version",
    "java": "java-version",
    "nodejs": "node-version",
    "python": "python-version",
}
CACHES = {
    "java": {"mvn ": "maven", "./mvnw ": "maven", "gradle ": "gradle", "./gradlew ": "gradle"},
    "nodejs": {"npm ci": "npm"},
    "python": {"requirements.txt": "pip"},
}
"""Language -> text in a command -> cache to use.

A cache is used only if the command implies that its lock file exists: without it the setup action
fails the job.
"""

NEXT_TAG = """\
pattern='refs/tags/[0-9]*.[0-9]*.[0-9]*'
version=$(git for-each-ref --count=1 --points-at=HEAD --format='%(refname:strip=2)' "$pattern")
if [ -z "$version" ]; then
  last=$(git for-each-ref --count=1 --sort=-version:refname \
--format='%(refname:strip=2)' "$pattern")
  last=${last:-0.0.0}
  version="${last%.*}.$((${last##*.} + 1))"
  git tag "$version"
  git push origin "refs/tags/$version"
fi
echo "version=$version" >> "$GITHUB_OUTPUT"
"""

NOT_FORKED = (
    "github.event_name == 'push' || "
    "github.event.pull_request.head.repo.full_name == github.repository"
)

RESULT = (
    "${{ contains(needs.*.result, 'failure') && 'failed' || "
    "contains(needs.*.result, 'cancelled') && 'cancelled' || 'passed' }}"
)
RUN_URL = "${{ github.server_url }}/${{ github.repository }}/actions/runs/${{ github.run_id }}"

Job = dict[str, Node]


def render_workflow(recipe: Recipe) -> str:
    """Return the text of the workflow file."""
    document: dict[str, Node] = {
        "name": "CI",
        "on": {
            "push": {"branches": (recipe.branch,)},
            "pull_request": {"branches": (recipe.branch,)},
        },
        "permissions": Commented(
            "A job that needs more permissions requests them itself.", {"contents": "read"}
        ),
        "concurrency": Commented(
            "In a pull request, a newer commit stops the run of an older one. "
            "Runs for pushes wait for each other.",
            {
                "group": "${{ github.workflow }}-${{ github.ref }}",
                "cancel-in-progress": "${{ github.event_name == 'pull_request' }}",
            },
        ),
        "jobs": _build_jobs(recipe),
    }
    return dump(document, HEADER)


def _build_jobs(recipe: Recipe) -> dict[str, Node]:
    jobs: dict[str, Node] = {}
    if recipe.build:
        jobs["build"] = _build_job(
            [*_setup_steps(recipe, recipe.build), _run_step("Build", recipe.build)], recipe
        )
    if recipe.test:
        jobs["test"] = _build_job(
            [*_setup_steps(recipe, recipe.test), *_test_steps(recipe)], recipe
        )
    if recipe.analysis:
        jobs["sonarqube"] = _analysis_job(recipe.analysis)
    if recipe.image:
        before = tuple(jobs)
        jobs["tag"] = Commented(
            "The version of the image: the newest tag with its last number plus one.",
            _tag_job(recipe, before),
        )
        jobs["image"] = _image_job(recipe.image)
    if recipe.message and jobs:
        jobs["notify"] = _notify_job(recipe.message, tuple(jobs))
    return jobs


def _build_job(steps: list[Node], recipe: Recipe) -> Job:
    container: Job = {"container": recipe.container} if recipe.container else {}
    return {"runs-on": "ubuntu-24.04", "timeout-minutes": 30, **container, "steps": steps}


def _action_step(action: str, **inputs: Node) -> Job:
    commit, release = PINS[action]
    step: Job = {"uses": Commented(release, f"{action}@{commit}")}
    given: Job = {name.replace("_", "-"): value for name, value in inputs.items()}
    return {**step, "with": given} if given else step


def _run_step(name: str, commands: list[str]) -> Job:
    return {
        "name": name,
        "run": commands[0] if len(commands) == 1 else "".join(f"{line}\n" for line in commands),
    }


def _setup_steps(recipe: Recipe, commands: list[str]) -> list[Node]:
    """Return the steps before the commands: checkout, tools of the language, preparation.

    A container image brings its own tools.
    """
    # Scripts of the repository run in this job. They must not find a token that can push.
    steps: list[Node] = [_action_step("actions/checkout", persist_credentials=False)]
    if recipe.language is None:
        return steps
    if not recipe.container:
        steps.append(_language_step(recipe, recipe.language, commands))
    if recipe.language.prepare:
        steps.append({"name": "Prepare", "run": recipe.language.prepare})
    return steps


def _language_step(recipe: Recipe, language: Language, commands: list[str]) -> Job:
    name = language.name
    inputs: Job = {"distribution": "temurin"} if name == "java" else {}
    inputs[VERSION_INPUT[name]] = recipe.version
    found = [
        cache
        for words, cache in CACHES.get(name, {}).items()
        if any(words in command for command in commands)
    ]
    inputs |= {"cache": found[0]} if found else {}
    return _action_step(f"actions/{SETUP[name]}", **inputs)


def _test_steps(recipe: Recipe) -> list[Node]:
    steps: list[Node] = [_run_step("Test", recipe.test)]
    if recipe.coverage:
        steps.append(_run_step("Coverage", recipe.coverage))
    if recipe.coverage_status:
        fenced = f"  echo '```'\n  {recipe.coverage_status}\n  echo '```'\n"
        show = f'{{\n{fenced}}} >> "$GITHUB_STEP_SUMMARY"\n'
        steps.append({"name": "Show the coverage", "run": show})
    return steps


def _analysis_job(analysis: Analysis) -> Job:
    secret: Job = (
        {"SONAR_TOKEN": f"${{{{ secrets.{analysis.secret} }}}}"} if analysis.secret else {}
    )
    scan = _action_step(
        "SonarSource/sonarqube-scan-action", args=f"-Dsonar.projectKey={analysis.project}"
    )
    scan["env"] = {"SONAR_HOST_URL": analysis.url, **secret}
    steps: list[Node] = [
        Commented(
            "The whole history, so that SonarQube can assign findings to authors.",
            _action_step("actions/checkout", fetch_depth=0, persist_credentials=False),
        ),
        scan,
    ]
    fork = Commented("Runs for pull requests from forks have no access to secrets.", NOT_FORKED)
    return {"if": fork, "runs-on": "ubuntu-24.04", "timeout-minutes": 30, "steps": steps}


def _tag_job(recipe: Recipe, before: tuple[str, ...]) -> Job:
    needs: Job = {"needs": before} if before else {}
    branch = recipe.branch.replace("'", "''")
    steps: list[Node] = [
        Commented(
            "Keeps the token, which is needed to push the tag.",
            _action_step("actions/checkout", fetch_depth=0),
        ),
        {"name": "Tag the commit", "id": "tag", "run": NEXT_TAG},
    ]
    return {
        **needs,
        "if": f"github.event_name == 'push' && github.ref_name == '{branch}'",
        "runs-on": "ubuntu-24.04",
        "timeout-minutes": 5,
        "permissions": {"contents": "write"},
        "outputs": {"version": "${{ steps.tag.outputs.version }}"},
        "steps": steps,
    }


def _image_job(image: Image) -> Job:
    steps: list[Node] = [
        _action_step("actions/checkout", persist_credentials=False),
        _action_step("docker/setup-buildx-action"),
    ]
    if image.secret:
        registry: Job = {"registry": image.registry} if image.registry else {}
        steps.append(
            _action_step(
                "docker/login-action",
                **registry,
                username=image.user,
                password=f"${{{{ secrets.{image.secret} }}}}",
            )
        )
    tags = f"{image.name}:${{{{ needs.tag.outputs.version }}}}"
    steps.append(
        _action_step(
            "docker/build-push-action",
            context=".",
            push=True,
            tags=tags,
            cache_from="type=gha",
            cache_to="type=gha,mode=max",
        )
    )
    return {"needs": ("tag",), "runs-on": "ubuntu-24.04", "timeout-minutes": 30, "steps": steps}


def _notify_job(message: Message, before: tuple[str, ...]) -> Job:
    env: Job = {
        "TITLE": message.title,
        "RESULT": RESULT,
        "REVISION": "${{ github.sha }}",
        "RUN_URL": RUN_URL,
        **message.environment("${{{{ secrets.{} }}}}"),
    }
    steps: list[Node] = [
        {"name": "Send the result to DingTalk", "env": env, "run": build_dingtalk_command()}
    ]
    return {
        "needs": before,
        "if": "always() && github.event_name == 'push'",
        "runs-on": "ubuntu-24.04",
        "timeout-minutes": 5,
        "permissions": {},
        "steps": steps,
    }
