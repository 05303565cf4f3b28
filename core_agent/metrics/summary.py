"""What one full look at the core found, summed up: as small at 4,000 nodes as at ten; pure, and it names no metric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network

from core_agent.contract.messages import Hold, LoadSample, Phase
from core_agent.contract.names import GroupName
from core_agent.desired import Mode
from core_agent.handshakes import STALE_S, age_s, handshakes
from core_agent.haproxy.facts import BackendFacts, ServerFacts
from core_agent.metrics.text import Distribution
from core_agent.roll import Burst, Node, Roll
from core_agent.telemetry import Answers, Telemetry
from core_agent.wireguard.facts import PeerFacts, WireguardFacts

_AGE_BOUNDS_S = (30.0, 60.0, 120.0, 180.0, 300.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The nodes' addresses; one in ``quarantine`` is that of a node that has gone and is still on record."""

    free: int
    used: int
    quarantine: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """WireGuard's side: handshake ages in seconds, and peers that never had one.

    ``silent`` counts nodes that carry traffic, or should, without a handshake in the last three minutes.
    """

    ages: Distribution
    fresh: int
    stale: int
    never: int
    silent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """HAProxy's side: each of the core's own servers, the edge's in sum, and what waits for any of them.

    ``requests_total`` counts since HAProxy's start.
    """

    core: tuple[ServerFacts, ...]
    edge_open: int
    edge_requests: int
    queue: int
    requests_total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The load at the latest sample, and everything answered since the agent's start.

    ``suggested`` has for each of the core's own servers the slots that the measurements speak for: those that it has,
    while they speak for no others.
    """

    sample: LoadSample
    answers: Answers
    suggested: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One full look at ``taken_at``, Unix seconds. A side that failed is None.

    ``generations`` are Unix milliseconds. ``members`` counts each group's nodes that have not gone.
    """

    taken_at: float
    nodes: Mapping[tuple[Phase, Hold], int]
    members: Mapping[GroupName, int]
    generations: Mapping[GroupName, int]
    addresses: Addresses
    level_percent: int
    core_percent: int
    peers: Peers | None
    servers: Servers | None
    load: Load | None


def snapshot(
    nodes: Roll,
    *,
    network: IPv4Network,
    generations: Mapping[GroupName, int],
    burst: Burst,
    wireguard: WireguardFacts | None,
    backend: BackendFacts | None,
    telemetry: Telemetry,
    now: float,
) -> Snapshot:
    """Return what the records and both sides' facts at ``now`` come to; ``telemetry`` has taken them in."""
    records = tuple(nodes.values())
    resting = [node.phase is Phase.GONE for node in records if node.address]
    return Snapshot(
        taken_at=now,
        nodes=Counter((node.phase, node.hold) for node in records),
        members=Counter(node.group for node in records if node.phase is not Phase.GONE),
        generations=dict(generations),
        addresses=Addresses(
            free=nodes.addresses_left(network), used=len(resting) - sum(resting), quarantine=sum(resting)
        ),
        level_percent=burst.level_percent,
        core_percent=burst.core_percent,
        peers=_peers(records, wireguard.peers, now) if wireguard is not None else None,
        servers=_servers(backend, telemetry.core) if backend is not None else None,
        load=_load(telemetry, backend) if backend is not None else None,
    )


def _peers(nodes: Iterable[Node], peers: Mapping[str, PeerFacts], now: float) -> Peers:
    ages = [age for peer in peers.values() if (age := age_s(peer, now)) is not None]
    stale = sum(age > STALE_S for age in ages)
    return Peers(
        ages=Distribution.of(_AGE_BOUNDS_S, ages),
        fresh=len(ages) - stale,
        stale=stale,
        never=len(peers) - len(ages),
        silent=handshakes(nodes, peers, now).silent,
    )


def _servers(backend: BackendFacts, core_servers: Collection[str]) -> Servers:
    core = [server for server in backend.servers.values() if server.name in core_servers]
    edge = [server for server in backend.servers.values() if server.name not in core_servers]
    return Servers(
        core=tuple(replace(server) for server in sorted(core, key=lambda server: server.name)),
        edge_open=sum(server.up and server.mode is Mode.READY for server in edge),
        edge_requests=sum(server.busy for server in edge),
        queue=backend.queue + sum(server.queue for server in backend.servers.values()),
        requests_total=backend.requests_total,
    )


def _load(telemetry: Telemetry, backend: BackendFacts) -> Load | None:
    if telemetry.latest is None:
        return None
    slots = {name: server.maxconn for name in sorted(telemetry.core) if (server := backend.servers.get(name))}
    told = {name: telemetry.suggestion(name, slots=number) for name, number in slots.items()}
    return Load(
        sample=telemetry.latest,
        answers=telemetry.totals,
        suggested={name: one.slots if one is not None else slots[name] for name, one in told.items()},
    )
