"""A core that models WireGuard's peers, HAProxy's servers and both files; it refuses what it does not know.

``text()`` prints it, so that a test compares with what a person would read. ``fail_after`` cuts it off between two
effects, as a crash would.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from core_agent.desired import Mode, Peer, Server
from core_agent.errors import RuntimeApiError
from core_agent.haproxy import plan as haproxy_plan
from core_agent.haproxy.facts import BackendFacts, ServerFacts
from core_agent.host import Host, Plan
from core_agent.wireguard import plan as wireguard_plan
from core_agent.wireguard.facts import PeerFacts, WireguardFacts
from settings import Settings

CORE_KEY = "Y29yZS1rZXktY29yZS1rZXktY29yZS1rZXktY29yZWU="
PORT = 8080


class CutError(Exception):
    """The crash that a test asked for."""


class FakeHost(Host):
    """Stands in for ``core_agent.host.Host``; a server's check turns good when a test says so."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.peers: dict[str, PeerFacts] = {}
        self.servers: dict[str, ServerFacts] = {
            server.name: ServerFacts(
                name=server.name,
                address=str(server.address),
                port=server.port,
                mode=Mode.READY,
                checking=True,
                check="L7OK",
                up=True,
                weight=1,
                maxconn=server.maxconn,
                busy=0,
                queue=0,
            )
            for server in settings.core.servers
        }
        self.files: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self.stuck: set[str] = set()
        self.effects = 0
        self.fail_after: int | None = None

    # --- what Host offers -------------------------------------------------------------------------------------------

    def read_wireguard(self) -> WireguardFacts:
        """The peers and the core's key."""
        return WireguardFacts(public_key=CORE_KEY, peers=dict(self.peers))

    def read_backend(self) -> BackendFacts:
        """The servers."""
        return BackendFacts(servers=dict(self.servers), queue=0, requests_total=0)

    def plan(
        self, peers: Mapping[str, Peer], servers: Mapping[str, Server], wireguard: WireguardFacts, backend: BackendFacts
    ) -> Plan:
        """The real planners' plan."""
        steps = wireguard_plan.plan(peers, wireguard.peers, network=self._settings.tunnel.network)
        kept = {server.name for server in self._settings.core.servers}
        return Plan(
            new_peers=tuple(step for step in steps if isinstance(step, wireguard_plan.SetPeer)),
            servers=haproxy_plan.plan(servers, backend.servers, port=PORT, kept=kept),
            old_peers=tuple(step for step in steps if isinstance(step, wireguard_plan.RemovePeer)),
        )

    def carry_out(self, plan: Plan) -> None:
        """Apply in order; stop where the test cut."""
        for step in (*plan.new_peers, *plan.servers, *plan.old_peers):
            if self.fail_after is not None and self.effects >= self.fail_after:
                raise CutError
            self.effects += 1
            self._apply(step)

    def write_files(self, peers: Collection[Peer], servers: Collection[Server], wireguard: WireguardFacts) -> None:
        """Remember what the files would say, endpoints left out."""
        assert isinstance(wireguard, WireguardFacts)
        self.files = (
            tuple(sorted(f"{peer.instance} {peer.address}" for peer in peers)),
            tuple(sorted(f"{server.name} {server.address} {server.mode}" for server in servers)),
        )

    # --- the model --------------------------------------------------------------------------------------------------

    def _apply(self, step: wireguard_plan.Step | haproxy_plan.Step) -> None:  # noqa: C901 - one case per kind of step
        match step:
            case wireguard_plan.SetPeer():
                known = self.peers.get(step.public_key)
                handshake_at = known.handshake_at if known else 0
                self.peers[step.public_key] = PeerFacts(allowed_ips=(f"{step.address}/32",), handshake_at=handshake_at)
            case wireguard_plan.RemovePeer():
                del self.peers[step.public_key]
            case haproxy_plan.AddServer(server=server):
                if server.name in self.servers or server.weight < 1:
                    raise RuntimeApiError("faking", f"add server {server.name}", "already exists or weight 0")
                self.servers[server.name] = ServerFacts(
                    name=server.name,
                    address=server.address,
                    port=PORT,
                    mode=Mode.MAINT,
                    checking=False,
                    check="",
                    up=False,
                    weight=server.weight,
                    maxconn=server.maxconn,
                    busy=0,
                    queue=0,
                )
            case haproxy_plan.StartChecks(name=name):
                self._change(name, checking=True)
            case haproxy_plan.SetWeight(name=name, weight=weight):
                self._change(name, weight=weight)
            case haproxy_plan.SetMaxconn(name=name, maxconn=maxconn):
                self._change(name, maxconn=maxconn)
            case haproxy_plan.SetMode(name=name, mode=mode):
                self._change(name, mode=mode)
            case haproxy_plan.EndSessions(name=name):
                self._change(name, busy=0)
            case haproxy_plan.DeleteServer(name=name):
                server_facts = self.servers[name]
                if server_facts.mode is not Mode.MAINT:
                    raise RuntimeApiError("faking", f"del server {name}", "Only servers in maintenance mode …")
                if not server_facts.busy and name not in self.stuck:  # 2.6 keeps one with idle connections
                    del self.servers[name]

    def _change(self, name: str, **changes: object) -> None:
        self.servers[name] = replace(self.servers[name], **changes)  # type: ignore[arg-type]  # one known field each

    # --- what a test does to it -------------------------------------------------------------------------------------

    def handshake(self, key: str, at: int) -> None:
        """The node behind ``key`` spoke at ``at``."""
        self.peers[key] = replace(self.peers[key], handshake_at=at)

    def checked(self, name: str, check: str = "L7OK") -> None:
        """HAProxy's health check of ``name`` came to this result."""
        assert self.servers[name].checking, f"{name} is not being checked"
        self._change(name, check=check, up=check == "L7OK")

    def busy(self, name: str, requests: int) -> None:
        """``name`` works on this many requests."""
        self._change(name, busy=requests)

    def text(self) -> str:
        """Return the programmed state as a person would note it, the core's own servers left out."""
        core = {server.name for server in self._settings.core.servers}
        peers = [
            f"peer {facts.allowed_ips[0]}" for _, facts in sorted(self.peers.items(), key=lambda p: p[1].allowed_ips)
        ]
        servers = [
            f"server {s.name} {s.address} {s.mode} weight {s.weight} maxconn {s.maxconn}"
            for s in sorted(self.servers.values(), key=lambda s: s.name)
            if s.name not in core
        ]
        return "\n".join([*peers, *servers])
