"""Turns what should be into what is, on both sides of the core; it decides nothing about any node.

Rule 1: a file is written before its side is changed, and whether or not that side answers: a broken file is mended.
Rule 2: one side that fails does not keep the other from converging; the first error is reported with what was seen.
Rule 3: peers come before servers and go after them: nothing is routed to a machine without a tunnel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from core_agent.desired import Peer, Server
from core_agent.errors import DrawbridgeError
from core_agent.haproxy import plan as haproxy_plan
from core_agent.haproxy.facts import BackendFacts
from core_agent.host import Host
from core_agent.wireguard import plan as wireguard_plan
from core_agent.wireguard.facts import WireguardFacts
from settings import Settings

# A server that must be made anew takes two plans; more only happen while connections are still being closed.
_PASSES = 3

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the core runs at one moment."""

    wireguard: WireguardFacts
    backend: BackendFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What converging saw: a side that failed is None, and ``error`` is the first reason."""

    wireguard: WireguardFacts | None
    backend: BackendFacts | None
    error: DrawbridgeError | None

    @property
    def facts(self) -> Facts:
        """Both sides; raises the error when one is missing or something else failed."""
        if self.error is not None:
            raise self.error
        assert self.wireguard is not None
        assert self.backend is not None
        return Facts(wireguard=self.wireguard, backend=self.backend)


class Converger:
    """Converges one host; it remembers nothing between two calls."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._host = host
        self._network = settings.tunnel.network
        self._port = settings.application.port
        self._kept = frozenset(server.name for server in settings.core.servers)

    def plan_peers(self, peers: Mapping[str, Peer], facts: WireguardFacts) -> tuple[wireguard_plan.Step, ...]:
        """Return the steps that WireGuard still needs. Pure."""
        return wireguard_plan.plan(peers, facts.peers, network=self._network)

    def plan_servers(self, servers: Mapping[str, Server], facts: BackendFacts) -> tuple[haproxy_plan.Step, ...]:
        """Return the steps that HAProxy still needs. Pure."""
        return haproxy_plan.plan(servers, facts.servers, port=self._port, kept=self._kept)

    def converge(self, peers: Mapping[str, Peer], servers: Mapping[str, Server]) -> Sight:
        """Make both sides as desired, as far as they let themselves be; never raises a ``DrawbridgeError``."""
        errors: list[DrawbridgeError] = []
        wireguard = _attempt(errors, lambda: self._bring_peers(peers))
        backend = _attempt(errors, lambda: self._bring_servers(servers))
        if wireguard is not None and backend is not None:
            before = wireguard
            wireguard = _attempt(errors, lambda: self._take_peers(peers, before))
        return Sight(wireguard=wireguard, backend=backend, error=errors[0] if errors else None)

    def _bring_peers(self, peers: Mapping[str, Peer]) -> WireguardFacts:
        try:
            facts = self._host.read_wireguard()
        except DrawbridgeError:  # a tunnel that is down finds everybody in its file when it comes up
            self._host.write_peers(peers.values(), {})
            raise
        endpoints = self._host.write_peers(peers.values(), facts.peers)
        steps = wireguard_plan.plan(peers, facts.peers, network=self._network, endpoints=endpoints)
        new = [step for step in steps if isinstance(step, wireguard_plan.SetPeer)]
        if not new:
            return facts
        self._host.set_peers(new)
        return self._host.read_wireguard()

    def _take_peers(self, peers: Mapping[str, Peer], facts: WireguardFacts) -> WireguardFacts:
        old = self.plan_peers(peers, facts)
        if not old:
            return facts
        self._host.set_peers(old)
        return self._host.read_wireguard()

    def _bring_servers(self, servers: Mapping[str, Server]) -> BackendFacts:
        self._host.write_servers(servers.values())
        facts = self._host.read_backend()
        for _ in range(_PASSES):
            steps = self.plan_servers(servers, facts)
            if not steps:
                break
            self._host.change_servers(steps)
            facts = self._host.read_backend()
        return facts


def _attempt(errors: list[DrawbridgeError], act: Callable[[], _T]) -> _T | None:
    try:
        return act()
    except DrawbridgeError as error:
        errors.append(error)
        return None
