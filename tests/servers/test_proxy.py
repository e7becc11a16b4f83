"""Each fault of the proxy happens as described and is counted; a seed gives the same faults."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from tests.servers.proxy import Fault, FaultProxy, Request, scripted, seeded

TIMEOUT = 0.2
LATE = 0.5


class Counter:
    """A server that records the bodies of PUT requests in order."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                outer.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(b"")

            def do_GET(self) -> None:
                self._answer(b" ".join(outer.bodies))

            do_HEAD = do_GET  # noqa: N815 - the name is the base class's

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
                """Nothing is printed."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"


@pytest.fixture
def server() -> Iterator[Counter]:
    server = Counter()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def ask(
    url: str, method: str, body: bytes | None = None, agent: str = "a", timeout: float = 5.0
) -> tuple[int, bytes]:
    where = urlsplit(url)
    with closing(
        http.client.HTTPConnection(where.hostname or "", where.port, timeout=timeout)
    ) as link:
        link.request(method, "/k", body, {"User-Agent": agent})
        found = link.getresponse()
        return found.status, found.read()


def test_proxy_forwards_requests_without_faults(server: Counter) -> None:
    with FaultProxy(server.url) as proxy:
        assert ask(proxy.url, "PUT", b"one") == (200, b"")
        assert ask(proxy.url, "GET") == (200, b"one")
        assert ask(proxy.url, "HEAD") == (200, b"")
    assert not proxy.counts and not proxy.happened


@pytest.mark.parametrize(
    ("fault", "effect"), [(Fault.LOST_BEFORE, []), (Fault.LOST_AFTER, [b"one"])]
)
def test_lost_request_has_no_effect_and_lost_answer_has(
    server: Counter, fault: Fault, effect: list[bytes]
) -> None:
    with FaultProxy(server.url, scripted({("PUT /k", 0): fault})) as proxy:
        with pytest.raises(http.client.RemoteDisconnected):
            ask(proxy.url, "PUT", b"one")
        assert server.bodies == effect
        assert ask(proxy.url, "PUT", b"two")[0] == 200
    assert proxy.counts == {fault: 1} and server.bodies == [*effect, b"two"]


def test_delayed_request_takes_effect_after_the_timeout(server: Counter) -> None:
    with FaultProxy(server.url, scripted({("PUT /k", 0): Fault.DELAYED}), delay=LATE) as proxy:
        with pytest.raises(TimeoutError):
            ask(proxy.url, "PUT", b"late", timeout=TIMEOUT)
        assert ask(proxy.url, "PUT", b"early")[0] == 200 and server.bodies == [b"early"]
        assert eventually(lambda: proxy.counts[Fault.DELAYED] == 1)
    assert server.bodies == [b"early", b"late"]


def test_delayed_request_can_be_released(server: Counter) -> None:
    with FaultProxy(server.url, scripted({("PUT /k", 0): Fault.DELAYED}), delay=60.0) as proxy:
        with pytest.raises(TimeoutError):
            ask(proxy.url, "PUT", b"late", timeout=TIMEOUT)
        proxy.send_on()
        assert eventually(lambda: server.bodies == [b"late"])


def test_delayed_requests_arrive_before_the_proxy_ends(server: Counter) -> None:
    with FaultProxy(server.url, scripted({("PUT /k", 0): Fault.DELAYED}), delay=60.0) as proxy:
        with pytest.raises(TimeoutError):
            ask(proxy.url, "PUT", b"late", timeout=TIMEOUT)
        assert server.bodies == []
    assert server.bodies == [b"late"] and proxy.counts == {Fault.DELAYED: 1}


def test_delay_shorter_than_the_timeout_is_not_counted(server: Counter) -> None:
    with FaultProxy(server.url, scripted({("PUT /k", 0): Fault.DELAYED}), delay=0.05) as proxy:
        assert ask(proxy.url, "PUT", b"one")[0] == 200
    assert not proxy.counts and server.bodies == [b"one"]


def test_answer_is_cut_in_the_middle_of_its_body(server: Counter) -> None:
    with FaultProxy(server.url, scripted({("GET /k", 0): Fault.CUT})) as proxy:
        ask(proxy.url, "PUT", b"12345678")
        with pytest.raises(http.client.IncompleteRead) as cut:
            ask(proxy.url, "GET")
    assert cut.value.partial == b"1234" and proxy.counts == {Fault.CUT: 1}


def test_answer_without_a_body_is_cut_in_its_headers(server: Counter) -> None:
    with FaultProxy(server.url, scripted({("PUT /k", 0): Fault.CUT})) as proxy:
        where = urlsplit(proxy.url)
        with (
            socket.create_connection((where.hostname, where.port), 5.0) as link,
            link.makefile("rb") as answer,
        ):
            link.sendall(b"PUT /k HTTP/1.1\r\nContent-Length: 3\r\n\r\none")
            text = answer.read()
    assert text.startswith(b"HTTP/1.1 200 OK") and b"\r\n\r\n" not in text
    assert server.bodies == [b"one"] and proxy.counts == {Fault.CUT: 1}


def test_only_a_500_error_may_have_an_effect(server: Counter) -> None:
    with FaultProxy(server.url, lambda label, ordinal: Fault.ERROR) as proxy:
        answers = [
            (ask(proxy.url, "PUT", str(number).encode())[0], str(number).encode())
            for number in range(20)
        ]
    with_effect = [status for status, body in answers if body in server.bodies]
    assert {status for status, _ in answers} == {500, 503} and set(with_effect) == {500}
    assert 0 < len(with_effect) < [status for status, _ in answers].count(500)
    assert proxy.counts == {Fault.ERROR: 20}


def test_later_request_of_another_client_overtakes(server: Counter) -> None:
    with (
        FaultProxy(server.url, scripted({("PUT /k", 0): Fault.REORDERED}), patience=5.0) as proxy,
        ThreadPoolExecutor() as pool,
    ):
        first = pool.submit(ask, proxy.url, "PUT", b"first", "a")
        assert eventually(lambda: proxy.waiting)
        assert ask(proxy.url, "PUT", b"own", "a")[0] == 200 and not first.done()
        assert ask(proxy.url, "PUT", b"second", "b")[0] == 200
        assert first.result()[0] == 200
    assert server.bodies == [b"own", b"second", b"first"] and proxy.counts == {Fault.REORDERED: 1}


def test_request_that_is_not_overtaken_is_not_counted(server: Counter) -> None:
    with FaultProxy(server.url, scripted({("PUT /k", 0): Fault.REORDERED}), patience=0.05) as proxy:
        assert ask(proxy.url, "PUT", b"one", "a")[0] == 200
    assert server.bodies == [b"one"] and not proxy.counts


def test_seed_gives_the_same_schedule() -> None:
    def drawn(seed: int) -> list[Fault | None]:
        schedule = seeded(seed, 0.3)
        return [schedule("PUT /k", ordinal) for ordinal in range(200)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert set(drawn(1)) == {None, *Fault} and 30 < 200 - drawn(1).count(None) < 90


def test_same_seed_gives_the_same_faults(server: Counter) -> None:
    def run() -> list[tuple[str, int, str]]:
        with (
            FaultProxy(server.url, seeded(3, 0.5, (Fault.ERROR,))) as proxy,
            ThreadPoolExecutor(4) as pool,
        ):
            list(
                pool.map(
                    lambda number: ask(proxy.url, "PUT", b"x", f"client {number % 4}"), range(40)
                )
            )
        return sorted((fault.label, fault.ordinal, fault.fault.name) for fault in proxy.happened)

    assert run() == run() != []


def test_labels_leave_out_random_parts() -> None:
    signed = "AWS4-HMAC-SHA256 Credential=alice/20260101/us-east-1/s3/aws4_request, Signature=00"
    first = Request(
        "PUT",
        "/b/k.log/0a1b2c3d-12-9f8e7d6c",
        [("Authorization", signed), ("User-Agent", "boto")],
        b"",
    )
    assert (first.label, first.sender) == ("PUT /b/k.log/#-#-#", "alice boto")
    asked = Request(
        "POST",
        "/",
        [("X-Amz-Target", "DynamoDB_20120810.PutItem"), ("Authorization", "Bearer t")],
        b"{}",
    )
    assert (asked.label, asked.sender) == ("POST / PutItem", "Bearer t ")


def eventually(true: object, patience: float = 5.0) -> bool:
    assert callable(true)
    pause = threading.Event()
    for _ in range(int(patience / 0.01)):
        if true():
            return True
        pause.wait(0.01)
    return False
