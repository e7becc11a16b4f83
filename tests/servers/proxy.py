"""A network that fails on purpose: an HTTP proxy with six faults and a seeded schedule.

    with FaultProxy("http://127.0.0.1:9000", seeded(7, rate=0.2), delay=2.0) as proxy:
        ...  # a client of proxy.url
    assert proxy.counts[Fault.LOST_AFTER] > 0

It listens on plain HTTP; the server may use HTTPS, and its certificate is not checked. Headers are
forwarded unchanged, so that signatures stay valid. `counts` is the number of faults that really
happened as described, and `happened` names the request of each.
"""

from __future__ import annotations

import contextlib
import enum
import http.client
import random
import re
import select
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, TypeAlias
from urllib.parse import urlsplit

HOST = "127.0.0.1"
RANDOM_PART = re.compile(r"[0-9a-f]{8,}|\d+")
KEY_OF_SIGNATURE = re.compile(r"Credential=([^/]+)/")
HOP_HEADERS = {"connection", "transfer-encoding", "content-length", "expect", "keep-alive"}
"""Headers that belong to one connection and are not forwarded."""


class Fault(enum.Enum):
    """A fault of one request."""

    LOST_BEFORE = "the request is lost: it has no effect, and the connection ends without an answer"
    LOST_AFTER = (
        "the answer is lost: the request has its effect, and the connection ends without an answer"
    )
    DELAYED = "the request arrives after the timeout of its client, and then has its effect"
    CUT = (
        "the answer ends in the middle of its body, or of its headers if it has no body; "
        "the request has its effect"
    )
    ERROR = "500 or 503 instead of the answer: 503 has no effect, 500 may have one"
    REORDERED = "a later request of another client overtakes the request"


@dataclass(frozen=True, slots=True)
class Request:
    """A received request. `sender` identifies the client by its key or token and user agent."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def sender(self) -> str:
        proof = self.header("authorization")
        found = KEY_OF_SIGNATURE.search(proof)
        return f"{found.group(1) if found else proof} {self.header('user-agent')}"

    @property
    def label(self) -> str:
        """Return a label that is the same in every run: method and path without random parts."""
        operation = self.header("x-amz-target").rpartition(".")[2]
        return " ".join(
            part for part in (self.method, RANDOM_PART.sub("#", self.path), operation) if part
        )


@dataclass(frozen=True, slots=True)
class HappenedFault:
    """A fault of the request with number `ordinal`, from 0, of a sender with this label."""

    label: str
    ordinal: int
    fault: Fault


Schedule: TypeAlias = Callable[[str, int], Fault | None]
"""A function from the label and the ordinal of a request to its fault."""


def seeded(seed: int, rate: float, faults: tuple[Fault, ...] = tuple(Fault)) -> Schedule:
    """Return a schedule with one of the faults for each request, with probability `rate`.

    The fault depends only on the seed, the label and the ordinal. So a seed gives the same faults
    however the threads interleave.
    """

    def choose(label: str, ordinal: int) -> Fault | None:
        dice = random.Random(f"{seed} {label} {ordinal}")
        return dice.choice(faults) if dice.random() < rate else None

    return choose


def scripted(plan: Mapping[tuple[str, int], Fault]) -> Schedule:
    """Return a schedule with exactly these faults."""
    return lambda label, ordinal: plan.get((label, ordinal))


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes

    def to_bytes(self, *, bodiless: bool) -> bytes:
        """Return the answer as bytes; for HEAD keep the Content-Length of the server."""
        lines = [f"HTTP/1.1 {self.status} {self.reason}"]
        lines += [
            f"{name}: {value}" for name, value in self.headers if name.lower() not in HOP_HEADERS
        ]
        said = next(
            (value for name, value in self.headers if name.lower() == "content-length"), None
        )
        length = said if bodiless else str(len(self.body))
        lines += (
            [f"Content-Length: {length}"]
            if length is not None and self.status not in (204, 304)
            else []
        )
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


class _LostError(Exception):
    """Ends the connection to the client, after sending the bytes in its arguments."""


@dataclass
class FaultProxy:
    """A proxy between the clients of `url` and `upstream` (scheme, host and port).

    - `delay`: seconds that a delayed request is held, which must exceed the client's timeout.
    - `patience`: seconds that a request waits for another one to overtake it.
    - `latency`: seconds that are added to each request.
    """

    upstream: str
    schedule: Schedule = lambda label, ordinal: None
    delay: float = 1.0
    patience: float = 0.5
    latency: float = 0.0
    counts: Counter[Fault] = field(default_factory=Counter[Fault])
    happened: list[HappenedFault] = field(default_factory=list[HappenedFault])

    def __enter__(self) -> Self:
        self._seen: Counter[tuple[str, str]] = Counter()
        self._change = threading.Condition()
        self._arrivals = self._under_way = 0
        self._answered: list[tuple[int, str]] = []
        self.waiting = False
        self._send_on = threading.Event()
        self._server = _Server((HOST, 0), _handler(self))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()
        self.url = f"http://{HOST}:{self._server.server_address[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for all delayed requests, so that they cannot disturb the next test."""
        self.send_on()
        with self._change:
            self._change.wait_for(lambda: not self._under_way, timeout=60)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def send_on(self) -> None:
        """Forward all delayed requests now, and all later ones without delay."""
        self._send_on.set()

    def serve(self, request: Request, connection: socket.socket) -> bytes:
        """Return the answer for the client.

        Raises _LostError, with the bytes to send before, if its connection must end.
        """
        with self._change:
            self._under_way += 1
        try:
            return self._serve(request, connection)
        finally:
            with self._change:
                self._under_way -= 1
                self._change.notify_all()

    def _serve(self, request: Request, connection: socket.socket) -> bytes:
        time.sleep(self.latency)
        fault, hit, arrival = self._fault(request)
        if fault is Fault.LOST_BEFORE:
            self._count(hit)
            raise _LostError
        if fault is Fault.ERROR:
            return self._error(request, hit, arrival)
        if fault is Fault.DELAYED:
            return self._delay(request, hit, arrival, connection)
        if fault is Fault.REORDERED:
            self._let_overtake(request, hit, arrival)
        data = self._ask(request, arrival)
        if fault is Fault.LOST_AFTER:
            self._count(hit)
            raise _LostError
        if fault is Fault.CUT:
            self._count(hit)
            raise _LostError(_first_half(data))
        return data

    def _fault(self, request: Request) -> tuple[Fault | None, HappenedFault, int]:
        with self._change:
            ordinal = self._seen[request.sender, request.label]
            self._seen[request.sender, request.label] += 1
            self._arrivals += 1
            arrival = self._arrivals
        fault = self.schedule(request.label, ordinal)
        return fault, HappenedFault(request.label, ordinal, fault or Fault.ERROR), arrival

    def _count(self, hit: HappenedFault) -> None:
        with self._change:
            self.counts[hit.fault] += 1
            self.happened.append(hit)

    def _error(self, request: Request, hit: HappenedFault, arrival: int) -> bytes:
        dice = random.Random(f"{hit.label} {hit.ordinal}")
        status, reason = dice.choice([(500, "Internal Server Error"), (503, "Service Unavailable")])
        if status == 500 and dice.random() < 0.5:
            self._ask(request, arrival)
        self._count(hit)
        return _Answer(status, reason, [("Content-Type", "text/plain")], b"no\n").to_bytes(
            bodiless=request.method == "HEAD"
        )

    def _delay(
        self,
        request: Request,
        hit: HappenedFault,
        arrival: int,
        connection: socket.socket,
    ) -> bytes:
        self._send_on.wait(self.delay)
        gone = _client_is_gone(connection)
        data = self._ask(request, arrival)
        if gone:
            self._count(hit)
        return data

    def _let_overtake(self, request: Request, hit: HappenedFault, arrival: int) -> None:
        def passed() -> bool:
            return any(
                other > arrival and sender != request.sender for other, sender in self._answered
            )

        with self._change:
            if self.waiting:  # two waiting requests would wait for each other
                return
            self.waiting = True
            overtaken = self._change.wait_for(passed, self.patience)
            self.waiting = False
        if overtaken:
            self._count(hit)

    def _ask(self, request: Request, arrival: int) -> bytes:
        answer = _forward(self.upstream, request)
        with self._change:
            self._answered.append((arrival, request.sender))
            self._change.notify_all()
        return answer.to_bytes(bodiless=request.method == "HEAD")


