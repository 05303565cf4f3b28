"""From the first request that finds the core full to the first one that an existing edge server gets."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from benches.claims import Claim
from benches.spill.answers import before_overflow
from benches.spill.arrivals import Stretch
from benches.spill.cells import Cells, Run
from benches.spill.contenders import CONTENDERS, DRAWBRIDGE
from benches.spill.ground import CORE, SLOTS
from benches.spill.plan import Plan

_LOAD, _SECONDS = 2.0, 2.0

Overflows = Mapping[str, Sequence[Run]]
"""Contender's name → its runs, each of which begins by filling the core's slots at one moment."""


def measure(cells: Cells, plan: Plan) -> Overflows:
    """Fill the core's slots at one moment, then send twice its capacity."""
    stretches = [Stretch(seconds=_SECONDS, load=_LOAD)]
    return {
        contender.name: [cells.run(contender, stretches, volley=SLOTS) for _ in range(plan.again)]
        for contender in CONTENDERS
    }


def table(overflows: Overflows) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Return header and rows: medians."""
    header = ("the core's slots fill at once", "requests until one is served elsewhere", "longest queue at the core")
    rows = []
    for name, runs in overflows.items():
        waited = [waiting for run in runs if (waiting := _waited(run)) is not None]
        rows.append(
            (
                name,
                f"{statistics.median(waited):g}" if len(waited) == len(runs) else f"never in {_SECONDS:g} s",
                f"{statistics.median(run.queued_most for run in runs):g}",
            )
        )
    return header, rows


def claims(overflows: Overflows) -> list[Claim]:
    """Return drawbridge's claims."""
    runs = overflows[DRAWBRIDGE.name]
    how = f"{len(runs)} times {SLOTS} requests at one moment to a core that rests, then {_LOAD:g}× on top; the most"
    waited = [waiting for run in runs if (waiting := _waited(run)) is not None]
    return [
        Claim(
            claim="the core is full: requests before the first one that an edge server gets",
            # Where nothing ever overflowed, every request waited in vain.
            value=max(waited) if len(waited) == len(runs) else max(len(run.answers) for run in runs),
            unit="requests",
            goal=0,
            how=how,
        ),
        Claim(
            claim="the core is full: requests that waited for it at a time",
            value=max(run.queued_most for run in runs),
            unit="requests",
            how=f"{how} that HAProxy's own counter qmax shows; two threads may see the last slot free at once",
        ),
    ]


def _waited(run: Run) -> int | None:
    return before_overflow(run.answers, CORE, SLOTS)
