"""A core that models WireGuard's peers, HAProxy's servers and both files; it refuses what it does not know.

``text()`` prints it, so that a test compares with what a person would read. ``fail_after`` cuts it off between two
effects, as a crash would.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from core_agent.desired import CoreSlots, Mode, Peer, Server
from core_agent.errors import CommandFailed, RuntimeApiError
from core_agent.haproxy import plan as haproxy_plan
from core_agent.haproxy import variables
from core_agent.haproxy.apply import Answers
from core_agent.haproxy.facts import BackendFacts, Counters, Reading, ServerFacts
from core_agent.host import Host
from core_agent.roll import Burst
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
                id=number,
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
            for number, server in enumerate(settings.core.servers, start=1)
        }
        self.filed_peers: dict[str, str] = {}
        self.endpoints: dict[str, str] = {}
        self.filed_servers: dict[str, str] = {}
        self._known_peers: dict[str, str] | None = None
        self._known_servers: dict[str, str] | None = None
        self.wireguard_down = self.haproxy_down = False
        self.stuck: set[str] = set()
        self.queue = 0
        self.variables = dict.fromkeys(variables.names(len(settings.core.servers)), 0)
        self.requests_total = self.failed_total = 0
        self.effects = 0
        self.fail_after: int | None = None

    # --- what Host offers -------------------------------------------------------------------------------------------

    def read_wireguard(self) -> WireguardFacts:
        """The peers and the core's key."""
        if self.wireguard_down:
            raise CommandFailed("reading the peers of wg0", "wg", 1, "No such device")
        return WireguardFacts(public_key=CORE_KEY, peers=dict(self.peers))

    def read_backend(self) -> BackendFacts:
        """The servers."""
        if self.haproxy_down:
            raise RuntimeApiError("opening /run/haproxy/admin.sock", "connect", "No such file or directory")
        return BackendFacts(
            servers={name: replace(server) for name, server in self.servers.items()},
            queue=self.queue,
            requests_total=self.requests_total,
            failed_total=self.failed_total,
            variables=dict(self.variables),
        )

    def set_peers(self, steps: Sequence[wireguard_plan.Step]) -> Callable[[], object]:
        """Apply in order; there is nothing to wait for."""
        if self.wireguard_down:
            raise CommandFailed("setting peers of wg0", "wg", 1, "No such device")
        for step in steps:
            self._effect()
            self._set_peer(step)
        return lambda: None

    def change_servers(self, steps: Sequence[haproxy_plan.Step], watch: Collection[int]) -> Answers:
        """Apply in order, then tell the counters of those watched."""
        if self.haproxy_down:
            raise RuntimeApiError("opening /run/haproxy/admin.sock", "connect", "No such file or directory")
        done = []
        for step in steps:
            self._effect()
            if self._change_server(step):
                done.append(step)
        rows = {"BACKEND": Counters(check="", up=True, maxconn=0, busy=0, queue=self.queue, answered=0, failed=0)}
        rows |= {
            server.name: Counters(
                check=server.check,
                up=server.up,
                maxconn=server.maxconn,
                busy=server.busy,
                queue=server.queue,
                answered=server.answered,
                failed=server.failed,
            )
            for server in self.servers.values()
            if server.id in watch
        }
        reading = Reading(
            servers=rows, queue=self.queue, requests_total=self.requests_total, failed_total=self.failed_total
        )
        return Answers(done=tuple(done), reading=reading)

    def known_endpoints(self) -> dict[str, str]:
        """What wg0.conf has."""
        return dict(self.endpoints)

    def write_peers(
        self, peers: Mapping[str, Peer], endpoints: Mapping[str, str], gone: Collection[str] | None = None
    ) -> bool:
        """Remember what wg0.conf would say; a file that says so already is not written."""
        self.endpoints = dict(endpoints)
        lines = {name: f"{peer.address} of {peer.group}, {peer.hold}" for name, peer in peers.items()}
        after = _merged(self._known_peers or {}, lines, gone)
        meddled = self._meddled(self.filed_peers, self._known_peers)
        if after != self.filed_peers:
            self._effect()
        self.filed_peers = self._known_peers = after
        return meddled

    def write_servers(
        self,
        servers: Mapping[str, Server],
        burst: Burst,
        core: Mapping[str, CoreSlots],
        gone: Collection[str] | None = None,
    ) -> bool:
        """Remember what haproxy.cfg would say; HAProxy refuses a file that names two servers alike."""
        lines = {name: f"{s.address} id {s.id} {s.mode} {s.weight} {s.maxconn}" for name, s in servers.items()}
        head = f"{burst.level_percent} %, core {burst.core_percent} %: {burst.reason}"
        slots = {
            f"slots of {name}": f"{one.slots}, {one.reserve} kept free: {one.reason}" for name, one in core.items()
        }
        after = {**_merged(self._known_servers or {}, lines, gone), "": head, **slots}
        if any(server.name in after for server in self._settings.core.servers):
            raise CommandFailed("checking .haproxy.cfg.new", "haproxy", 1, "another server has that name")
        meddled = self._meddled(self.filed_servers, self._known_servers)
        if after != self.filed_servers:
            self._effect()
        self.filed_servers = self._known_servers = after
        return meddled

    @staticmethod
    def _meddled(now: Mapping[str, str], known: Mapping[str, str] | None) -> bool:
        return known is not None and now != known

    # --- the model --------------------------------------------------------------------------------------------------

    def _effect(self) -> None:
        if self.fail_after is not None and self.effects >= self.fail_after:
            raise CutError
        self.effects += 1

    def _set_peer(self, step: wireguard_plan.Step) -> None:
        match step:
            case wireguard_plan.SetPeer():
                known = self.peers.get(step.public_key)
                handshake_at = known.handshake_at if known else 0
                self.peers[step.public_key] = PeerFacts(
                    allowed_ips=(f"{step.address}/32",), handshake_at=handshake_at, endpoint=step.endpoint
                )
            case wireguard_plan.RemovePeer():
                del self.peers[step.public_key]

    def _change_server(self, step: haproxy_plan.Step) -> bool:  # noqa: C901, PLR0912 - one case per kind of step
        """Apply one step; return whether it took effect."""
        match step:
            case haproxy_plan.AddServer(server=server):
                if server.name in self.servers or server.weight < 1:
                    raise RuntimeApiError("faking", f"add server {server.name}", "already exists or weight 0")
                if any(other.id == server.id for other in self.servers.values()):
                    raise RuntimeApiError("faking", f"add server {server.name}", "this id is taken")
                self.servers[server.name] = ServerFacts(
                    name=server.name,
                    id=server.id,
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
                # Maintenance pauses the check, which then tells nothing; opening or draining resumes it.
                paused = {"checking": False, "check": ""} if mode is Mode.MAINT else {"checking": True}
                self._change(name, mode=mode, **paused)
            case haproxy_plan.EndSessions(name=name):
                self._change(name, busy=0)
            case haproxy_plan.DeleteServer(name=name):
                server_facts = self.servers[name]
                if server_facts.mode is not Mode.MAINT:
                    raise RuntimeApiError("faking", f"del server {name}", "Only servers in maintenance mode …")
                if server_facts.busy or name in self.stuck:  # 2.6 keeps one with idle connections
                    return False
                del self.servers[name]
            case haproxy_plan.SetVariable(name=name, value=value):
                if name not in self.variables:
                    raise RuntimeApiError("faking", f"set var proc.{name}", "no rule reads this variable")
                self.variables[name] = value
        return True

    def _change(self, name: str, **changes: object) -> None:
        self.servers[name] = replace(self.servers[name], **changes)  # type: ignore[arg-type]  # one known field each

    # --- what a test does to it -------------------------------------------------------------------------------------

    def handshake(self, key: str, at: int) -> None:
        """The node behind ``key`` spoke at ``at``."""
        self.peers[key] = replace(self.peers[key], handshake_at=at, endpoint="198.51.100.10:40001")

    def checked(self, name: str, check: str = "L7OK") -> None:
        """HAProxy's health check of ``name`` came to this result."""
        assert self.servers[name].checking, f"{name} is not being checked"
        self._change(name, check=check, up=check == "L7OK")

    def busy(self, name: str, requests: int) -> None:
        """``name`` works on this many requests."""
        self._change(name, busy=requests)

    def answer(self, name: str, requests: int, *, failed: int = 0) -> None:
        """``name`` answered so many requests more, some of them with 5xx."""
        server = self.servers[name]
        self._change(name, answered=server.answered + requests, failed=server.failed + failed)
        self.requests_total += requests
        self.failed_total += failed

    def refuse(self, requests: int) -> None:
        """HAProxy answered so many requests with 503 by itself."""
        self.requests_total += requests
        self.failed_total += requests

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


def _merged(filed: Mapping[str, str], lines: Mapping[str, str], gone: Collection[str] | None) -> dict[str, str]:
    if gone is None:
        return dict(lines)
    return {name: text for name, text in {**filed, **lines}.items() if name not in gone}
