"""Half, once, twice and three times the core's capacity, with edge servers enough: all contenders, in random order."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence

from benches.claims import Claim, Spread
from benches.spill.answers import by_server, failures, latency_ms, percentile, served
from benches.spill.arrivals import Stretch
from benches.spill.cells import Cells, Run
from benches.spill.contenders import CONTENDERS, DRAWBRIDGE, SNIPPET
from benches.spill.ground import CORE, EDGE, LOADS, ROUND_TRIP_MS
from benches.spill.plan import Plan
from demo.screen import Screen

Spikes = Mapping[tuple[str, float], Sequence[Run]]
"""Contender's name and load → its run of each round."""

_HIGH = (2.0, 3.0)


def measure(cells: Cells, plan: Plan, chance: random.Random, screen: Screen) -> Spikes:
    """Run every contender at every load, once a round, in an order of its own each round."""
    spikes: dict[tuple[str, float], list[Run]] = {(one.name, load): [] for one in CONTENDERS for load in LOADS}
    for number in range(plan.rounds):
        order = [(contender, load) for contender in CONTENDERS for load in LOADS]
        chance.shuffle(order)
        for done, (contender, load) in enumerate(order, start=1):
            seconds = plan.spike_s if load > 1 else plan.calm_s
            spikes[contender.name, load].append(cells.run(contender, [Stretch(seconds=seconds, load=load)]))
            screen.live(f"the spike: round {number + 1} of {plan.rounds}, run {done} of {len(order)}")
    return spikes


def table(spikes: Spikes) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Return header and rows: medians of the rounds, with the least and the most."""
    header = (
        "load",
        "contender",
        "served %",
        "p50 ms",
        "p99 ms",
        "at home %",
        "AWS %",
        "busiest of 4 %",
        "HAProxy µs/request",
    )
    rows = []
    for load in LOADS:
        for contender in CONTENDERS:
            runs = spikes[contender.name, load]
            cells = (served_percent, p50_ms, p99_ms, home_percent, edge_percent, busiest_percent, _cpu_us)
            rows.append((f"{load:g}×", contender.name, *(_cell([measured(run) for run in runs]) for measured in cells)))
    return header, rows


def served_percent(run: Run) -> float:
    """The part of all requests that got a 2xx answer, in percent."""
    return served(run.answers) * 100


def p50_ms(run: Run) -> float:
    """The median latency of what was served."""
    return latency_ms(run.answers, 50)


def p99_ms(run: Run) -> float:
    """The 99th percentile of the latency of what was served."""
    return latency_ms(run.answers, 99)


def edge_percent(run: Run) -> float:
    """The edge's part of what was served, in percent."""
    counts = by_server(run.answers)
    return 100 * sum(counts[name] for name in EDGE) / max(1, counts.total())


def home_percent(run: Run) -> float:
    """The core's part of what was served, in percent."""
    counts = by_server(run.answers)
    return 100 * counts[CORE] / max(1, counts.total())


def busiest_percent(run: Run) -> float:
    """The part of all that the edge served that its busiest server did, in percent; 0 when it served nothing."""
    counts = [by_server(run.answers)[name] for name in EDGE]
    return 100 * max(counts) / max(1, sum(counts))


def _cpu_us(run: Run) -> float:
    return run.cpu_us


def claims(spikes: Spikes, alone: Sequence[float]) -> list[Claim]:
    """Return drawbridge's claims, with goals, and everybody's numbers."""
    ours = {load: spikes[DRAWBRIDGE.name, load] for load in LOADS}
    calm = [p99_ms(run) for run in ours[0.5]]
    found = []
    for load in _HIGH:
        ratios = [(p99_ms(run) - ROUND_TRIP_MS) / one for run, one in zip(ours[load], calm, strict=True)]
        idle = [100 * (1 - run.rate_of(CORE) / statistics.median(alone)) for run in ours[load]]
        found += [
            _failed(ours[load], load),
            _claim(
                f"p99 at {load:g}×, less the edge's round trip, beside p99 at 0.5×",
                ratios,
                "×",
                goal=1.5,
                how=f"{_of(ours[load])} The round trip is {ROUND_TRIP_MS} ms",
            ),
            _claim(
                f"at {load:g}×: of what the core alone can serve, it does not serve",
                idle,
                "%",
                goal=5,
                how=f"{_of(ours[load])} The core alone: {statistics.median(alone):.0f} requests/s, saturated",
            ),
        ]
    found.append(
        _claim("at 0.5×: AWS's part", [edge_percent(run) for run in ours[0.5]], "%", goal=0.5, how=_of(ours[0.5]))
    )
    for load in (0.5, 2.0):
        costs, theirs = ([run.cpu_us for run in spikes[one.name, load]] for one in (DRAWBRIDGE, SNIPPET))
        ratios = [cost / their for cost, their in zip(costs, theirs, strict=True)]
        how = (
            f"processor time of all of HAProxy's threads: drawbridge {statistics.median(costs):.0f} µs a request, the "
            f"snippet {statistics.median(theirs):.0f} µs, which serves "
            f"{statistics.median(map(served_percent, spikes[SNIPPET.name, load])):.0f} % of them"
        )
        found.append(_claim(f"at {load:g}×: HAProxy's CPU per request, drawbridge ÷ snippet", ratios, "×", how=how))
    return [*found, *_everybody(spikes), _lateness(spikes)]


def _everybody(spikes: Spikes) -> list[Claim]:
    measured: tuple[tuple[str, str, Callable[[Run], float]], ...] = (
        ("not served", "%", lambda run: 100 - served_percent(run)),
        ("p50", "ms", p50_ms),
        ("p99", "ms", p99_ms),
        ("AWS's part", "%", edge_percent),
    )
    return [
        _claim(
            f"{contender.name} at {load:g}×: {title}", list(map(of, runs)), unit, how=f"{_of(runs)} {contender.terms}"
        )
        for contender in CONTENDERS
        for load in LOADS
        for runs in (spikes[contender.name, load],)
        for title, unit, of in measured
    ]


def _lateness(spikes: Spikes) -> Claim:
    runs = [run for ours in spikes.values() for run in ours]
    late = [percentile(run.late_s, 99) * 1000 for run in runs]
    busy = [run.busy for run in runs]
    how = (
        f"{len(runs)} runs; of the machine's processor time {statistics.median(busy):.0%} was used in the median run, "
        f"{max(busy):.0%} in the busiest"
    )
    return _claim("the spike: a request is sent late by, p99 of a run", late, "ms", how=how)


def _failed(runs: Sequence[Run], load: float) -> Claim:
    failed = sum(failures(run.answers).total() for run in runs)
    return Claim(claim=f"at {load:g}×: requests that failed", value=failed, unit="requests", goal=0, how=_of(runs))


def _claim(claim: str, samples: Sequence[float], unit: str, *, how: str, goal: float | None = None) -> Claim:
    spread = Spread.of(samples)
    return Claim(claim=claim, value=spread.median, unit=unit, goal=goal, spread=spread, how=how)


def _of(runs: Sequence[Run]) -> str:
    return f"{len(runs)} rounds, {sum(len(run.answers) for run in runs):,} requests from the load's first moment on."


def _cell(samples: Sequence[float]) -> str:
    least, middle, most = min(samples), statistics.median(samples), max(samples)
    digits = 1 if most < 1000 else 0
    return f"{middle:.{digits}f}" if least == most else f"{middle:.{digits}f} ({least:.{digits}f}–{most:.{digits}f})"
