"""The raw floor: the same effects by the fewest bare commands, over an SSH connection that is open already.

A join is two steps: one `wg set` and one pipelined conversation with HAProxy for all nodes; then, when the checks are
good, one more conversation. They keep no record, write no file, ask nothing and check nothing on the way; what HAProxy
said is looked at after the clock has stopped. How a step gets to the core's shell is not known here.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from ipaddress import IPv4Address

from benches.agent.errors import BenchError
from benches.agent.ground import BACKEND, NETWORK, Ground
from benches.agent.nodes import Node
from benches.agent.shell import Shell
from core_agent.desired import Mode, Server
from core_agent.haproxy.apply import line
from core_agent.haproxy.plan import AddServer, DeleteServer, SetMode, StartChecks, Step

# Without -t, socat hangs up half a second after its input's end, whatever a busy HAProxy still has to do.
_SOCAT = "socat -b 65536 -t 60 - UNIX-CONNECT:/run/haproxy/admin.sock"
_FIRST_ID = 1000
# Upwards from above all that an agent assigns, a new one for every node.
_OFFSETS = itertools.count(64 * 256 + 2)


class Floor:
    """The bare commands' side of every round, as root on the core at ``ground``."""

    def __init__(self, ground: Ground, shell: Shell) -> None:
        self.ground = ground
        self._shell = shell

    def begin(self, nodes: Sequence[Node]) -> dict[str, float]:
        """Add the peers and servers of ``nodes`` and start their health checks; return the seconds."""
        servers = [self._server(node) for node in nodes]
        words = []
        steps: list[Step] = []
        for node, server in zip(nodes, servers, strict=True):
            words.append(f"peer {node.public_key} allowed-ips {server.address}/32")
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
        words = [f"peer {node.public_key} remove" for node in nodes]
        self._timed(f"{_SOCAT} && wg set wg0 {' '.join(words)}", steps)

    def fill(self, nodes: Sequence[Node]) -> None:
        """Make ``nodes`` serve, as the fleet that every join meets from now on."""
        self.begin(nodes)
        self.ground.await_checks(nodes)
        self.finish(nodes)

    def _server(self, node: Node) -> Server:
        offset, burst = next(_OFFSETS), self.ground.settings.burst
        return Server(
            name=node.instance,
            id=_FIRST_ID + offset,
            address=str(IPv4Address(int(NETWORK.network_address) + offset)),
            mode=Mode.READY,
            weight=burst.weight,
            maxconn=burst.maxconn,
        )

    def _timed(self, command: str, steps: Sequence[Step]) -> float:
        """Run ``command`` with the lines of ``steps`` on its standard input; return the seconds to its end."""
        port = self.ground.settings.application.port
        lines = ["prompt", *(line(step, backend=BACKEND, port=port) for step in steps), "quit", ""]
        document = "\n".join(lines).encode()
        started = time.perf_counter()
        said, status = self._shell.run(command, document)
        took = time.perf_counter() - started
        # Every line, `prompt` among them and `quit` not, is answered by its words and a prompt.
        *answers, rest = said.decode().split("\n> ")
        unwanted = {answer.strip() for answer in answers[1:]} - {"", "New server registered.", "Server deleted."}
        if status != 0 or unwanted or rest.strip() or len(answers) != len(steps) + 1:
            raise BenchError(
                f"running {command[:40]}…: wanted {len(steps)} good answers, found {len(answers) - 1}, "
                f"status {status}, {sorted(unwanted)[:3]} {rest[:80]!r}"
            )
        return took
