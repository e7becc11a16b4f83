"""A small HTTP server with canned answers, which records the requests."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the server.

    `cut` ends the connection after that many bytes of the body; -1 ends it before the answer.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cut: int | None = None


Respond: TypeAlias = Callable[[str, str], Answer]
"""A function from the method and the target of a request to the answer."""


def xml(
    status: int,
    code: str,
    message: str = "so it is",
    more: str = "",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return an error in the format of S3."""
    body = (
        f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>'
    )
    return Answer(status, body.encode(), headers or {})


@contextlib.contextmanager
def canned_server(respond: Respond) -> Iterator[tuple[str, list[str]]]:
    """Run a server; yield its URL and the list of requests (`PUT /bucket/key If-Match: ...`)."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            given = [
                f" {name}: {self.headers[name]}"
                for name in ("If-Match", "If-None-Match")
                if name in self.headers
            ]
            seen.append(f"{self.command} {self.path}{''.join(given)}")
            answer = respond(self.command, self.path)
            self.close_connection = answer.cut is not None
            if answer.cut == -1:
                return
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body[: answer.cut])

        do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = handle_one  # noqa: N815 - names of http.server

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
