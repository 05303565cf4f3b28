"""How many nodes an alarm on the total saturation orders, as the steps of a scaling policy: pure arithmetic.

It must not know CDK, nor what saturates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from settings import Settings

MAX_STEPS = 20  # in one policy; Amazon EC2 Auto Scaling takes no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """From ``lower`` percentage points above the alarm's threshold to the next step's: order ``nodes`` more."""

    lower: float
    nodes: int


def scale_out(settings: Settings) -> tuple[Step, ...]:
    """Return the steps from the threshold, ``saturation_high_percent``, to infinity, each ordering more than the last.

    Saturation is U = 100 * demand / slots. Beside the slots that always stand, the core's and the least nodes', k more
    nodes bring it down to the target, half-way between the thresholds, when U <= target * (1 + k * node / standing):
    that is where the step of k nodes ends. The last orders all that the group may have. With more nodes in service than
    the least a step orders too few rather than too many; the alarm then still stands and orders again once those are
    warm.
    """
    burst, edge = settings.burst, settings.edge
    node = Fraction(burst.maxconn * edge.region_factor_percent, 100)
    standing = sum(server.maxconn for server in settings.core.servers) + edge.min_capacity * node
    most = max(1, edge.max_capacity - edge.min_capacity)
    target = Fraction(burst.saturation_high_percent + burst.saturation_low_percent, 2)
    per_node = node / standing
    short = Fraction(burst.saturation_high_percent) / target - 1
    first = min(most, max(1, math.ceil(short / per_node)))
    orders: dict[float, int] = {}
    lower = 0.0
    for nodes in _orders(first, most):
        orders[lower] = nodes  # of two steps that begin together the larger stays
        enough_to = target * (1 + nodes * per_node) - burst.saturation_high_percent
        lower = math.floor(100 * enough_to) / 100
    return tuple(Step(lower=lower, nodes=nodes) for lower, nodes in orders.items())


def _orders(first: int, most: int) -> list[int]:
    """Every number from ``first`` to ``most``; when those are too many, ``MAX_STEPS`` of them in equal ratios."""
    if most - first < MAX_STEPS:
        return list(range(first, most + 1))
    ratio = (most / first) ** (1 / (MAX_STEPS - 1))
    return sorted({min(most, math.ceil(first * ratio**step)) for step in range(MAX_STEPS)})
