"""One turn of the agent: decide and record, converge, let phases advance, report; it knows no transport.

Rule 1: what should be is durable before the first effect, so a crash anywhere heals by converging again.
Rule 2: nothing here waits for a drain or a health check: ``advance`` and ``tick`` look again.
Rule 3: commands that wait together are one turn: one transaction, one change of each file, one call of ``wg``.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from core_agent import fleet
from core_agent.contract.messages import (
    ActivateNode,
    Command,
    EnrollNode,
    HoldNode,
    Phase,
    ReadFacts,
    ReadTelemetry,
    Report,
    SetBurst,
    SetCapacity,
    SyncFleet,
)
from core_agent.contract.names import InstanceId
from core_agent.converge import Converger, Sight
from core_agent.desired import Desired, Mode, Scope
from core_agent.errors import DrawbridgeError, RecordFailed, RefusalKind, Refused
from core_agent.fleet import Limits, Observation
from core_agent.haproxy.facts import BackendFacts
from core_agent.host import Host
from core_agent.metrics import Metrics, Snapshot, snapshot
from core_agent.ramp import Ramps
from core_agent.reports import Reporter
from core_agent.roll import Burst, Capacity, Changes
from core_agent.state import State
from core_agent.telemetry import Telemetry
from settings import Settings

log = logging.getLogger("drawbridge")

# No node has more phases than this, and each round moves at least one node one phase further.
_ROUNDS = len(Phase)
_NODES_A_LINE = 50


class Agent:
    """Carries out commands, a turn at a time, and counts what becomes of them. ``clock`` gives Unix seconds."""

    def __init__(self, settings: Settings, state: State, host: Host, clock: Callable[[], float] = time.time) -> None:
        self.metrics = Metrics(started_at=clock())
        self._state = state
        self._clock = clock
        self._core_servers = frozenset(str(server.name) for server in settings.core.servers)
        self._lock = threading.Lock()
        self._desired = Desired(settings, state.nodes.values(), state.burst, state.capacity)
        self._ramps = Ramps(settings.burst.ramp_s)
        self._converger = Converger(settings, host, self._desired)
        self._limits = Limits(
            network=settings.tunnel.network,
            quarantine_s=settings.tunnel.quarantine_s,
            drain_deadline_s=settings.edge.drain_deadline_s,
        )
        self._telemetry = Telemetry(
            core=self._core_servers,
            node_slots=self._desired.node_slots,
            queue_timeout_s=settings.frontend.queue_s,
            low_percent=settings.burst.saturation_low_percent,
        )
        self._reporter = Reporter(settings, state, self._limits, self._telemetry, clock)

    def carry_out(self, command: Command) -> Report:
        """Return the report on ``command``; raises what ``carry_out_all`` would put in its place."""
        (outcome,) = self.carry_out_all((command,))
        if isinstance(outcome, DrawbridgeError):
            raise outcome
        return outcome

    def carry_out_all(self, commands: Sequence[Command]) -> list[Report | DrawbridgeError]:
        """Carry out ``commands`` as one turn, in their order, and return for each its report or what stopped it.

        A ``Refused`` changed nothing. After a retryable error the wish is recorded, but the core could not be brought
        to it yet; ``tick`` goes on trying. ``RecordFailed`` is the disk's refusal: of the whole turn, or only of what
        would have followed from a decision that is recorded and carried out.
        """
        with self._lock:
            outcomes = self._turn(commands)
        for command, outcome in zip(commands, outcomes, strict=True):
            self.metrics.answered(command, outcome)
        return outcomes

    def _turn(self, commands: Sequence[Command]) -> list[Report | DrawbridgeError]:
        ready = self._said_to_be_ready(commands)
        if ready:  # seen now, they may open in the transaction that says so
            self._converge(Scope(), ready)
        try:
            decided, opened = self._decide_all(commands, ready)
            scope, watch = self._scope(commands, decided)
            scope |= self._follow(opened)
            scope |= self._adjust()
            everything = any(isinstance(command, ReadFacts) for command in commands)
            sight = self._settle(None if everything else scope, watch)
        except DrawbridgeError as error:
            return [error] * len(commands)
        # The one large report is made once, however many ask for it.
        facts = functools.cache(lambda: self._outcome(ReadFacts(), Changes(), sight))
        return [
            facts() if isinstance(command, ReadFacts) else self._outcome(command, outcome, sight)
            for command, outcome in zip(commands, decided, strict=True)
        ]

    def tick(self) -> bool:
        """Look at everything, repair drift, let phases advance; return whether a node is still in motion.

        Raises the first error that converging met, and ``RecordsLost`` when somebody took the records away: the next
        start rebuilds them.
        """
        with self._lock:
            self._state.check()
            return self._moved(self._settle(None, ()))

    def advance(self) -> bool:
        """Let the nodes in motion advance, looking at them alone; return and raise as ``tick``."""
        with self._lock:
            moving = tuple(self._state.nodes.moving)
            scope = self._desired.about(moving)
            scope |= self._adjust()
            return self._moved(self._settle(scope, moving))

    def _moved(self, sight: Sight) -> bool:
        if sight.error is not None:
            raise sight.error
        return bool(self._state.nodes.moving or self._ramps)

    # --- decide -----------------------------------------------------------------------------------------------------

    def _said_to_be_ready(self, commands: Sequence[Command]) -> list[InstanceId]:
        """The nodes that ``commands`` call ready, or serving though they are not open yet."""
        ready: list[InstanceId] = []
        for command in commands:
            match command:
                case ActivateNode():
                    ready.append(command.instance)
                case SyncFleet():
                    ready += self._state.nodes.unsettled(command.group, command.seats).serving
        return [name for name in ready if (node := self._state.nodes.get(name)) and node.phase is Phase.ENROLLED]

    def _decide_all(
        self, commands: Sequence[Command], ready: Collection[InstanceId]
    ) -> tuple[list[Changes | DrawbridgeError], Changes]:
        """Decide and record; return what each command changes, and what opens of the nodes that are ``ready``."""
        decided: list[Changes | DrawbridgeError] = []
        with self._state.transaction():
            for command in commands:
                try:
                    changes = self._decide(command)
                except DrawbridgeError as error:
                    decided.append(error)
                    continue
                self._state.record(changes)
                decided.append(changes)
            opened = self._advance(self._state.nodes.moving.intersection(ready), self._converger.backend)
            self._state.record(opened)
        _tell([*(outcome for outcome in decided if isinstance(outcome, Changes)), opened])
        for command, outcome in zip(commands, decided, strict=True):
            if isinstance(command, HoldNode) and isinstance(outcome, Changes):
                log.info("hold instance=%s hold=%s reason=%r", command.instance, command.hold, str(command.reason))
        return decided, opened

    def _decide(self, command: Command) -> Changes:  # noqa: PLR0911 - one for each command
        nodes, now = self._state.nodes, self._clock()
        match command:
            case SyncFleet():
                newest = self._state.generations.get(command.group, -1)
                return fleet.sync(nodes, newest, command, limits=self._limits, now=now)
            case EnrollNode():
                core_key = self._converger.core_key()
                return fleet.enroll(
                    nodes, command.instance, command.public_key, core_key=core_key, limits=self._limits, now=now
                )
            case ActivateNode():
                return fleet.activate(nodes, command.instance)
            case HoldNode():
                return fleet.hold(nodes, command.instance, command.hold, now=now)
            case SetBurst():
                level = Burst(
                    level_percent=command.level_percent,
                    reason=command.reason,
                    core_percent=command.core_percent,
                    by_hand=command.by_hand,
                )
                return Changes(burst=level if level != self._state.burst else None)
            case SetCapacity():
                return self._resized(command)
            case ReadFacts() | ReadTelemetry():
                return Changes()

    def _resized(self, command: SetCapacity) -> Changes:
        if command.server not in self._core_servers:
            known = ", ".join(sorted(self._core_servers))
            raise Refused(
                RefusalKind.UNKNOWN_SERVER,
                f"setting the slots of {command.server}: wanted a core server of drawbridge.toml ({known})",
            )
        told = Capacity(slots=command.slots, reason=command.reason) if command.slots is not None else None
        if told == self._state.capacity.get(command.server):
            return Changes()
        return Changes(capacity=(command.server, told))

    def _scope(
        self, commands: Sequence[Command], decided: Sequence[Changes | DrawbridgeError]
    ) -> tuple[Scope, Collection[InstanceId]]:
        """What differs now, and the nodes that may have got further."""
        scope, watch = Scope(), set[InstanceId]()
        for command, outcome in zip(commands, decided, strict=True):
            if not isinstance(outcome, Changes):
                continue
            scope |= self._follow(outcome)
            watch.update(node.instance for node in outcome.nodes)
            if isinstance(command, EnrollNode | ActivateNode | HoldNode):
                watch.add(command.instance)
        return scope, watch

    def _follow(self, changes: Changes) -> Scope:
        """Let what is desired follow ``changes``; a server that opens has to climb to its weight."""
        shut = {one for node in changes.nodes if not self._is_open(one := node.instance)}
        scope = self._desired.follow(changes, self._state.nodes)
        self._ramps.begin([one for one in shut if self._is_open(one)], self._clock())
        return scope

    def _is_open(self, instance: InstanceId) -> bool:
        server = self._desired.servers.get(instance)
        return server is not None and server.mode is Mode.READY

    def _adjust(self) -> Scope:
        """Give servers that opened a moment ago what is due by now, and all of them all while the core is down."""
        backend, nodes = self._converger.backend, self._state.nodes
        if backend is None:
            return Scope()
        core = [server for name in self._core_servers if (server := backend.servers.get(name)) is not None]
        scope = self._desired.leave_alone(nodes, alone=bool(core) and not any(server.takes for server in core))
        if self._ramps:
            waiting = backend.queue + sum(server.queue for server in core)
            scope |= self._desired.ramp(self._ramps.percents(self._clock(), waiting), nodes)
        return scope

    # --- converge ---------------------------------------------------------------------------------------------------

    def _settle(self, scope: Scope | None, watch: Collection[InstanceId]) -> Sight:
        """Converge, let ``watch`` advance on what was seen, and converge again until neither changes anything."""
        moving = self._state.nodes.moving
        sight = self._converge(scope, moving.intersection(watch))
        watch = tuple(self._state.nodes) if scope is None else moving.intersection(watch)
        for _ in range(_ROUNDS):
            changes = self._advance(watch, sight.backend)
            try:
                self._state.commit(changes)
            except RecordFailed as error:  # of these changes: what was decided before is recorded and done
                return replace(sight, error=sight.error or error)
            _tell([changes])
            watch = moving.intersection(node.instance for node in changes.nodes)
            scope = self._follow(changes)
            scope |= self._adjust()
            if changes.empty and not scope.servers:
                break
            sight = self._converge(scope, watch)
        return sight

    def _converge(self, scope: Scope | None, watch: Collection[InstanceId]) -> Sight:
        begin = time.perf_counter()
        sight = self._converger.look() if scope is None else self._converger.turn(scope, watch)
        self.metrics.converged("full" if scope is None else "scoped", time.perf_counter() - begin, sight)
        if scope is None:
            if sight.backend is not None:
                self._telemetry.sample(self._clock(), sight.backend)
            self.metrics.observe(self._snapshot(sight))
        for put_right in sight.drift[:_NODES_A_LINE]:
            log.warning("drift, put right: %s", put_right)
        if len(sight.drift) > _NODES_A_LINE:
            log.warning("drift, put right: %d more", len(sight.drift) - _NODES_A_LINE)
        return sight

    def _snapshot(self, sight: Sight) -> Snapshot:
        return snapshot(
            self._state.nodes,
            network=self._limits.network,
            generations=self._state.generations,
            burst=self._state.burst,
            wireguard=sight.wireguard,
            backend=sight.backend,
            telemetry=self._telemetry,
            now=self._clock(),
        )

    def _advance(self, instances: Collection[InstanceId], backend: BackendFacts | None) -> Changes:
        """What ``instances`` may take on their own; nothing while no server is seen, which is not seeing none.

        Without a tunnel no check counts: whoever else had the address would have answered it.
        """
        if backend is None:
            return Changes()
        nodes = {name: node for name in instances if (node := self._state.nodes.get(name)) is not None}
        tunnel = self._converger.tunnel
        seen = {name: _observe(name, backend, tunnel=tunnel) for name in nodes}
        return fleet.advance(nodes, seen, limits=self._limits, now=self._clock())

    # --- report -----------------------------------------------------------------------------------------------------

    def _outcome(self, command: Command, decided: Changes | DrawbridgeError, sight: Sight) -> Report | DrawbridgeError:
        if isinstance(decided, DrawbridgeError):
            return decided
        try:
            pending = self._converger.pending() if isinstance(command, ReadFacts) else 0
            return self._reporter.report(command, decided, sight.facts, pending=pending or 0)
        except DrawbridgeError as error:
            return error


def _observe(name: str, backend: BackendFacts, *, tunnel: bool) -> Observation:
    server = backend.servers.get(name)
    return Observation(
        check=tunnel and server is not None and server.healthy,
        server=server is not None,
        closed=server is not None and server.mode is not Mode.READY,
        busy=server.busy + server.queue if server else 0,
    )


def _tell(recorded: Iterable[Changes]) -> None:
    """Leave in the log everything that was recorded, nodes of a kind in a line."""
    alike: dict[tuple[str, str], list[str]] = {}
    for changes in recorded:
        for node in changes.nodes:
            alike.setdefault((node.phase, node.lifecycle), []).append(node.instance)
        if changes.burst is not None:
            log.info(
                "burst level_percent=%d core_percent=%d reason=%r",
                changes.burst.level_percent,
                changes.burst.core_percent,
                str(changes.burst.reason),
            )
        if changes.capacity is not None:
            server, told = changes.capacity
            log.info(
                "slots server=%s %s", server, f"{told.slots} reason={str(told.reason)!r}" if told else "as configured"
            )
        if changes.missing:
            log.warning("kept %d nodes that had no seat: %s", len(changes.missing), " ".join(changes.missing))
        if changes.elsewhere:
            log.warning(
                "left out %d seats of another group's nodes: %s", len(changes.elsewhere), " ".join(changes.elsewhere)
            )
    for (phase, lifecycle), instances in alike.items():
        for start in range(0, len(instances), _NODES_A_LINE):
            names = " ".join(instances[start : start + _NODES_A_LINE])
            log.info("nodes phase=%s lifecycle=%s: %s", phase, lifecycle, names)
