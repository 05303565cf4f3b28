"""HAProxy's Data Plane API as a contender: a node is registered with Consul, and its own discovery does the rest.

Nodes are reached without a tunnel, which spares this contender WireGuard's work. A leaving one is left running until
HAProxy's newest worker is done with it and for ``GRACE_S`` more, which its discovery neither asks for nor waits for.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address

from benches.fleet_changes.consul import Consul
from benches.fleet_changes.contender import READY, Stages
from benches.fleet_changes.machine import PORT, Machine
from benches.fleet_changes.moments import Moment
from benches.fleet_changes.peer_host import POLL_S, RELOAD_DELAY_S
from benches.fleet_changes.watch import Watch

GRACE_S = 2.0


class DataPlane:
    """The HAProxy at ``url`` whose discovery reads ``consul``; each instance gets the next of ``addresses``."""

    name = "Data Plane API"
    terms = (
        f"Its fastest settings: Consul polled every {POLL_S} s, reloads at most every {RELOAD_DELAY_S} s. Its nodes "
        f"need no tunnel; a leaving one runs on for {GRACE_S:g} s after HAProxy's newest worker has let go of it."
    )

    def __init__(
        self,
        *,
        url: str,
        consul: Consul,
        machines: Sequence[Machine],
        addresses: Sequence[IPv4Address],
        watch: Watch,
    ) -> None:
        self.url = url
        self.watch = watch
        self._consul = consul
        self._machines = machines
        self._addresses: Iterator[IPv4Address] = itertools.cycle(addresses)
        self._held: dict[str, IPv4Address] = {}

    def join(self, machine: int, instance: str) -> Stages:
        """Register a node that is ready; it serves when HAProxy was reloaded with it."""
        address = self._held[instance] = next(self._addresses)
        self._machines[machine].take(address)
        began = time.monotonic()
        self._consul.register(str(address), PORT)
        server = f"{address}:{PORT}"
        served = self.watch.until(server, Moment.SERVED)
        known = self.watch.until(server, Moment.KNOWN)
        return {READY: 0.0, Moment.KNOWN: known - began, Moment.SERVED: served - began}

    def leave(self, machine: int, instance: str) -> Stages:
        """Deregister it; end the machine when HAProxy has let go of it and a while has passed."""
        address = self._held.pop(instance)
        began = time.monotonic()
        self._consul.deregister(str(address))
        server = f"{address}:{PORT}"
        closed, removed = self.watch.until(server, Moment.CLOSED), self.watch.until(server, Moment.REMOVED)
        time.sleep(GRACE_S)
        self._machines[machine].drop(address)
        return {Moment.CLOSED: closed - began, "gone": removed - began}
