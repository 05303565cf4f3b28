"""One server that misbehaves at twice the core's load: what users saw, drawbridge's beside the snippet's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benches.claims import Claim
from benches.spill.answers import failures, latency_ms, served
from benches.spill.arrivals import Stretch
from benches.spill.balancer import Balancer
from benches.spill.cells import Act, Cells, Run
from benches.spill.contenders import DRAWBRIDGE, SNIPPET, Contender
from benches.spill.plan import Plan
from benches.spill.server import Mood
from benches.spill.site import ServerProcess, Site

_LOAD, _POSTS, _AT_S = 2.0, 0.5, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A ``mood`` of the core's server, or of one of the edge's."""

    title: str
    mood: Mood
    at_core: bool = False

    def at(self, site: Site) -> ServerProcess:
        """Return the server that has it."""
        return site.core if self.at_core else site.edge[0]


FAULTS = (
    Fault(title="none", mood=Mood.WELL),
    Fault(title="core server 50 ms slower", mood=Mood.SLOW, at_core=True),
    Fault(title="a burst server takes requests and never answers", mood=Mood.DEAF),
    Fault(title="a burst server resets", mood=Mood.RESETTING),
    Fault(title="a burst server answers 500 to the health check", mood=Mood.SICK),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suffered:
    """One run with one fault."""

    fault: Fault
    contender: Contender
    run: Run

    def failed(self, *, posts: bool) -> int:
        """Return how many GETs, or POSTs, failed."""
        return sum(answer.post is posts and not answer.ok for answer in self.run.answers)


def measure(cells: Cells, plan: Plan, site: Site) -> list[Suffered]:
    """Run both with every fault, which begins a second after the load."""
    return [
        Suffered(fault=fault, contender=contender, run=_one(cells, plan, fault.at(site), fault.mood, contender))
        for fault in FAULTS
        for contender in (DRAWBRIDGE, SNIPPET)
    ]


def _one(cells: Cells, plan: Plan, server: ServerProcess, mood: Mood, contender: Contender) -> Run:
    def begin(_: Balancer) -> None:
        server.be(mood)

    try:
        stretch = Stretch(seconds=plan.fault_s, load=_LOAD)
        return cells.run(contender, [stretch], posts=_POSTS, acts=[Act(at_s=_AT_S, do=begin)])
    finally:
        server.be(Mood.WELL)


def table(suffered: Sequence[Suffered]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Return header and rows."""
    header = ("fault, at 2×", "contender", "served %", "GETs failed", "POSTs failed", "p99 ms", "failed with")
    rows = []
    for one in suffered:
        answers = one.run.answers
        kinds = ", ".join(f"{word} {count}" for word, count in failures(answers).most_common())
        row = (f"{served(answers):.2%}".rstrip("%"), f"{one.failed(posts=False)}", f"{one.failed(posts=True)}")
        rows.append((one.fault.title, one.contender.name, *row, f"{latency_ms(answers, 99):.0f}", kinds))
    return header, rows


def claims(suffered: Sequence[Suffered]) -> list[Claim]:
    """Return what was lost, without goals."""
    return [
        Claim(
            claim=f"{one.contender.name}, {one.fault.title}: requests lost",
            value=one.failed(posts=False) + one.failed(posts=True),
            unit="requests",
            how=f"{len(one.run.answers):,} requests at {_LOAD:g}×, half of them POSTs, the fault from {_AT_S:g} s on; "
            f"lost {one.failed(posts=False)} GETs, {one.failed(posts=True)} POSTs; "
            f"p99 of the served {latency_ms(one.run.answers, 99):.0f} ms",
        )
        for one in suffered
    ]
