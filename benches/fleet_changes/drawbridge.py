"""The product as a contender: its agent on a real core, its client over SSH, nodes behind real WireGuard tunnels."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Interface

from benches.fleet_changes.contender import READY, Stages
from benches.fleet_changes.fleet import Fleet
from benches.fleet_changes.keys import KeyPair
from benches.fleet_changes.machine import PORT, Machine
from benches.fleet_changes.moments import Moment
from benches.fleet_changes.trouble import BenchError
from benches.fleet_changes.watch import PATIENCE_S, Watch
from core_agent.contract.messages import Lifecycle

_ASK_AGAIN_S = 0.25


class Drawbridge:
    """The core at ``url``, spoken to through ``fleet``, with these ``machines``."""

    name = "drawbridge"
    terms = "Its nodes are reached through WireGuard; a leaving machine is cut off the moment the agent lets go of it."

    def __init__(self, *, url: str, fleet: Fleet, machines: Sequence[Machine], watch: Watch) -> None:
        self.url = url
        self.watch = watch
        self._fleet = fleet
        self._machines = machines
        self._addresses: dict[str, str] = {}

    def join(self, machine: int, instance: str) -> Stages:
        """Seat it, enroll a new key, raise the tunnel, say ready; it is in service once it is told that it is active.

        The seconds count from the first of these, so they hold the node's own work on its tunnel.
        """
        began = time.monotonic()
        self._fleet.seat(instance, Lifecycle.JOINING)
        seated = time.monotonic()
        pair = KeyPair.new()
        tunnel = self._fleet.enroll(instance, pair.public)
        enrolled = time.monotonic()
        self._machines[machine].raise_tunnel(tunnel, pair)
        raised = time.monotonic()
        _await(lambda: self._fleet.ready(instance), f"{instance} active")
        told = time.monotonic()
        self._fleet.seat(instance, Lifecycle.SERVING)
        address = self._addresses[instance] = f"{IPv4Interface(tunnel.address).ip}:{PORT}"
        served = self.watch.until(address, Moment.SERVED)
        healthy, opened = self.watch.until(address, Moment.HEALTHY), self.watch.until(address, Moment.OPEN)
        moments = {
            "seated": seated,
            "enrolled": enrolled,
            READY: raised,
            Moment.HEALTHY: healthy,
            Moment.OPEN: opened,
            Moment.SERVED: served,
            "told active": told,
        }
        return {name: moment - began for name, moment in moments.items()}

    def leave(self, machine: int, instance: str) -> Stages:
        """Say that it is leaving; end the machine the moment the agent has let go of it."""
        address = self._addresses.pop(instance)
        began = time.monotonic()
        self._fleet.seat(instance, Lifecycle.LEAVING)
        closed = self.watch.until(address, Moment.CLOSED)
        _await(lambda: instance not in self._fleet.present(), f"{instance} gone")
        gone = time.monotonic()
        self._machines[machine].cut_tunnel()
        self._fleet.unseat(instance)
        return {Moment.CLOSED: closed - began, "gone": gone - began}


def _await(done: Callable[[], bool], wanted: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > deadline:
            raise BenchError(f"waiting for {wanted}: not within {PATIENCE_S:g} s")
        time.sleep(_ASK_AGAIN_S)
