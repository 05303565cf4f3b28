"""The little of Consul's HTTP API that a service discovery reads: one service and its nodes; it knows no reader.

Source: Consul's HTTP API, "Catalog: List Services" and "Health: List Service Instances". An answer comes at once and
carries the index that grows with each change, so a reader that polls learns of a change at its next poll.
"""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SERVICE = "web"


class Consul:
    """A catalogue of one service, served on ``listener`` until ``stop``."""

    def __init__(self, listener: socket.socket) -> None:
        self._lock = threading.Lock()
        self._nodes: dict[str, int] = {}
        self._index = 1
        self._server = _server(listener, self)
        self._thread = threading.Thread(target=self._server.serve_forever, name="consul", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def register(self, address: str, port: int) -> None:
        """Add a passing instance of the service."""
        with self._lock:
            self._nodes[address] = port
            self._index += 1

    def deregister(self, address: str) -> None:
        """Take the instance away."""
        with self._lock:
            del self._nodes[address]
            self._index += 1

    def answer(self, path: str) -> tuple[int, object] | None:
        """Return the index and the document at ``path``, or None where there is none."""
        with self._lock:
            if path == "/v1/catalog/services":
                return self._index, {SERVICE: []}
            if path == f"/v1/health/service/{SERVICE}":
                return self._index, [_entry(address, port) for address, port in self._nodes.items()]
        return None


def _entry(address: str, port: int) -> dict[str, object]:
    return {
        "Node": {"Node": address, "Address": address},
        "Service": {"ID": address, "Service": SERVICE, "Address": address, "Port": port},
        "Checks": [{"CheckID": f"service:{address}", "Status": "passing"}],
    }


def _server(listener: socket.socket, consul: Consul) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _get(self) -> None:
            found = consul.answer(self.path.partition("?")[0])
            index, document = found or (0, None)
            body = json.dumps(document).encode()
            self.send_response(200 if found else 404)
            self.send_header("X-Consul-Index", str(index))
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = _get  # noqa: N815 -- the name that http.server looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's parameter
            """Say nothing: a poll a second is no news."""

    server = ThreadingHTTPServer(listener.getsockname(), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.daemon_threads = True
    return server
