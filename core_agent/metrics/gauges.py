"""A full look's findings as Prometheus's families: their names and what they mean, and nothing of how they were found.

A side that failed has no numbers, which Prometheus takes for absent: better than the last ones for ever.
Moments are Unix times and not ages, so that ``time() - x`` grows even when nothing here moves any more (prometheus.io,
"Instrumentation", "Timestamps, not time since").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from core_agent.contract.messages import Hold, Phase
from core_agent.metrics.summary import Load, Peers, Servers, Snapshot
from core_agent.metrics.text import NO_LABELS, Labels, family, histogram


def gauges(seen: Snapshot) -> Iterator[str]:
    """Yield the lines of everything in ``seen``."""
    yield from _records(seen)
    yield from _look(seen)
    if seen.peers is not None:
        yield from _peers(seen.peers)
    if seen.servers is not None:
        yield from _servers(seen.servers)
    if seen.load is not None:
        yield from _load(seen.load)


def _records(seen: Snapshot) -> Iterator[str]:
    yield from _gauge(
        "drawbridge_nodes",
        "Nodes on record, by phase and by an operator's hold.",
        (
            ({"phase": phase.value, "hold": hold.value}, seen.nodes.get((phase, hold), 0))
            for phase in Phase
            for hold in Hold
        ),
    )
    generations = sorted(seen.generations.items())
    yield from _gauge(
        "drawbridge_group_nodes",
        "Nodes of the group that have not gone.",
        (({"group": group}, seen.members.get(group, 0)) for group, _ in generations),
    )
    yield from _gauge(
        "drawbridge_group_generation_timestamp_seconds",
        "Unix time of the newest look at the group, by the clock of whoever looked.",
        (({"group": group}, generation / 1000) for group, generation in generations),
    )
    addresses = seen.addresses
    yield from _gauge(
        "drawbridge_addresses",
        "The tunnel's addresses for nodes, by what has become of them.",
        (
            ({"state": "free"}, addresses.free),
            ({"state": "used"}, addresses.used),
            ({"state": "quarantine"}, addresses.quarantine),
        ),
    )
    level = seen.level_percent / 100
    yield from _single("drawbridge_burst_level_ratio", "How much of the edge may be used: 0 to 1.", level)
    yield from _single(
        "drawbridge_core_share_ratio",
        "The share of the core's slots that requests take before they overflow to the edge: 0 to 1.",
        seen.core_percent / 100,
    )


def _look(seen: Snapshot) -> Iterator[str]:
    yield from _single(
        "drawbridge_last_full_look_timestamp_seconds", "Unix time of the last look at everything.", seen.taken_at
    )
    yield from _gauge(
        "drawbridge_side_up",
        "Whether the last look at everything could read this side and put it right.",
        (({"side": "wireguard"}, seen.peers is not None), ({"side": "haproxy"}, seen.servers is not None)),
    )


def _peers(peers: Peers) -> Iterator[str]:
    # The format has no histogram of gauges; client_python writes its own as this kind too.
    yield from histogram(
        "drawbridge_handshake_age_seconds",
        "Ages of the peers' latest handshakes now, not since some start: rate() of it means nothing.",
        [(NO_LABELS, peers.ages)],
    )
    yield from _gauge(
        "drawbridge_peers",
        "Peers by their latest handshake: within three minutes, older, or never.",
        (
            ({"handshake": "fresh"}, peers.fresh),
            ({"handshake": "stale"}, peers.stale),
            ({"handshake": "never"}, peers.never),
        ),
    )
    yield from _single(
        "drawbridge_silent_nodes", "Active nodes, resting ones left out, without a fresh handshake.", peers.silent
    )


def _servers(servers: Servers) -> Iterator[str]:
    core = [({"server": server.name}, server) for server in servers.core]
    yield from _gauge(
        "drawbridge_core_server_up",
        "Whether the core's own server passes its health check.",
        ((labels, server.up) for labels, server in core),
    )
    yield from _gauge(
        "drawbridge_core_server_requests",
        "Requests that the core's own server works on.",
        ((labels, server.busy) for labels, server in core),
    )
    yield from _gauge(
        "drawbridge_core_server_slots",
        "Requests that the core's own server may work on at a time.",
        ((labels, server.maxconn) for labels, server in core),
    )
    yield from _gauge(
        "drawbridge_core_server_queued_requests",
        "Requests that wait for the core's own server.",
        ((labels, server.queue) for labels, server in core),
    )
    yield from _single("drawbridge_edge_servers_open", "Nodes that are up and open to traffic.", servers.edge_open)
    yield from _single("drawbridge_edge_requests", "Requests that the edge works on.", servers.edge_requests)
    yield from _single(
        "drawbridge_queued_requests", "Requests that wait, for a certain server or for any.", servers.queue
    )
    total = [(NO_LABELS, servers.requests_total)]
    yield from family("drawbridge_requests_total", "counter", "Requests since HAProxy's start.", total)


def _load(load: Load) -> Iterator[str]:
    sample, answers = load.sample, load.answers
    yield from _gauge(
        "drawbridge_saturation_ratio",
        "Busy and queued requests over slots: of the core alone, and with all open nodes. Above 1 requests wait.",
        (
            ({"of": of}, percent / 100)
            for of, percent in (("core", sample.core_percent), ("total", sample.total_percent))
            if percent is not None
        ),
    )
    yield from _single(
        "drawbridge_queue_wait_seconds",
        "How long a request that comes now would wait: the queue's length over the answers per second.",
        sample.queue_ms / 1000,
    )
    yield from family(
        "drawbridge_answers_total",
        "counter",
        "Requests that servers answered since the agent's start, by side.",
        (({"side": "core"}, round(answers.core)), ({"side": "edge"}, round(answers.edge))),
    )
    yield from family(
        "drawbridge_server_errors_total",
        "counter",
        "Of these answers, those that were 5xx.",
        (({"side": "core"}, round(answers.core_failed)), ({"side": "edge"}, round(answers.edge_failed))),
    )
    refused = [(NO_LABELS, round(answers.refused))]
    yield from family(
        "drawbridge_requests_refused_total",
        "counter",
        "Requests that HAProxy itself answered with 5xx since the agent's start: nobody was there, or all too busy.",
        refused,
    )
    yield from _gauge(
        "drawbridge_core_server_suggested_slots",
        "The slots that the measurements speak for; those that it has while they speak for no others.",
        (({"server": name}, slots) for name, slots in load.suggested.items()),
    )


def _gauge(name: str, says: str, series: Iterable[tuple[Labels, float]]) -> Iterator[str]:
    return family(name, "gauge", says, series)


def _single(name: str, says: str, value: float) -> Iterator[str]:
    return family(name, "gauge", says, [(NO_LABELS, value)])
