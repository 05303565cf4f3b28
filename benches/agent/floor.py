"""The raw floor: the same effects by the fewest bare commands, over an SSH connection that is open already.

A join is two executions: one `wg set` and one pipelined conversation with HAProxy for all nodes; then, when the checks
are good, one more conversation. It keeps no record, writes no file, asks nothing and checks nothing on the way; what
HAProxy said is looked at after the clock has stopped.
"""

from __future__ import annotations

import base64
import shlex
import socket
import time
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

import paramiko

from benches.agent.errors import BenchError
from benches.agent.ground import BACKEND, NETWORK, Ground
from benches.agent.nodes import Node
from core_agent.desired import Mode, Server
from core_agent.haproxy.apply import line
from core_agent.haproxy.plan import AddServer, DeleteServer, SetMode, StartChecks, Step

_SOCAT = "socat -b 65536 - UNIX-CONNECT:/run/haproxy/admin.sock"
# Above everything that an agent assigns from below.
_FIRST_ADDRESS = IPv4Address("10.100.64.2")
_FIRST_ID = 1000


class Floor:
    """The bare commands' side of every round, as root on the core at ``ground``."""

    def __init__(self, ground: Ground, identity: Path) -> None:
        self.ground = ground
        self._servers: dict[str, Server] = {}
        self._transport = _connect(ground, identity)

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def begin(self, nodes: Sequence[Node]) -> dict[str, float]:
        """Add the peers and servers of ``nodes`` and start their health checks; return the seconds."""
        servers = self._assign(nodes)
        words = [f"peer {node.public_key} allowed-ips {self._servers[node.instance].address}/32" for node in nodes]
        steps: list[Step] = []
        for server in servers:
            steps += [AddServer(server=server), StartChecks(name=server.name)]
        return {"add": self._timed(f"wg set wg0 {' '.join(words)} && {_SOCAT}", steps)}

    def finish(self, nodes: Sequence[Node]) -> dict[str, float]:
        """Open the servers of ``nodes``; return the seconds."""
        return {"enable": self._timed(_SOCAT, [SetMode(name=node.instance, mode=Mode.READY) for node in nodes])}

    def remove(self, nodes: Sequence[Node]) -> None:
        """Take servers and peers of ``nodes`` away."""
        steps: list[Step] = []
        for node in nodes:
            steps += [SetMode(name=node.instance, mode=Mode.MAINT), DeleteServer(name=node.instance)]
            del self._servers[node.instance]
        words = [f"peer {node.public_key} remove" for node in nodes]
        self._timed(f"{_SOCAT} && wg set wg0 {' '.join(words)}", steps)

    def fill(self, nodes: Sequence[Node]) -> None:
        """Make ``nodes`` serve, as the fleet that every join meets from now on."""
        self.begin(nodes)
        self.ground.await_checks(nodes)
        self.finish(nodes)

    def _assign(self, nodes: Sequence[Node]) -> list[Server]:
        taken = {server.address for server in self._servers.values()}
        free = (str(_FIRST_ADDRESS + offset) for offset in range(1 << 14))
        free = (address for address in free if address not in taken)
        burst = self.ground.settings.burst
        for node in nodes:
            address = next(free)
            self._servers[node.instance] = Server(
                name=node.instance,
                id=_FIRST_ID + int(IPv4Address(address)) - int(NETWORK.network_address),
                address=address,
                mode=Mode.READY,
                weight=burst.weight,
                maxconn=burst.maxconn,
            )
        return [self._servers[node.instance] for node in nodes]

    def _timed(self, command: str, steps: Sequence[Step]) -> float:
        """Execute ``command`` with the lines of ``steps`` on its standard input; return the seconds to its end."""
        port = self.ground.settings.application.port
        lines = ["prompt", *(line(step, backend=BACKEND, port=port) for step in steps), "quit", ""]
        document = "\n".join(lines).encode()
        started = time.perf_counter()
        said, status = self._execute(command, document)
        took = time.perf_counter() - started
        answers = {answer.strip() for answer in said.decode().split("\n> ")} - {"", ">"}
        unwanted = answers - {"New server registered.", "Server deleted."}
        if status != 0 or unwanted:
            raise BenchError(f"running {shlex.split(command)[0]}: wanted success, found {status}: {sorted(unwanted)}")
        return took

    def _execute(self, command: str, document: bytes) -> tuple[bytes, int]:
        with self._transport.open_session() as channel:
            channel.set_combine_stderr(True)
            channel.exec_command(command)
            channel.sendall(document)
            channel.shutdown_write()
            said = b"".join(iter(lambda: channel.recv(1 << 16), b""))
            return said, channel.recv_exit_status()


def _connect(ground: Ground, identity: Path) -> paramiko.Transport:
    """Return an open connection as root that, like the product's, waits for no acknowledgement before it sends."""
    wire = socket.create_connection((ground.address, 22))
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(wire)
    kind, encoded = ground.host_key.split()
    pinned = paramiko.PKey.from_type_string(kind, base64.b64decode(encoded))
    transport.connect(hostkey=pinned, username="root", pkey=paramiko.Ed25519Key.from_private_key_file(str(identity)))
    return transport
