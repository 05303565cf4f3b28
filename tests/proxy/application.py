"""A small HTTP server that says who it is, and that can be told to wait, fail, hang or hang up; it knows no HAProxy."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

_PREFACE = b"\r\n\r\n\0\r\nQUIT\n"


class Application:
    """Listens from its making to ``stop``. ``gate`` holds requests back while it is closed, health checks never."""

    def __init__(self, name: str, address: str, port: int, *, expects_proxy: bool = False) -> None:
        self.name = name
        self.expects_proxy = expects_proxy
        self.gate = threading.Event()
        self.gate.set()
        self.health = 200
        self.status = 200
        self.hangs_up = False  # takes a request and closes without a word
        self.hangs = False  # takes connections and says nothing, not even to health checks
        self.resets = False  # resets connections as they come
        self.seen: list[tuple[str, str]] = []
        self.headers: list[list[tuple[str, str]]] = []
        self.senders: list[str] = []
        self.busy = 0
        self._lock = threading.Lock()
        self._server = _Server((address, port), self)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening and let go of whoever waits."""
        self.hangs = False
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()

    def took(self, method: str) -> int:
        """Return how many requests with ``method`` came, health checks aside."""
        return Counter(method for method, _ in self.seen)[method]

    def work(self, handler: BaseHTTPRequestHandler) -> None:
        """Take the request in and wait for the gate."""
        with self._lock:
            self.seen.append((handler.command, handler.path))
            self.headers.append([(name.lower(), value) for name, value in handler.headers.items()])
            self.busy += 1
        self.gate.wait(20)
        with self._lock:
            self.busy -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, place: tuple[str, int], application: Application) -> None:
        self.application = application
        super().__init__(place, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that go are what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20

    @property
    def application(self) -> Application:
        return cast("_Server", self.server).application

    def handle(self) -> None:
        application = self.application
        if application.resets:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        if application.expects_proxy and not self._proxy_header():
            return
        super().handle()

    def _proxy_header(self) -> bool:
        """Read PROXY protocol, version 2 (its specification, 2.2); False when the connection begins otherwise."""
        head = self.rfile.read(16)
        if len(head) < 16 or head[:12] != _PREFACE:
            return False
        body = self.rfile.read(int.from_bytes(head[14:16], "big"))
        if head[12] == 0x21:  # PROXY, not LOCAL as health checks say
            self.application.senders.append(socket.inet_ntoa(body[:4]))
        return True

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self._answer()

    def _answer(self) -> None:
        application = self.application
        while application.hangs:
            time.sleep(0.02)
        checked = self.path == "/health"
        if not checked:
            application.work(self)
            if application.hangs_up:
                self.close_connection = True
                return
        body = application.name.encode()
        self.send_response(application.health if checked else application.status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Server", application.name)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class calls it so
        """Say nothing."""
