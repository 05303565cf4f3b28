"""The core's own WireGuard, HAProxy and files behind one small port: read, write, carry out.

Everything the agent does to its machine goes through here; what should be done is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from core_agent import files, paths
from core_agent.desired import Peer, Server
from core_agent.haproxy import apply as haproxy_apply
from core_agent.haproxy import config as haproxy_config
from core_agent.haproxy.facts import BackendFacts
from core_agent.haproxy.plan import Step as ServerStep
from core_agent.process import run
from core_agent.wireguard import apply as wireguard_apply
from core_agent.wireguard import conf as wireguard_conf
from core_agent.wireguard.facts import PeerFacts, WireguardFacts
from core_agent.wireguard.plan import Step as PeerStep
from settings import Settings


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

    # --- WireGuard --------------------------------------------------------------------------------------------------

    def write_peers(self, peers: Collection[Peer], seen: Mapping[str, PeerFacts]) -> Mapping[str, str]:
        """Make ``wg0.conf`` say ``peers`` with the endpoints last ``seen``; return those endpoints by public key.

        A peer that is not seen now, taken away by hand or with the tunnel down, keeps the endpoint that the file had.
        Raises ``FileFailed``, and ``StateError`` when the file is no WireGuard configuration.
        """
        current = files.read(self._wg_conf)
        now = {key: peer.endpoint for key, peer in seen.items() if peer.endpoint is not None}
        endpoints = wireguard_conf.endpoints_in(current) | now
        wanted = wireguard_conf.render(current, peers, endpoints, network=self._settings.tunnel.network)
        if wanted != current:
            files.replace(self._wg_conf, wanted, mode=0o600)
        return endpoints

    def read_wireguard(self) -> WireguardFacts:
        """Return the interface's peers. Raises ``CommandFailed``."""
        return wireguard_apply.read(self._interface)

    def set_peers(self, steps: Sequence[PeerStep]) -> None:
        """Apply ``steps`` in order. Raises ``CommandFailed``."""
        wireguard_apply.carry_out(self._interface, steps)

    # --- HAProxy ----------------------------------------------------------------------------------------------------

    def write_servers(self, servers: Collection[Server]) -> None:
        """Make ``haproxy.cfg`` say ``servers``; HAProxy checks it before it counts.

        Raises ``FileFailed``, and ``CommandFailed`` with HAProxy's own words when it refuses the file.
        """
        wanted = haproxy_config.render(self._settings, servers)
        if wanted != files.read(self._haproxy_cfg):
            files.replace(self._haproxy_cfg, wanted, mode=0o644, check=check_haproxy)

    def read_backend(self) -> BackendFacts:
        """Return the backend's servers. Raises ``RuntimeApiError``."""
        return haproxy_apply.read(
            self._haproxy_socket, backend=haproxy_config.BACKEND, frontend=haproxy_config.FRONTEND
        )

    def change_servers(self, steps: Sequence[ServerStep]) -> None:
        """Apply ``steps`` in order. Raises ``RuntimeApiError`` for the first that HAProxy refuses."""
        haproxy_apply.carry_out(
            self._haproxy_socket, steps, backend=haproxy_config.BACKEND, port=self._settings.application.port
        )


def check_haproxy(path: Path) -> None:
    """Let HAProxy read the file at ``path``; raises ``CommandFailed`` with its own words when it refuses."""
    run(("haproxy", "-c", "-f", str(path)), doing=f"checking {path.name}")
