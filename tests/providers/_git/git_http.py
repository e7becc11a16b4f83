"""A smart HTTP server for tests, which uses the real `git http-backend`.

A push needs the user `u` with the password `p`. With `private`, a read needs it too.
"""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

ALLOWED = "Basic " + base64.b64encode(b"u:p").decode()
ALLOWED_TOKEN = "Basic " + base64.b64encode(b"oauth2:s3cret-token").decode()


class GitServer(ThreadingHTTPServer):
    """An HTTP server. It gives no answer to the next `cut_pushes` pushes, but performs them."""

    daemon_threads = True
    private = False
    cut_pushes = 0

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.url = f"http://127.0.0.1:{self.server_port}"

    def with_password(self, path: str) -> str:
        return f"{self.url.replace('http://', 'http://u:p@')}/{path}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body in one packet: without this each answer waits 40 ms for an
    # acknowledgement.
    wbufsize = 1 << 16
    server: GitServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return

    def _respond(self) -> None:
        url = urlsplit(self.path)
        body = self._body()
        pushes = "git-receive-pack" in self.path
        if (pushes or self.server.private) and self.headers.get("Authorization") not in (
            ALLOWED,
            ALLOWED_TOKEN,
        ):
            self._send(401, [("WWW-Authenticate", 'Basic realm="git"')], b"")
            return
        headers, data = self._backend(url.path, url.query, body)
        if pushes and self.command == "POST" and self.server.cut_pushes:
            self.server.cut_pushes -= 1
            self.close_connection = True
            return
        status = next(
            (int(value.split()[0]) for key, value in headers if key.lower() == "status"), 200
        )
        self._send(status, [pair for pair in headers if pair[0].lower() != "status"], data)

    do_GET = do_POST = _respond  # noqa: N815 - the names http.server looks for

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _backend(self, path: str, query: str, body: bytes) -> tuple[list[tuple[str, str]], bytes]:
        environment = os.environ | {
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_USER": "u",
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        out = subprocess.run(
            ["git", "http-backend"], input=body, env=environment, capture_output=True, check=False
        ).stdout
        head, _, data = out.partition(b"\r\n\r\n")
        return [
            (k, v)
            for k, _, v in (line.partition(": ") for line in head.decode().split("\r\n"))
            if k
        ], data

    def _send(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
        self.send_response(status)
        for key, value in headers:
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def serve(root: Path) -> Iterator[GitServer]:
    with GitServer(root) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
