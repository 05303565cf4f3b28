"""The machines of this bench as processes on one loopback inside the sandbox: servers, users, one balancer at a time.

It must not know what is measured.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benches.spill.ground import (
    CORE,
    CORE_ADDRESS,
    EDGE,
    FRONT_PORT,
    ROUND_TRIP_MS,
    SERVER_PORT,
    SERVICE_MS,
    SLOTS,
    edge_address,
)
from benches.spill.server import Mood
from benches.spill.trouble import BenchError
from core_agent.paths import AGENT_USER, HAPROXY_SOCKET

_REPOSITORY = Path(__file__).resolve().parents[2]
_GROUPS = Path("/etc/group")
# Its group and the socket's folder: what the product's installer makes, as far as HAProxy's file speaks of it.
_GROUP_ID = 999_999


class Program:
    """A Python module of this bench that runs for itself, told and heard line by line."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._module = module
        self._process = subprocess.Popen(
            (sys.executable, "-m", f"benches.spill.{module}", *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_REPOSITORY,
        )

    def tell(self, line: str) -> None:
        """Say ``line``."""
        if self._process.stdin is None:
            raise BenchError(f"telling {self._module}: wanted a pipe to it, found none")
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """Wait for its next line."""
        line = b"" if self._process.stdout is None else self._process.stdout.readline()
        if not line:
            raise BenchError(f"hearing {self._module}: wanted a line, found its end")
        document: dict[str, Any] = json.loads(line)
        return document

    def end(self) -> None:
        """Pull its plug: what it holds is reset."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


class ServerProcess:
    """An application server that can be pulled and started again."""

    def __init__(
        self, *, name: str, address: str, slots: int = SLOTS, service_ms: float = SERVICE_MS, round_trip_ms: float = 0
    ) -> None:
        self._arguments = (
            *("--name", name, "--address", address, "--port", str(SERVER_PORT)),
            *("--slots", str(slots), "--service-ms", str(service_ms), "--round-trip-ms", str(round_trip_ms)),
        )
        self._program: Program | None = None

    def start(self) -> float:
        """Start it; return the moment at which it was seen to listen."""
        self._program = Program("server", *self._arguments)
        self._program.hear()
        return time.monotonic()

    def kill(self) -> float:
        """Pull its plug; return the moment just before."""
        moment = time.monotonic()
        self._running.end()
        self._program = None
        return moment

    def be(self, mood: Mood) -> None:
        """Have it treat who comes in this ``mood``."""
        self._running.tell(f"mood {mood}")
        self._running.hear()

    @property
    def requests(self) -> int:
        """How many requests it has begun or holds, health checks left out."""
        self._running.tell("count")
        count: int = self._running.hear()["requests"]
        return count

    @property
    def _running(self) -> Program:
        if self._program is None:
            raise BenchError("speaking to a server: wanted it running, found it stopped")
        return self._program


class Site:
    """Call ``build`` once and ``close`` at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.core = ServerProcess(name=CORE, address=CORE_ADDRESS)
        self.edge = [
            ServerProcess(name=name, address=edge_address(number), round_trip_ms=ROUND_TRIP_MS)
            for number, name in enumerate(EDGE)
        ]
        self.users: Program

    def build(self) -> None:
        """Start servers and users."""
        # Inherited by all that is started here: in the snippet's queue thousands wait.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.folder.mkdir(parents=True)
        HAPROXY_SOCKET.parent.mkdir(parents=True)
        self._name_the_agent_s_group()
        for server in (self.core, *self.edge):
            server.start()
        self.users = Program("users")

    def close(self) -> None:
        """Pull every plug."""
        for server in (self.core, *self.edge):
            server.kill()
        self.users.end()

    def order(self, due: Sequence[float], post: Sequence[int], *, port: int = FRONT_PORT) -> None:
        """Have the users send at the moments ``due``; their answers come by ``users.hear``."""
        self.users.tell(json.dumps({"port": port, "due": list(due), "post": list(post)}))

    def order_closed(self, in_flight: int, *, begin: float, end: float) -> None:
        """Have the users keep ``in_flight`` requests on their way from ``begin`` to ``end``."""
        order = {"port": FRONT_PORT, "in_flight": in_flight, "begin": begin, "end": end}
        self.users.tell(json.dumps(order))

    def _name_the_agent_s_group(self) -> None:
        """Let the file's `group` be known here, in this sandbox's own view of the file system, and nowhere else."""
        groups = self.folder / "group"
        groups.write_text(f"{_GROUPS.read_text()}{AGENT_USER}:x:{_GROUP_ID}:\n")
        subprocess.run(("mount", "--bind", groups, _GROUPS), check=True)
