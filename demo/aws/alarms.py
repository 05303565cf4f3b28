"""Pure: knows when an alarm is in which state; no clock, no CloudWatch.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

EXTRA_PERIODS: Final = 2
"""CloudWatch looks further back than the evaluation periods, for data points that stand in for missing ones."""


class AlarmState(StrEnum):
    """As DescribeAlarms shows it."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


class Missing(StrEnum):
    """What a period without data counts as."""

    MISSING = "missing"
    IGNORE = "ignore"
    BREACHING = "breaching"
    NOT_BREACHING = "notBreaching"


_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}

STATISTICS: Final[dict[str, Callable[[Sequence[float]], float]]] = {
    "Average": lambda values: sum(values) / len(values),
    "Sum": sum,
    "Minimum": min,
    "Maximum": max,
    "SampleCount": lambda values: float(len(values)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What an alarm compares: ``datapoints`` of ``periods`` must breach."""

    comparison: str
    threshold: float
    periods: int
    datapoints: int
    missing: Missing


COMPARISONS: Final = frozenset(_COMPARE)
"""The comparisons with a threshold that does not move."""


def breaches(rule: Rule, value: float) -> bool:
    """Whether one data point is beyond the threshold."""
    return _COMPARE[rule.comparison](value, rule.threshold)


def evaluate(rule: Rule, recent: Sequence[float | None], current: AlarmState) -> AlarmState:
    """The state after ``recent``: one value per period, the newest first, None where there was no data.

    Wants ``rule.periods + EXTRA_PERIODS`` values; the older ones count only where newer ones are missing.
    """
    real = [value for value in recent if value is not None][: rule.periods]
    breaching = sum(breaches(rule, value) for value in real)
    if not real and rule.missing is Missing.MISSING:
        return AlarmState.INSUFFICIENT_DATA
    if not real and rule.missing is Missing.IGNORE:
        return current
    filled = rule.periods - len(real)
    if rule.missing is Missing.BREACHING:
        breaching += filled
    if breaching >= rule.datapoints:
        return AlarmState.ALARM
    if filled and real and breaching == len(real) and rule.missing in {Missing.MISSING, Missing.IGNORE}:
        return AlarmState.ALARM if rule.missing is Missing.MISSING else current
    return AlarmState.OK
