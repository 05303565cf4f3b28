"""The claims of this bench from what was counted; it measures nothing and prints nothing."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benches.claims import Claim, Spread
from benches.fleet_changes.contender import READY, Stages
from benches.fleet_changes.contest import Contestant
from benches.fleet_changes.load import Account
from benches.fleet_changes.moments import Moment
from benches.fleet_changes.watch import INTERVAL_S

_SERVING = "from a node that is ready to its first answered request"


def claims(product: Contestant, peer: Contestant | None) -> list[Claim]:
    """Return the product's claims, and the ``peer``'s numbers without a goal."""
    found = [
        *_side(product, goal=0),
        *_stages("join, from the first command", product.made.joins),
        *_stages("leave, from the command", product.made.leaves),
    ]
    if peer is not None:
        found += [*_side(peer, goal=None), *_stages(f"{peer.contender.name}: leave", peer.made.leaves)]
    return found


def side_by_side(product: Contestant, peer: Contestant) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and rows of one table with both sides' numbers."""
    sides = (product, peer)
    rows = [
        ("joins and leaves made", *(f"{side.made.changes}" for side in sides)),
        (_SERVING, *(_seconds(_serving(side)) for side in sides)),
        ("from the word that it leaves to its last request sent there", *(_seconds(_closed(side)) for side in sides)),
        ("HAProxy reloads", *(f"{side.reloads}" for side in sides)),
        ("requests sent", *(f"{side.account.sent}" for side in sides)),
        ("requests lost", *(f"{side.account.lost}" for side in sides)),
        ("latency p99", *(f"{statistics.median(side.account.p99_ms):.0f} ms" for side in sides)),
    ]
    return ("side by side", *(side.contender.name for side in sides)), rows


def _side(side: Contestant, *, goal: float | None) -> list[Claim]:
    """What both sides are measured by."""
    name, account = side.contender.name, side.account
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(account.failed.items())) or "none of any kind"
    over = f"over {side.made.changes} changes"
    found = [
        Claim(
            claim=f"{name}: changes asked for and not made",
            value=side.wanted - side.made.changes,
            unit="changes",
            goal=goal,
            how=f"{len(side.made.joins)} joins and {len(side.made.leaves)} leaves in {side.seconds:.0f} s, each join a "
            f"new instance at a new address, several in motion at a time; {side.contender.terms}"
            + "".join(f"; {trouble}" for trouble in side.troubles),
        ),
        Claim(
            claim=f"{name}: requests lost",
            value=account.lost,
            unit="requests",
            goal=goal,
            how=f"{over}: {account.sent} sent in an open loop, {account.ok} answered 2xx, failed: {kinds}",
        ),
        Claim(
            claim=f"{name}: HAProxy reloads",
            value=side.reloads,
            unit="reloads",
            goal=goal,
            how=f"{over}: new worker processes seen on HAProxy's own socket, asked every {INTERVAL_S * 1000:.0f} ms",
        ),
        *_latencies(name, account),
    ]
    if side.made.joins:
        serving = Spread.of(_serving(side))
        how = f"{over}, as seen in HAProxy's own counters"
        found.append(Claim(claim=f"{name}: {_SERVING}", value=serving.median, unit="s", how=how, spread=serving))
    return found


def _latencies(name: str, account: Account) -> list[Claim]:
    per_block = (("p50", account.p50_ms), ("p99", account.p99_ms))
    return [
        *(
            Claim(claim=f"{name}: latency {which}", value=statistics.median(samples), unit="ms", how="median of blocks")
            for which, samples in per_block
        ),
        Claim(claim=f"{name}: latency, slowest", value=max(account.max_ms), unit="ms", how="of all answered requests"),
    ]


def _serving(side: Contestant) -> list[float]:
    return [stages[Moment.SERVED] - stages[READY] for stages in side.made.joins]


def _closed(side: Contestant) -> list[float]:
    return [stages[Moment.CLOSED] for stages in side.made.leaves]


def _seconds(samples: Sequence[float]) -> str:
    if not samples:
        return "never"
    spread = Spread.of(samples)
    return f"{spread.median:.2f} s ({spread.p10:.2f} – {spread.p90:.2f})"


def _stages(title: str, changes: Sequence[Stages]) -> list[Claim]:
    found = []
    for stage in changes[0] if changes else ():
        spread = Spread.of([stages[stage] for stages in changes])
        how = f"{len(changes)} changes; HAProxy's moments as seen on its own socket, the others by the caller's clock"
        found.append(Claim(claim=f"{title}: {stage}", value=spread.median, unit="s", how=how, spread=spread))
    return found
