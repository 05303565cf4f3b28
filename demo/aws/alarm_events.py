"""Knows how CloudWatch words an alarm's change of state, in the event and its reasons; not when one changes or why.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from demo.aws.alarms import AlarmState, Rule, breaches
from demo.aws.datapoints import Datapoint
from demo.aws.gaps import Moto

_WORDS: Final = {
    "GreaterThanThreshold": "greater than",
    "GreaterThanOrEqualToThreshold": "greater than or equal to",
    "LessThanThreshold": "less than",
    "LessThanOrEqualToThreshold": "less than or equal to",
}


def detail(alarm: Moto, before: dict[str, Any]) -> dict[str, Any]:
    """The event's detail. The documentation's sample lists no actions in ``configuration``, so there are none."""
    return {
        "alarmName": alarm.name,
        "state": state(alarm),
        "previousState": before,
        "configuration": _configuration(alarm),
    }


def state(alarm: Moto) -> dict[str, Any]:
    """The state that an alarm is in, as the event tells it."""
    data = {"reasonData": alarm.state_reason_data} if alarm.state_reason_data else {}
    return {
        "value": str(alarm.state_value),
        "reason": alarm.state_reason,
        **data,
        "timestamp": _stamp(alarm.state_updated_timestamp),
    }


def reason(
    alarm: Moto, rule: Rule, recent: Sequence[Datapoint | None], found: AlarmState, *, now: datetime
) -> tuple[str, str]:
    """Why the alarm is in ``found``: the sentence, and reasonData as JSON text. ``recent`` is the newest first."""
    points = [point for point in recent if point is not None][: rule.periods]
    data = {
        "version": "1.0",
        "queryDate": _stamp(now),
        **({"startDate": _stamp(points[-1].start)} if points else {}),
        "statistic": alarm.statistic,
        "period": alarm.period,
        "recentDatapoints": [point.value for point in reversed(points)],
        "threshold": rule.threshold,
        "evaluatedDatapoints": [
            {"timestamp": _stamp(point.start), "sampleCount": float(point.samples), "value": point.value}
            for point in points
        ],
    }
    return _sentence(alarm, rule, points, found), json.dumps(data)


def _sentence(alarm: Moto, rule: Rule, points: Sequence[Datapoint], found: AlarmState) -> str:
    if found is AlarmState.INSUFFICIENT_DATA:
        return "Insufficient Data: no data points were received."
    if not points:
        return (
            f"Threshold Crossed: no datapoints were received for {rule.periods} periods and {rule.periods} "
            f"missing datapoints were treated as [{rule.missing}]."
        )
    count = sum(breaches(rule, point.value) == (found is AlarmState.ALARM) for point in points)
    shown = ", ".join(f"{point.value} ({point.start:%d/%m/%y %H:%M:%S})" for point in points)
    verb = "was" if count == 1 else "were"
    negation = "" if found is AlarmState.ALARM else "not "
    least = rule.datapoints if found is AlarmState.ALARM else rule.periods - rule.datapoints + 1
    unit = "datapoint" if least == 1 else "datapoints"
    return (
        f"Threshold Crossed: {count} out of the last {len(points)} datapoints [{shown}] {verb} {negation}"
        f"{_WORDS[rule.comparison]} the threshold ({rule.threshold}) (minimum {least} {unit} for "
        f"{alarm.state_value} -> {found} transition)."
    )


def _configuration(alarm: Moto) -> dict[str, Any]:
    metric = {
        "namespace": alarm.namespace,
        "name": alarm.metric_name,
        "dimensions": {dimension.name: dimension.value for dimension in alarm.dimensions},
    }
    stat = {"metric": metric, "period": int(alarm.period), "stat": alarm.statistic}
    identity = str(uuid.uuid5(uuid.NAMESPACE_URL, alarm.alarm_arn))
    return {
        **({"description": alarm.description} if alarm.description else {}),
        "metrics": [{"id": identity, "metricStat": stat, "returnData": True}],
    }


def _stamp(time: datetime) -> str:
    """As CloudWatch writes times; moto's are UTC and do not say so."""
    aware = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    return aware.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
