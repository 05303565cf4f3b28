"""Knows when alarms are looked at and what a change of state sets off; it must not know how a state is found."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.cloudwatch import models

from demo.aws.alarms import EXTRA_PERIODS, STATISTICS, AlarmState, Missing, Rule, evaluate
from demo.aws.eventbridge import EventBridge
from demo.aws.functions import Functions
from demo.aws.gaps import Gaps, Moto
from demo.aws.journal import Journal
from demo.aws.place import Place
from demo.aws.ticking import Ticker


class AlarmWatch:
    """Evaluates every alarm again and again; a change of state is an event, and sets off the alarm's actions."""

    def __init__(
        self, place: Place, *, bridge: EventBridge, functions: Functions, journal: Journal, every_s: float
    ) -> None:
        self._place = place
        self._bridge = bridge
        self._functions = functions
        self._journal = journal
        self._ticker = Ticker("alarms", every_s=every_s, action=self.look, journal=journal)

    def install(self, gaps: Gaps) -> None:
        """Fill moto's gaps until ``gaps`` are undone."""
        watch = self

        def set_alarm_state(self: Moto, alarm_name: str, reason: str, reason_data: str, state_value: str) -> None:
            alarm = self.alarms.get(alarm_name)
            before = _state(alarm) if alarm else None
            original_set(self, alarm_name, reason, reason_data, state_value)
            if before is not None and before["value"] != state_value:
                watch._changed(self.alarms[alarm_name], before)

        def put_metric_alarm(self: Moto, name: str, *args: Any, **kwargs: Any) -> Moto:  # noqa: ANN401
            known = self.alarms.get(name)
            alarm = original_put(self, name, *args, **kwargs)
            alarm.state_value = known.state_value if known else AlarmState.INSUFFICIENT_DATA.value
            return alarm

        backend = models.CloudWatchBackend
        original_set = gaps.fill(backend, "set_alarm_state", set_alarm_state, gap="a change sets off nothing")
        original_put = gaps.fill(backend, "put_metric_alarm", put_metric_alarm, gap="new alarms begin in state OK")

    def start(self) -> None:
        """Begin to look."""
        self._ticker.start()

    def stop(self) -> None:
        """Look no more."""
        self._ticker.stop()

    def look(self) -> None:
        """Evaluate every alarm now."""
        cloudwatch = self._place.backend("cloudwatch")
        for alarm in list(cloudwatch.alarms.values()):
            if not alarm.metric_name:
                continue
            recent = self._recent(cloudwatch, alarm)
            rule = Rule(
                comparison=alarm.comparison_operator,
                threshold=float(alarm.threshold),
                periods=int(alarm.evaluation_periods),
                datapoints=int(alarm.datapoints_to_alarm or alarm.evaluation_periods),
                missing=Missing(alarm.treat_missing_data or "missing"),
            )
            current = AlarmState(alarm.state_value)
            found = evaluate(rule, recent, current)
            if found is not current:
                reason, data = _reason(rule, recent, found)
                cloudwatch.set_alarm_state(alarm.name, reason, data, found.value)

    def _recent(self, cloudwatch: Moto, alarm: Moto) -> list[float | None]:
        """The alarm's statistic in each of the last periods, the newest first."""
        now = datetime.now(UTC)
        period = timedelta(seconds=self._place.seconds(float(alarm.period)))
        wanted = {dimension.name: dimension.value for dimension in alarm.dimensions}
        buckets: list[list[float]] = [[] for _ in range(int(alarm.evaluation_periods) + EXTRA_PERIODS)]
        for datum in list(cloudwatch.metric_data):
            if (datum.namespace, datum.name) != (alarm.namespace, alarm.metric_name):
                continue
            if {dimension.name: dimension.value for dimension in datum.dimensions} != wanted:
                continue
            age = (now - _aware(datum.timestamp)) / period
            if -1 < age < len(buckets):
                buckets[max(0, math.floor(age))].append(datum.value)
        statistic = STATISTICS[alarm.statistic]
        return [statistic(values) if values else None for values in buckets]

    def _changed(self, alarm: Moto, before: dict[str, Any]) -> None:
        self._journal.say("alarms", f"{alarm.name}: {before['value']} → {alarm.state_value}: {alarm.state_reason}")
        detail = {
            "alarmName": alarm.name,
            "state": _state(alarm),
            "previousState": before,
            "configuration": _configuration(alarm),
        }
        self._bridge.emit(
            source="aws.cloudwatch",
            detail_type="CloudWatch Alarm State Change",
            detail=detail,
            resources=(alarm.alarm_arn,),
        )
        if not alarm.actions_enabled:
            return
        actions = {
            AlarmState.ALARM: alarm.alarm_actions,
            AlarmState.OK: alarm.ok_actions,
            AlarmState.INSUFFICIENT_DATA: alarm.insufficient_data_actions,
        }[AlarmState(alarm.state_value)]
        for arn in actions or ():
            self._act(alarm, arn, detail)

    def _act(self, alarm: Moto, arn: str, detail: dict[str, Any]) -> None:
        if ":lambda:" in arn:
            self._functions.invoke_later(arn, json.dumps({"source": "aws.cloudwatch", "alarmData": detail}).encode())
        elif ":scalingPolicy:" in arn:
            self._scale(alarm, arn)
        else:
            self._journal.say("alarms", f"{alarm.name}: NOT CARRIED OUT: this local AWS knows no action {arn}")

    def _scale(self, alarm: Moto, arn: str) -> None:
        autoscaling = self._place.backend("autoscaling")
        for policy in autoscaling.policies.values():
            if policy.arn != arn:
                continue
            group = autoscaling.autoscaling_groups[policy.auto_scaling_group_name]
            newest = next(
                (value for value in self._recent(self._place.backend("cloudwatch"), alarm) if value is not None), 0.0
            )
            by = adjustment(policy, newest - float(alarm.threshold))
            wanted = resized(policy.adjustment_type, int(group.desired_capacity), by)
            bounded = max(int(group.min_size), min(int(group.max_size), wanted))
            self._journal.say("alarms", f"{policy.name}: desired capacity {group.desired_capacity} → {bounded}")
            autoscaling.set_desired_capacity(group.name, bounded)
            return
        self._journal.say("alarms", f"{alarm.name}: NOT CARRIED OUT: found no scaling policy {arn}")


