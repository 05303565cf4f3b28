"""Two ways to the core's shell over one open SSH connection; they know nothing of what is run.

Both run as root, whose login shell is /bin/sh, over paramiko as the product does, without Nagle's algorithm.
"""

from __future__ import annotations

import base64
import socket
from pathlib import Path
from typing import Protocol

import paramiko

from benches.agent.errors import BenchError
from benches.agent.ground import Ground

_CHUNK = 1 << 16
_ENDED = b"\nended "


class Shell(Protocol):
    """Runs one command line on the core."""

    def run(self, command: str, document: bytes, /) -> tuple[bytes, int]:
        """Run ``command`` with ``document`` on its standard input; return what it printed and its exit status."""


class Executions:
    """A channel and a shell for each command, as `ssh HOST COMMAND` over a shared connection."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self._transport = transport

    def run(self, command: str, document: bytes, /) -> tuple[bytes, int]:
        """See ``Shell``."""
        with self._transport.open_session() as channel:
            channel.set_combine_stderr(True)
            channel.exec_command(command)
            channel.sendall(document)
            channel.shutdown_write()
            said = b"".join(iter(lambda: channel.recv(_CHUNK), b""))
            return said, channel.recv_exit_status()


class KeptShell:
    """One channel with one shell, which reads command after command: no process but the commands' own."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self._channel = transport.open_session()
        self._channel.set_combine_stderr(True)
        self._channel.exec_command("sh")

    def run(self, command: str, document: bytes, /) -> tuple[bytes, int]:
        """See ``Shell``."""
        script = b"{ %b; } <<'document'\n%bdocument\nprintf '\\nended %%s\\n' $?\n" % (command.encode(), document)
        self._channel.sendall(script)
        received = bytearray()
        while (end := received.rfind(_ENDED)) < 0 or not received.endswith(b"\n"):
            data = self._channel.recv(_CHUNK)
            if not data:
                raise BenchError(
                    f"running {command[:40]}…: wanted its end, found the shell's: {received.decode()[-200:]}"
                )
            received += data
        return bytes(received[:end]), int(received[end + len(_ENDED) :])


def connect(ground: Ground, identity: Path) -> paramiko.Transport:
    """Return an open connection as root to the core at ``ground``."""
    wire = socket.create_connection((ground.address, 22))
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(wire)
    kind, encoded = ground.host_key.split()
    pinned = paramiko.PKey.from_type_string(kind, base64.b64decode(encoded))
    transport.connect(hostkey=pinned, username="root", pkey=paramiko.Ed25519Key.from_private_key_file(str(identity)))
    return transport
