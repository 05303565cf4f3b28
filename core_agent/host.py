"""The core's own WireGuard, HAProxy and files behind one small port: read, plan, write, carry out.

Everything the agent does to its machine goes through here; what should be done is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from core_agent import files, paths
from core_agent.desired import Peer, Server
from core_agent.haproxy import apply as haproxy_apply
from core_agent.haproxy import config as haproxy_config
from core_agent.haproxy import plan as haproxy_plan
from core_agent.haproxy.facts import BackendFacts
from core_agent.process import run
from core_agent.wireguard import apply as wireguard_apply
from core_agent.wireguard import conf as wireguard_conf
from core_agent.wireguard import plan as wireguard_plan
from core_agent.wireguard.facts import WireguardFacts
from settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps for both sides, in the order that keeps traffic whole: peers first in, last out."""

    new_peers: tuple[wireguard_plan.Step, ...]
    servers: tuple[haproxy_plan.Step, ...]
    old_peers: tuple[wireguard_plan.Step, ...]

    def __len__(self) -> int:
        return len(self.new_peers) + len(self.servers) + len(self.old_peers)


class Host:
    """This machine, with its paths; one instance per agent."""

    def __init__(
        self,
        settings: Settings,
        *,
        interface: str = paths.INTERFACE,
        wg_conf: Path = paths.WG_CONF,
        haproxy_cfg: Path = paths.HAPROXY_CFG,
        haproxy_socket: Path = paths.HAPROXY_SOCKET,
    ) -> None:
        self._settings = settings
        self._interface = interface
        self._wg_conf = wg_conf
        self._haproxy_cfg = haproxy_cfg
        self._haproxy_socket = haproxy_socket
        self._core_names = frozenset(server.name for server in settings.core.servers)

    def read_wireguard(self) -> WireguardFacts:
        """Return the interface's peers. Raises ``CommandFailed``."""
        return wireguard_apply.read(self._interface)

    def read_backend(self) -> BackendFacts:
        """Return the backend's servers. Raises ``RuntimeApiError``."""
        return haproxy_apply.read(
            self._haproxy_socket, backend=haproxy_config.BACKEND, frontend=haproxy_config.FRONTEND
        )

    def plan(
        self,
        peers: Mapping[str, Peer],
        servers: Mapping[str, Server],
        wireguard: WireguardFacts,
        backend: BackendFacts,
    ) -> Plan:
        """Return the steps from the facts to what is desired; its length is 0 when they agree. Pure."""
        steps = wireguard_plan.plan(peers, wireguard.peers, network=self._settings.tunnel.network)
        return Plan(
            new_peers=tuple(step for step in steps if isinstance(step, wireguard_plan.SetPeer)),
            servers=haproxy_plan.plan(
                servers, backend.servers, port=self._settings.application.port, kept=self._core_names
            ),
            old_peers=tuple(step for step in steps if isinstance(step, wireguard_plan.RemovePeer)),
        )

    def carry_out(self, plan: Plan) -> None:
        """Apply ``plan`` in its order. Raises ``CommandFailed`` or ``RuntimeApiError``; planning again takes it up."""
        wireguard_apply.carry_out(self._interface, plan.new_peers)
        haproxy_apply.carry_out(
            self._haproxy_socket,
            plan.servers,
            backend=haproxy_config.BACKEND,
            port=self._settings.application.port,
        )
        wireguard_apply.carry_out(self._interface, plan.old_peers)

    def write_files(self, peers: Collection[Peer], servers: Collection[Server], wireguard: WireguardFacts) -> None:
        """Make both files say ``peers`` and ``servers``; HAProxy's is checked by HAProxy before it counts.

        Raises ``CommandFailed`` when ``haproxy -c`` refuses the file and ``StateError`` when ``wg0.conf`` is not one.
        """
        conf = files.read(self._wg_conf)
        wanted_conf = wireguard_conf.render(conf, peers, wireguard.peers, network=self._settings.tunnel.network)
        if wanted_conf != conf:
            files.replace(self._wg_conf, wanted_conf, mode=0o600)
        wanted_cfg = haproxy_config.render(self._settings, servers)
        if wanted_cfg != files.read(self._haproxy_cfg):
            files.replace(self._haproxy_cfg, wanted_cfg, mode=0o644, check=check_haproxy)


def check_haproxy(path: Path) -> None:
    """Let HAProxy read the file at ``path``; raises ``CommandFailed`` with its own words when it refuses."""
    run(("haproxy", "-c", "-f", str(path)), doing=f"checking {path.name}")
