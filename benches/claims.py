"""What a bench found: each number beside its goal, printed for a person and kept as JSON; it measures nothing itself.

Smaller is better in every claim here, so a goal is the most that the number may be.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.screen import Screen

RESULTS = Path(__file__).with_name("results")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Samples in brief: the median, and the tenth and the ninetieth percentile around it."""

    median: float
    p10: float
    p90: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """Return the spread of one or more ``samples``."""
        if len(samples) == 1:
            return cls(median=samples[0], p10=samples[0], p90=samples[0])
        tenths = statistics.quantiles(samples, n=10, method="inclusive")
        return cls(median=statistics.median(samples), p10=tenths[0], p90=tenths[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One number in ``unit``, what it was to be at most, and ``how`` it came about; no ``goal``, no verdict.

    ``spread`` is that of the samples behind ``value``, where there is more than one.
    """

    claim: str
    value: float
    unit: str
    how: str
    goal: float | None = None
    spread: Spread | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the goal is met; None without one."""
        return None if self.goal is None else self.value <= self.goal


def publish(name: str, claims: Sequence[Claim], *, write: bool = True) -> None:
    """Print ``claims`` as a table with a verdict below it and, with ``write``, keep them as ``results/NAME.json``."""
    screen = Screen(sys.stdout)
    screen.say("")
    screen.table(("claim", "median", "p10 – p90", "goal", "holds"), [_row(claim) for claim in claims])
    broken = [claim for claim in claims if claim.holds is False]
    for claim in broken:
        screen.say(f"✗ DOES NOT HOLD: {claim.claim}: {_number(claim.value)} {claim.unit}, goal ≤ {claim.goal:g}")
    judged = sum(claim.goal is not None for claim in claims)
    screen.say(f"{judged - len(broken)} of {judged} goals met")
    if write:
        path = RESULTS / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps([_document(claim) for claim in claims], indent=2, ensure_ascii=False) + "\n")
        screen.say(f"written to benches/results/{path.name}")


def _row(claim: Claim) -> tuple[str, ...]:
    spread = f"{_number(claim.spread.p10)} – {_number(claim.spread.p90)}" if claim.spread else ""
    goal = "" if claim.goal is None else f"≤ {claim.goal:g}"
    verdict = {None: "", True: "✓", False: "✗"}[claim.holds]
    return (claim.claim, f"{_number(claim.value)} {claim.unit}", spread, goal, verdict)


def _document(claim: Claim) -> dict[str, object]:
    document: dict[str, object] = {
        "claim": claim.claim,
        "value": _rounded(claim.value),
        "unit": claim.unit,
        "goal": claim.goal,
        "holds": claim.holds,
        "how": claim.how,
    }
    if claim.spread is not None:
        document["p10"], document["p90"] = _rounded(claim.spread.p10), _rounded(claim.spread.p90)
    return document


def _number(value: float) -> str:
    return f"{_rounded(value):,g}" if abs(value) < 1e6 else f"{value:,.0f}"


def _rounded(value: float) -> float:
    """Three digits are all that a measurement on a shared machine is good for."""
    return float(f"{value:.3g}") if abs(value) < 1000 else round(value)
