"""Pure: knows what a step scaling policy makes of a breach; it must not know alarms, groups or who asks.

Rule 1: steps are intervals relative to the alarm's threshold; the metric's value chooses one.
Rule 2: growing counts from the instances that serve and are warm: a breach that lasts while instances come adds once.
Rule 3: shrinking counts terminating instances as still there, and never begins while instances are coming.
https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-simple-step.html
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_MOST_STEPS: Final = 20


class Adjustment(StrEnum):
    """What the number of a step means."""

    CHANGE = "ChangeInCapacity"
    PERCENT = "PercentChangeInCapacity"
    EXACT = "ExactCapacity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One interval, as distances of the metric from the threshold, and what it asks for."""

    lower: float = -math.inf
    upper: float = math.inf
    by: int

    def holds(self, beyond: float) -> bool:
        """Above the threshold the lower bound belongs to the step, below it the upper one, at it both."""
        if beyond > 0:
            return self.lower <= beyond < self.upper
        if beyond < 0:
            return self.lower < beyond <= self.upper
        return self.lower <= beyond <= self.upper


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A step scaling policy; ``at_least`` is MinAdjustmentMagnitude, ``steps`` are in order."""

    adjustment: Adjustment
    steps: tuple[Step, ...]
    at_least: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """A group, in instances: ``coming`` launch or warm up, ``leaving`` terminate, ``serving`` do neither."""

    desired: int
    minimum: int
    maximum: int
    serving: int
    coming: int = 0
    leaving: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The new desired capacity, or None where nothing is to change, and why."""

    desired: int | None
    why: str


def checked(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps in order. ``ValueError`` for a set that AWS refuses."""
    found = tuple(sorted(steps, key=lambda step: step.lower))
    if not 1 <= len(found) <= _MOST_STEPS:
        raise ValueError(f"reading step adjustments: wanted 1 to {_MOST_STEPS}, found {len(found)}")
    for step in found:
        if step.lower >= step.upper or (math.isinf(step.lower) and math.isinf(step.upper)):
            raise ValueError(
                f"reading step adjustments: wanted a lower bound below an upper one, found {step.lower} to {step.upper}"
            )
    for before, after in itertools.pairwise(found):
        if before.upper != after.lower:
            raise ValueError(
                f"reading step adjustments: wanted no gap and no overlap, found {before.upper} and {after.lower}"
            )
    if found[0].lower < 0 and not math.isinf(found[0].lower):
        raise ValueError(f"reading step adjustments: wanted no lower bound below {found[0].lower}, found it")
    if found[-1].upper > 0 and not math.isinf(found[-1].upper):
        raise ValueError(f"reading step adjustments: wanted no upper bound above {found[-1].upper}, found it")
    return found


def decide(policy: Policy, capacity: Capacity, beyond: float) -> Decision:
    """What the group's desired capacity becomes when the metric is ``beyond`` the threshold (negative: below)."""
    step = next((step for step in policy.steps if step.holds(beyond)), None)
    if step is None:
        return Decision(desired=None, why=f"no step is for {beyond:+g} from the threshold")
    if step.by > (capacity.desired if policy.adjustment is Adjustment.EXACT else 0):
        return _grow(policy, capacity, step)
    return _shrink(policy, capacity, step)


def _grow(policy: Policy, capacity: Capacity, step: Step) -> Decision:
    wanted = min(capacity.maximum, adjusted(policy, capacity.serving, step.by))
    if wanted <= capacity.desired:
        why = f"{capacity.serving} serving and the step's {step.by:+d} make {wanted}, {capacity.desired} are desired"
        return Decision(desired=None, why=f"{why} already (at most {capacity.maximum})")
    return Decision(desired=wanted, why=f"the step's {step.by:+d} on {capacity.serving} serving")


def _shrink(policy: Policy, capacity: Capacity, step: Step) -> Decision:
    if capacity.coming:
        return Decision(desired=None, why=f"a scale-out is in progress: {capacity.coming} launching or warming up")
    there = capacity.serving + capacity.leaving
    wanted = max(capacity.minimum, adjusted(policy, there, step.by))
    if wanted >= capacity.desired:
        why = f"{there} there and the step's {step.by:+d} make {wanted}, {capacity.desired} are desired"
        return Decision(desired=None, why=f"{why} already (at least {capacity.minimum})")
    return Decision(desired=wanted, why=f"the step's {step.by:+d} on {there} there")


def adjusted(policy: Policy, capacity: int, by: int) -> int:
    """``capacity`` after an adjustment; percentages round towards zero, but never to nothing."""
    if policy.adjustment is Adjustment.EXACT:
        return by
    if policy.adjustment is Adjustment.CHANGE:
        return capacity + by
    share = capacity * by / 100
    change = math.trunc(share) if abs(share) >= 1 else math.ceil(abs(share))
    return capacity + math.trunc(math.copysign(max(abs(change), policy.at_least if by else 0), by))
