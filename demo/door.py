"""The one door into the sandbox: knows how to carry bytes between an inherited listening socket and an address inside.

It must not know what the bytes mean; it runs by path under ``python -I``. The listening socket belongs to the machine's
own network, this process to the sandbox's: that is the whole trick.

    python -I door.py FD ADDRESS:PORT
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys


async def _serve(listener: socket.socket, address: str, port: int) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection(address, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_carry(reader, inner_writer), _carry(inner_reader, writer))
        inner_writer.close()
        writer.close()

    server = await asyncio.start_server(accept, sock=listener)
    await server.serve_forever()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way until their end; a reset of either connection ends them too."""
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


if __name__ == "__main__":
    host, _, number = sys.argv[2].rpartition(":")
    asyncio.run(_serve(socket.socket(fileno=int(sys.argv[1])), host, int(number)))
