"""With the least that an account may grant, every command still works and asks for nothing else."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.e2e.conftest import Runner
from tests.servers.aws import Cloud, ministack

KEY = "devstream.state"
TOOLS = """
tools:
- name: data
  instanceID: a
  options: {input: hello}
"""
ACTIONS = ("GetItem", "PutItem", "DeleteItem")
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


class Guard(BaseHTTPRequestHandler):
    """Passes on what the policy allows: ListBucket, GetObject and PutObject of one key, three actions on a table."""

    protocol_version = "HTTP/1.1"
    server: "Gate"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        target = self.headers.get("X-Amz-Target", "")
        path = self.path.partition("?")[0].removeprefix(f"/{self.server.bucket}")
        listing = self.command == "GET" and path in ("", "/")
        ours = self.command in ("GET", "HEAD", "PUT") and path == f"/{KEY}"  # whoever may get an object may ask for its head
        allowed = target.endswith(ACTIONS) if target else ours or listing
        if not allowed:
            self.server.refused.append(f"{self.command} {target or path}")
            self._answer(403, DENIED, {})
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        request = urllib.request.Request(self.server.behind + self.path, body or None, headers, method=self.command)
        try:
            with urllib.request.urlopen(request, timeout=10) as found:
                self._answer(found.status, found.read(), dict(found.headers))
        except urllib.error.HTTPError as error:
            self._answer(error.code, error.read(), dict(error.headers))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - the names that http.server calls

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Gate(ThreadingHTTPServer):
    daemon_threads = True
    bucket = behind = ""
    refused: list[str]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with ministack(tmp_path_factory.mktemp("ministack")) as found:
        assert found is not None, "ministack belongs to the test requirements"
        yield found


@pytest.fixture
def gate(cloud: Cloud) -> Iterator[Gate]:
    server = Gate(("127.0.0.1", 0), Guard)
    server.behind, server.refused = cloud.endpoint, []
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def configure(dtm: Runner, cloud: Cloud, gate: Gate, *, table: bool = True, **settings: object) -> None:
    options = cloud.fresh(KEY)
    gate.bucket, address = str(options["bucket"]), f"http://127.0.0.1:{gate.server_port}"
    options |= {"endpoint": address, "dynamodbEndpoint": address}
    if not table:
        options = {name: value for name, value in options.items() if not name.startswith("dynamodb")}
    section = json.dumps({"state": {"backend": "s3", "options": options, **settings}})[1:-1]
    (dtm.folder / "config.yaml").write_text(section + TOOLS, "utf-8")


def test_a_whole_cycle_asks_for_nothing_outside_the_policy(dtm: Runner, cloud: Cloud, gate: Gate) -> None:
    configure(dtm, cloud, gate, log="inline")
    assert "Lock: dynamodb" in dtm("init")
    assert "Plan: 1 to create" in dtm("plan")
    dtm("apply", "-y")
    assert "data/a" in dtm("state", "list")
    assert "not locked" in dtm("lock")
    dtm("state", "mv", "data.a", "data.b")
    dtm("state", "mv", "data.b", "data.a")
    assert "nothing to do" in dtm("plan", "--detailed-exitcode", "--lock")
    dtm("state", "history")
    dtm("state", "probe")
    dtm("destroy", "-y")
    assert gate.refused == []


def test_without_a_table_there_is_no_lock_and_a_word_about_it(dtm: Runner, cloud: Cloud, gate: Gate) -> None:
    configure(dtm, cloud, gate, table=False, log="inline")
    dtm("init")
    told = dtm("apply", "-y")
    assert "there is no lock, state.log: inline leaves everything but the state itself alone" in told
    assert "locking is off" in dtm("lock", code=1)
    dtm("destroy", "-y")
    assert gate.refused == []


def test_by_itself_the_log_goes_inside_and_the_permission_that_would_lift_it_is_named(
    dtm: Runner, cloud: Cloud, gate: Gate
) -> None:
    configure(dtm, cloud, gate, table=False)
    told = dtm("apply", "-y")
    assert "there is no lock" in told
    assert "kept inside the state" in told
    assert "nothing to do" in dtm("plan", "--detailed-exitcode")
    assert "kept inside" not in dtm("apply", "-y")
