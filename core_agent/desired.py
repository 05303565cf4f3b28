"""From the records to what must be programmed: peers and servers; pure, and blind to what is programmed now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from core_agent.contract.messages import Hold, Lifecycle, Phase
from core_agent.contract.names import InstanceId
from core_agent.roll import Burst, Changes, Node, number_of
from settings import Settings


class Mode(StrEnum):
    """HAProxy's administrative state of a server."""

    MAINT = "maint"  # takes nothing; health checks run, so that it can be opened on good evidence
    READY = "ready"
    DRAIN = "drain"  # finishes what it has, takes nothing new


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One WireGuard peer: its key and its only address, without the prefix length; the rest is for the record."""

    public_key: str
    address: str
    instance: str
    group: str
    hold: Hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One burst server of the backend. ``id`` is HAProxy's number for it: its statistics can be asked for alone."""

    name: str
    id: int
    address: str
    mode: Mode
    weight: int
    maxconn: int


# The core's own servers are numbered by HAProxy, from 1 in the order of the file.
_FIRST_ID = 1000


@dataclass(slots=True)
class Scope:
    """What one turn is about: nodes by their peers (and the keys of those, former ones too) and by their servers."""

    peers: set[InstanceId] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    servers: set[InstanceId] = field(default_factory=set)

    def __ior__(self, other: Scope) -> Self:
        self.peers |= other.peers
        self.keys |= other.keys
        self.servers |= other.servers
        return self


class Desired:
    """Every peer that should exist by key, and every server by name, kept up to date node by node."""

    def __init__(self, settings: Settings, nodes: Iterable[Node], burst: Burst) -> None:
        self._settings = settings
        self._base = int(settings.tunnel.network.network_address)
        self._key_of: dict[str, str] = {}
        self.peers: dict[str, Peer] = {}
        self.servers: dict[str, Server] = {}
        self.burst = burst
        for node in nodes:
            self._put(node)

    def follow(self, changes: Changes, nodes: Mapping[InstanceId, Node]) -> Scope:
        """Take over ``changes``, which ``nodes`` have in them already; return the peers and servers that differ now."""
        touched: Iterable[InstanceId] = [node.instance for node in changes.nodes]
        if changes.burst is not None and changes.burst != self.burst:
            self.burst = changes.burst
            touched = tuple(nodes)
        scope = Scope()
        for instance in touched:
            peer, server = self.peer_of(instance), self.servers.get(instance)
            self._put(nodes[instance])
            now = self.peer_of(instance)
            if peer != now:
                scope.peers.add(instance)
                scope.keys.update(one.public_key for one in (peer, now) if one is not None)
            if server != self.servers.get(instance):
                scope.servers.add(instance)
        return scope

    def about(self, instances: Iterable[InstanceId]) -> Scope:
        """Return the scope of ``instances`` as they are."""
        names = set(instances)
        return Scope(peers=names, servers=names, keys={self._key_of[name] for name in names if name in self._key_of})

    def peer_of(self, instance: InstanceId) -> Peer | None:
        """Return the peer that should exist for ``instance``, if any."""
        key = self._key_of.get(instance)
        return None if key is None else self.peers[key]

    def _put(self, node: Node) -> None:
        """Say what should exist for ``node``."""
        peer, server = _peer(node), self._server(node)
        former = self._key_of.pop(node.instance, None)
        if former is not None:
            del self.peers[former]
        if peer is not None:
            self.peers[peer.public_key] = peer
            self._key_of[node.instance] = peer.public_key
        if server is not None:
            self.servers[server.name] = server
        else:
            self.servers.pop(node.instance, None)

    def _server(self, node: Node) -> Server | None:
        """The server of ``node``; ``weight`` and ``maxconn`` of the settings are one node's at level 100 %.

        Never weight 0: HAProxy 3.2 aborts on a dynamic server with it. Level 0 closes the servers instead.
        """
        if not node.address or node.phase in (Phase.SEATED, Phase.GONE) or node.removing:
            return None
        share, settings = self.burst.level_percent / 100, self._settings.burst
        offset = number_of(node.address) - self._base
        return Server(
            name=node.instance,
            id=_FIRST_ID + offset,
            address=node.address,
            mode=_mode(node, self.burst.level_percent),
            weight=min(256, max(1, round(settings.weight * share))),
            maxconn=max(1, round(settings.maxconn * share)),
        )


def _peer(node: Node) -> Peer | None:
    """The peer of ``node``: from enrolment until it has gone."""
    if not node.public_key or not node.address or node.phase in (Phase.SEATED, Phase.GONE):
        return None
    return Peer(
        public_key=node.public_key,
        address=node.address,
        instance=node.instance,
        group=node.group,
        hold=node.hold,
    )


def _mode(node: Node, level_percent: int) -> Mode:
    if node.phase is Phase.ENROLLED:
        return Mode.MAINT
    open_to_traffic = (
        node.phase is Phase.ACTIVE
        and node.hold is Hold.NONE
        and node.lifecycle in (Lifecycle.JOINING, Lifecycle.SERVING)
        and level_percent > 0
    )
    return Mode.READY if open_to_traffic else Mode.DRAIN
