"""One application server, a process of its own: N requests at a time for a fixed time each; it knows no load balancer.

Protocols instead of streams, because clients, servers and HAProxy share two processors: a request costs it about 60 µs.
The round trip to it is played here, half of it on the way in and half on the way out, health checks included; only
TCP's own handshake is spared it. On its standard input it takes ``mood MOOD`` and ``count``, and answers each by a line
of JSON. It stands on the standard library alone.

    python -m benches.spill.server --address 127.0.0.2 --port 8080 --name no-primary --slots 25 --service-ms 50
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from enum import StrEnum

HEALTH_PATH = b"/health"
SLOWER_S = 0.05
_END = b"\r\n\r\n"
# linger(1, 0): to close is to reset, socket(7).
_RESET = struct.pack("ii", 1, 0)


class Mood(StrEnum):
    """How the server treats who comes."""

    WELL = "well"
    SLOW = "slow"  # every request takes ``SLOWER_S`` longer
    DEAF = "deaf"  # takes connections and requests, and answers none
    RESETTING = "resetting"  # resets the connection as soon as it has read a request
    SICK = "sick"  # answers 500 to the health check, and requests as ever


class Application:
    """Serves ``slots`` requests at a time, each for ``service_s``; the others wait in the order of their coming."""

    def __init__(self, *, name: str, slots: int, service_s: float, round_trip_s: float) -> None:
        self.mood = Mood.WELL
        self.requests = 0
        self.one_way_s = round_trip_s / 2
        self._free = slots
        self._service_s = service_s
        self._waiting: deque[Callable[[], None]] = deque()
        body = f"{name}\n"
        tail = f"Content-Length: {len(body)}\r\nX-Served-By: {name}\r\n\r\n"
        self.answer = f"HTTP/1.1 200 OK\r\n{tail}{body}".encode()
        self.healthy = f"HTTP/1.1 200 OK\r\n{tail}".encode()
        self.unhealthy = f"HTTP/1.1 500 Internal Server Error\r\n{tail}".encode()

    def work(self, done: Callable[[], None]) -> None:
        """Call ``done`` when a slot was free and the service time is over."""
        self.requests += 1
        if self._free:
            self._free -= 1
            self._begin(done)
        else:
            self._waiting.append(done)

    def _begin(self, done: Callable[[], None]) -> None:
        slower = SLOWER_S if self.mood is Mood.SLOW else 0
        asyncio.get_running_loop().call_later(self._service_s + slower, self._finish, done)

    def _finish(self, done: Callable[[], None]) -> None:
        done()
        if self._waiting:
            self._begin(self._waiting.popleft())
        else:
            self._free += 1


class Talk(asyncio.Protocol):
    """One connection: requests one after the other, as HAProxy sends them."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"wanted a stream, found {transport!r}")
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take in every request that has come to its end."""
        self._received += data
        while (head_end := self._received.find(_END)) >= 0:
            head = self._received[:head_end]
            end = head_end + len(_END) + _body_length(head)
            if len(self._received) < end:
                return
            self._received = self._received[end:]
            self._after_one_way(lambda head=head: self._take(head))  # type: ignore[misc]  # a default binds it early

    def _take(self, head: bytes) -> None:
        application = self._application
        if application.mood is Mood.DEAF or self._transport.is_closing():
            return
        if application.mood is Mood.RESETTING:
            self._reset()
        elif head.split(b" ", 2)[1] == HEALTH_PATH:
            sick = application.mood is Mood.SICK
            self._send(application.unhealthy if sick else application.healthy)
        else:
            application.work(lambda: self._send(application.answer))

    def _send(self, answer: bytes) -> None:
        self._after_one_way(lambda: self._transport.write(answer))

    def _after_one_way(self, act: Callable[[], object]) -> None:
        if self._application.one_way_s:
            asyncio.get_running_loop().call_later(self._application.one_way_s, act)
        else:
            act()

    def _reset(self) -> None:
        connection: socket.socket = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()


def _body_length(head: bytes) -> int:
    """Return the Content-Length in ``head``, 0 without one; HAProxy has made its names lower case."""
    _, found, rest = head.partition(b"\r\ncontent-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


async def _serve(options: argparse.Namespace) -> None:
    application = Application(
        name=options.name,
        slots=options.slots,
        service_s=options.service_ms / 1000,
        round_trip_s=options.round_trip_ms / 1000,
    )
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def obey() -> None:
        line = os.read(sys.stdin.fileno(), 4096).decode().split()
        if not line:
            ended.set()
            return
        if line[0] == "mood":
            application.mood = Mood(line[1])
        print(json.dumps({"requests": application.requests, "mood": application.mood}), flush=True)

    # A server on every address of the loopback can then stand beside those on one each.
    server = await loop.create_server(
        lambda: Talk(application), options.address, options.port, backlog=4096, reuse_port=True
    )
    loop.add_reader(sys.stdin.fileno(), obey)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    async with server:
        await ended.wait()


def main() -> None:
    """Serve until the standard input ends."""
    parser = argparse.ArgumentParser(description="An application server with a known capacity.")
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, required=True, help="0 for any that is free; the first line says which")
    parser.add_argument("--name", required=True)
    parser.add_argument("--slots", type=int, required=True, help="requests worked on at a time")
    parser.add_argument("--service-ms", type=float, required=True, help="how long one request takes")
    parser.add_argument("--round-trip-ms", type=float, default=0, help="of the way to here and back")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
