"""Which events are let through to which function, in the parsers' own constants; it must not know of queues or CDK."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lambdas.events import alarm, interruption, lifecycle, rebalance


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePattern:
    """One EventBridge rule: the event pattern, with an empty ``detail`` for any; ``name`` is unique and fit for ids."""

    name: str
    source: str
    detail_types: tuple[str, ...]
    detail: Mapping[str, list[str]]


def fleet_rules(group_name: str) -> tuple[RulePattern, ...]:
    """Return what may change the group named ``group_name``.

    Spot events carry an instance id only, so those of the whole account come through; the handler asks whose they are.
    """
    return (
        RulePattern(
            name="lifecycle",
            source=lifecycle.SOURCE,
            detail_types=(lifecycle.LAUNCH, lifecycle.TERMINATE),
            detail={lifecycle.GROUP_FIELD: [group_name]},
        ),
        RulePattern(
            name="interruption",
            source=interruption.SOURCE,
            detail_types=(interruption.DETAIL_TYPE,),
            detail={},
        ),
        RulePattern(
            name="rebalance",
            source=rebalance.SOURCE,
            detail_types=(rebalance.DETAIL_TYPE,),
            detail={},
        ),
    )


def burst_rules(alarm_names: tuple[str, ...]) -> tuple[RulePattern, ...]:
    """Return what may change how much of the edge is used: the states of the alarms of ``alarm_names``."""
    return (
        RulePattern(
            name="alarm",
            source=alarm.SOURCE,
            detail_types=(alarm.DETAIL_TYPE,),
            detail={alarm.NAME_FIELD: list(alarm_names)},
        ),
    )
