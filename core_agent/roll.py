"""Every node on record, found by its instance, its key or its address; it decides nothing about any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from core_agent.contract.messages import Phase
from core_agent.contract.names import InstanceId, PublicKey

if TYPE_CHECKING:
    from core_agent.fleet import Node


class Roll(Mapping[InstanceId, "Node"]):
    """The nodes by instance id; ``put`` and ``forget`` keep every way to them true."""

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        self._nodes: dict[InstanceId, Node] = {}
        self._by_key: dict[PublicKey, InstanceId] = {}
        self._taken: set[int] = set()
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
        self.forget(node.instance)
        self._nodes[node.instance] = node
        if node.public_key is not None:
            self._by_key[node.public_key] = node.instance
        if node.address is not None:
            self._taken.add(int(IPv4Address(node.address)))
        if node.phase in (Phase.ENROLLED, Phase.DRAINING):
            self.moving.add(node.instance)

    def forget(self, instance: InstanceId) -> None:
        """Drop what is known of ``instance``, if anything."""
        node = self._nodes.pop(instance, None)
        if node is None:
            return
        if node.public_key is not None:
            del self._by_key[node.public_key]
        if node.address is not None:
            self._taken.remove(int(IPv4Address(node.address)))
        self.moving.discard(instance)

    def holder(self, public_key: PublicKey) -> InstanceId | None:
        """Return whose key this is."""
        return self._by_key.get(public_key)

    def free_addresses(self, network: IPv4Network) -> Iterator[str]:
        """Yield the addresses on no record, lowest first, never the core's own, which is the network's first."""
        first, last = int(network.network_address) + 2, int(network.broadcast_address)
        return (str(IPv4Address(number)) for number in range(first, last) if number not in self._taken)

    def addresses_left(self, network: IPv4Network) -> int:
        """Return how many ``free_addresses`` there are."""
        first, last = int(network.network_address) + 2, int(network.broadcast_address)
        return last - first - sum(1 for number in self._taken if first <= number < last)
