"""Which of the nodes that should speak do, by their peers' latest handshakes; pure, and it knows no server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from core_agent.contract.messages import Lifecycle, Phase
from core_agent.roll import Node
from core_agent.wireguard.facts import PeerFacts

# WireGuard gives up a session at this age (REJECT_AFTER_TIME); keepalives renew it about every two minutes.
STALE_S = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshakes:
    """Of the nodes that carry traffic, or should: the oldest handshake's age in seconds, None when there is none.

    ``silent`` of them have none that WireGuard still counts as one.
    """

    oldest_s: float | None
    silent: int


def handshakes(nodes: Iterable[Node], peers: Mapping[str, PeerFacts], now: float) -> Handshakes:
    """Return how the active ones of ``nodes`` speak at ``now``, Unix seconds."""
    ages = [age_s(peers.get(node.public_key or ""), now) for node in nodes if _speaks(node)]
    known = [age for age in ages if age is not None]
    return Handshakes(oldest_s=max(known, default=None), silent=sum(age is None or age > STALE_S for age in ages))


def age_s(peer: PeerFacts | None, now: float) -> float | None:
    """Return the age of the latest handshake, never negative; None before the first."""
    return max(0.0, now - peer.handshake_at) if peer is not None and peer.handshake_at else None


def _speaks(node: Node) -> bool:
    """A stopped machine of a warm pool is silent by right."""
    return node.phase is Phase.ACTIVE and node.lifecycle in (Lifecycle.JOINING, Lifecycle.SERVING)
