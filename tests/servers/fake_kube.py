"""A fake Kubernetes API server for namespaces and ConfigMaps, in the process of the tests.

It answers like the real one in everything that a state depends on: versions, preconditions, pages,
roles, sizes, names, and the different kinds of 404. The tests of tests/contracts/test_kubernetes.py
run on both servers.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.servers.kube import ADMIN, KUBECONFIG, TEAM

USERS = {ADMIN: "admin", TEAM: "team"}
LIMIT = 1024 * 1024
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
VERBS = {"POST": "create", "PUT": "update", "DELETE": "delete"}
Json = dict[str, Any]


class Refusal(Exception):  # noqa: N818 - becomes an answer
    def __init__(self, code: int, reason: str, message: str, kind: str = "configmaps") -> None:
        super().__init__(message)
        self.code = code
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
            "details": {"kind": kind},
        }


@dataclass(frozen=True, slots=True)
class Call:
    """A request. `verb` is that of RBAC rules; `name` is "" for a collection."""

    verb: str
    resource: str
    namespace: str
    name: str
    query: dict[str, str]
    body: Json
    user: str
    bare: bool
    """True if only metadata is requested."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer instead of the real one.

    With `code` 0 the connection ends without an answer. With `lost` the request still takes effect.
    """

    code: int = 0
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    lost: bool = False


@dataclass
class FakeCluster:
    """The stored objects, the grants, the calls so far, and the faults to come."""

    namespaces: set[str] = field(default_factory=lambda: {"default"})
    maps: dict[tuple[str, str], Json] = field(default_factory=dict[tuple[str, str], Json])
    granted: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    calls: list[Call] = field(default_factory=list[Call])
    fault: Callable[[Call], Answer | None] = lambda _call: None
    before: Callable[[Call], None] = lambda _call: None
    """A function that runs before each call, to act as another client."""
    _versions: Iterator[int] = field(default_factory=lambda: count(100))
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, call: Call) -> tuple[int, Json]:
        with self._mutex:
            self.calls.append(call)
            self._authorize(call)
            if call.resource == "namespaces":
                return 201, self._create_namespace(call)
            return (201 if call.verb == "create" else 200), getattr(self, f"_{call.verb}")(call)

    def _authorize(self, call: Call) -> None:
        if call.user == "admin" or (
            call.resource == "configmaps" and call.verb in self.granted.get(call.namespace, ())
        ):
            return
        scope = (
            f'in the namespace "{call.namespace}"'
            if call.resource == "configmaps"
            else "at the cluster scope"
        )
        name = f" {json.dumps(call.name)}" if call.name else ""
        raise Refusal(
            403,
            "Forbidden",
            f'{call.resource}{name} is forbidden: User "{call.user}" cannot '
            f'{call.verb} resource "{call.resource}" in API group "" {scope}',
        )

    def _create_namespace(self, call: Call) -> Json:
        name = call.body["metadata"]["name"]
        if name in self.namespaces:
            raise Refusal(409, "AlreadyExists", f'namespaces "{name}" already exists', "namespaces")
        self.namespaces.add(name)
        return {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}

    def _found(self, call: Call) -> Json:
        try:
            return self.maps[call.namespace, call.name]
        except KeyError:
            raise Refusal(404, "NotFound", f'configmaps "{call.name}" not found') from None

    def _get(self, call: Call) -> Json:
        return _bare(self._found(call)) if call.bare else self._found(call)

    def _list(self, call: Call) -> Json:
        wanted = dict(
            pair.split("=") for pair in call.query.get("labelSelector", "").split(",") if pair
        )
        found = [
            item
            for (namespace, name), item in sorted(self.maps.items())
            if namespace == call.namespace
            and wanted.items() <= item["metadata"].get("labels", {}).items()
            and name > call.query.get("continue", "")
        ]
        page = found[: int(call.query.get("limit", "0")) or len(found)]
        rest = {"continue": page[-1]["metadata"]["name"]} if len(page) < len(found) else {}
        # Null for an empty list, as the real server answers.
        items = ([_bare(item) for item in page] or None) if call.bare else page
        return {"kind": "ConfigMapList", "metadata": rest, "items": items}

    def _create(self, call: Call) -> Json:
        name = call.body["metadata"]["name"]
        if call.namespace not in self.namespaces:
            raise Refusal(404, "NotFound", f'namespaces "{call.namespace}" not found', "namespaces")
        _check(name, call.body)
        if (call.namespace, name) in self.maps:
            raise Refusal(409, "AlreadyExists", f'configmaps "{name}" already exists')
        made = self._stored(call, {"uid": str(uuid.uuid4())})
        if call.query.get("dryRun") != "All":
            self.maps[call.namespace, name] = made
        return made

    def _update(self, call: Call) -> Json:
        old, given = self._found(call), call.body["metadata"]
        _check(call.name, call.body)
        for field_name in ("resourceVersion", "uid"):
            if given.get(field_name, "") not in ("", old["metadata"][field_name]):
                raise Refusal(
                    409,
                    "Conflict",
                    f'Operation cannot be fulfilled on configmaps "{call.name}": '
                    "the object has been modified",
                )
        if old.get("immutable"):
            raise Refusal(
                422,
                "Invalid",
                f'ConfigMap "{call.name}" is invalid: data: Forbidden: field is immutable',
            )
        made = self._stored(call, {"uid": old["metadata"]["uid"]})
        if _content(made) == _content(old):
            return old
        self.maps[call.namespace, call.name] = made
        return made

    def _stored(self, call: Call, own: Json) -> Json:
        metadata = {
            **call.body["metadata"],
            "namespace": call.namespace,
            "resourceVersion": str(next(self._versions)),
            **own,
        }
        return {**call.body, "kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata}

    def _delete(self, call: Call) -> Json:
        old = self._found(call)
        expected = call.body.get("preconditions", {}).get("resourceVersion")
        if expected not in (None, old["metadata"]["resourceVersion"]):
            raise Refusal(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on ConfigMap "{call.name}": '
                f"the ResourceVersion in the precondition ({expected}) does not match "
                "the ResourceVersion in record",
            )
        del self.maps[call.namespace, call.name]
        return {"kind": "Status", "apiVersion": "v1", "status": "Success"}


def _bare(item: Json) -> Json:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": item["metadata"],
    }


def _content(item: Json) -> Json:
    return {
        **item,
        "metadata": {
            key: value for key, value in item["metadata"].items() if key != "resourceVersion"
        },
    }


def _check(name: str, body: Json) -> None:
    if not NAME.fullmatch(name) or len(name) > 253:
        raise Refusal(
            422, "Invalid", f'ConfigMap "{name}" is invalid: metadata.name: Invalid value'
        )
    size = sum(len(value) * 3 // 4 for value in body.get("binaryData", {}).values())
    if size + sum(len(value.encode()) for value in body.get("data", {}).values()) > LIMIT:
        raise Refusal(
            422,
            "Invalid",
            f'ConfigMap "{name}" is invalid: []: Too long: must have at most {LIMIT} bytes',
        )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            call = self._call(json.loads(body or b"{}"))
            self.server.fake_cluster.before(call)
            answer = self.server.fake_cluster.fault(call)
            if answer and not answer.lost:
                return self._send(answer)
            code, found = self.server.fake_cluster.answer(call)
            self._send(answer or Answer(code, json.dumps(found).encode()))
        except Refusal as refusal:
            self._send(Answer(refusal.code, json.dumps(refusal.status).encode()))

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the names that http.server calls

    def _call(self, body: Json) -> Call:
        user = USERS.get((self.headers.get("Authorization") or "").removeprefix("Bearer "))
        if user is None:
            raise Refusal(401, "Unauthorized", "Unauthorized")
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        bare = "as=PartialObjectMetadata" in self.headers.get("Accept", "")
        found = re.fullmatch(r"/api/v1/namespaces(?:/([^/]+)/configmaps(?:/([^/]+))?)?", url.path)
        assert found, url.path
        namespace, name = found[1] or "", found[2] or ""
        verb = VERBS.get(self.command) or ("get" if name else "list")
        return Call(
            verb,
            "configmaps" if namespace else "namespaces",
            namespace,
            name,
            query,
            body,
            user,
            bare,
        )

    def _send(self, answer: Answer) -> None:
        if not answer.code:
            self.close_connection = True
            return
        self.send_response(answer.code)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self._headers_buffer.append(b"\r\n" + answer.body)  # type: ignore[attr-defined] # one packet
        self.flush_headers()

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    fake_cluster: FakeCluster


@dataclass(frozen=True, slots=True)
class FakeKube:
    """The same interface as `tests.servers.kube.Kube`, and the fake cluster."""

    server: str
    kubeconfig: str
    fake_cluster: FakeCluster
    _numbers: Iterator[int] = field(default_factory=count)

    def namespace(self, name: str) -> str:
        """Create a namespace whose name begins with `name`."""
        made = f"{name}-{next(self._numbers)}"
        self.fake_cluster.namespaces.add(made)
        return made

    def grant(self, namespace: str, verbs: list[str]) -> None:
        """Allow `team` only these verbs on the ConfigMaps of the namespace."""
        self.fake_cluster.granted[namespace] = set(verbs)


@contextlib.contextmanager
def fake_kube(folder: Path) -> Iterator[FakeKube]:
    """Run a fake server until the block ends; write its kubeconfig into `folder`."""
    server = Server(("127.0.0.1", 0), Handler)
    server.fake_cluster = FakeCluster()
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    ).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(
            KUBECONFIG.format(server=address, authority="", admin=ADMIN, team=TEAM)
        )
        yield FakeKube(address, str(kubeconfig), server.fake_cluster)
    finally:
        server.shutdown()
        server.server_close()
