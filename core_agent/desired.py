"""From the records to what must be programmed: peers, servers, slots; pure, and blind to what is programmed now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from core_agent.contract.messages import Hold, Lifecycle, Phase
from core_agent.contract.names import InstanceId, ServerName
from core_agent.roll import Burst, Capacity, Changes, Node, number_of
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
    """One burst server of the backend. ``id`` is HAProxy's number for it: its statistics can be asked for alone.

    ``weight`` and ``maxconn`` are what the level gives it, which the file says. ``for_now`` are both while they are
    something else: it ramps up, or the core is down.
    """

    name: str
    id: int
    address: str
    mode: Mode
    weight: int
    maxconn: int
    for_now: tuple[int, int] | None = None

    @property
    def weight_now(self) -> int:
        """The weight to have at present; never 0."""
        return self.for_now[0] if self.for_now else self.weight

    @property
    def maxconn_now(self) -> int:
        """The slots to have at present."""
        return self.for_now[1] if self.for_now else self.maxconn


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreSlots:
    """One of the core's own servers: its slots, and how many of them new requests leave free when they can overflow.

    ``reason`` is an operator's, when he set the slots; else they are those of ``drawbridge.toml``.
    """

    slots: int
    reserve: int
    reason: str | None = None


# The core's own servers are numbered by HAProxy, from 1 in the order of the file.
_FIRST_ID = 1000


@dataclass(slots=True)
class Scope:
    """What one turn is about: nodes by their peers (and the keys of those, former ones too) and by their servers.

    ``core`` is whether it is about the core's own servers and the variables too.
    """

    peers: set[InstanceId] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    servers: set[InstanceId] = field(default_factory=set)
    core: bool = False

    def __ior__(self, other: Scope) -> Self:
        self.peers |= other.peers
        self.keys |= other.keys
        self.servers |= other.servers
        self.core |= other.core
        return self


class Desired:
    """Every peer that should exist by key, and every server by name, kept up to date node by node.

    ``core`` has the core's own servers by name, in the order of the settings.
    """

    def __init__(
        self,
        settings: Settings,
        nodes: Iterable[Node],
        burst: Burst,
        capacity: Mapping[ServerName, Capacity] | None = None,
    ) -> None:
        self._settings = settings
        self._base = int(settings.tunnel.network.network_address)
        self._key_of: dict[str, str] = {}
        self.peers: dict[str, Peer] = {}
        self.servers: dict[str, Server] = {}
        self.burst = burst
        self._capacity = dict(capacity or {})
        self._ramps: dict[InstanceId, int] = {}
        self._alone = False
        self.core = self._core()
        for node in nodes:
            self._put(node)

    @property
    def node_slots(self) -> int:
        """How many requests at a time a node works on at level 100 %."""
        return self._measure(100)[1]

    @property
    def overridden(self) -> dict[str, int]:
        """The slots that an operator set, by core server: of those too that the settings no longer have."""
        return {str(name): told.slots for name, told in self._capacity.items()}

    @property
    def closed(self) -> bool:
        """Whether the edge takes nothing while a core server is up."""
        return self.burst.level_percent == 0

    def follow(self, changes: Changes, nodes: Mapping[InstanceId, Node]) -> Scope:
        """Take over ``changes``, which ``nodes`` have in them already; return the peers and servers that differ now."""
        touched: Iterable[InstanceId] = [node.instance for node in changes.nodes]
        scope = Scope()
        if changes.burst is not None and changes.burst != self.burst:
            self.burst = changes.burst
            touched, scope.core = tuple(nodes), True
        if changes.capacity is not None:
            name, capacity = changes.capacity
            self._capacity.pop(name, None)
            if capacity is not None:
                self._capacity[name] = capacity
            scope.core = True
        if scope.core:
            self.core = self._core()
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

    def ramp(self, percents: Mapping[InstanceId, int], nodes: Mapping[InstanceId, Node]) -> Scope:
        """Let each server have this much of its weight; return those that differ now."""
        for instance, percent in percents.items():
            self._ramps[instance] = percent
            if percent == 100:
                del self._ramps[instance]
        return self._put_again(percents, nodes)

    def leave_alone(self, nodes: Mapping[InstanceId, Node], *, alone: bool) -> Scope:
        """Let the edge carry all that it can, whatever the level, while it is ``alone``: no core server is up.

        Return the servers that differ now.
        """
        if alone == self._alone:
            return Scope()
        self._alone = alone
        return self._put_again(nodes, nodes)

    def _put_again(self, instances: Iterable[InstanceId], nodes: Mapping[InstanceId, Node]) -> Scope:
        scope = Scope()
        for instance in instances:
            before = self.servers.get(instance)
            if instance in nodes:
                self._put(nodes[instance])
            if self.servers.get(instance) != before:
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

        Never weight 0: HAProxy 3.2 aborts on a dynamic server with it. At level 0 the rules keep every request at home
        while a core server is up; when none is, the edge carries all that it can.
        """
        if not node.address or node.phase in (Phase.SEATED, Phase.GONE) or node.removing:
            return None
        weight, maxconn = self._measure(self.burst.level_percent or 100)
        full_weight, slots_now = self._measure(100) if self._alone else (weight, maxconn)
        now = max(1, round(full_weight * self._ramps.get(node.instance, 100) / 100)), slots_now
        offset = number_of(node.address) - self._base
        return Server(
            name=node.instance,
            id=_FIRST_ID + offset,
            address=node.address,
            mode=_mode(node),
            weight=weight,
            maxconn=maxconn,
            for_now=now if now != (weight, maxconn) else None,
        )

    def _measure(self, level_percent: int) -> tuple[int, int]:
        """A node's weight and slots at this level."""
        base, share = self._settings.burst, level_percent * self._settings.edge.region_factor_percent / 10_000
        return max(1, round(base.weight * share)), max(1, round(base.maxconn * share))

    def _core(self) -> dict[str, CoreSlots]:
        """The core's own servers: what HAProxy calls maxconn is their capacity, and a share of it may be kept free."""
        share, core = self.burst.core_percent, {}
        for server in self._settings.core.servers:
            told = self._capacity.get(ServerName(server.name))
            slots = told.slots if told is not None else server.maxconn
            taken_first = -(-slots * share // 100)  # rounded up, in whole numbers: 7 % of 100 slots are 7
            core[str(server.name)] = CoreSlots(
                slots=slots, reserve=slots - taken_first, reason=told.reason if told is not None else None
            )
        return core


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


def _mode(node: Node) -> Mode:
    if node.phase is Phase.ENROLLED:
        return Mode.MAINT
    open_to_traffic = (
        node.phase is Phase.ACTIVE
        and node.hold is Hold.NONE
        and node.lifecycle in (Lifecycle.JOINING, Lifecycle.SERVING)
    )
    return Mode.READY if open_to_traffic else Mode.DRAIN
