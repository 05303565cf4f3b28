"""The core's own WireGuard, HAProxy and files behind one small port: read, write, carry out.

Everything the agent does to its machine goes through here; what should be done is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from core_agent import files, paths
from core_agent.desired import CoreSlots, Mode, Peer, Server
from core_agent.haproxy import apply as haproxy_apply
from core_agent.haproxy import config as haproxy_config
from core_agent.haproxy import variables as haproxy_variables
from core_agent.haproxy.apply import Answers
from core_agent.haproxy.facts import BackendFacts
from core_agent.haproxy.frontend import IN_SANDBOX
from core_agent.haproxy.plan import Step as ServerStep
from core_agent.process import run
from core_agent.roll import Burst
from core_agent.roster import Roster
from core_agent.wireguard import apply as wireguard_apply
from core_agent.wireguard import conf as wireguard_conf
from core_agent.wireguard.facts import WireguardFacts
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
        self._wg_conf = Roster(wg_conf, mode=0o600)
        self._haproxy_cfg = Roster(haproxy_cfg, mode=0o644)
        self._haproxy_socket = haproxy_socket
        self._own_part = ""
        self._judged: dict[str, set[tuple[int, int, bool]]] = {}

    # --- WireGuard --------------------------------------------------------------------------------------------------

    def known_endpoints(self) -> dict[str, str]:
        """Return the endpoints that ``wg0.conf`` has, by public key. Raises ``FileFailed``."""
        return wireguard_conf.endpoints_in(files.read(self._wg_conf.path))

    def write_peers(
        self, peers: Mapping[str, Peer], endpoints: Mapping[str, str], gone: Collection[str] | None = None
    ) -> bool:
        """Make ``wg0.conf`` say ``peers``, by instance; return whether another hand's change was put right.

        With ``gone`` these are changes: the instances in it leave the file, and what is not named stays. Raises
        ``FileFailed``, and ``StateError`` when the file is no WireGuard configuration.
        """
        if not self._wg_conf.untouched:
            current = files.read(self._wg_conf.path)
            self._own_part = wireguard_conf.head(current, network=self._settings.tunnel.network)
        entries: dict[str, str | None] = dict.fromkeys(gone or ())
        for name, peer in peers.items():
            entries[name] = wireguard_conf.section(peer, endpoints.get(peer.public_key))
        return self._wg_conf.write(self._own_part, entries, whole=gone is None)

    def read_wireguard(self) -> WireguardFacts:
        """Return the interface's peers. Raises ``CommandFailed``."""
        return wireguard_apply.read(self._interface)

    def set_peers(self, steps: Sequence[PeerStep]) -> Callable[[], object]:
        """Begin to apply ``steps``, in order, and return what waits for the end; either may raise ``CommandFailed``."""
        return wireguard_apply.carry_out(self._interface, steps)

    # --- HAProxy ----------------------------------------------------------------------------------------------------

    def write_servers(
        self,
        servers: Mapping[str, Server],
        burst: Burst,
        core: Mapping[str, CoreSlots],
        gone: Collection[str] | None = None,
    ) -> bool:
        """Make ``haproxy.cfg`` say ``servers`` and ``core``, by name, and ``burst``; return as ``write_peers``.

        ``gone`` as in ``write_peers``. HAProxy judges a file before it counts, unless it has judged one that differs
        in nothing but names, numbers and addresses, each of a type that holds nothing else: it takes 60 ms. Raises
        ``FileFailed``, and ``CommandFailed`` with HAProxy's own words when it refuses the file.
        """
        head = haproxy_config.head(self._settings, burst, core)
        entries: dict[str, str | None] = dict.fromkeys(gone or ())
        entries |= {name: haproxy_config.line(server, self._settings) for name, server in servers.items()}
        forms = {(server.weight, server.maxconn, server.mode is Mode.READY) for server in servers.values()}
        judged = self._judged.get(head)
        check = None if judged is not None and forms <= judged else check_haproxy
        meddled = self._haproxy_cfg.write(head, entries, whole=gone is None, check=check)
        self._judged = {head: forms | (judged or set())}
        return meddled

    def read_backend(self) -> BackendFacts:
        """Return the backend's servers. Raises ``RuntimeApiError``."""
        return haproxy_apply.read(
            self._haproxy_socket,
            backend=haproxy_config.BACKEND,
            frontend=haproxy_config.FRONTEND,
            steered_by=haproxy_variables.names(len(self._settings.core.servers)),
        )

    def change_servers(self, steps: Sequence[ServerStep], watch: Collection[int]) -> Answers:
        """Apply ``steps`` in order, then read the counters of the servers with the ids ``watch``.

        Raises ``RuntimeApiError`` for the first step that HAProxy refuses.
        """
        return haproxy_apply.carry_out(
            self._haproxy_socket,
            steps,
            watch=watch,
            backend=haproxy_config.BACKEND,
            frontend=haproxy_config.FRONTEND,
            port=self._settings.application.port,
            users=self._settings.frontend,
        )


def check_haproxy(path: Path) -> None:
    """Let HAProxy read the file at ``path``; raises ``CommandFailed`` with its own words when it refuses.

    All of it but what cannot be had in the agent's sandbox; `install` has the whole of it checked.
    """
    run(("haproxy", "-c", "-f", str(path)), doing=f"checking {path.name}", environment={IN_SANDBOX: "1"})
