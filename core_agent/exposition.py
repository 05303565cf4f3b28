"""Answers ``GET /metrics`` in one network, at one address of this machine; it must not know what the numbers mean.

Nothing that a client does can cost the agent more than a few threads of its own, each reading a bounded head for a
bounded time: a slow client is cut off, and too many at once wait in the kernel. One answer a connection (RFC 9112, 9.6,
``Connection: close``). A port that is taken, or a fault in the numbers, keeps nobody but Prometheus waiting.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface

from core_agent.metrics import Metrics
from core_agent.metrics.text import CONTENT_TYPE

log = logging.getLogger("drawbridge")

_IP_FREEBIND = 15  # ip(7); Python's socket module does not name it
_THREADS = 4
_BACKLOG = 16
_HEAD_BYTES = 8192
_DEADLINE_S = 2.0  # to ask in, and again to take the answer in
_RETRY_S = 60.0
_END = b"\r\n\r\n"
_PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """A status line's end, further header fields, and the body."""

    status: str
    body: str
    kind: str = _PLAIN
    more: str = ""


def serve(metrics: Metrics, at: IPv4Interface, port: int, *, retry_s: float = _RETRY_S) -> None:
    """Answer whoever is in the network of ``at``, for ever, in threads that end with the process; returns at once.

    While the port cannot be had, the log says why, once for each reason, and every ``retry_s`` it is tried again.
    """
    threading.Thread(target=_serve, args=(metrics, at, port, retry_s), name="metrics", daemon=True).start()


def _serve(metrics: Metrics, at: IPv4Interface, port: int, retry_s: float) -> None:
    listener = _listen(at.ip, port, retry_s)
    log.info("metrics: answering at http://%s:%d/metrics", at.ip, port)
    for number in range(1, _THREADS):
        threading.Thread(
            target=_answer_all, args=(metrics, at, listener), name=f"metrics-{number}", daemon=True
        ).start()
    _answer_all(metrics, at, listener)


def _listen(address: IPv4Address, port: int, retry_s: float) -> socket.socket:
    complaint = ""
    while True:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # The address need not be there yet, and comes and goes with the tunnel.
        listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        try:
            listener.bind((str(address), port))
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            if str(error) != complaint:
                complaint = str(error)
                log.error(  # noqa: TRY400 - the message is whole
                    "metrics: listening at %s:%d: %s; going on without them, and trying again every %g s",
                    *(address, port, complaint, retry_s),
                )
            time.sleep(retry_s)
        else:
            return listener


def _answer_all(metrics: Metrics, at: IPv4Interface, listener: socket.socket) -> None:
    while True:
        try:
            connection, (client, _) = listener.accept()
        except OSError as error:  # accept(2): a client that left before its turn, or no descriptor left for now
            log.warning("metrics: accepting: %s", error)
            time.sleep(1)
            continue
        with connection:
            # Linux takes packets for any of its addresses on any interface, so the address alone keeps nobody out.
            if IPv4Address(client) not in at.network:
                continue
            try:
                _converse(metrics, connection)
            except OSError as error:
                log.debug("metrics: %s got no answer: %s", client, error)


def _converse(metrics: Metrics, connection: socket.socket) -> None:
    """Read one request and answer it; raises ``OSError``, ``TimeoutError`` for a client that is too slow."""
    head = _head(connection)
    method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    answer = _answer(metrics, method, rest.partition(" ")[0]) if head.endswith(_END) else _TOO_LARGE
    body = answer.body.encode()
    fields = f"Content-Type: {answer.kind}\r\nContent-Length: {len(body)}\r\n{answer.more}Connection: close\r\n\r\n"
    connection.settimeout(_DEADLINE_S)
    connection.sendall(f"HTTP/1.1 {answer.status}\r\n{fields}".encode() + (b"" if method == "HEAD" else body))


def _head(connection: socket.socket) -> bytes:
    """Return all up to the empty line and with it, or the first ``_HEAD_BYTES`` without one. Raises ``OSError``."""
    received = b""
    deadline = time.monotonic() + _DEADLINE_S
    while _END not in received and len(received) < _HEAD_BYTES:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("it asked too slowly")
        connection.settimeout(left)
        data = connection.recv(_HEAD_BYTES)
        if not data:
            raise ConnectionResetError("it stopped in the middle of asking")
        received += data
    head, end, _ = received.partition(_END)
    return head + end


_TOO_LARGE = _Answer(status="431 Request Header Fields Too Large", body=f"{_HEAD_BYTES} bytes at most.\n")


def _answer(metrics: Metrics, method: str, target: str) -> _Answer:
    if target.partition("?")[0] != "/metrics":
        return _Answer(status="404 Not Found", body="There is only /metrics.\n")
    if method != "GET":
        return _Answer(status="405 Method Not Allowed", body="GET alone.\n", more="Allow: GET\r\n")
    try:
        return _Answer(status="200 OK", body=metrics.render(), kind=CONTENT_TYPE)
    except Exception:  # a fault in the numbers must not end the agent, as one elsewhere does
        log.exception("metrics: writing them out")
        return _Answer(status="500 Internal Server Error", body="The agent's log says why.\n")
