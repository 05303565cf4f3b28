"""What everything else stands on: how well the users keep time, and how much the core's server can serve at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benches.claims import Claim, Spread
from benches.spill.answers import latency_ms, percentile
from benches.spill.cells import Cells, Run
from benches.spill.contenders import DRAWBRIDGE
from benches.spill.ground import CAPACITY, LOADS, SERVICE_MS, SLOTS
from benches.spill.plan import Plan
from benches.spill.site import ServerProcess

_IN_FLIGHT = 2 * SLOTS
_NO_LIMIT = 100_000
_STEADY = 1.4  # times the service: what is above is the machine's own doing


@dataclass(frozen=True, slots=True, kw_only=True)
class Footing:
    """A run without any balancer, and the requests a second that the core alone serves, once a round."""

    direct: Run
    alone: Sequence[float]


def measure(cells: Cells, plan: Plan) -> Footing:
    """Run the highest load against a server without limits, then saturate the core's server behind HAProxy."""
    server = ServerProcess(name="ground", address="127.0.0.1", slots=_NO_LIMIT)
    server.start()
    try:
        direct = cells.direct(load=max(LOADS), seconds=plan.calm_s)
    finally:
        server.kill()
    alone = [cells.saturate(DRAWBRIDGE, in_flight=_IN_FLIGHT, seconds=plan.calm_s / 2) for _ in range(plan.again)]
    return Footing(direct=direct, alone=alone)


def warning(footing: Footing) -> str | None:
    """Return what to say of a machine that was too busy to measure on, or None."""
    p99 = latency_ms(footing.direct.answers, 99)
    if p99 <= SERVICE_MS * _STEADY:
        return None
    return (
        f"✗ THE GROUND SHAKES: wanted p99 {SERVICE_MS * _STEADY:g} ms at most with no HAProxy, found {p99:.0f} ms: "
        "this machine is too busy, and no number here says much"
    )


def claims(footing: Footing) -> list[Claim]:
    """Return the numbers; none of them has a goal."""
    direct = footing.direct
    rate = len(direct.answers) / (direct.end - direct.begin)
    how = f"users and one server of {SERVICE_MS} ms without limits, no HAProxy between, {rate:,.0f} requests/s"
    alone = Spread.of(footing.alone)
    return [
        Claim(claim="the ground: latency p99", value=latency_ms(direct.answers, 99), unit="ms", how=how),
        Claim(
            claim="the ground: a request is sent late by, p99",
            value=percentile(direct.late_s, 99) * 1000,
            unit="ms",
            how=how,
        ),
        Claim(
            claim="the ground: the machine's processors in use",
            value=direct.busy * 100,
            unit="%",
            how=f"{how}; all that runs on the machine is in it",
        ),
        Claim(
            claim="the core alone, saturated",
            value=alone.median,
            unit="requests/s",
            spread=alone,
            how=f"{_IN_FLIGHT} always in flight through drawbridge's HAProxy without any edge server; {SLOTS} slots of "
            f"{SERVICE_MS} ms would be {CAPACITY:g} if nothing else cost time",
        ),
    ]
