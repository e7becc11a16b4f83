"""A shared state: S3 with each kind of lock, and Kubernetes, through the command line."""

import json
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from backends.aws import s3
from engine.lock import LockInfo
from engine.values import Value
from tests.e2e.conftest import TWO, Runner
from tests.servers.aws import Cloud
from tests.servers.fake_kube import FakeKube

SLOW = """
tools:
- name: command
  instanceID: slow
  options:
    create: "echo x >> made.log; until [ -e go ]; do sleep 0.05; done; echo '{}' > made.json"
    read: "cat made.json 2>/dev/null || true"
- name: data
  instanceID: later
  dependsOn: [command.slow]
"""
State = Callable[..., str]


@pytest.fixture
def state(dtm: Runner, request: pytest.FixtureRequest) -> State:
    """Return a function that writes config.yaml with a new state and the given tools.

    `kind` is that of the lock, or `kubernetes`. `settings` are further keys of `state`, such as
    `lock={...}`. The function returns the name of the bucket or namespace.
    """

    def write(kind: str, tools: str = TWO, **settings: object) -> str:
        if kind == "kubernetes":
            kube: FakeKube = request.getfixturevalue("kube")
            options: dict[str, Value] = {
                "namespace": kube.namespace("team"),
                "kubeconfig": kube.kubeconfig,
            }
        else:
            cloud: Cloud = request.getfixturevalue("cloud")
            options = cloud.fresh("team/devstream.state")
            if kind == "native":
                options = {
                    name: value
                    for name, value in options.items()
                    if not name.startswith("dynamodb")
                }
        backend = "k8s" if kind == "kubernetes" else "s3"
        section = json.dumps({"state": {"backend": backend, "options": options, **settings}})[1:-1]
        (dtm.folder / "config.yaml").write_text(f"{section}\n{tools}", "utf-8")
        return f"{options.get('bucket') or options['namespace']}"

    return write


def until(ready: Callable[[], bool], patience: float = 30.0) -> None:
    deadline = time.monotonic() + patience
    while not ready():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.02)


def lock_id(text: str) -> str:
    found = re.search(r"force-unlock ([0-9a-f]{32})", text)
    assert found, text
    return found[1]


@pytest.mark.parametrize("kind", ["dynamodb", "kubernetes"])
def test_every_command_works_on_a_shared_state(dtm: Runner, state: State, kind: str) -> None:
    state(kind)
    assert "does not exist yet" in dtm("init")
    output = dtm("apply", "-y")
    assert "All plugins applied successfully." in output
    assert "ownersecret" not in output
    assert "nothing to do" in dtm("plan", "--detailed-exitcode", "--lock")
    assert "data/b" in dtm("state", "list")
    assert "hello world" in dtm("output", "greeting")
    assert "Verify succeeded." in dtm("verify", "--strict")
    assert "Nothing changed outside dtm." in dtm("drift", "--lock")
    dtm("state", "mv", "data.b", "data.c")
    assert "hello world" in dtm("state", "show", "data.c")
    assert "Wrote serial 3" in dtm("state", "rollback", "1")
    assert len(dtm.run("state", "history").stdout.splitlines()) == 4
    assert "not locked" in dtm("lock")
    assert "not locked" in dtm("force-unlock", "x", "-y", code=1)
    assert "yes" in dtm("state", "probe")
    pulled = json.loads(dtm.run("state", "pull").stdout)
    assert "ownersecret" not in json.dumps(pulled)
    assert "Destroy finished." in dtm("destroy", "-y")


def test_native_lock_is_probed_once_and_recorded(dtm: Runner, state: State) -> None:
    state("native")
    dtm("apply", "-y")
    probed = json.loads(dtm.run("state", "pull").stdout)["probe"]
    assert sorted(probed["tried"]) == ["create", "race", "swap"]
    assert all(trial["kept"] for trial in probed["tried"].values())
    assert "Lock: native, lease 120 s." in dtm("init")
    dtm("destroy", "-y")
    assert json.loads(dtm.run("state", "pull").stdout)["probe"] == probed


@pytest.mark.parametrize("lock", [{"kind": "none"}, {"kind": "both"}])
def test_kind_of_lock_can_be_chosen(dtm: Runner, state: State, lock: dict[str, str]) -> None:
    state("dynamodb", lock=lock)
    output = dtm("apply", "-y")
    assert ("running without a lock because the settings disable it" in output) is (
        lock["kind"] == "none"
    )
    assert ("locking is off" in dtm("lock", code=1 if lock["kind"] == "none" else 0)) is (
        lock["kind"] == "none"
    )


