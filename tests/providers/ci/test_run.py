"""The commands of generated pipelines run in scaffolded repositories and send messages."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from engine.ports import AnyProvider
from providers.ci.github import GitHubActions
from providers.ci.gitlab import GitLabCI
from providers.scaffolding.provider import repo_scaffolding
from tests.providers._git.repos import call, git, make, options, show
from tests.providers.ci.schemas import load

SCM = {"scmType": "local", "owner": "me", "name": "app"}
NO_NETWORK = (
    "name resolution",
    "NewConnectionError",
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "dial tcp",
    "Unknown host",
)


def bash(script: str, directory: Path, **env: str) -> str:
    """Run a script as a CI runner does, which stops at the first failure."""
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=directory,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and any(words in done.stderr + done.stdout for words in NO_NETWORK):
        pytest.skip("no package registry can be reached")
    if done.returncode and "go.mod file indicates" in done.stderr:
        pytest.skip("the go that is installed here is too old for the template")
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def scaffold(template: str, directory: Path) -> Path:
    """Clone a scaffolded repository that contains both pipelines."""
    scaffolding: AnyProvider = repo_scaffolding()
    scaffolding.create(
        options(scaffolding, destinationRepo=SCM, sourceRepo=template), call(directory)
    )
    framework = template.partition("-")[2]
    pipeline = (
        {"language": {"framework": framework}, "build": {}}
        if framework != "cli"
        else {"language": {"name": "go"}, "build": {}}
    )
    for provider in (GitHubActions(), GitLabCI()):
        given = {
            key: value
            for key, value in pipeline.items()
            if key == "language" or provider.plugin == "github-actions"
        }
        provider.create(options(provider, scm=SCM, pipeline=given), call(directory))
    clone = directory / "clone"
    subprocess.run(
        ["git", "clone", "-q", str(directory / "repos/me/app.git"), str(clone)], check=True
    )
    return clone


def scripts(clone: Path) -> list[str]:
    """Return the scripts of both pipelines without duplicates."""
    jobs = load((clone / ".github/workflows/main.yml").read_text())["jobs"].values()
    found = [
        "\n".join(step["run"].strip() for step in job["steps"] if "run" in step) for job in jobs
    ]
    found.append("\n".join(load((clone / ".gitlab-ci.yml").read_text())["test"]["script"]))
    assert len(found) == 3 and all(found)
    return list(dict.fromkeys(found))


@pytest.mark.long
@pytest.mark.parametrize(
    ("template", "tool"),
    [
        ("nodejs-express", "npm"),
        ("golang-gin", "go"),
        ("golang-cli", "go"),
        ("java-springboot", "mvn"),
    ],
)
def test_commands_run_in_a_scaffolded_repository(template: str, tool: str, tmp_path: Path) -> None:
    clone = scaffold(template, tmp_path)
    jobs = scripts(clone)
    if not shutil.which(tool):
        pytest.skip(f"{tool} is not installed here")
    for script in jobs:
        bash(script, clone)


@pytest.mark.long
def test_commands_run_in_a_scaffolded_python_repository(tmp_path: Path) -> None:
    clone = scaffold("python-flask", tmp_path)
    tools = tmp_path / "tools"
    subprocess.run([sys.executable, "-m", "venv", str(tools)], check=True)
    for script in scripts(clone):
        bash(
            script,
            clone,
            PATH=f"{tools}/bin:{os.environ['PATH']}",
            PIP_DISABLE_PIP_VERSION_CHECK="1",
        )


# --- the version of the image


@pytest.fixture
def tagging(tmp_path: Path) -> tuple[Path, str]:
    """Return a clone and the script that tags its commit."""
    bare = make(tmp_path)
    provider = GitHubActions()
    provider.create(
        options(provider, scm=SCM, pipeline={"imageRepo": {"user": "me"}}), call(tmp_path)
    )
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(bare), str(clone)], check=True)
    [script] = [
        step["run"]
        for step in load(show(bare, ".github/workflows/main.yml"))["jobs"]["tag"]["steps"]
        if "run" in step
    ]
    return clone, script


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], "0.0.1"),
        (["0.0.1"], "0.0.2"),
        (["0.0.9", "0.0.10", "v9.9.9"], "0.0.11"),
        (["1.2.3", "0.9.9"], "1.2.4"),
    ],
)
def test_next_version_follows_the_newest_tag(
    before: list[str], after: str, tagging: tuple[Path, str], tmp_path: Path
) -> None:
    clone, script = tagging
    for tag in before:
        subprocess.run(["git", "-C", str(clone), "tag", tag, "HEAD~1"], check=True)
    bash(script, clone, GITHUB_OUTPUT=str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == f"version={after}\n"
    assert after in git(tmp_path / "repos/me/app.git", "tag").split()


def test_commit_with_a_version_keeps_it(tagging: tuple[Path, str], tmp_path: Path) -> None:
    clone, script = tagging
    for _ in range(2):
        bash(script, clone, GITHUB_OUTPUT=str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "version=0.0.1\n" * 2


def test_coverage_is_shown_and_its_failure_fails_the_job(tmp_path: Path) -> None:
    make(tmp_path)
    provider = GitHubActions()
    for command, code in (("echo 'total: 80 %'", 0), ("exit 3", 3)):
        tests = {"command": "true", "coverageStatusCommand": command}
        chosen: Any = options(
            provider, scm=SCM, pipeline={"language": {"name": "go"}, "test": tests}
        )
        text = provider.build_source(chosen, "app").load_files(tmp_path).popitem()[1].decode()
        script = load(text)["jobs"]["test"]["steps"][-1]["run"]
        env = {**os.environ, "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
        assert subprocess.run(["bash", "-e", "-c", script], env=env, check=False).returncode == code
    assert (tmp_path / "summary").read_text().startswith("```\ntotal: 80 %\n```\n")


# --- DingTalk


@pytest.fixture
def robot() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Serve a DingTalk robot; yield its URL and the messages. It refuses the token "wrong"."""
    sent: list[tuple[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(
                (self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            )
            self.send_response(200)
            self.end_headers()
            code = 310000 if "wrong" in self.path else 0
            self.wfile.write(json.dumps({"errcode": code, "errmsg": "sign not match"}).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/robot/send", sent
        server.shutdown()
        thread.join()


def message(url: str, **talk: str) -> tuple[str, dict[str, str]]:
    """Return script and environment of the notify job, with expressions replaced."""
    provider = GitHubActions()
    pipeline = {
        "language": {"name": "go"},
        "dingTalk": {"webhook": f"{url}?access_token=abc", **talk},
    }
    chosen: Any = options(provider, scm=SCM, pipeline=pipeline)
    step = load(
        provider.build_source(chosen, "app").load_files(Path("/nowhere")).popitem()[1].decode()
    )["jobs"]["notify"]["steps"][0]
    known = {
        "RESULT": "failed",
        "REVISION": "0123456789",
        "RUN_URL": "https://run",
        "DINGTALK_TOKEN": "abc",
        "DINGTALK_VALUE": "key",
    }
    return step["run"], {name: known.get(name, str(value)) for name, value in step["env"].items()}


def test_dingtalk_message_has_title_text_and_mentions(
    robot: tuple[str, list[tuple[str, Any]]], tmp_path: Path
) -> None:
    url, sent = robot
    script, env = message(
        url, name="Robot", securityType="KEY", securityValue="key", atUsers="138, 139"
    )
    bash(script, tmp_path, **env)
    [(path, body)] = sent
    assert path == "/robot/send?access_token=abc"
    assert body["markdown"]["title"] == "Robot: failed"
    assert body["markdown"]["text"] == "### Robot: failed\n\n[01234567](https://run) key @138 @139"
    assert body["at"] == {"atMobiles": ["138", "139"]}


def test_dingtalk_message_is_signed_if_required(
    robot: tuple[str, list[tuple[str, Any]]], tmp_path: Path
) -> None:
    url, sent = robot
    script, env = message(url, securityType="SECRET", securityValue="key")
    bash(script, tmp_path, **env)
    query = parse_qs(urlsplit(sent[0][0]).query)
    expected = hmac.new(b"key", f"{query['timestamp'][0]}\nkey".encode(), hashlib.sha256).digest()
    assert query["sign"] == [base64.b64encode(expected).decode()]


def test_refused_message_fails_the_job(
    robot: tuple[str, list[tuple[str, Any]]], tmp_path: Path
) -> None:
    script, env = message(robot[0])
    env["DINGTALK_TOKEN"] = "wrong"
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "sign not match" in done.stderr
