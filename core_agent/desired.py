"""From the records to what must be programmed: peers and servers; pure, and blind to what is programmed now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from core_agent.contract.messages import Hold, Lifecycle, Phase

if TYPE_CHECKING:
    from core_agent.fleet import Node


class Mode(StrEnum):
    """HAProxy's administrative state of a server."""

    MAINT = "maint"  # takes nothing; health checks run, so that it can be opened on good evidence
    READY = "ready"
    DRAIN = "drain"  # finishes what it has, takes nothing new


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One WireGuard peer: its key and its only address, without the prefix length."""

    public_key: str
    address: str
    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One burst server of the backend."""

    name: str
    address: str
    mode: Mode
    weight: int
    maxconn: int


def peers(nodes: Iterable[Node]) -> dict[str, Peer]:
    """Return the peers that should exist, by public key: every node from enrolment until it has gone."""
    return {
        node.public_key: Peer(public_key=node.public_key, address=node.address, instance=node.instance)
        for node in nodes
        if node.public_key and node.address and node.phase not in (Phase.SEATED, Phase.GONE)
    }


def servers(nodes: Iterable[Node], *, level_percent: int, weight: int, maxconn: int) -> dict[str, Server]:
    """Return the servers that should exist, by name; ``weight`` and ``maxconn`` are one node's at level 100 %.

    Never weight 0: HAProxy 3.2 aborts on a dynamic server with it. Level 0 closes the servers instead.
    """
    scaled_weight = min(256, max(1, round(weight * level_percent / 100)))
    scaled_maxconn = max(1, round(maxconn * level_percent / 100))
    return {
        node.instance: Server(
            name=node.instance,
            address=node.address,
            mode=_mode(node, level_percent),
            weight=scaled_weight,
            maxconn=scaled_maxconn,
        )
        for node in nodes
        if node.address and node.phase not in (Phase.SEATED, Phase.GONE) and not node.removing
    }


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