def go_on(dtm: Runner) -> None:
    (dtm.folder / "go").touch()


def test_second_user_waits_or_is_refused(dtm: Runner, state: State) -> None:
    state("dynamodb", SLOW)
    first = dtm.start("apply", "-y")
    until((dtm.folder / "made.log").exists)
    refused = dtm("apply", "-y", code=3)
    assert "renewed" in refused and "apply" in refused
    assert lock_id(refused) == lock_id(dtm("lock", code=3))
    threading.Timer(0.5, go_on, [dtm]).start()
    assert "nothing to do" in dtm("apply", "-y", "--lock-timeout", "30s")
    assert first.wait(30) == 0
    assert (dtm.folder / "made.log").read_text("utf-8") == "x\n"


@pytest.mark.parametrize("kind", ["dynamodb", "kubernetes"])
def test_next_run_takes_over_after_a_kill(dtm: Runner, state: State, kind: str) -> None:
    state(kind, SLOW, lock={"lease": "1s"})
    killed = dtm.start("apply", "-y")
    until((dtm.folder / "made.log").exists)
    killed.kill()
    killed.wait()
    go_on(dtm)
    output = dtm("apply", "-y", "--lock-timeout", "20s")
    assert "took over" in output.lower() or "taken over" in output.lower()
    assert "Apply finished." in output
    assert "nothing to do" in dtm("plan", "--detailed-exitcode")


def test_previous_holder_is_fenced_after_force_unlock(dtm: Runner, state: State) -> None:
    state("dynamodb", SLOW, lock={"lease": "1s"})
    first = dtm.start("apply", "-y")
    until((dtm.folder / "made.log").exists)
    held = lock_id(dtm("force-unlock", "0" * 32, "-y", code=3))
    assert "no terminal to ask at" in dtm("force-unlock", held, code=1)
    assert "As soon as another run starts, the writes of its previous holder are refused" in dtm(
        "force-unlock", held, "-y"
    )
    dtm("state", "rm", "command.slow", "--lock-timeout", "20s")
    go_on(dtm)
    assert first.wait(30) == 1
    output = (Path(dtm.env["HOME"]) / "background.txt").read_text("utf-8")
    assert "taken over" in output or "took over" in output or "was removed" in output
    assert "data/later" not in dtm("state", "list")


def test_missing_bucket_is_created_on_request(dtm: Runner, state: State, cloud: Cloud) -> None:
    bucket = state("dynamodb")
    config = dtm.folder / "config.yaml"
    config.write_text(config.read_text("utf-8").replace(bucket, f"{bucket}-new"), "utf-8")
    for command in (["plan"], ["apply", "-y"], ["state", "list"]):
        output = dtm(*command, code=1)
        assert "the bucket does not exist" in output
        assert "dtm init --create" in output
    assert "no terminal to ask at" in dtm("init", "--create", code=1)
    made = dtm("init", "--create", "-y")
    assert f"Created bucket {bucket}-new" in made
    assert f"Created table {bucket}-new" in made
    assert '"dynamodb:PutItem"' in made
    assert "Created" not in dtm("init", "--create")
    dtm("apply", "-y")


def test_init_reports_a_missing_table(dtm: Runner, state: State) -> None:
    bucket = state("dynamodb")
    dtm("init")
    config = dtm.folder / "config.yaml"
    config.write_text(
        config.read_text("utf-8").replace(
            f'"dynamodbTable": "{bucket}', f'"dynamodbTable": "no-{bucket}'
        ),
        "utf-8",
    )
    assert "the table does not exist" in dtm("init", code=1)


def test_new_namespace_is_announced(dtm: Runner, state: State) -> None:
    namespace = state("kubernetes")
    output = dtm("plan")
    assert f"the state k8s://{namespace}/state does not exist yet, apply creates it" in output
    assert f"(and namespace {namespace} if it is missing)" in output


