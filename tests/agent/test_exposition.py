"""The metrics' door: one page to whoever is inside, nothing to others, and no client that costs more than its due."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from ipaddress import IPv4Interface

import pytest

from core_agent import exposition
from core_agent.contract.messages import BurstReport, ReadFacts
from core_agent.contract.names import Reason
from core_agent.exposition import serve
from core_agent.metrics import Metrics
from tests.agent.core_under_test import START
from tests.agent.exposition_text import parse

REPORT = BurstReport(level_percent=1, core_percent=100, by_hand=False, reason=Reason("test"))
INSIDE, OUTSIDE = "127.9.0.2", "127.0.0.1"
AT = IPv4Interface("127.9.0.1/24")


class Served:
    """Metrics at ``AT``, and ways to ask for them."""

    def __init__(self) -> None:
        self.metrics = Metrics(started_at=START)
        self.port = free_port()
        serve(self.metrics, AT, self.port, retry_s=0.05)
        until(lambda: self.get()[0] == 200)

    def connect(self, source: str = INSIDE) -> socket.socket:
        """Connect from ``source``."""
        return socket.create_connection((str(AT.ip), self.port), timeout=5, source_address=(source, 0))

    def get(self, path: str = "/metrics", method: str = "GET") -> tuple[int, str, dict[str, str]]:
        """Ask as an HTTP client does: status, body, header fields."""
        connection = HTTPConnection(str(AT.ip), self.port, timeout=5, source_address=(INSIDE, 0))
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode(), dict(response.getheaders())
        except ConnectionRefusedError:
            return 0, "", {}
        finally:
            connection.close()

    def say(self, request: bytes) -> bytes:
        """Send ``request`` as it is and return all that comes back."""
        with self.connect() as client:
            client.sendall(request)
            return rest(client)


def rest(client: socket.socket) -> bytes:
    """Return what comes until the other side closes, an abrupt end included."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(65_536):
            received += data
    return received


def free_port() -> int:
    """Return a port that nobody has at ``AT``."""
    with socket.socket() as probe:
        probe.bind((str(AT.ip), 0))
        port: int = probe.getsockname()[1]
        return port


def until(done: Callable[[], bool]) -> None:
    """Return once ``done``, within seconds."""
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """One server for the module; its threads end with the process, as the agent's do."""
    patch = pytest.MonkeyPatch()
    patch.setattr(exposition, "_DEADLINE_S", 0.5)
    yield Served()
    patch.undo()


def test_a_scrape_gets_the_text_format(served: Served) -> None:
    """The declared type is 0.0.4's, the length is right, and the numbers are of this moment."""
    served.metrics.answered(ReadFacts(), REPORT)
    status, body, fields = served.get()
    assert (status, fields["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert int(fields["Content-Length"]) == len(body.encode())
    samples = parse(body)["drawbridge_commands_total"].samples
    assert 1.0 in samples.values()
    served.metrics.answered(ReadFacts(), REPORT)
    assert served.get()[1] != body
    assert served.get("/metrics?timeout=5")[0] == 200


@pytest.mark.parametrize("path", ["/", "/metric", "/metrics/", "/debug", "*"])
def test_there_is_no_other_page(served: Served, path: str) -> None:
    """404 for every other path."""
    assert served.get(path)[0] == 404


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get"])
def test_there_is_no_other_method(served: Served, method: str) -> None:
    """405, and what is allowed instead."""
    status, _, fields = served.get(method=method)
    assert (status, fields["Allow"]) == (405, "GET")


def test_whoever_is_outside_the_network_gets_nothing(served: Served) -> None:
    """Not even a status: the packets may reach the address, the answer is that there is nobody."""
    with served.connect(OUTSIDE) as client:
        with contextlib.suppress(OSError):
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert rest(client) == b""
    assert served.get()[0] == 200


def test_a_head_without_end_is_refused(served: Served) -> None:
    """After 8 KiB without an empty line the answer is 431, and no more is read."""
    reply = served.say(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * (exposition._HEAD_BYTES - 26))
    assert reply.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "request_", [b"\r\n\r\n", b"GET\r\n\r\n", b"\xff\xfe /metrics\x00\r\n\r\n", b" /metrics \r\n\r\n"]
)
def test_nonsense_is_answered_as_such(served: Served, request_: bytes) -> None:
    """No nonsense gets numbers, and none ends the server."""
    assert served.say(request_).split(b" ")[1] in (b"404", b"405")
    assert served.get()[0] == 200


def test_slow_clients_are_cut_off_and_keep_nobody_waiting_for_long(served: Served) -> None:
    """More clients than threads say one byte at a time; each is cut off in time, and a scrape still gets through."""
    stop = threading.Event()

    def drip(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not stop.wait(0.05):
                client.sendall(b"G")

    clients = [served.connect() for _ in range(2 * exposition._THREADS)]
    for client in clients:
        threading.Thread(target=drip, args=(client,), daemon=True).start()
    begin = time.monotonic()
    assert served.get()[0] == 200
    assert time.monotonic() - begin < 4 * exposition._DEADLINE_S
    for client in clients:
        assert rest(client) == b""
    stop.set()
    for client in clients:
        client.close()


def test_clients_that_go_away_harm_nobody(served: Served) -> None:
    """Before asking, in the middle of asking, and before the answer is read."""
    for request in (b"", b"GET /met", b"GET /metrics HTTP/1.1\r\n\r\n"):
        for _ in range(3):
            client = served.connect()
            client.sendall(request)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # leave with a reset
            client.close()
    assert served.get()[0] == 200


def test_a_fault_in_the_numbers_ends_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Prometheus sees a failed scrape, the log says why, and the next scrape is tried like any other."""
    with monkeypatch.context() as broken:
        broken.setattr(served.metrics, "render", lambda: 1 / 0)
        assert served.get()[0] == 500
    assert "ZeroDivisionError" in caplog.text
    assert served.get()[0] == 200


def test_a_port_that_is_taken_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing else waits for it; as soon as the port is free, the metrics are there."""
    caplog.set_level(logging.INFO)
    with socket.socket() as other:
        other.bind((str(AT.ip), 0))
        other.listen()
        port = other.getsockname()[1]
        serve(Metrics(started_at=START), AT, port, retry_s=0.05)
        until(lambda: "Address already in use" in caplog.text)
        time.sleep(0.3)
        assert caplog.text.count("Address already in use") == 1
        assert f"listening at {AT.ip}:{port}" in caplog.text
    until(lambda: f"answering at http://{AT.ip}:{port}/metrics" in caplog.text)


def test_the_address_need_not_be_there_yet(caplog: pytest.LogCaptureFixture) -> None:
    """The agent may start before the tunnel: an address of nobody's is listened at all the same."""
    caplog.set_level(logging.INFO)
    serve(Metrics(started_at=START), IPv4Interface("192.0.2.77/24"), free_port())
    until(lambda: "answering at http://192.0.2.77:" in caplog.text)