def _forward(upstream: str, request: Request) -> _Answer:
    """Send the request on a new connection, so that it is never sent twice."""
    where = urlsplit(upstream)
    assert where.hostname is not None
    link: http.client.HTTPConnection
    if where.scheme == "https":
        link = http.client.HTTPSConnection(
            where.hostname, where.port, context=ssl._create_unverified_context(), timeout=60
        )
    else:
        link = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    with contextlib.closing(link):
        link.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers:
            if name.lower() not in HOP_HEADERS:
                link.putheader(name, value)
        if request.body or request.header("content-length"):
            link.putheader("Content-Length", str(len(request.body)))
        link.putheader("Connection", "close")
        link.endheaders(request.body or None)
        found = link.getresponse()
        return _Answer(found.status, found.reason, found.getheaders(), found.read())


def _first_half(data: bytes) -> bytes:
    head, _, body = data.partition(b"\r\n\r\n")
    return data[: len(head) + 4 + len(body) // 2] if len(body) > 1 else head[: len(head) // 2]


def _client_is_gone(connection: socket.socket) -> bool:
    """Return whether the client has closed its end: then a read returns no bytes."""
    readable, _, _ = select.select([connection], [], [], 0)
    try:
        return bool(readable) and not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect and servers that do not answer."""


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def serve(self) -> None:
            body = b"".join(self._body())
            request = Request(self.command, self.path, list(self.headers.items()), body)
            try:
                data = proxy.serve(request, self.connection)
            except _LostError as lost:
                data = b"".join(lost.args)
                self.close_connection = True
            self.wfile.write(data)

        def _body(self) -> Iterator[bytes]:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                yield self.rfile.read(int(self.headers.get("Content-Length") or 0))
                return
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
            """Print nothing."""

    for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"):
        setattr(Handler, f"do_{method}", Handler.serve)
    return Handler
