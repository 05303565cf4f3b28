"""One HTTP/1.1 request and its answer: knows the wire and what counts as failed, and must not know rates or counts.

A request is never sent twice. A kept connection is used again only within a second of its last answer, which is less
than any server's keep-alive timeout, so no answer is lost to a connection that was just being closed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from urllib.parse import urlsplit

IDLE_S = 1.0
_LIMIT = 65_536
_ALLOWED = tuple(map(IPv4Network, ("127.0.0.0/8", "192.0.2.0/24", "198.51.100.0/24")))


class Failed(Exception):
    """The request got anything but a complete 2xx answer; ``kind`` is a stable word for the count."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where requests go; only loopback and the documentation networks can be aimed at."""

    address: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Target:
        """Return the target that ``url`` names; raises ``ValueError``."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"wanted a URL http://ADDRESS[:PORT]/PATH, found {url!r}")
        address = IPv4Address(parts.hostname)
        if not any(address in network for network in _ALLOWED):
            raise ValueError(f"wanted an address of the demo ({', '.join(map(str, _ALLOWED))}), found {address}")
        query = f"?{parts.query}" if parts.query else ""
        return cls(address=str(address), port=parts.port or 80, path=(parts.path or "/") + query)


@dataclass(frozen=True, slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    free_since: float


class Client:
    """Sends requests to one target; ``keep`` reuses connections, else every request opens its own."""

    def __init__(
        self, target: Target, *, keep: bool, timeout_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._target = target
        self._keep = keep
        self._timeout_s = timeout_s
        self._clock = clock
        self._free: list[_Connection] = []
        connection = "keep-alive" if keep else "close"
        self._request = (
            f"GET {target.path} HTTP/1.1\r\nHost: {target.address}\r\nConnection: {connection}\r\n\r\n"
        ).encode("ascii")

    async def get(self) -> str:
        """Return the name of the server that gave a complete 2xx answer; raises ``Failed`` for everything else."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._get()
        except TimeoutError:
            raise Failed("timeout") from None

    def close(self) -> None:
        """Close every idle connection."""
        while self._free:
            self._free.pop().writer.close()

    async def _get(self) -> str:
        connection = self._reusable()
        if connection is None:
            try:
                reader, writer = await asyncio.open_connection(self._target.address, self._target.port, limit=_LIMIT)
            except OSError:
                raise Failed("connect") from None
        else:
            reader, writer = connection.reader, connection.writer
        kept = False
        try:
            writer.write(self._request)
            server, kept = await read_answer(reader)
        except (OSError, asyncio.IncompleteReadError):
            raise Failed("cut") from None
        finally:
            if kept and self._keep:
                self._free.append(_Connection(reader, writer, self._clock()))
            else:
                writer.close()
        return server

    def _reusable(self) -> _Connection | None:
        """The connection used last, if it is fresh; older ones are closed on the way."""
        while self._free:
            connection = self._free.pop()
            fresh = self._clock() - connection.free_since < IDLE_S
            if fresh and not connection.reader.at_eof():
                return connection
            connection.writer.close()
        return None


async def read_answer(reader: asyncio.StreamReader) -> tuple[str, bool]:
    """Read one answer to its last byte; return who served it and whether the connection may be used again.

    Raises ``Failed``, ``OSError`` or ``asyncio.IncompleteReadError``.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise Failed("malformed") from None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
        raise Failed("malformed")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = headers.get("content-length")
    if length is None or not length.isdecimal():
        raise Failed("malformed")
    await reader.readexactly(int(length))
    if not words[1].startswith("2"):
        raise Failed(f"status_{words[1]}")
    return headers.get("x-served-by", "unnamed"), headers.get("connection", "").lower() != "close"
