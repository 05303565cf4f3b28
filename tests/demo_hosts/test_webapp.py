"""The demo's application: it works on N requests at a time, says who it is, and leaves politely."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

WEBAPP = Path(__file__).resolve().parents[2] / "demo/hosts/webapp.py"
Start = Callable[..., tuple[int, subprocess.Popen[bytes]]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the application with Debian's own python3 and options; returns its port and its process."""
    started: list[subprocess.Popen[bytes]] = []

    def run(*options: str) -> tuple[int, subprocess.Popen[bytes]]:
        place = ("--bind", "127.0.0.1", "--port", "0", "--name", "web-1")
        process = subprocess.Popen(("/usr/bin/python3", "-I", str(WEBAPP), *place, *options), stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith(b"web-1 listens on 127.0.0.1:")
        return int(said.rpartition(b":")[2]), process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def get(port: int, path: str = "/", method: str = "GET") -> tuple[int, bytes, str | None]:
    """One request on a connection of its own: status, body and X-Served-By."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, answer.getheader("X-Served-By")


def busy(port: int, method: str = "GET") -> str | None:
    """How many slots are taken, as the health check's answer says."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, "/health")
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("X-Served-By")) == (200, "web-1")
    assert answer.read() == (b"" if method == "HEAD" else b"web-1\n")
    connection.close()
    return answer.getheader("X-Slots-Busy")


@contextmanager
def requests_in_hand(port: int, count: int, taken: str) -> Iterator[None]:
    """Send ``count`` requests, each on a connection of its own, and go on once ``taken`` slots work on them."""
    with ExitStack() as connections:
        for _ in range(count):
            connection = connections.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await_that(lambda: busy(port) == taken)
        yield


def await_that(holds: Callable[[], bool]) -> None:
    """Return as soon as it holds."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_says_who_it_is(start: Start) -> None:
    """Body and header carry the name, so a load generator can count servers."""
    port, _ = start("--service-ms", "1")
    assert get(port) == (200, b"web-1\n", "web-1")


def test_no_more_than_the_slots_run_at_a_time(start: Start) -> None:
    """Six requests of 200 ms in two slots take three rounds and not less."""
    port, _ = start("--slots", "2", "--service-ms", "200")
    started = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        assert {status for status, _, _ in pool.map(lambda _: get(port), range(6))} == {200}
    assert time.monotonic() - started >= 0.6


def test_every_slot_is_used(start: Start) -> None:
    """Of three requests that take for ever, two slots work on two, and the third waits."""
    port, _ = start("--slots", "2", "--service-ms", "3600000")
    with requests_in_hand(port, 3, taken="2"):
        assert busy(port) == "2"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health_needs_no_slot(start: Start, method: str) -> None:
    """An application that is full for an hour still answers its health check."""
    port, _ = start("--slots", "1", "--service-ms", "3600000")
    assert busy(port, method) == "0"
    with requests_in_hand(port, 2, taken="1"):
        assert busy(port, method) == "1"


def test_connection_is_kept(start: Start) -> None:
    """Requests with and without a body follow one another on one connection."""
    port, _ = start("--service-ms", "1")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.connect()
    first = connection.sock
    for body in (None, b"x" * 100_000, None):
        connection.request("POST" if body else "GET", "/", body=body)
        assert connection.getresponse().read() == b"web-1\n"
        assert connection.sock is first
    connection.close()


@pytest.mark.parametrize(
    "sent",
    [b"nonsense\r\n\r\n", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"GET / HTTP/1.1\r\n" * 2000],
)
def test_what_it_does_not_understand_is_a_400(start: Start, sent: bytes) -> None:
    """A request that is none is answered with 400 and the connection closed; the next one is served."""
    port, _ = start("--service-ms", "1")
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(sent)
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert get(port)[0] == 200


def test_sigterm_finishes_what_is_in_hand(start: Start) -> None:
    """On SIGTERM a request in work is answered, idle connections close, no new one is taken, and the status is 0."""
    port, process = start("--service-ms", "2000")
    idle = socket.create_connection(("127.0.0.1", port), timeout=60)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(get, port)
        await_that(lambda: busy(port) == "1")
        assert not answer.done()
        process.send_signal(signal.SIGTERM)
        assert answer.result() == (200, b"web-1\n", "web-1")
    assert idle.recv(1) == b""
    idle.close()
    assert process.wait(30) == 0
