"""A spike with no edge server at all: what is served, what the others are told, and how soon."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benches.claims import Claim
from benches.spill.answers import Answer, failures, latency_ms, percentile
from benches.spill.arrivals import Stretch
from benches.spill.cells import Cells, Run
from benches.spill.contenders import DRAWBRIDGE, SNIPPET, Contender
from benches.spill.ground import CORE
from benches.spill.plan import Plan

_LOADS = (2.0, 3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """One run without edge servers; ``seen`` is how many requests reached the core's server, the warm-up's too."""

    contender: Contender
    load: float
    run: Run
    seen: int


def measure(cells: Cells, plan: Plan, seen: Callable[[], int]) -> list[Alone]:
    """Run drawbridge and the snippet; ``seen`` says how many requests the core's server has had so far."""
    found = []
    for contender in (DRAWBRIDGE, SNIPPET):
        for load in _LOADS:
            before = seen()
            run = cells.run(contender, [Stretch(seconds=plan.spike_s, load=load)], edge=0)
            found.append(Alone(contender=contender, load=load, run=run, seen=seen() - before))
    return found


def told(answer: Answer) -> bool:
    """Whether it was a 503 that says when to come again."""
    return answer.status == 503 and answer.retry_after


def table(found: Sequence[Alone]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Return header and rows."""
    header = ("no edge", "contender", "served/s", "p99 ms", "not served", "503 + Retry-After", "after ms p50 – p99")
    rows = []
    for alone in found:
        answers = alone.run.answers
        failed = [answer for answer in answers if not answer.ok]
        waited = [answer.latency_s * 1000 for answer in failed]
        rows.append(
            (
                f"{alone.load:g}×",
                alone.contender.name,
                f"{alone.run.rate_of(CORE):.0f}",
                f"{latency_ms(answers, 99):.0f}",
                f"{len(failed)} of {len(answers)}",
                f"{sum(map(told, answers))}",
                f"{percentile(waited, 50):.1f} – {percentile(waited, 99):.1f}",
            )
        )
    return header, rows


def claims(found: Sequence[Alone], alone: Sequence[float]) -> list[Claim]:
    """Return drawbridge's claims beside ``alone``, the rates of the saturated core."""
    return [one for run in found if run.contender is DRAWBRIDGE for one in _claims(run, statistics.median(alone))]


def _claims(one: Alone, alone: float) -> list[Claim]:
    answers, name = one.run.answers, f"no edge, {one.load:g}×"
    refused = [answer for answer in answers if told(answer)]
    kinds = ", ".join(f"{count} {word}" for word, count in failures(answers).items()) or "none"
    how = f"{len(answers):,} requests, {sum(answer.ok for answer in answers):,} served; the others: {kinds}"
    found = [
        Claim(
            claim=f"{name}: of what the core alone can serve, it does not serve",
            value=100 * (1 - one.run.rate_of(CORE) / alone),
            unit="%",
            goal=5,
            how=f"{how}; the core alone: {alone:.0f} requests/s, saturated in this run",
        ),
        Claim(
            claim=f"{name}: told anything else than 503 with Retry-After",
            value=len(answers) - sum(answer.ok for answer in answers) - len(refused),
            unit="requests",
            goal=0 if refused else None,  # a run too short for any 503 puts it to no test
            how=how,
        ),
        Claim(
            claim=f"{name}: requests at the core's server above those sent",
            value=max(0, one.seen - one.run.sent),
            unit="requests",
            goal=0,
            how=f"{one.run.sent:,} sent, {one.seen:,} seen there",
        ),
    ]
    if refused:
        waited = [answer.latency_s * 1000 for answer in refused]
        found += [
            Claim(claim=f"{name}: time to the 503, {title}", value=percentile(waited, percent), unit="ms", how=how)
            for title, percent in (("median", 50), ("p99", 99))
        ]
    return found