def adjustment(policy: Moto, beyond: float) -> int:
    """What a policy adds when the metric is ``beyond`` the threshold; the step whose bounds hold it, or 0."""
    if policy.policy_type == "SimpleScaling":
        return int(policy.scaling_adjustment)
    for step in policy.step_adjustments:
        lower = float(step.get("MetricIntervalLowerBound", -math.inf))
        upper = float(step.get("MetricIntervalUpperBound", math.inf))
        if lower <= beyond < upper:
            return int(step["ScalingAdjustment"])
    return 0


def resized(adjustment_type: str, desired: int, by: int) -> int:
    """The desired capacity after an adjustment; a percentage moves it by one at least."""
    if adjustment_type == "ExactCapacity":
        return by
    if adjustment_type == "PercentChangeInCapacity":
        change = desired * by / 100
        return desired + (math.trunc(change) if abs(change) >= 1 else int(math.copysign(1, change)) if change else 0)
    return desired + by


def _reason(rule: Rule, recent: list[float | None], found: AlarmState) -> tuple[str, str]:
    values = [value for value in recent if value is not None][: rule.periods]
    shown = ", ".join(str(value) for value in values) or "no data"
    reason = f"Threshold Crossed: {shown} against {rule.comparison} {rule.threshold}: {found}"
    data = {
        "version": "1.0",
        "queryDate": _stamp(datetime.now(UTC)),
        "recentDatapoints": values,
        "threshold": rule.threshold,
    }
    return reason, json.dumps(data)


def _state(alarm: Moto) -> dict[str, Any]:
    data = {"reasonData": alarm.state_reason_data} if alarm.state_reason_data else {}
    return {
        "value": str(alarm.state_value),
        "reason": alarm.state_reason,
        **data,
        "timestamp": _stamp(_aware(alarm.state_updated_timestamp)),
    }


def _configuration(alarm: Moto) -> dict[str, Any]:
    metric = {
        "namespace": alarm.namespace,
        "name": alarm.metric_name,
        "dimensions": {dimension.name: dimension.value for dimension in alarm.dimensions},
    }
    stat = {"metric": metric, "period": alarm.period, "stat": alarm.statistic}
    return {
        "description": alarm.description,
        "metrics": [{"id": "m1", "metricStat": stat, "returnData": True}],
    }


def _aware(time: datetime) -> datetime:
    """A time of moto's, which is UTC and does not say so."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def _stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
