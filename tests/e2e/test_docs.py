"""The README's tutorial, the tutorial and every how-to work as printed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from backends.aws import s3
from tests.e2e.doc_runner import File, Step, run, steps
from tests.servers.aws import Cloud

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "docs" / "tutorial.md",
    *sorted((ROOT / "docs" / "how-to").glob("*.md")),
]


def surroundings(
    tmp_path: Path, text: str, request: pytest.FixtureRequest
) -> tuple[Path, dict[str, str]]:
    """Return an empty folder and the environment of a reader.

    If the page needs a cloud or a cluster, the environment has one.
    """
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DTM_", "GIT_", "AWS_", "KUBE"))
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {
        **kept,
        "HOME": str(home),
        "PATH": path,
        "NO_COLOR": "1",
        "COLUMNS": "100",
        "LANG": "C.UTF-8",
    }
    if "backend: s3" in text:
        cloud: Cloud = request.getfixturevalue("cloud")
        keys = {"AWS_ACCESS_KEY_ID": cloud.access_key, "AWS_SECRET_ACCESS_KEY": cloud.secret_key}
        env |= {"AWS_ENDPOINT_URL": cloud.endpoint, **keys}
    if "backend: k8s" in text:
        env["KUBECONFIG"] = request.getfixturevalue("kube").kubeconfig
    return work, env


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_works_as_printed(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    text = page.read_text("utf-8")
    work, env = surroundings(tmp_path, text, request)
    todo = steps(text)
    assert any(isinstance(step, Step) for step in todo), "a page without a command shows nothing"
    for step in todo:
        if isinstance(step, File):
            target = work / step.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(step.content, "utf-8")
        else:
            run(step, work, env)


WORKFLOWS = [
    (page, step)
    for page in PAGES
    for step in steps(page.read_text("utf-8"))
    if isinstance(step, File) and step.name.startswith(".github/workflows/")
]


@pytest.mark.parametrize(
    "workflow", [step for _, step in WORKFLOWS], ids=[page.name for page, _ in WORKFLOWS]
)
def test_workflow_on_a_page_is_valid(workflow: File, tmp_path: Path) -> None:
    path = tmp_path / "workflow.yml"
    path.write_text(workflow.content, "utf-8")
    schema = ["--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *schema, str(path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_team_workflow_works_and_its_plan_writes_nothing(
    tmp_path: Path, cloud: Cloud, request: pytest.FixtureRequest
) -> None:
    page = (ROOT / "docs" / "how-to" / "team-on-s3.md").read_text("utf-8")
    files = {step.name: step.content for step in steps(page) if isinstance(step, File)}
    work, env = surroundings(tmp_path, page, request)
    options = cloud.fresh("prod/devstream.state")
    config = (
        files["config.yaml"]
        .replace("eu-west-1", cloud.region)
        .replace("acme-toolchain-lock", str(options["dynamodbTable"]))
    )
    (work / "config.yaml").write_text(
        config.replace("acme-toolchain", str(options["bucket"])), "utf-8"
    )
    wheel = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(work / "tools")]
    subprocess.run(wheel, cwd=ROOT, check=True, capture_output=True)
    env |= {
        "PIP_TARGET": str(tmp_path / "installed"),
        "PIP_NO_DEPS": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    jobs: dict[str, Any] = yaml.safe_load(files[".github/workflows/toolchain.yml"])["jobs"]
    store = s3.open_backend(options, work, {}).store
    for job, written in (("plan", False), ("apply", True), ("drift", False)):
        before = list(store.list(""))
        for command in (step["run"] for step in jobs[job]["steps"] if "run" in step):
            subprocess.run(["bash", "-e", "-c", command], cwd=work, env=env, check=True, timeout=60)
        assert (list(store.list("")) != before) is written
    assert (tmp_path / "installed" / "dtm" / "cli").is_dir()


ENVIRONMENT = re.compile(
    r"""["'](_?DTM_[A-Z_]+|[A-Z]+_PROXY)["']|env(?:iron)?(?:\.get\(|\[|=)"([A-Z0-9_]+)\""""
)
"""A name in the code that can be an environment variable that dtm reads or sets."""
INTERNAL = {"DTM_GATE", "GIT_CONFIG_COUNT", "PATH"}
"""Variables of programs that dtm starts, which a user neither sets nor reads."""


def test_reference_lists_every_environment_variable() -> None:
    code = "".join(
        path.read_text("utf-8")
        for package in ("dtm", "engine", "backends", "providers")
        for path in (ROOT / package).rglob("*.py")
        if not {"templates", "testing", "trials"} & set(path.parts)
    )
    read = {first or second for first, second in ENVIRONMENT.findall(code)} - INTERNAL
    page = (ROOT / "docs" / "reference" / "environment-variables.md").read_text("utf-8")
    assert read >= {"DTM_STATE", "DTM_LOG", "NO_COLOR", "KUBECONFIG", "S3_REGION"}
    assert read - set(re.findall(r"`(\w+)`", page)) - {"DTM_VAR_"} == set()


def generate(docs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, str(docs / "generate.py"), *words], env=env, capture_output=True, text=True
    )


def test_generated_pages_are_checked_and_written(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", docs)
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    listed = "          - reference/plugins/file.md\n"
    (tmp_path / "mkdocs.yml").write_text(navigation.replace(listed, ""), "utf-8")
    assert generate(docs, "--check").stderr == "mkdocs.yml is stale: run make docs\n"
    assert generate(docs).returncode == 0
    (docs / "reference" / "commands.md").write_text("old", "utf-8")
    (docs / "reference" / "plugins" / "gone.md").write_text("of a plugin that is no more", "utf-8")
    checked = generate(docs, "--check")
    assert checked.returncode == 1
    assert checked.stderr.splitlines() == [
        "docs/reference/commands.md is stale: run make docs",
        "docs/reference/plugins/gone.md is stale: run make docs",
    ]
    assert generate(docs).returncode == 0
    assert listed in (tmp_path / "mkdocs.yml").read_text("utf-8")
    assert not (docs / "reference" / "plugins" / "gone.md").exists()
    assert generate(docs, "--check").returncode == 0
