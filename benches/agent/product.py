"""Joins as the Lambdas make them: sync, enroll, activate, all over the client's kept connection; timed by stage.

Only this module speaks the contract. It must not know what anything else costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benches.agent.errors import BenchError
from benches.agent.ground import Ground
from benches.agent.nodes import Node
from core_agent.client import CoreClient
from core_agent.contract.messages import (
    ActivateNode,
    Command,
    EnrollNode,
    FleetReport,
    NodeReport,
    Phase,
    Report,
    Seats,
    SyncFleet,
)
from core_agent.contract.names import GroupName, InstanceId
from core_agent.errors import DrawbridgeError

_GROUP = GroupName("eu-north-1/drawbridge-edge")
_SETTLE_LIMIT_S = 120
_FILL_AT_ONCE = 500


class Product:
    """The agent's side of every round, on the core at ``ground``."""

    def __init__(self, ground: Ground, identity: Path) -> None:
        self.ground = ground
        self._client = CoreClient(ground.address, 22, "drawbridge", ground.host_key, identity, reply_timeout_s=120)
        self._serving: tuple[InstanceId, ...] = ()
        self._generation = 0

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def begin(self, nodes: Sequence[Node]) -> dict[str, float]:
        """Seat and enroll ``nodes``; return the seconds of each stage. Their health checks run afterwards."""
        joining = tuple(node.instance for node in nodes)
        started = time.perf_counter()
        self._sync(joining=joining)
        seated = time.perf_counter()
        self._request_all([EnrollNode(instance=node.instance, public_key=node.public_key) for node in nodes])
        return {"sync": seated - started, "enroll": time.perf_counter() - seated}

    def finish(self, nodes: Sequence[Node]) -> dict[str, float]:
        """Open ``nodes``, each of which says itself that it is ready; return the seconds.

        Raises ``BenchError`` unless every report says that its node is active.
        """
        started = time.perf_counter()
        reports = self._request_all([ActivateNode(instance=node.instance) for node in nodes])
        took = time.perf_counter() - started
        for report in reports:
            if not isinstance(report, NodeReport) or report.phase is not Phase.ACTIVE:
                raise BenchError(f"activating: wanted every node active, found {report}")
        return {"activate": took}

    def call_serving(self, nodes: Sequence[Node]) -> dict[str, float]:
        """Open ``nodes`` by one sync that calls them serving; return the seconds. Raises ``BenchError`` as above."""
        started = time.perf_counter()
        report = self._sync(serving=tuple(node.instance for node in nodes))
        took = time.perf_counter() - started
        if report.nodes:  # it names whoever is not active yet
            raise BenchError(f"opening by a sync: wanted every node active, found {report.nodes[0]}")
        return {"open": took}

    def remove(self, nodes: Sequence[Node]) -> None:
        """Declare ``nodes`` gone and return when the core has let go of them."""
        gone = tuple(node.instance for node in nodes)
        deadline = time.monotonic() + _SETTLE_LIMIT_S
        while left := self._sync(gone=gone).nodes:
            if time.monotonic() > deadline:
                raise BenchError(f"removing {len(gone)} nodes: wanted them gone, found {left[0]} and others")
            time.sleep(0.3)

    def fill(self, nodes: Sequence[Node], *, progress: Callable[[int], None] = lambda _done: None) -> None:
        """Make ``nodes`` serve, as the fleet that every join meets from now on."""
        for start in range(0, len(nodes), _FILL_AT_ONCE):
            batch = nodes[start : start + _FILL_AT_ONCE]
            self.begin(batch)
            self.ground.await_checks(batch)
            self.finish(batch)
            self._serving += tuple(node.instance for node in batch)
            progress(len(self._serving))
        self._sync()

    def _sync(
        self,
        *,
        joining: tuple[InstanceId, ...] = (),
        serving: tuple[InstanceId, ...] = (),
        gone: tuple[InstanceId, ...] = (),
    ) -> FleetReport:
        self._generation = max(self._generation + 1, time.time_ns() // 1_000_000)
        seats = Seats(joining=joining, serving=(*self._serving, *serving))
        return self._client.request(SyncFleet(group=_GROUP, generation=self._generation, seats=seats, gone=gone))

    def _request_all(self, commands: Sequence[Command]) -> list[Report]:
        reports: list[Report] = []
        for outcome in self._client.request_all(commands):
            if isinstance(outcome, DrawbridgeError):
                raise outcome
            reports.append(outcome)
        return reports


@dataclass(frozen=True, slots=True)
class OpenedBySync:
    """The same joins, but for the last step: one sync lists all nodes as serving, as after a core was rebuilt."""

    product: Product

    @property
    def ground(self) -> Ground:
        """The product's core."""
        return self.product.ground

    def begin(self, nodes: Sequence[Node]) -> dict[str, float]:
        """See ``Product``."""
        return self.product.begin(nodes)

    def finish(self, nodes: Sequence[Node]) -> dict[str, float]:
        """Open ``nodes`` by one sync; return the seconds."""
        return self.product.call_serving(nodes)

    def remove(self, nodes: Sequence[Node]) -> None:
        """See ``Product``."""
        self.product.remove(nodes)
