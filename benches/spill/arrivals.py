"""When requests come: pure; times are seconds from the beginning, a load is a multiple of one server's capacity.

Gaps are exponential, as they are between people who know nothing of each other. Evenly spaced arrivals would flatter
every contender: 25 slots would then be enough for a load of 1.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from benches.spill.ground import CAPACITY


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """``load`` for ``seconds``."""

    seconds: float
    load: float


def poisson(chance: random.Random, stretches: Sequence[Stretch]) -> list[float]:
    """Return the moments of arrival over ``stretches``, one after the other."""
    moments: list[float] = []
    begin = 0.0
    for stretch in stretches:
        end = begin + stretch.seconds
        moment = begin
        while (moment := moment + chance.expovariate(stretch.load * CAPACITY)) < end:
            moments.append(moment)
        begin = end
    return moments


def some(chance: random.Random, count: int, share: float) -> list[int]:
    """Return ``count`` zeros and ones, ``share`` of them ones."""
    return [int(chance.random() < share) for _ in range(count)]
