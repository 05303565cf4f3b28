"""Builds every report from the records and the facts; it changes nothing and asks nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from core_agent import __version__
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
    PhaseCounts,
    ReadFacts,
    ReadTelemetry,
    Report,
    SetBurst,
    SetCapacity,
    SyncFleet,
    TelemetryReport,
    TunnelReport,
)
from core_agent.contract.names import InstanceId, PublicKey
from core_agent.converge import Facts
from core_agent.errors import RefusalKind, Refused, UnreadableFacts
from core_agent.fleet import Limits
from core_agent.handshakes import handshakes
from core_agent.roll import Changes, Node
from core_agent.state import State
from core_agent.telemetry import Telemetry
from settings import Settings


class Reporter:
    """Says what *is*. ``clock`` gives Unix seconds."""

    def __init__(
        self, settings: Settings, state: State, limits: Limits, telemetry: Telemetry, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._state = state
        self._limits = limits
        self._telemetry = telemetry
        self._clock = clock

    def report(  # noqa: PLR0911 - one for each kind of command
        self, command: Command, changes: Changes, facts: Facts, *, pending: int
    ) -> Report:
        """Return the answer to ``command``, which made ``changes``; ``pending`` steps are left. Raises ``Refused``."""
        match command:
            case SyncFleet():
                return self._fleet_report(command, changes, facts)
            case EnrollNode():
                return self._tunnel_report(command.instance, facts)
            case ActivateNode() | HoldNode():
                return self._node_report(self._known(command.instance), facts)
            case SetBurst():
                return self._burst_report()
            case SetCapacity():
                return self._core_server_report(command.server, facts)
            case ReadTelemetry():
                return self._telemetry_report(command, facts)
            case ReadFacts():
                return self._facts_report(facts, pending)

    def _known(self, instance: InstanceId) -> Node:
        node = self._state.nodes.get(instance)
        if node is None:
            raise Refused(RefusalKind.UNKNOWN_NODE, f"reporting on {instance}: no such node on this core")
        return node

    def _fleet_report(self, command: SyncFleet, changes: Changes, facts: Facts) -> FleetReport:
        known, nodes = self._state.nodes, []
        for instance, lifecycle in known.unsettled(command.group, command.seats):
            node = known.get(instance)
            if node is None:  # it never came this far: as gone as can be
                nodes.append(_never_seen(instance, command))
            elif node.group != command.group and node.phase is not Phase.GONE:
                continue  # another group's still: nothing that it does is this group's
            elif lifecycle is not Lifecycle.SERVING or node.phase is not Phase.ACTIVE:
                nodes.append(self._node_report(node, facts))
        nodes += [
            self._node_report(node, facts)
            for node in known.unseated(command.group, command.seats)
            if node.phase is not Phase.GONE
        ]
        newest = self._state.generations.get(command.group, command.generation)
        return FleetReport(
            group=command.group,
            generation=newest,
            applied=changes.generation is not None,
            nodes=tuple(nodes),
            missing=changes.missing,
            elsewhere=changes.elsewhere,
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
        burst = self._state.burst
        return BurstReport(
            level_percent=burst.level_percent,
            core_percent=burst.core_percent,
            by_hand=burst.by_hand,
            reason=burst.reason,
        )

    def _load_report(self, facts: Facts) -> LoadReport:
        backend = facts.backend
        return LoadReport(
            servers=self._core_server_reports(facts), queue=backend.queue, requests_total=backend.requests_total
        )

    def _core_server_reports(self, facts: Facts) -> tuple[CoreServerReport, ...]:
        """The core's own servers that HAProxy has; one that settings just brought comes with its next reload."""
        names = [server.name for server in self._settings.core.servers if server.name in facts.backend.servers]
        return tuple(self._core_server_report(name, facts) for name in names)

    def _core_server_report(self, name: str, facts: Facts) -> CoreServerReport:
        server = facts.backend.servers.get(name)
        if server is None:
            raise UnreadableFacts(f"reporting on {name}: wanted a server of that name in HAProxy, found none")
        (configured,) = (one.maxconn for one in self._settings.core.servers if one.name == name)
        return CoreServerReport(
            name=server.name,
            up=server.up,
            takes=server.takes,
            busy=server.busy,
            slots=server.maxconn,
            queue=server.queue,
            configured=configured,
            suggestion=self._telemetry.suggestion(name, slots=server.maxconn),
        )

    def _telemetry_report(self, command: ReadTelemetry, facts: Facts) -> TelemetryReport:
        window = self._telemetry.window(command.window_s)
        if window is None:
            raise UnreadableFacts(
                "telling how the load was: wanted a look at HAProxy since the agent's start, found none"
            )
        nodes = self._state.nodes.values()
        phases = Counter(node.phase for node in nodes)
        spoke = handshakes(nodes, facts.wireguard.peers, self._clock())
        return TelemetryReport(
            core=self._settings.core.name,
            covered_s=window.covered_s,
            samples=window.samples,
            core_side=window.answers.core_side,
            edge_side=window.answers.edge_side,
            refused=round(window.answers.refused),
            servers=self._core_server_reports(facts),
            burst=self._burst_report(),
            nodes=PhaseCounts(
                seated=phases[Phase.SEATED],
                enrolled=phases[Phase.ENROLLED],
                active=phases[Phase.ACTIVE],
                draining=phases[Phase.DRAINING],
            ),
            handshake_age_s=None if spoke.oldest_s is None else int(spoke.oldest_s),
            stale_peers=spoke.silent,
        )

    def _facts_report(self, facts: Facts, pending: int) -> FactsReport:
        nodes = self._state.nodes.values()
        free = self._state.nodes.addresses_left(self._limits.network)
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
            pending_steps=pending,
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
