"""One turn of the agent: decide and record, converge, let phases advance, report; it knows no transport.

Rule 1: what should be is durable before the first effect, so a crash anywhere heals by converging again.
Rule 2: nothing here waits for a drain or a health check: ``tick`` looks again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from core_agent import desired, fleet
from core_agent.contract.messages import (
    ActivateNode,
    Command,
    EnrollNode,
    HoldNode,
    Phase,
    ReadFacts,
    Report,
    SetBurst,
    SyncFleet,
)
from core_agent.converge import Converger, Sight
from core_agent.fleet import Burst, Changes, Limits, Node, Observation
from core_agent.haproxy.facts import BackendFacts
from core_agent.host import Host
from core_agent.reports import Reporter
from core_agent.state import State
from core_agent.wireguard.facts import WireguardFacts
from settings import Settings

log = logging.getLogger("drawbridge")

# A session older than this is dead (WireGuard's REJECT_AFTER_TIME); keepalives renew it every two minutes.
_FRESH_HANDSHAKE_S = 180


class Agent:
    """Carries out commands one at a time. ``clock`` gives Unix seconds."""

    def __init__(self, settings: Settings, state: State, host: Host, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._state = state
        self._host = host
        self._clock = clock
        self._lock = threading.Lock()
        self._converger = Converger(settings, host)
        self._limits = Limits(
            network=settings.tunnel.network,
            quarantine_s=settings.tunnel.quarantine_s,
            drain_deadline_s=settings.edge.drain_deadline_s,
        )
        self._reporter = Reporter(settings, state, self._limits, clock)

    def carry_out(self, command: Command) -> Report:
        """Return the report on ``command``.

        Raises ``Refused`` when nothing was changed, and a retryable ``DrawbridgeError`` when the wish was recorded but
        the core could not be brought to it yet; the ticker goes on trying.
        """
        with self._lock:
            changes = self._decide(command)
            self._record(changes)
            facts = self._settle().facts
            pending = len(self._converger.plan_peers(self._peers(), facts.wireguard))
            pending += len(self._converger.plan_servers(self._servers(), facts.backend))
            return self._reporter.report(command, changes, facts, pending=pending)

    def tick(self) -> bool:
        """Let phases advance and repair drift; return whether anything is still in motion. Raises as ``carry_out``."""
        with self._lock:
            _ = self._settle().facts
            return any(node.phase in (Phase.ENROLLED, Phase.DRAINING) for node in self._state.nodes.values())

    def _decide(self, command: Command) -> Changes:
        nodes, now = self._state.nodes, self._clock()
        match command:
            case SyncFleet():
                newest = self._state.generations.get(command.group, -1)
                return fleet.sync(nodes, newest, command, limits=self._limits, now=now)
            case EnrollNode():
                core_key = self._host.read_wireguard().public_key
                return fleet.enroll(
                    nodes, command.instance, command.public_key, core_key=core_key, limits=self._limits, now=now
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
            log.warning("kept %d nodes that had no seat: %s", len(changes.missing), " ".join(changes.missing))

    def _settle(self) -> Sight:
        """Converge, let phases advance on what was seen, and converge again until neither changes anything."""
        sight = self._converger.converge(self._peers(), self._servers())
        # Each round moves at least one node one phase further, and no node has more phases than this.
        for _ in range(len(Phase)):
            if sight.backend is None:  # nothing was seen of any server, which is not the same as seeing none
                break
            changes = self._advance(sight.wireguard, sight.backend)
            if changes.empty:
                break
            self._record(changes)
            sight = self._converger.converge(self._peers(), self._servers())
        return sight

    def _peers(self) -> dict[str, desired.Peer]:
        return desired.peers(self._state.nodes.values())

    def _servers(self) -> dict[str, desired.Server]:
        burst, level = self._settings.burst, self._state.burst.level_percent
        nodes = self._state.nodes.values()
        return desired.servers(nodes, level_percent=level, weight=burst.weight, maxconn=burst.maxconn)

    def _advance(self, wireguard: WireguardFacts | None, backend: BackendFacts) -> Changes:
        now = self._clock()
        seen = {node.instance: _observe(node, wireguard, backend, now) for node in self._state.nodes.values()}
        return fleet.advance(self._state.nodes, seen, limits=self._limits, now=now)


def _observe(node: Node, wireguard: WireguardFacts | None, backend: BackendFacts, now: float) -> Observation:
    server = backend.servers.get(node.instance)
    peer = wireguard.peers.get(node.public_key or "") if wireguard is not None else None
    return Observation(
        handshake=peer is not None and now - peer.handshake_at <= _FRESH_HANDSHAKE_S,
        check=server is not None and server.healthy,
        server=server is not None,
        closed=server is not None and server.mode is not desired.Mode.READY,
        busy=server.busy + server.queue if server else 0,
    )
