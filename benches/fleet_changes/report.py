"""The claims of this bench from what was counted; it measures nothing and prints nothing."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benches.claims import Claim, Spread
from benches.fleet_changes.contender import Stages
from benches.fleet_changes.contest import Contestant
from benches.fleet_changes.watch import INTERVAL_S


def claims(product: Contestant) -> list[Claim]:
    """Return the product's claims."""
    made, account = product.made, product.account
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(account.failed.items())) or "none of any kind"
    return [
        Claim(
            claim="changes asked for and not made",
            value=product.wanted - made.changes,
            unit="changes",
            goal=0,
            how=f"{len(made.joins)} joins and {len(made.leaves)} leaves made in {product.seconds:.0f} s, each join a "
            "new instance with a new key and a new address, several in motion at a time",
        ),
        Claim(
            claim="requests lost",
            value=account.lost,
            unit="requests",
            goal=0,
            how=f"{account.sent} sent in an open loop, {account.ok} answered 2xx, failed: {kinds}; a leaving machine "
            "was cut off the moment the agent called it gone",
        ),
        Claim(
            claim="HAProxy reloads",
            value=product.reloads,
            unit="reloads",
            goal=0,
            how=f"worker processes seen on HAProxy's own socket, asked every {INTERVAL_S * 1000:.0f} ms: "
            f"{len(product.contender.watch.workers)}",
        ),
        Claim(claim="latency p50", value=statistics.median(account.p50_ms), unit="ms", how="median of the blocks"),
        Claim(claim="latency p99", value=statistics.median(account.p99_ms), unit="ms", how="median of the blocks"),
        *_stage_claims("join, from the first command sent", made.joins),
        *_stage_claims("leave, from the command sent", made.leaves),
    ]


def _stage_claims(title: str, changes: Sequence[Stages]) -> list[Claim]:
    if not changes:
        return []
    found = []
    for stage in changes[0]:
        spread = Spread.of([stages[stage] for stages in changes])
        claim = f"{title}: {stage}"
        how = f"{len(changes)} changes; moments of HAProxy as seen on its own socket, others by the caller's clock"
        found.append(Claim(claim=claim, value=spread.median, unit="s", how=how, spread=spread))
    return found
