"""What is on record: every node, found by its instance, key or address, the level, and changes to both.

It decides nothing about any.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

from core_agent.contract.messages import Hold, Lifecycle, Phase, Seats
from core_agent.contract.names import GroupName, InstanceId, PublicKey, Reason, ServerName


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """The agent's record of one instance. ``since`` is the Unix time in seconds at which its phase began."""

    instance: InstanceId
    group: GroupName
    lifecycle: Lifecycle
    since: float
    phase: Phase = Phase.SEATED
    hold: Hold = Hold.NONE
    address: str | None = None
    public_key: PublicKey | None = None
    wants_ready: bool = False
    removing: bool = False

    @property
    def may_open(self) -> bool:
        """Whether a good check is all that it waits for: it, or the cloud, asked, and nobody holds it."""
        asked = self.wants_ready or self.lifecycle is Lifecycle.SERVING
        carries = self.hold is Hold.NONE and self.lifecycle in (Lifecycle.JOINING, Lifecycle.SERVING)
        return self.phase is Phase.ENROLLED and asked and carries


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """The level in force, the share of the core's slots at which overflow begins, and who asked for it."""

    level_percent: int
    reason: Reason
    core_percent: int = 100
    by_hand: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """An operator's word on how many requests a core server works on at a time."""

    slots: int
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a decision wants recorded, in one transaction; empty when nothing changes.

    ``capacity`` is one core server's; None beside its name takes the operator's word back.
    """

    nodes: tuple[Node, ...] = ()
    forgotten: tuple[InstanceId, ...] = ()
    generation: tuple[GroupName, int] | None = None
    burst: Burst | None = None
    capacity: tuple[ServerName, Capacity | None] | None = None
    missing: tuple[InstanceId, ...] = ()
    elsewhere: tuple[InstanceId, ...] = ()

    @property
    def empty(self) -> bool:
        """True when there is nothing to record."""
        return not (self.nodes or self.forgotten or self.generation or self.burst or self.capacity)


class Roll(Mapping[InstanceId, Node]):
    """The nodes by instance id; ``put`` and ``forget`` keep every way to them true.

    ``moving`` are those that may get further by what is seen of them, with no word from anybody.
    """

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        self._nodes: dict[InstanceId, Node] = {}
        self._by_key: dict[PublicKey, InstanceId] = {}
        self._taken: set[int] = set()
        self._members: dict[GroupName, set[InstanceId]] = {}
        self._settled: dict[GroupName, set[InstanceId]] = {}
        self.moving: set[InstanceId] = set()
        for node in nodes:
            self.put(node)

    def __getitem__(self, instance: InstanceId) -> Node:
        return self._nodes[instance]

    def __iter__(self) -> Iterator[InstanceId]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def put(self, node: Node) -> None:
        """Take ``node`` in, in place of what was known of its instance."""
        former = self._nodes.get(node.instance)
        if former is None or _ways_to(former) != _ways_to(node):
            self.forget(node.instance)
            self._members.setdefault(node.group, set()).add(node.instance)
            if node.public_key is not None:
                self._by_key[node.public_key] = node.instance
            if node.address is not None:
                self._taken.add(number_of(node.address))
        self._nodes[node.instance] = node
        settled = node.phase is Phase.ACTIVE and node.lifecycle is Lifecycle.SERVING and node.address is not None
        _hold(self._settled.setdefault(node.group, set()), node.instance, wanted=settled)
        _hold(self.moving, node.instance, wanted=node.phase is Phase.DRAINING or node.may_open)

    def forget(self, instance: InstanceId) -> None:
        """Drop what is known of ``instance``, if anything."""
        node = self._nodes.pop(instance, None)
        if node is None:
            return
        self._members[node.group].remove(instance)
        self._settled.get(node.group, set()).discard(instance)
        if node.public_key is not None:
            del self._by_key[node.public_key]
        if node.address is not None:
            self._taken.remove(number_of(node.address))
        self.moving.discard(instance)

    def holder(self, public_key: PublicKey) -> InstanceId | None:
        """Return whose key this is."""
        return self._by_key.get(public_key)

    def unsettled(self, group: GroupName, seats: Seats) -> Seats:
        """Return ``seats`` without the serving ones of nodes that are on record as active and serving in ``group``.

        Nothing changes for those, and they are almost all of a large fleet.
        """
        settled = self._settled.get(group, set())
        return replace(seats, serving=tuple([one for one in seats.serving if one not in settled]))

    def unseated(self, group: GroupName, seats: Seats) -> list[Node]:
        """Return the nodes of ``group`` that have none of ``seats``, by instance id."""
        members = self._members.get(group, set())
        without = members.difference(seats.joining, seats.serving, seats.resting, seats.leaving)
        return [self._nodes[instance] for instance in sorted(without)]

    def free_addresses(self, network: IPv4Network) -> Iterator[str]:
        """Yield the addresses on no record, lowest first, never the core's own, which is the network's first."""
        first, last = int(network.network_address) + 2, int(network.broadcast_address)
        return (str(IPv4Address(number)) for number in range(first, last) if number not in self._taken)

    def addresses_left(self, network: IPv4Network) -> int:
        """Return how many ``free_addresses`` there are."""
        first, last = int(network.network_address) + 2, int(network.broadcast_address)
        return last - first - sum(1 for number in self._taken if first <= number < last)


def _ways_to(node: Node) -> tuple[object, ...]:
    return node.group, node.public_key, node.address


def _hold(names: set[InstanceId], name: InstanceId, *, wanted: bool) -> None:
    """Have ``name`` among ``names``, or not."""
    if wanted:
        names.add(name)
    else:
        names.discard(name)


def number_of(address: str) -> int:
    """Return as a number what is known to be an IPv4 address; to check it again takes ten times as long."""
    a, b, c, d = map(int, address.split("."))
    return a << 24 | b << 16 | c << 8 | d
