"""One turn of the agent: decide and record, then gather → plan → apply → gather, then report; it knows no transport.

Rule 1: what should be is durable before the first effect, so a crash anywhere heals by converging again.
Rule 2: the files on disk are written before the running state is changed, and say the same.
Rule 3: nothing here waits for a drain or a health check: ``tick`` looks again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from core_agent import __version__, desired, fleet
from core_agent.contract.messages import (
    ActivateNode,
    BurstReport,
    Command,
    CoreServerReport,
    EnrollNode,
    FactsReport,
    FleetReport,
    GroupReport,
    Hold,
    HoldNode,
    Lifecycle,
    LoadReport,
    NodeReport,
    Phase,
    ReadFacts,
    Report,
    SetBurst,
    SyncFleet,
    TunnelReport,
)
from core_agent.contract.names import InstanceId, PublicKey
from core_agent.errors import RefusalKind, Refused
from core_agent.fleet import Burst, Changes, Limits, Node, Observation
from core_agent.haproxy.facts import BackendFacts
from core_agent.host import Host
from core_agent.state import State
from core_agent.wireguard.facts import WireguardFacts
from settings import Settings

log = logging.getLogger("drawbridge")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the core runs at one moment."""

    wireguard: WireguardFacts
    backend: BackendFacts


class Agent:
    """Carries out commands one at a time. ``clock`` gives Unix seconds."""

    def __init__(self, settings: Settings, state: State, host: Host, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._state = state
        self._host = host
        self._clock = clock
        self._lock = threading.Lock()
        self._limits = Limits(
            network=settings.tunnel.network,
            quarantine_s=settings.tunnel.quarantine_s,
            drain_deadline_s=settings.edge.drain_deadline_s,
            guard_nodes=settings.guard.nodes,
            guard_share_percent=settings.guard.share_percent,
        )

    def carry_out(self, command: Command) -> Report:
        """Return the report on ``command``. Raises ``Refused`` (nothing changed) or a retryable ``DrawbridgeError``."""
        with self._lock:
            facts = self._gather()
            changes = self._decide(command, facts)
            self._record(changes)
            facts = self._settle(facts)
            return self._report(command, changes, facts)

    def tick(self) -> bool:
        """Let phases advance and repair drift; return whether anything is still in motion."""
        with self._lock:
            self._settle(self._gather())
            return any(node.phase in (Phase.ENROLLED, Phase.DRAINING) for node in self._state.nodes.values())

    # --- decide -----------------------------------------------------------------------------------------------------

    def _decide(self, command: Command, facts: Facts) -> Changes:
        nodes, now = self._state.nodes, self._clock()
        match command:
            case SyncFleet():
                newest = self._state.generations.get(command.group, -1)
                return fleet.sync(nodes, newest, command, limits=self._limits, now=now)
            case EnrollNode():
                return fleet.enroll(
                    nodes,
                    command.instance,
                    command.public_key,
                    core_key=facts.wireguard.public_key,
                    limits=self._limits,
                    now=now,
                )
            case ActivateNode():
                return fleet.activate(nodes, command.instance)
            case HoldNode():
                log.info("hold instance=%s hold=%s reason=%r", command.instance, command.hold, str(command.reason))
                return fleet.hold(nodes, command.instance, command.hold, now=now)
            case SetBurst():
                level = Burst(level_percent=command.level_percent, reason=command.reason)
                return Changes() if level == self._state.burst else Changes(burst=level)
            case ReadFacts():
                return Changes()

    def _record(self, changes: Changes) -> None:
        self._state.commit(changes)
        for node in changes.nodes:
            log.info("node instance=%s phase=%s lifecycle=%s", node.instance, node.phase, node.lifecycle)
        if changes.burst is not None:
            log.info("burst level_percent=%d reason=%r", changes.burst.level_percent, str(changes.burst.reason))
        if changes.missing:
            log.warning("guard kept %d nodes that had no seat: %s", len(changes.missing), " ".join(changes.missing))

    # --- gather, plan, apply ----------------------------------------------------------------------------------------

    def _gather(self) -> Facts:
        return Facts(wireguard=self._host.read_wireguard(), backend=self._host.read_backend())

    def _settle(self, facts: Facts) -> Facts:
        """Converge, let phases advance on what was seen, and converge again until neither changes anything."""
        facts = self._converge(facts)
        # Each round moves at least one node one phase further, and no node has more phases than this.
        for _ in range(len(Phase)):
            changes = self._advance(facts)
            if changes.empty:
                break
            self._record(changes)
            facts = self._converge(facts)
        return facts

    def _converge(self, facts: Facts) -> Facts:
        peers, servers = self._desired()
        self._host.write_files(peers.values(), servers.values(), facts.wireguard)
        plan = self._host.plan(peers, servers, facts.wireguard, facts.backend)
        if not plan:
            return facts
        self._host.carry_out(plan)
        return self._gather()

    def _desired(self) -> tuple[dict[str, desired.Peer], dict[str, desired.Server]]:
        nodes, burst = self._state.nodes.values(), self._settings.burst
        level = self._state.burst.level_percent
        servers = desired.servers(nodes, level_percent=level, weight=burst.weight, maxconn=burst.maxconn)
        return desired.peers(nodes), servers

    def _advance(self, facts: Facts) -> Changes:
        seen = {node.instance: _observe(node, facts) for node in self._state.nodes.values()}
        return fleet.advance(self._state.nodes, seen, limits=self._limits, now=self._clock())

    # --- report -----------------------------------------------------------------------------------------------------

    def _report(self, command: Command, changes: Changes, facts: Facts) -> Report:
        match command:
            case SyncFleet():
                return self._fleet_report(command, changes, facts)
            case EnrollNode():
                return self._tunnel_report(command.instance, facts)
            case ActivateNode() | HoldNode():
                return self._node_report(self._known(command.instance), facts)
            case SetBurst():
                return self._burst_report()
            case ReadFacts():
                return self._facts_report(facts)

    def _known(self, instance: InstanceId) -> Node:
        node = self._state.nodes.get(instance)
        if node is None:
            raise Refused(RefusalKind.UNKNOWN_NODE, f"reporting on {instance}: no such node on this core")
        return node

    def _fleet_report(self, command: SyncFleet, changes: Changes, facts: Facts) -> FleetReport:
        seats = {seat.instance: seat for seat in command.seats}
        nodes = []
        for instance, seat in seats.items():
            node = self._state.nodes.get(instance)
            if node is None:  # it never came this far: as gone as can be
                nodes.append(_never_seen(instance, command))
            elif seat.lifecycle is not Lifecycle.SERVING or node.phase is not Phase.ACTIVE:
                nodes.append(self._node_report(node, facts))
        nodes += [
            self._node_report(node, facts)
            for node in self._state.nodes.values()
            if node.group == command.group and node.instance not in seats and node.phase is not Phase.GONE
        ]
        newest = self._state.generations.get(command.group, command.generation)
        return FleetReport(
            group=command.group,
            generation=newest,
            applied=changes.generation is not None,
            nodes=tuple(nodes),
            missing=changes.missing,
            load=self._load_report(facts),
        )

    def _node_report(self, node: Node, facts: Facts) -> NodeReport:
        server = facts.backend.servers.get(node.instance)
        peer = facts.wireguard.peers.get(node.public_key or "")
        now = self._clock()
        return NodeReport(
            instance=node.instance,
            group=node.group,
            lifecycle=node.lifecycle,
            phase=node.phase,
            hold=node.hold,
            waited_s=max(0, int(now - node.since)),
            address=node.address,
            handshake_age_s=max(0, int(now) - peer.handshake_at) if peer and peer.handshake_at else None,
            server=server.mode.value if server else "absent",
            check=server.check if server else "",
            weight=server.weight if server else 0,
            maxconn=server.maxconn if server else 0,
            connections=server.busy if server else 0,
        )

    def _tunnel_report(self, instance: InstanceId, facts: Facts) -> TunnelReport:
        tunnel, core = self._settings.tunnel, self._settings.core
        return TunnelReport(
            instance=instance,
            address=f"{self._known(instance).address}/32",
            core_address=str(tunnel.core_address),
            core_public_key=PublicKey(facts.wireguard.public_key),
            endpoint=f"{core.public_address}:{tunnel.port}",
            mtu=tunnel.mtu,
            keepalive_s=tunnel.keepalive_s,
        )

    def _burst_report(self) -> BurstReport:
        return BurstReport(level_percent=self._state.burst.level_percent, reason=self._state.burst.reason)

    def _load_report(self, facts: Facts) -> LoadReport:
        backend = facts.backend
        core = [backend.servers.get(server.name) for server in self._settings.core.servers]
        return LoadReport(
            servers=tuple(
                CoreServerReport(
                    name=server.name, up=server.up, busy=server.busy, slots=server.maxconn, queue=server.queue
                )
                for server in core
                if server is not None
            ),
            queue=backend.queue,
            requests_total=backend.requests_total,
        )

    def _facts_report(self, facts: Facts) -> FactsReport:
        nodes = self._state.nodes.values()
        free = sum(1 for _ in fleet.free_addresses(nodes, self._limits))
        peers, servers = self._desired()
        return FactsReport(
            agent_version=__version__,
            core=self._settings.core.name,
            network=str(self._settings.tunnel.network),
            addresses_free=free,
            groups=tuple(
                GroupReport(group=group, generation=generation)
                for group, generation in sorted(self._state.generations.items())
            ),
            nodes=tuple(
                self._node_report(node, facts)
                for node in sorted(nodes, key=lambda node: node.instance)
                if node.phase is not Phase.GONE or node.hold is not Hold.NONE
            ),
            burst=self._burst_report(),
            load=self._load_report(facts),
            pending_steps=len(self._host.plan(peers, servers, facts.wireguard, facts.backend)),
        )


def _observe(node: Node, facts: Facts) -> Observation:
    server = facts.backend.servers.get(node.instance)
    peer = facts.wireguard.peers.get(node.public_key or "")
    return Observation(
        handshake=peer is not None and peer.handshake_at > 0,
        check=server is not None and server.healthy,
        server=server is not None,
        closed=server is not None and server.mode is not desired.Mode.READY,
        busy=server.busy + server.queue if server else 0,
    )


def _never_seen(instance: InstanceId, command: SyncFleet) -> NodeReport:
    return NodeReport(
        instance=instance,
        group=command.group,
        lifecycle=Lifecycle.LEAVING,
        phase=Phase.GONE,
        hold=Hold.NONE,
        waited_s=0,
        address=None,
        handshake_age_s=None,
        server="absent",
        check="",
        weight=0,
        maxconn=0,
        connections=0,
    )
