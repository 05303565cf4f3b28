"""What a large fleet costs HAProxy: processor time per request and for its health checks, by servers declared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benches.claims import Claim
from benches.spill.arrivals import Stretch
from benches.spill.cells import Cells
from benches.spill.contenders import DRAWBRIDGE
from benches.spill.ground import INTER_S, ROUND_TRIP_MS
from benches.spill.plan import Plan
from benches.spill.site import ServerProcess

_LOADS = (0.5, 2.0)
_NO_LIMIT = 100_000
_CHECKED_S = 2 * INTER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """With ``servers`` of the edge: processors used by checks alone, and microseconds per request without them."""

    servers: int
    checks: float
    request_us: Sequence[float]


def measure(cells: Cells, plan: Plan) -> list[Crowd]:
    """Declare a small and a large fleet; one process answers for all that have none of their own."""
    others = ServerProcess(name="crowd", address="0.0.0.0", slots=_NO_LIMIT, round_trip_ms=ROUND_TRIP_MS)  # noqa: S104 -- every loopback address of a namespace that leads nowhere
    others.start()
    try:
        return [_one(cells, plan, servers) for servers in plan.crowds]
    finally:
        others.kill()


def _one(cells: Cells, plan: Plan, servers: int) -> Crowd:
    checks = cells.idle_cpu(DRAWBRIDGE, edge=servers, seconds=_CHECKED_S)
    spent = []
    for load in _LOADS:
        run = cells.run(DRAWBRIDGE, [Stretch(seconds=plan.count_s, load=load)], edge=servers)
        spent.append((run.cpu_s - checks * run.seconds) * 1e6 / len(run.answers))
    return Crowd(servers=servers, checks=checks, request_us=spent)


def table(crowds: Sequence[Crowd]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Return header and rows."""
    header = ("edge servers", *(f"µs/request at {load:g}×" for load in _LOADS), "one processor, for checks alone")
    return header, [
        (f"{crowd.servers:,}", *(f"{spent:.0f}" for spent in crowd.request_us), f"{crowd.checks:.1%}")
        for crowd in crowds
    ]


def claims(crowds: Sequence[Crowd]) -> list[Claim]:
    """Return the ratios of the large fleet to the small one, without goals."""
    small, large = crowds[0], crowds[-1]
    found = [
        Claim(
            claim=f"HAProxy's CPU per request at {load:g}×, {large.servers:,} edge servers ÷ {small.servers}",
            value=many / few,
            unit="×",
            how=f"{many:.0f} µs beside {few:.0f} µs, the checks' own time taken off",
        )
        for load, few, many in zip(_LOADS, small.request_us, large.request_us, strict=True)
    ]
    how = f"one HEAD a second and server; {small.checks:.1%} with {small.servers}"
    checks = Claim(
        claim=f"health checks of {large.servers:,} edge servers", value=large.checks * 100, unit="% of a CPU", how=how
    )
    return [*found, checks]
