"""Speaks to the agent as the product's functions do; the one room here that knows the contract, and no machine.

Every change of one seat is sent as the whole set of seats with a growing generation, whoever else is in motion.
"""

from __future__ import annotations

import threading
import time

from core_agent.client import CoreClient
from core_agent.contract.messages import (
    ActivateNode,
    EnrollNode,
    Lifecycle,
    Phase,
    ReadFacts,
    Seats,
    SyncFleet,
    TunnelReport,
)
from core_agent.contract.names import GroupName, InstanceId, PublicKey

GROUP = GroupName("eu-north-1/drawbridge-edge")


class Fleet:
    """The seats of one group and the connection to its core; safe to call from several threads."""

    def __init__(self, client: CoreClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._seats: dict[InstanceId, Lifecycle] = {}
        self._generation = 0

    def seat(self, instance: str, lifecycle: Lifecycle) -> None:
        """Say what the cloud would now say of ``instance``; raises ``DrawbridgeError``."""
        with self._lock:
            self._seats[InstanceId(instance)] = lifecycle
            self._sync()

    def unseat(self, instance: str) -> None:
        """Say that the cloud has forgotten ``instance``, with the next look; nothing is sent for it alone."""
        with self._lock:
            del self._seats[InstanceId(instance)]

    def enroll(self, instance: str, public_key: str) -> TunnelReport:
        """Say whose key this is; return the tunnel to bring up."""
        with self._lock:
            return self._client.request(EnrollNode(instance=InstanceId(instance), public_key=PublicKey(public_key)))

    def ready(self, instance: str) -> bool:
        """Say that ``instance`` is ready; return whether the agent has opened it to traffic."""
        with self._lock:
            return self._client.request(ActivateNode(instance=InstanceId(instance))).phase is Phase.ACTIVE

    def present(self) -> frozenset[str]:
        """Return the instances that the agent has not let go of yet."""
        with self._lock:
            return frozenset(node.instance for node in self._client.request(ReadFacts()).nodes)

    def _sync(self) -> None:
        self._generation = max(self._generation + 1, time.time_ns() // 1_000_000)
        seats = Seats.of(self._seats.items())
        self._client.request(SyncFleet(group=GROUP, generation=self._generation, seats=seats))
