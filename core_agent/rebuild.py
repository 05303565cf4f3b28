"""The agent's records from what it wrote into ``wg0.conf`` and ``haproxy.cfg``, when its own are lost; pure.

Rule 1: nothing here lets a node leave, but an operator's word in the file: what is unclear keeps its place, closed.
Rule 2: files that contradict themselves or each other, or say what the agent never wrote, are refused with the line.
Rule 3: a look at a group that was taken before the rebuilding is too old to be applied: nobody knows what followed it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from core_agent.contract.messages import Hold, Lifecycle, Phase
from core_agent.contract.names import GroupName, InstanceId, ServerName, shown
from core_agent.errors import StateError
from core_agent.haproxy.config import OURS
from core_agent.haproxy.filed import FiledServer, burst_in, capacity_in, servers_in
from core_agent.roll import Burst, Capacity, Node, Roll
from core_agent.wireguard.conf import MARK
from core_agent.wireguard.filed import FiledPeer, peers_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What the agent keeps on record; generations in milliseconds, by group."""

    nodes: Roll
    generations: dict[GroupName, int]
    burst: Burst
    capacity: dict[ServerName, Capacity] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return in a line what there is."""
        phases = ", ".join(f"{sum(n.phase is phase for n in self.nodes.values())} {phase}" for phase in _REBUILT)
        held = sum(node.hold is not Hold.NONE for node in self.nodes.values())
        groups = ", ".join(sorted(self.generations)) or "no group"
        return f"{len(self.nodes)} nodes of {groups} ({phases}; {held} held), burst level {self.burst.level_percent} %"


_REBUILT = (Phase.ACTIVE, Phase.ENROLLED, Phase.DRAINING)


def rebuild(wg_conf: str, haproxy_cfg: str, *, network: IPv4Network, now: float) -> Records | None:
    """Return the records that the two files tell of at ``now``, Unix seconds; None when no agent wrote of any node.

    Raises ``StateError`` that names the file and the line that cannot be understood or that contradicts another.
    """
    peers, ours = tuple(peers_in(wg_conf)), haproxy_cfg.startswith(OURS)
    servers = _by_name(servers_in(haproxy_cfg)) if ours else {}
    if not peers and not servers and not (ours and MARK in wg_conf):
        return None
    if not ours:
        first = haproxy_cfg.partition("\n")[0]
        raise StateError(f"haproxy.cfg, line 1: wanted `{OURS} …`, found {shown(first)}")
    burst, capacity = burst_in(haproxy_cfg), capacity_in(haproxy_cfg)
    nodes = Roll()
    owners: dict[str, InstanceId] = {}
    for peer in peers:
        _check(peer, servers.get(peer.instance), nodes, owners, network)
        nodes.put(_node(peer, servers.get(peer.instance), now))
        owners[peer.address] = peer.instance
    for server in servers.values():
        if server.name not in nodes:
            raise StateError(f"haproxy.cfg, line {server.line}: wanted a peer of {server.name} in wg0.conf, found none")
    generations = {node.group: int(now * 1000) for node in nodes.values()}
    return Records(nodes=nodes, generations=generations, burst=burst, capacity=capacity)


def _by_name(servers: Iterable[FiledServer]) -> dict[InstanceId, FiledServer]:
    named: dict[InstanceId, FiledServer] = {}
    for server in servers:
        if server.name in named:
            raise StateError(f"haproxy.cfg, line {server.line}: wanted one server {server.name}, found a second")
        named[server.name] = server
    return named


def _check(
    peer: FiledPeer,
    server: FiledServer | None,
    nodes: Roll,
    owners: Mapping[str, InstanceId],
    network: IPv4Network,
) -> None:
    """Raise ``StateError`` when ``peer`` cannot be beside its ``server`` and the ``nodes`` of the lines above."""
    where, name = f"wg0.conf, line {peer.line}", peer.instance
    if name in nodes:
        raise StateError(f"{where}: wanted one peer of {name}, found a second")
    if (holder := nodes.holder(peer.public_key)) is not None:
        raise StateError(f"{where}: wanted a key of its own for {name}, found the key of {holder}")
    if (owner := owners.get(peer.address)) is not None:
        raise StateError(f"{where}: wanted an address of its own for {name}, found {peer.address}, which {owner} has")
    address = IPv4Address(peer.address)
    if not network.network_address + 1 < address < network.broadcast_address:
        raise StateError(f"{where}: wanted an address for a node in {network}, found {address}")
    if server is not None and server.address != peer.address:
        raise StateError(
            f"haproxy.cfg, line {server.line}: wanted {name} at {peer.address} as in wg0.conf, found {server.address}"
        )


def _node(peer: FiledPeer, server: FiledServer | None, now: float) -> Node:
    phase, lifecycle, removing = _place(peer, server)
    return Node(
        instance=peer.instance,
        group=peer.group,
        lifecycle=lifecycle,
        since=now,
        phase=phase,
        hold=peer.hold,
        address=peer.address,
        public_key=peer.public_key,
        wants_ready=phase is Phase.ACTIVE,
        removing=removing,
    )


def _place(peer: FiledPeer, server: FiledServer | None) -> tuple[Phase, Lifecycle, bool]:
    """How far the node has got, what the cloud may be taken to say of it, and whether its server is being removed.

    The next look at its group puts the lifecycle right.
    """
    if peer.hold is Hold.REMOVE:  # and barred from coming back for as long as the cloud lists it
        return Phase.DRAINING, Lifecycle.SERVING, server is None
    if server is None:  # joining, or almost gone
        return Phase.ENROLLED, Lifecycle.JOINING, False
    if server.open:
        return Phase.ACTIVE, Lifecycle.SERVING, False
    return Phase.ENROLLED, Lifecycle.JOINING, False  # joining, resting, draining, or drained by an operator
