"""The alarms on the load, by the telemetry function's metrics; it must not know what they set off.

Silence is evidence of nothing: a period without data lets no alarm here go on, so neither the burst level nor the group
moves for a core that does not answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from lambdas.events import metric_names
from settings import Settings
from stacks.core_function import function_name

_AT_LEAST = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
_AT_MOST = cloudwatch.ComparisonOperator.LESS_THAN_OR_EQUAL_TO_THRESHOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelAlarms:
    """The physical names of the four alarms that set the burst level: known before they are made."""

    saturated: str
    calm: str
    queue_long: str
    queue_short: str

    @classmethod
    def of(cls, settings: Settings) -> LevelAlarms:
        """Return the names in a house of these settings."""
        return cls(
            saturated=f"{settings.name}-core-saturated",
            calm=f"{settings.name}-core-calm",
            queue_long=f"{settings.name}-queue-long",
            queue_short=f"{settings.name}-queue-short",
        )

    @property
    def names(self) -> tuple[str, str, str, str]:
        """All four."""
        return self.saturated, self.calm, self.queue_long, self.queue_short


def telemetry_metric(settings: Settings, name: str, *, statistic: str, period: cdk.Duration) -> cloudwatch.Metric:
    """Return a metric that the telemetry function publishes."""
    return cloudwatch.Metric(
        namespace=metric_names.NAMESPACE,
        metric_name=name,
        dimensions_map={metric_names.SERVICE: function_name(settings, "telemetry")},
        statistic=statistic,
        period=period,
    )


class LoadAlarms(Construct):
    """Six alarms: four for the burst level, and two for the group's size, ``slots_short`` and ``slots_spare``.

    Load is believed soon and calm late: the high ones go on after ``alarm_periods`` in a row, the low ones after
    ``calm_periods``. All go off at once, with the first period on the other side of their threshold.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings) -> None:
        super().__init__(scope, construct_id)
        self._settings = settings
        burst, names = settings.burst, LevelAlarms.of(settings)
        high, low = burst.saturation_high_percent, burst.saturation_low_percent
        self.queue_long = self._high(
            "QueueLong", names.queue_long, metric_names.QUEUE_TIME, burst.queue_high_ms, "Requests wait for a slot."
        )
        for alarm in (
            self._low(
                "QueueShort", names.queue_short, metric_names.QUEUE_TIME, burst.queue_low_ms, "Hardly a request waits."
            ),
            self._high(
                "CoreSaturated", names.saturated, metric_names.CORE_SATURATION, high, "The core's slots are taken."
            ),
            self._low("CoreCalm", names.calm, metric_names.CORE_SATURATION, low, "The core has slots to spare."),
        ):
            # That one waits for its policy, and so for the group. When the first of the four changes its state, which
            # makes the burst function ask for all, none may be missing.
            alarm.node.add_dependency(self.queue_long)
        self.slots_short = self._high(
            "SlotsShort",
            f"{settings.name}-slots-short",
            metric_names.TOTAL_SATURATION,
            high,
            "The slots of core and nodes are taken: more nodes.",
        )
        self.slots_spare = self._low(
            "SlotsSpare",
            f"{settings.name}-slots-spare",
            metric_names.TOTAL_SATURATION,
            low,
            "Core and nodes have slots to spare: fewer nodes.",
        )

    def _high(self, construct_id: str, name: str, metric: str, threshold: int, says: str) -> cloudwatch.Alarm:
        return self._alarm(construct_id, name, metric, threshold, says, _AT_LEAST, self._settings.burst.alarm_periods)

    def _low(self, construct_id: str, name: str, metric: str, threshold: int, says: str) -> cloudwatch.Alarm:
        return self._alarm(construct_id, name, metric, threshold, says, _AT_MOST, self._settings.burst.calm_periods)

    def _alarm(
        self,
        construct_id: str,
        name: str,
        metric: str,
        threshold: int,
        says: str,
        comparison: cloudwatch.ComparisonOperator,
        periods: int,
    ) -> cloudwatch.Alarm:
        period = cdk.Duration.seconds(self._settings.burst.period_s)
        return cloudwatch.Alarm(
            self,
            construct_id,
            alarm_name=name,
            alarm_description=says,
            metric=telemetry_metric(self._settings, metric, statistic="Average", period=period),
            threshold=threshold,
            comparison_operator=comparison,
            evaluation_periods=periods,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
