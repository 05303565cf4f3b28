"""A core that keeps the contract's promises in memory: phases, generations, refusals; refuses other commands.

Handshakes, health checks and the end of a drain happen when a test says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from core_agent.contract.messages import (
    ActivateNode,
    BurstReport,
    Command,
    CoreServerReport,
    EnrollNode,
    FleetReport,
    Hold,
    Lifecycle,
    LoadReport,
    LoadSample,
    NodeReport,
    Phase,
    PhaseCounts,
    ReadTelemetry,
    Report,
    SetBurst,
    SideReport,
    SyncFleet,
    TelemetryReport,
    TunnelReport,
)
from core_agent.contract.names import GroupName, InstanceId, PublicKey, Reason
from core_agent.errors import RefusalKind, Refused

GROUP_NAME = GroupName("eu-north-1/drawbridge-edge")
KEY = PublicKey("xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=")
OTHER_KEY = PublicKey("HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=")
CORE_KEY = PublicKey("TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=")
SERVERS = (
    CoreServerReport(name="no-primary", up=True, takes=True, busy=40, slots=50, queue=2, configured=50),
    CoreServerReport(name="no-spare", up=False, takes=False, busy=0, slots=30, queue=0, configured=30),
)
LOAD = LoadReport(servers=SERVERS, queue=3, requests_total=1000)
TELEMETRY = TelemetryReport(
    core="no",
    covered_s=10,
    samples=tuple(
        LoadSample(
            at_ms=1_795_334_400_000 + 1000 * at, core_percent=80 + at, total_percent=40, queue=at, queue_ms=7 * at
        )
        for at in range(10)
    ),
    core_side=SideReport(answered=900, failed=2),
    edge_side=SideReport(answered=100, failed=1),
    refused=4,
    servers=SERVERS,
    burst=BurstReport(level_percent=25, core_percent=100, by_hand=False, reason=Reason("a test")),
    nodes=PhaseCounts(seated=1, enrolled=2, active=3, draining=4),
    handshake_age_s=17,
    stale_peers=0,
)


@dataclass(slots=True, kw_only=True)
class FakeNode:
    """What the core keeps of one instance."""

    lifecycle: Lifecycle
    phase: Phase = Phase.SEATED
    key: PublicKey | None = None
    hold: Hold = Hold.NONE
    wants_ready: bool = False
    handshake: bool = False
    healthy: bool = False
    connections: int = 0


@dataclass(slots=True, kw_only=True)
class FakeCore:
    """``instant`` ends every drain at once; ``failures`` are raised in turn."""

    group: GroupName = GROUP_NAME
    nodes: dict[InstanceId, FakeNode] = field(default_factory=dict)
    generation: int = 0
    instant: bool = False
    telemetry: TelemetryReport = TELEMETRY
    commands: list[Command] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    bursts: list[SetBurst] = field(default_factory=list)

    def request(self, command: Command) -> Report:
        """Carry out ``command`` as the contract says."""
        self.commands.append(command)
        if self.failures:
            raise self.failures.pop(0)
        match command:
            case SyncFleet():
                return self._sync(command)
            case EnrollNode():
                return self._enroll(command)
            case ActivateNode():
                return self._activate(command)
            case SetBurst():
                self.bursts.append(command)
                return self._set(command)
            case ReadTelemetry():
                return self.telemetry
            case _:
                raise AssertionError(f"no function sends {command}")

    def come_up(self, instance: InstanceId) -> None:
        """Let the node's tunnel and application answer."""
        self.nodes[instance].handshake = self.nodes[instance].healthy = True

    def drained(self, instance: InstanceId) -> None:
        """Let the node's last request end."""
        assert self.nodes[instance].phase is Phase.DRAINING
        self.nodes[instance].phase = Phase.GONE

    def active(self, instance: InstanceId) -> None:
        """Put a node in service that carries traffic."""
        self.nodes[instance] = FakeNode(lifecycle=Lifecycle.SERVING, phase=Phase.ACTIVE, key=KEY, handshake=True)

    @property
    def syncs(self) -> list[SyncFleet]:
        """Every sync that was asked for."""
        return [command for command in self.commands if isinstance(command, SyncFleet)]

    def _set(self, command: SetBurst) -> BurstReport:
        burst = BurstReport(
            level_percent=command.level_percent,
            core_percent=command.core_percent,
            by_hand=command.by_hand,
            reason=command.reason,
        )
        self.telemetry = replace(self.telemetry, burst=burst)
        return burst

    def _sync(self, command: SyncFleet) -> FleetReport:
        assert command.group == self.group, command.group
        applied = command.generation > self.generation
        missing = self._apply(command) if applied else ()
        return FleetReport(
            group=self.group,
            generation=self.generation,
            applied=applied,
            nodes=self._in_motion(command),
            missing=missing,
        )

    def _apply(self, command: SyncFleet) -> tuple[InstanceId, ...]:
        self.generation = command.generation
        seats = dict(command.seats)
        for instance, lifecycle in seats.items():
            if lifecycle is Lifecycle.LEAVING:
                self._leave(instance)
            else:
                self.nodes.setdefault(instance, FakeNode(lifecycle=lifecycle)).lifecycle = lifecycle
        absent = [
            one
            for one, node in self.nodes.items()
            if one not in seats and node.lifecycle is not Lifecycle.LEAVING and one not in command.gone
        ]
        kept = absent if command.override is None else []
        for instance in [*command.gone, *absent]:
            if instance not in kept:
                self._leave(instance)
        return tuple(sorted(kept))

    def _leave(self, instance: InstanceId) -> None:
        node = self.nodes.get(instance)
        if node is None or node.phase is Phase.GONE:
            return
        node.lifecycle = Lifecycle.LEAVING
        node.phase = Phase.GONE if self.instant or node.phase is Phase.SEATED else Phase.DRAINING

    def _in_motion(self, command: SyncFleet) -> tuple[NodeReport, ...]:
        seats = dict(command.seats)
        reports = []
        for instance, lifecycle in seats.items():
            node = self.nodes.get(instance)
            if node is None:  # never came this far
                reports.append(self._report(instance, FakeNode(lifecycle=lifecycle, phase=Phase.GONE)))
            elif lifecycle is not Lifecycle.SERVING or node.phase is not Phase.ACTIVE:
                reports.append(self._report(instance, node))
        reports += [
            self._report(instance, node)
            for instance, node in self.nodes.items()
            if instance not in seats and node.phase is not Phase.GONE
        ]
        return tuple(reports)

    def _enroll(self, command: EnrollNode) -> TunnelReport:
        node = self.nodes.get(command.instance)
        doing = f"enrolling {command.instance}"
        if node is None or node.phase is Phase.GONE:
            raise Refused(RefusalKind.NOT_SEATED, f"{doing}: wanted a seat in a group, found none")
        if node.hold is Hold.REMOVE:
            raise Refused(RefusalKind.HELD, f"{doing}: an operator removed this node")
        if node.key not in (None, command.public_key):
            raise Refused(RefusalKind.KEY_CONFLICT, f"{doing}: wanted the key it enrolled with, found another")
        node.key = command.public_key
        if node.phase is Phase.SEATED:
            node.phase = Phase.ENROLLED
        return TunnelReport(
            instance=command.instance,
            address="10.100.0.2/32",
            core_address="10.100.0.1",
            core_public_key=CORE_KEY,
            endpoint="203.0.113.10:51820",
            mtu=1360,
            keepalive_s=25,
        )

    def _activate(self, command: ActivateNode) -> NodeReport:
        node = self.nodes.get(command.instance)
        doing = f"activating {command.instance}"
        if node is None or node.phase is Phase.GONE:
            raise Refused(RefusalKind.UNKNOWN_NODE, f"{doing}: no such node on this core")
        if node.phase is Phase.SEATED:
            raise Refused(RefusalKind.NOT_ENROLLED, f"{doing}: wanted an enrolled node, found one without a key")
        node.wants_ready = True
        wanted = node.lifecycle in (Lifecycle.JOINING, Lifecycle.SERVING) and node.hold is Hold.NONE
        if wanted and node.phase is Phase.ENROLLED and node.handshake and node.healthy:
            node.phase = Phase.ACTIVE
        return self._report(command.instance, node)

    def _report(self, instance: InstanceId, node: FakeNode) -> NodeReport:
        server = {Phase.ENROLLED: "maint", Phase.ACTIVE: "ready", Phase.DRAINING: "drain"}.get(node.phase, "absent")
        return NodeReport(
            instance=instance,
            group=self.group,
            lifecycle=node.lifecycle,
            phase=node.phase,
            hold=node.hold,
            waited_s=1,
            address="10.100.0.2",
            handshake_age_s=3 if node.handshake else None,
            server=server,
            check="L7OK" if node.healthy else "L4CON",
            weight=28,
            maxconn=28,
            connections=node.connections,
        )
