"""The shipped templates, checked with the compilers and tools on this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest
import yaml

from engine.address import Address
from engine.ports import Call
from providers.scaffolding.options import ScaffoldOptions, build_request
from providers.scaffolding.source import list_templates

GOPATH = Path("/usr/share/gocode")
"""The directory in which Debian installs the sources of Go libraries."""
SERVERS = ["golang-gin", "java-springboot", "nodejs-express", "python-flask"]


def scaffold(template: str, directory: Path) -> Path:
    """Render the template for the application me/my-app."""
    destination = {"url": "./repos/my-app.git", "owner": "me"}
    options = msgspec.convert(
        {"destinationRepo": destination, "sourceRepo": template}, ScaffoldOptions
    )
    for path, file in (
        build_request(options)
        .render_files(Call(Address("repo-scaffolding", "a"), base_dir=directory))
        .items()
    ):
        place = directory / "me" / "my-app" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.data)
    return directory / "me" / "my-app"


def run(*command: str, cwd: Path, **environment: str) -> str:
    """Return the output of a command that must succeed; skip the test if it is not installed."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not on the PATH")
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "command", [["go", "vet", "./..."], ["go", "test", "./..."], ["gofmt", "-l", "."]], ids=" ".join
)
def test_go_command_template_compiles_and_passes_its_tests(
    command: list[str], tmp_path: Path
) -> None:
    app = scaffold("golang-cli", tmp_path)
    out = run(*command, cwd=app, GOPROXY="off", GOFLAGS="-mod=readonly", GOTOOLCHAIN="local")
    assert command[0] == "go" or out == ""


@pytest.mark.parametrize(
    "command", [["go", "vet", "./..."], ["go", "test", "./..."], ["gofmt", "-l", "."]], ids=" ".join
)
def test_go_service_template_compiles_and_passes_its_tests(
    command: list[str], tmp_path: Path
) -> None:
    if not (GOPATH / "src" / "github.com" / "gin-gonic" / "gin").is_dir():
        pytest.skip("gin's sources are not on this machine")
    app = scaffold("golang-gin", tmp_path / "src")
    out = run(
        *command, cwd=app, GO111MODULE="off", GOPATH=f"{tmp_path}:{GOPATH}", GOTOOLCHAIN="local"
    )
    assert command[0] == "go" or out == ""


def test_python_template_passes_its_tests(tmp_path: Path) -> None:
    app = scaffold("python-flask", tmp_path)
    for source in app.rglob("*.py"):
        compile(source.read_text("utf-8"), str(source), "exec")
    tests = [] if importlib.util.find_spec("flask") else ["tests.test_notes"]
    run(sys.executable, "-W", "error", "-m", "unittest", *tests, cwd=app)


def test_java_template_parses_and_compiles(tmp_path: Path) -> None:
    app = scaffold("java-springboot", tmp_path)
    assert ET.parse(app / "pom.xml").getroot().tag.endswith("project")
    sources = [str(path) for path in app.rglob("*.java")]
    # Only the syntax, since the libraries are not installed.
    run("javac", "-XDshould-stop.ifNoError=PARSE", *sources, cwd=app)
    plain = [path for path in sources if path.endswith(("Greeter.java", "Greeting.java"))]
    run("javac", "-Xlint:all", "-Werror", "-d", str(tmp_path / "classes"), *plain, cwd=app)


def test_javascript_template_has_valid_syntax_and_lock_file(tmp_path: Path) -> None:
    app = scaffold("nodejs-express", tmp_path)
    package, lock = (
        json.loads((app / name).read_text("utf-8"))
        for name in ("package.json", "package-lock.json")
    )
    assert lock["packages"][""]["dependencies"] == package["dependencies"]
    assert lock["name"] == package["name"] == "my-app"
    assert not [
        name for name, entry in lock["packages"].items() if name and "integrity" not in entry
    ]
    for source in app.rglob("*.js"):
        run("node", "--check", str(source), cwd=app)


@pytest.mark.parametrize("template", list_templates())
def test_chart_names_application_and_image(template: str, tmp_path: Path) -> None:
    chart = scaffold(template, tmp_path) / "helm" / "my-app"
    assert yaml.safe_load((chart / "Chart.yaml").read_text("utf-8"))["name"] == "my-app"
    assert (
        yaml.safe_load((chart / "values.yaml").read_text("utf-8"))["image"]["repository"]
        == "me/my-app"
    )


@pytest.mark.parametrize("template", list_templates())
def test_chart_renders_the_expected_objects(template: str, tmp_path: Path) -> None:
    chart = scaffold(template, tmp_path) / "helm" / "my-app"
    objects = list(yaml.safe_load_all(run("helm", "template", "live", str(chart), cwd=tmp_path)))
    assert {item["kind"] for item in objects} == (
        {"Deployment", "Service"} if template in SERVERS else {"CronJob"}
    )
    assert {item["metadata"]["name"] for item in objects} == {"live"}
    assert "me/my-app:0.1.0" in json.dumps(objects)


@pytest.mark.parametrize("template", list_templates())
def test_makefile_builds_the_image_and_runs_tests(template: str, tmp_path: Path) -> None:
    app = scaffold(template, tmp_path)
    assert "docker build -t me/my-app:latest ." in run("make", "-n", "image", cwd=app)
    assert run("make", "-n", "test", cwd=app)
