"""Knows when alarms are looked at and what a change of state sets off; it must not know how a state is found.

Rule 1: an alarm with a period below a minute is evaluated every ten seconds, any other every minute, on the clock.
Rule 2: a change of state is an event and sets off the alarm's actions once; scaling actions again once a minute for as
long as the state lasts, whatever the period: so an alarm of 10 s acts at once and then as seldom as one of 60 s.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch import models
from moto.cloudwatch.exceptions import ValidationError

from demo.aws import alarm_events, datapoints
from demo.aws.alarms import COMPARISONS, STATISTICS, AlarmState, Missing, Rule, evaluate
from demo.aws.eventbridge import EventBridge
from demo.aws.functions import Functions
from demo.aws.gaps import Gaps, Moto
from demo.aws.journal import Journal
from demo.aws.place import Place
from demo.aws.scaling_policies import ScalingPolicies
from demo.aws.ticking import Ticker

_TICK_S = 1.0
_MINUTE_S = 60.0
_HIGH_RESOLUTION_S = 10.0
_LONGEST_S = 86_400
_FINE_PERIODS = frozenset({10, 20, 30})


class AlarmWatch:
    """Evaluates every alarm again and again; a change of state is an event, and sets off the alarm's actions."""

    def __init__(
        self,
        place: Place,
        *,
        bridge: EventBridge,
        functions: Functions,
        policies: ScalingPolicies,
        journal: Journal,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = place
        self._bridge = bridge
        self._functions = functions
        self._policies = policies
        self._journal = journal
        self._clock = clock
        self._evaluated: dict[str, datetime] = {}
        self._scaled: dict[str, float] = {}
        self._ticker = Ticker("alarms", every_s=place.seconds(_TICK_S), action=self._tick, journal=journal)

    def install(self, gaps: Gaps) -> None:
        """Fill moto's gaps until ``gaps`` are undone."""
        watch = self

        def set_alarm_state(self: Moto, alarm_name: str, reason: str, reason_data: str, state_value: str) -> None:
            alarm = self.alarms.get(alarm_name)
            before = alarm_events.state(alarm) if alarm else None
            original_set(self, alarm_name, reason, reason_data, state_value)
            if before is not None and before["value"] != state_value:
                watch._changed(self.alarms[alarm_name], before)

        def put_metric_alarm(self: Moto, name: str, *args: Any, **kwargs: Any) -> Moto:  # noqa: ANN401
            known = self.alarms.get(name)
            alarm = original_put(self, name, *args, **kwargs)
            alarm.state_value = known.state_value if known else AlarmState.INSUFFICIENT_DATA.value
            try:
                _refuse_unknown(alarm)
            except ValueError as error:
                del self.alarms[name]
                if known is not None:
                    self.alarms[name] = known
                raise ValidationError(str(error)) from None
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

    def _tick(self) -> None:
        """Evaluate every alarm whose time has come, and scale again where a state has lasted a minute."""
        now = datetime.now(UTC)
        alarms = dict(self._place.backend("cloudwatch").alarms)
        for gone in (self._evaluated.keys() | self._scaled.keys()) - alarms.keys():
            self._evaluated.pop(gone, None)
            self._scaled.pop(gone, None)
        for name, alarm in alarms.items():
            every_s = _HIGH_RESOLUTION_S if int(alarm.period) in _FINE_PERIODS else _MINUTE_S
            until = datapoints.boundary(now, self._place.seconds(every_s))
            if self._evaluated.get(name) != until:
                self._evaluated[name] = until
                self.look(alarm, until=until)
            if self._clock() - self._scaled.get(name, self._clock()) >= self._place.seconds(_MINUTE_S):
                self._scale(alarm)

    def look(self, alarm: Moto, *, until: datetime) -> None:
        """Evaluate one alarm by the periods that end at ``until``."""
        recent = datapoints.recent(self._place, alarm, until=until)
        rule = Rule(
            comparison=alarm.comparison_operator,
            threshold=float(alarm.threshold),
            periods=int(alarm.evaluation_periods),
            datapoints=int(alarm.datapoints_to_alarm or alarm.evaluation_periods),
            missing=Missing(alarm.treat_missing_data or "missing"),
        )
        current = AlarmState(alarm.state_value)
        found = evaluate(rule, [point.value if point else None for point in recent], current)
        if found is not current:
            reason, data = alarm_events.reason(alarm, rule, recent, found, now=datetime.now(UTC))
            self._place.backend("cloudwatch").set_alarm_state(alarm.name, reason, data, found.value)

    def _changed(self, alarm: Moto, before: dict[str, Any]) -> None:
        self._journal.say("alarms", f"{alarm.name}: {before['value']} → {alarm.state_value}: {alarm.state_reason}")
        detail = alarm_events.detail(alarm, before)
        self._bridge.emit(
            source="aws.cloudwatch",
            detail_type="CloudWatch Alarm State Change",
            detail=detail,
            resources=(alarm.alarm_arn,),
        )
        for arn in _actions(alarm):
            self._act(alarm, arn, detail)
        self._scale(alarm)

    def _act(self, alarm: Moto, arn: str, detail: dict[str, Any]) -> None:
        if ":lambda:" in arn:
            self._functions.invoke_later(arn, json.dumps({"source": "aws.cloudwatch", "alarmData": detail}).encode())
        elif not _scales(arn):
            self._journal.say("alarms", f"{alarm.name}: NOT CARRIED OUT: this local AWS knows no action {arn}")

    def _scale(self, alarm: Moto) -> None:
        """Invoke the scaling actions of the alarm's state, and note when; the newest data point there is counts."""
        self._scaled.pop(alarm.name, None)
        arns = [arn for arn in _actions(alarm) if _scales(arn)]
        if not arns:
            return
        self._scaled[alarm.name] = self._clock()
        points = datapoints.recent(self._place, alarm, until=self._evaluated.get(alarm.name, datetime.now(UTC)))
        newest = next((point.value for point in points if point), None)
        for arn in arns:
            self._policies.carry_out(arn, alarm=alarm, newest=newest)


def _actions(alarm: Moto) -> tuple[str, ...]:
    """The ARNs of what the alarm's present state sets off."""
    if not alarm.actions_enabled:
        return ()
    actions = {
        AlarmState.ALARM: alarm.alarm_actions,
        AlarmState.OK: alarm.ok_actions,
        AlarmState.INSUFFICIENT_DATA: alarm.insufficient_data_actions,
    }
    return tuple(actions[AlarmState(alarm.state_value)] or ())


def _scales(arn: str) -> bool:
    return ":scalingPolicy:" in arn


def _refuse_unknown(alarm: Moto) -> None:
    """Raise ``ValueError`` for what AWS refuses, and for the kinds of alarm that this local AWS cannot evaluate."""
    doing = f"making the alarm {alarm.name}"
    if not alarm.metric_name or alarm.metric_data_queries or alarm.rule:
        raise ValueError(f"{doing}: wanted one metric, found an expression; this local AWS knows no other alarm")
    if alarm.statistic not in STATISTICS:
        raise ValueError(
            f"{doing}: wanted one of {', '.join(STATISTICS)}, found {alarm.statistic or alarm.extended_statistic}"
        )
    if alarm.comparison_operator not in COMPARISONS:
        raise ValueError(f"{doing}: wanted a comparison with a threshold, found {alarm.comparison_operator}")
    period, periods = int(alarm.period), int(alarm.evaluation_periods)
    if period not in _FINE_PERIODS and (period < _MINUTE_S or period % int(_MINUTE_S)):
        raise ValueError(f"{doing}: wanted a period of 10, 20, 30 or a multiple of 60 seconds, found {period}")
    if period * periods > _LONGEST_S:
        raise ValueError(f"{doing}: wanted a day at most to be evaluated, found {period * periods} seconds")
    if not 1 <= int(alarm.datapoints_to_alarm or periods) <= periods:
        raise ValueError(f"{doing}: wanted 1 to {periods} datapoints to alarm, found {alarm.datapoints_to_alarm}")
    Missing(alarm.treat_missing_data or "missing")
