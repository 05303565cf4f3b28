"""The machines of this bench: the core as the product's installer makes it, its users, and the edge's machines.

It must not know what is measured. All of it stands inside the sandbox.
"""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benches.fleet_changes.dataplane import DataPlane
from benches.fleet_changes.drawbridge import Drawbridge
from benches.fleet_changes.fleet import Fleet
from benches.fleet_changes.machine import Machine
from benches.fleet_changes.peer_host import BACKEND as PEER_BACKEND
from benches.fleet_changes.peer_host import SOCKET as PEER_SOCKET
from benches.fleet_changes.peer_host import PeerHost
from benches.fleet_changes.watch import Watch
from core_agent.build import build
from core_agent.client import CoreClient
from core_agent.haproxy.config import BACKEND
from core_agent.paths import HAPROXY_SOCKET
from demo import configuration
from demo.hosts.client import LoadClient
from demo.hosts.core import Core
from demo.hosts.switch import CORE_ADDRESS, FIRST_INSTANCE_ADDRESS, Switch
from settings import Settings, parse

MACHINES = 8
SLOTS, SERVICE_MS = configuration.SLOTS, 100
CORE_CAPACITY = SLOTS * 1000 / SERVICE_MS
_PEER_ADDRESS = CORE_ADDRESS + 1
_PEER_NODES = [FIRST_INSTANCE_ADDRESS + number for number in range(50, 240)]


class Site:
    """Call ``build`` once, then take the ``product`` and, if there is one, the ``peer``; at the end ``close``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True)
        self.switch = Switch()
        self.users = LoadClient(switch=self.switch, log_folder=self.logs)
        self.machines = [
            Machine(
                name=f"edge-{number}",
                address=FIRST_INSTANCE_ADDRESS + number,
                switch=self.switch,
                log_folder=self.logs,
            )
            for number in range(MACHINES)
        ]
        self._core = Core(switch=self.switch, log_folder=self.logs)
        self._peer_host = PeerHost(address=_PEER_ADDRESS, switch=self.switch, log_folder=self.logs)
        self.product: Drawbridge
        self.peer: DataPlane | None = None
        self._client: CoreClient

    def build(self, dataplaneapi: Path | None) -> None:
        """Start everything, with the peer if its program is given; the agent is new: no node, no record."""
        self.switch.start()
        identity, agent = self.folder / "identity", self.folder / "agent.pyz"
        subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", identity), check=True)
        build(agent)
        host_key = self._core.boot()
        text = configuration.toml(host_key=host_key, identity=str(identity))
        # A new instance gets an address that has rested for as long as the product lets it rest: five minutes.
        text = text.replace('"10.100.0.0/24"', '"10.100.0.0/22"')
        self._core.install(agent=agent, config=text, authorized_key=identity.with_suffix(".pub").read_text().strip())
        self._core.start(self._settings(text).core.servers, service_ms=SERVICE_MS)
        self.users.boot()
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda machine: machine.boot(slots=SLOTS, service_ms=SERVICE_MS), self.machines))
        self._client = CoreClient(str(CORE_ADDRESS), 22, "drawbridge", host_key, identity)
        watch = Watch(self._core.host, str(HAPROXY_SOCKET), BACKEND)
        watch.start()
        self.product = Drawbridge(
            url=f"http://{CORE_ADDRESS}/", fleet=Fleet(self._client), machines=self.machines, watch=watch
        )
        if dataplaneapi is not None:
            self.peer = self._build_peer(dataplaneapi)

    def close(self) -> None:
        """Hang up and pull every plug."""
        self.product.watch.stop()
        self._client.close()
        if self.peer is not None:
            self.peer.watch.stop()
            self._peer_host.stop()
        for machine in self.machines:
            machine.stop()
        self.users.stop()
        self._core.stop()

    def _build_peer(self, dataplaneapi: Path) -> DataPlane:
        self._peer_host.build(dataplaneapi, slots=SLOTS, service_ms=SERVICE_MS)
        watch = Watch(self._peer_host.host, PEER_SOCKET, PEER_BACKEND)
        watch.start()
        return DataPlane(
            url=f"http://{_PEER_ADDRESS}/",
            consul=self._peer_host.consul,
            machines=self.machines,
            addresses=_PEER_NODES,
            watch=watch,
        )

    def _settings(self, text: str) -> Settings:
        return parse(text, source="the bench's drawbridge.toml")
