"""How long and how often everything runs; it knows no scenario's meaning."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``rounds`` of the spike, in which below and at capacity takes ``calm_s`` and above it ``spike_s``.

    Above it takes longer, because a queue of five seconds must have its time to fill. ``again`` is how often the other
    scenarios run, where they are repeated; ``fault_s`` is a run with a fault in it, ``count_s`` one for the processor
    time alone; ``crowds`` are the numbers of edge servers that are declared there.
    """

    rounds: int
    calm_s: float
    spike_s: float
    again: int
    fault_s: float
    count_s: float
    crowds: tuple[int, int]


FULL = Plan(rounds=3, calm_s=4, spike_s=9, again=3, fault_s=5, count_s=5, crowds=(10, 1_000))
QUICK = Plan(rounds=1, calm_s=1.5, spike_s=2, again=1, fault_s=3, count_s=1, crowds=(10, 100))
