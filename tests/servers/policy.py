"""A proxy for S3 and DynamoDB that allows exactly what an IAM policy allows.

It records the requests. It supports path-style requests and DynamoDB's JSON protocol, and denies
all others.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.servers.processes import HOST

OBJECT = {
    "GET": "s3:GetObject",
    "HEAD": "s3:GetObject",
    "PUT": "s3:PutObject",
    "DELETE": "s3:DeleteObject",
}
BUCKET = {"HEAD": "s3:ListBucket", "PUT": "s3:CreateBucket", "DELETE": "s3:DeleteBucket"}
DENIED = (
    '<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
)


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """A request as action and resource of an IAM policy."""

    action: str
    resource: str


@dataclass(slots=True)
class PolicyProxy:
    """The URL of the proxy, and all allowed and denied requests."""

    endpoint: str
    allowed: list[PolicyRequest] = field(default_factory=list[PolicyRequest])
    denied: list[PolicyRequest] = field(default_factory=list[PolicyRequest])


def permits(policy: Mapping[str, Any], request: PolicyRequest) -> bool:
    """Return whether a statement allows the request. Denials and conditions are not supported."""
    return any(
        statement["Effect"] == "Allow"
        and any(fnmatchcase(request.action, action) for action in _all(statement["Action"]))
        and any(fnmatchcase(request.resource, resource) for resource in _all(statement["Resource"]))
        for statement in policy["Statement"]
    )


def _all(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def policy_request(
    method: str, target: str, headers: Mapping[str, str], body: bytes
) -> PolicyRequest:
    """Return the action and the resource of a request."""
    operation = headers.get("X-Amz-Target", "")
    if operation:
        table = json.loads(body).get("TableName", "?")
        return PolicyRequest(
            f"dynamodb:{operation.rpartition('.')[2]}",
            f"arn:aws:dynamodb:us-east-1:000000000000:table/{table}",
        )
    parts = urlsplit(target)
    bucket, _, key = unquote(parts.path).removeprefix("/").partition("/")
    query = parse_qs(parts.query, keep_blank_values=True)
    if key:
        return PolicyRequest(
            OBJECT.get(method, "s3:?") if query.keys() <= {"x-id"} else "s3:?",
            f"arn:aws:s3:::{bucket}/{key}",
        )
    if method == "GET":
        return PolicyRequest(
            "s3:ListBucket" if "list-type" in query else "s3:?", f"arn:aws:s3:::{bucket}"
        )
    return PolicyRequest(
        BUCKET.get(method, "s3:?") if not query else "s3:?", f"arn:aws:s3:::{bucket}"
    )


@contextlib.contextmanager
def policy_proxy(upstream: str, policy: Mapping[str, Any]) -> Iterator[PolicyProxy]:
    """Run a proxy until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            wanted = policy_request(self.command, self.path, self.headers, body)  # type: ignore[arg-type]  # headers are a Message, not a Mapping
            if not permits(policy, wanted):
                found.denied.append(wanted)
                is_table = wanted.action.startswith("dynamodb:")
                self.send(
                    400 if is_table else 403, {}, _table_denial() if is_table else DENIED.encode()
                )
                return
            found.allowed.append(wanted)
            self.forward(body)

        do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = handle_one  # noqa: N815 - names of http.server

        def forward(self, body: bytes) -> None:
            behind = http.client.HTTPConnection(
                str(urlsplit(upstream).hostname), urlsplit(upstream).port, timeout=30
            )
            with contextlib.closing(behind):
                behind.request(self.command, self.path, body, dict(self.headers))
                answer = behind.getresponse()
                self.send(answer.status, dict(answer.getheaders()), answer.read())

        def send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if not re.fullmatch("(?i)content-length|transfer-encoding|connection", name):
                    self.send_header(name, value)
            length = (
                headers.get("content-length", "0") if self.command == "HEAD" else str(len(body))
            )
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    server.daemon_threads = True
    found = PolicyProxy(f"http://{HOST}:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _table_denial() -> bytes:
    return json.dumps(
        {"__type": "com.amazon.coral.service#AccessDeniedException", "Message": "not authorized"}
    ).encode()
