"""The steps from the peers there are to the peers there should be, and what they lead to; pure, add before remove.

Only peers whose allowed IPs all lie inside the tunnel's network are the agent's: an operator's own peer is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, ip_network
from types import MappingProxyType

from core_agent.desired import Peer
from core_agent.wireguard.facts import PeerFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPeer:
    """Make this peer exist with exactly this address; a live session of the same key goes on.

    ``endpoint`` is where it was last seen: with it the core can open the tunnel itself, without it only the node can.
    """

    public_key: str
    address: str
    endpoint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovePeer:
    """Take this peer away."""

    public_key: str


Step = SetPeer | RemovePeer


def plan(
    desired: Mapping[str, Peer],
    facts: Mapping[str, PeerFacts],
    *,
    network: IPv4Network,
    endpoints: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Step, ...]:
    """Return the steps that turn ``facts`` into ``desired``, all by public key; empty when they agree."""
    sets = tuple(
        SetPeer(public_key=key, address=peer.address, endpoint=endpoints.get(key))
        for key, peer in desired.items()
        if key not in facts or facts[key].allowed_ips != (f"{peer.address}/32",)
    )
    removes = tuple(
        RemovePeer(public_key=key) for key, peer in facts.items() if key not in desired and owned(peer, network)
    )
    return sets + removes


def after(facts: dict[str, PeerFacts], steps: Sequence[Step]) -> None:
    """Bring ``facts`` to what they are once ``steps`` have been carried out."""
    for step in steps:
        if isinstance(step, RemovePeer):
            facts.pop(step.public_key, None)
            continue
        known = facts.get(step.public_key) or PeerFacts(allowed_ips=(), handshake_at=0)
        endpoint = step.endpoint or known.endpoint
        facts[step.public_key] = replace(known, allowed_ips=(f"{step.address}/32",), endpoint=endpoint)


def owned(peer: PeerFacts, network: IPv4Network) -> bool:
    """Return whether the agent answers for this peer: it has no address outside the tunnel's network."""
    parsed = [ip_network(ip) for ip in peer.allowed_ips]
    return all(isinstance(one, IPv4Network) and one.subnet_of(network) for one in parsed)
