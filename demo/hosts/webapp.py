"""The demo's application: an HTTP/1.1 server that works on N requests at a time and makes the others wait.

It knows slots, service time and its own name; it must not know who asks or through what. Standard library only: every
machine runs this one file with Debian's python3.

    python3 webapp.py [--bind ADDRESS] [--port PORT] [--name NAME] [--slots N] [--service-ms MS]

`/health` answers at once, without a slot; its header X-Slots-Busy says how many are taken. SIGTERM lets the requests in
hand finish, then exits 0.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
from dataclasses import dataclass
from http import HTTPStatus

HEALTH_PATH = "/health"
LEAVE_S = 5
_HEAD_LIMIT = 16_384
_BODY_LIMIT = 1_048_576


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What matters of one request; ``keep`` says whether the connection stays open after it."""

    method: str
    path: str
    keep: bool


class BadRequest(Exception):
    """The client sent something that is not a request this server understands."""


class Application:
    """Answers requests with ``name`` after ``service_s`` seconds in one of ``slots`` slots."""

    def __init__(self, *, name: str, slots: int, service_s: float) -> None:
        self._name = name
        self._service_s = service_s
        self._slots = asyncio.Semaphore(slots)
        self._busy = 0
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        """Finish what is in hand, then close every connection."""
        self._leaving.set()

    async def run(self, bind: str, port: int) -> None:
        """Serve on ``bind``:``port`` until told to leave."""
        talks: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            talk = asyncio.ensure_future(self._talk(reader, writer))
            talks.add(talk)
            talk.add_done_callback(talks.discard)
            await talk

        server = await asyncio.start_server(accept, bind, port, limit=_HEAD_LIMIT, backlog=1024)
        address, chosen = server.sockets[0].getsockname()[:2]
        print(f"{self._name} listens on {address}:{chosen}", flush=True)
        async with server:
            await self._leaving.wait()
            server.close()
            if talks:
                await asyncio.wait(talks, timeout=LEAVE_S)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests, one after the other."""
        leaving = asyncio.ensure_future(self._leaving.wait())
        try:
            while not self._leaving.is_set():
                arrival = asyncio.ensure_future(read_request(reader))
                await asyncio.wait({arrival, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if not arrival.done():
                    arrival.cancel()
                    return
                request = arrival.result()
                if request is None:
                    return
                writer.write(await self._answer(request))
                await writer.drain()
                if not request.keep:
                    return
        except BadRequest as error:
            writer.write(response(HTTPStatus.BAD_REQUEST, f"{error}\n", name=self._name, keep=False))
            await _hear_out(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            leaving.cancel()
            writer.close()

    async def _answer(self, request: Request) -> bytes:
        keep = request.keep and not self._leaving.is_set()
        if request.path != HEALTH_PATH:
            await self._work()
        head = request.method == "HEAD"
        return response(HTTPStatus.OK, f"{self._name}\n", name=self._name, keep=keep, head=head, busy=self._busy)

    async def _work(self) -> None:
        async with self._slots:
            self._busy += 1
            try:
                await asyncio.sleep(self._service_s)
            finally:
                self._busy -= 1


async def _hear_out(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Let the client finish, for a second: closing on unread bytes resets the connection, and the answer is lost."""
    writer.write_eof()
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(1):
            while await reader.read(_HEAD_LIMIT):
                continue


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Return the next request, its body read and dropped, or None at the end; raises ``BadRequest``."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise BadRequest("wanted a whole request head, found its beginning") from None
        return None
    except asyncio.LimitOverrunError:
        raise BadRequest(f"wanted a request head of at most {_HEAD_LIMIT} bytes") from None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequest(f"wanted METHOD PATH HTTP/1.x, found {first[:80]!r}")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdecimal() or int(length) > _BODY_LIMIT:
        raise BadRequest(f"wanted a body with a Content-Length of at most {_BODY_LIMIT}")
    await reader.readexactly(int(length))
    keep = headers.get("connection", "").lower() != "close" and words[2] != "HTTP/1.0"
    return Request(method=words[0], path=words[1].partition("?")[0], keep=keep)


def response(
    status: HTTPStatus, body: str, *, name: str, keep: bool, head: bool = False, busy: int | None = None
) -> bytes:
    """Return a whole HTTP/1.1 response.

    ``head`` leaves the body out but not its length; ``busy`` is how many slots are taken, if that is to be said.
    """
    content = body.encode()
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(content)}",
        f"X-Served-By: {name}",
        f"Connection: {'keep-alive' if keep else 'close'}",
        *(() if busy is None else (f"X-Slots-Busy: {busy}",)),
    )
    return "\r\n".join((*lines, "", "")).encode("latin-1") + (b"" if head else content)


async def _serve(options: argparse.Namespace) -> None:
    application = Application(name=options.name, slots=options.slots, service_s=options.service_ms / 1000)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, application.leave)
    await application.run(options.bind, options.port)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="A small web application with a known capacity.")
    parser.add_argument("--bind", default="0.0.0.0", help="address to listen on")  # noqa: S104 -- on a node, no ingress leads here but the tunnel
    parser.add_argument("--port", type=int, default=8080, help="0 for any that is free")
    parser.add_argument(
        "--name", default=socket.gethostname(), help="who it says it is; this machine's name by default"
    )
    parser.add_argument("--slots", type=int, default=25, help="requests worked on at a time")
    parser.add_argument("--service-ms", type=int, default=50, help="how long one request takes")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
