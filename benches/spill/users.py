"""The users, a process of its own: sends each request when it is due, and says what became of it; it knows no balancer.

Open loop: a request is due when its moment has come, whoever still waits. Latencies run from that moment, so that a
sender that is late only makes things look worse; how late it was is said too. Nothing is ever sent twice.

On its standard input it takes one JSON document a line, and answers each by one line: ``{"port": P, "due": [T, …],
"post": [0, 1, …]}`` or, as a closed loop, ``{"port": P, "in_flight": N, "begin": T, "end": T}``. Times are
CLOCK_MONOTONIC in seconds, which all processes of a machine share. It stands on the standard library alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import Any

ADDRESS = "127.0.0.1"
TIMEOUT_S = 15.0
# Kept connections are used again within this time only: less than any server's keep-alive timeout.
_IDLE_S = 1.0
_END = b"\r\n\r\n"
_GET = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
_POST = b'POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 9\r\n\r\n{"buy":1}'

# What became of a request when no whole answer came.
CONNECT, CUT, TIMEOUT, MALFORMED = -1, -2, -3, -4

Ended = Callable[[int, str, bool], None]
"""Called once with the status (or one of the above), who served it, and whether the answer said Retry-After."""


class Connection(asyncio.Protocol):
    """One connection to the balancer; ``free`` is called when it can take another request."""

    def __init__(self, free: Callable[[Connection], None]) -> None:
        self._free = free
        self._received = b""
        self._ended: Ended | None = None
        self._transport: asyncio.Transport | None = None
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        """Whether the other side still holds it."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to the balancer."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def ask(self, request: bytes, ended: Ended) -> None:
        """Send ``request``; ``ended`` hears what became of it."""
        if self._transport is None:
            raise RuntimeError("asking: wanted an open connection, found none yet")
        self._ended = ended
        self._transport.write(request)

    def give_up(self) -> None:
        """Close it; a request on its way is cut."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """End the request that was on its way, if any."""
        self._end(CUT, "", retry_after=False)

    def data_received(self, data: bytes) -> None:
        """Take in the answer."""
        self._received += data
        head, found, body = self._received.partition(_END)
        if not found:
            return
        lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        closes = fields.get("connection", "").lower() == "close"
        try:
            status, length = int(lines[0].split(" ", 2)[1]), int(fields["content-length"])
        except (IndexError, KeyError, ValueError):
            # HAProxy's own error pages before 2.9 say no length: the closing ends them.
            status, length, closes = _status(lines[0]), 0, True
        if len(body) < length:
            return
        self._received = b""
        self._end(status, fields.get("x-served-by", ""), retry_after="retry-after" in fields)
        if closes:
            self.give_up()
        elif self.usable:
            self._free(self)

    def _end(self, status: int, server: str, *, retry_after: bool) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(status, server, retry_after)


class Play:
    """One run: requests, and a record of each in columns."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Connection] = []
        self._open: dict[int, tuple[Connection | None, float]] = {}  # number → connection and sending time
        self._due: list[float] = []
        self._post: list[int] = []
        self._late: list[float] = []
        self._latency: list[float] = []
        self._status: list[int] = []
        self._server: list[int] = []
        self._retry_after: list[int] = []
        self._names: dict[str, int] = {"": 0}
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open_loop(self, due: list[float], post: list[int]) -> dict[str, object]:
        """Send each request at its moment; return the columns when the last one has ended."""
        for moment, kind in zip(due, post, strict=True):
            await asyncio.sleep(max(0.0, moment - time.monotonic()))
            self._send(moment, kind, None)
        return await self._last()

    async def closed_loop(self, in_flight: int, begin: float, end: float) -> dict[str, object]:
        """Keep ``in_flight`` requests on their way from ``begin`` to ``end``."""
        await asyncio.sleep(max(0.0, begin - time.monotonic()))

        def again() -> None:
            if time.monotonic() < end:
                self._send(time.monotonic(), 0, again)

        for _ in range(in_flight):
            again()
        await asyncio.sleep(max(0.0, end - time.monotonic()))
        return await self._last()

    def _send(self, due: float, post: int, then: Callable[[], None] | None) -> None:
        number, now = len(self._due), time.monotonic()
        self._due.append(due)
        self._post.append(post)
        self._late.append(now - due)
        self._latency.append(0.0)
        self._status.append(0)
        self._server.append(0)
        self._retry_after.append(0)

        def ended(status: int, server: str, retry_after: bool) -> None:  # noqa: FBT001 -- the type's own signature
            if self._open.pop(number, None) is None:
                return
            self._latency[number] = time.monotonic() - due
            self._status[number] = status
            self._server[number] = self._names.setdefault(server, len(self._names))
            self._retry_after[number] = int(retry_after)
            if then is not None:
                then()

        request = _POST if post else _GET
        connection = self._take_idle(now)
        self._open[number] = (connection, now)
        if connection is not None:
            connection.ask(request, ended)
        else:
            task = self._loop.create_task(self._on_new(number, request, ended))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _on_new(self, number: int, request: bytes, ended: Ended) -> None:
        try:
            _, connection = await self._loop.create_connection(lambda: Connection(self._put_idle), ADDRESS, self._port)
        except OSError:
            ended(CONNECT, "", False)
            return
        if number not in self._open:
            connection.give_up()
            return
        self._open[number] = (connection, self._open[number][1])
        connection.ask(request, ended)

    def _put_idle(self, connection: Connection) -> None:
        connection.idle_since = time.monotonic()
        self._idle.append(connection)

    def _take_idle(self, now: float) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and now - connection.idle_since < _IDLE_S:
                return connection
            connection.give_up()
        return None

    async def _last(self) -> dict[str, object]:
        """Wait for what is on its way, for ``TIMEOUT_S`` at most, hang up, and return the columns."""
        # A look at the end spares a timer a request: a run is shorter than the time-out.
        while self._open:
            now = time.monotonic()
            for number, (connection, sent) in list(self._open.items()):
                if now - sent > TIMEOUT_S:
                    del self._open[number]
                    self._latency[number], self._status[number] = now - self._due[number], TIMEOUT
                    if connection is not None:
                        connection.give_up()
            await asyncio.sleep(0.02)
        for connection in self._idle:
            connection.give_up()
        return {
            "due": self._due,
            "post": self._post,
            "late": self._late,
            "latency": self._latency,
            "status": self._status,
            "server": self._server,
            "retry_after": self._retry_after,
            "names": list(self._names),
            "cpu_s": time.process_time(),
        }


def _status(line: str) -> int:
    words = line.split(" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdecimal() else MALFORMED


async def _play(order: dict[str, Any]) -> dict[str, object]:
    play = Play(order["port"])
    if "in_flight" in order:
        return await play.closed_loop(order["in_flight"], order["begin"], order["end"])
    return await play.open_loop(order["due"], order["post"])


def main() -> None:
    """Obey line by line until the standard input ends."""
    for line in sys.stdin:
        print(json.dumps(asyncio.run(_play(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