def test_broken_terraform_lock_does_not_stop_its_holder(dtm: Runner, state: State) -> None:
    state("dynamodb")
    written = (dtm.folder / "config.yaml").read_text("utf-8").splitlines()[0]
    opened = s3.open_backend(json.loads(f"{{{written}}}")["state"]["options"], dtm.folder, {})
    info = LockInfo("0f" * 18, "OperationTypeApply", "me@here", "1.9.0", "2026-01-01T00:00:00Z", "")
    opened.lockers["dynamodb"]().put(opened.key, info, expect=None)
    output = dtm("force-unlock", info.id, "-y")
    assert (
        "another program, which dtm cannot stop" in output
        and "the writes of its previous holder are refused" not in output
    )


class Forbidding(BaseHTTPRequestHandler):
    def _refuse(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _refuse  # noqa: N815 - the names that http.server calls

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def forbidding() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Forbidding)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def use_endpoint(dtm: Runner, endpoint: str) -> None:
    dtm.env |= {"AWS_ACCESS_KEY_ID": "AKIAOFSOMEBODY", "AWS_SECRET_ACCESS_KEY": "t0psecret"}
    options = {"bucket": "b", "key": "k", "region": "eu-west-1", "endpoint": endpoint}
    (dtm.folder / "config.yaml").write_text(
        f"state: {json.dumps({'backend': 's3', 'options': options})}\n{TWO}", "utf-8"
    )


def test_denied_request_names_permission_and_user(dtm: Runner, forbidding: str) -> None:
    use_endpoint(dtm, forbidding)
    for command in (["plan"], ["apply", "-y"], ["lock"], ["init"]):
        output = dtm(*command, code=1)
        assert "s3:GetObject is denied to access key ...BODY from the environment" in output
        assert "allow s3:GetObject on arn:aws:s3:::b/k" in output
        assert "t0psecret" not in output


def test_unreachable_endpoint_is_one_error_line(dtm: Runner) -> None:
    use_endpoint(dtm, "http://127.0.0.1:1")
    output = dtm("plan", code=1)
    assert "s3://b/k: cannot connect to http://127.0.0.1:1: Connection refused\n" in output
    assert "to create" not in output


def test_move_to_a_bucket_names_the_local_state(dtm: Runner, state: State) -> None:
    config = dtm.folder / "config.yaml"
    config.write_text(TWO, "utf-8")
    dtm("apply", "-y")
    bucket = state("dynamodb")
    refused = dtm("plan", code=1)
    assert (
        f"the state at s3://{bucket}/team/devstream.state is empty, "
        f"but file://{dtm.folder}/devstream.state holds 2" in refused
    )
    copied = re.search(r"dtm state pull --state (\S+) \| dtm state push - --adopt", refused)
    assert copied
    pulled = dtm.run("state", "pull", "--state", *shlex.split(copied[1])).stdout
    assert "Pushed serial 1 with 2 tools" in dtm("state", "push", "-", "--adopt", stdin=pulled)
    assert "nothing to do" in dtm("apply", "-y")
    config.write_text(TWO, "utf-8")
    (dtm.folder / "devstream.state").unlink()
    (dtm.folder / "devstream.state.log").unlink(missing_ok=True)
    forgotten = dtm(
        "plan",
        code=1,
        env={"AWS_ACCESS_KEY_ID": "AKIDTMTESTOWNER", "AWS_SECRET_ACCESS_KEY": "ownersecret"},
    )
    assert f"but s3://{bucket}/team/devstream.state holds 2 tools" in forgotten
    (dtm.folder / ".devstream" / "home").write_text(
        "s3://b/k?region=eu-west-1&endpoint=http%3A%2F%2F127.0.0.1%3A1\n", "utf-8"
    )
    unreachable = dtm("plan", "--detailed-exitcode", code=2)
    assert "which may be the state of this config: s3://b/k" in unreachable


def test_local_state_loads_no_sdk(dtm: Runner) -> None:
    (dtm.folder / "config.yaml").write_text(TWO, "utf-8")
    script = (
        "import sys\nfrom dtm.cli.main import root\n"
        "for words in (['apply', '-y'], ['plan'], ['state', 'list']):\n"
        "    root.main(words, standalone_mode=False)\n"
        "heavy = ('boto3', 'botocore', 'kubernetes', 'urllib3', 'backends.aws.s3')\n"
        "print(sorted(name for name in sys.modules if name in heavy))"
    )
    (dtm.folder / "run.py").write_text(script, "utf-8")
    done = subprocess.run(
        [sys.executable, "run.py"],
        cwd=dtm.folder,
        env=dtm.env,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "[]"
