"""The function that measures the core, what wakes it, and the alarm for when it hears nothing.

It must not know which alarms act on the measurements.
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from lambdas.events import metric_names
from settings import Settings
from stacks import notify
from stacks.alarms import telemetry_metric
from stacks.core_function import CoreFunction

_MINUTE = cdk.Duration.minutes(1)
# It is awake for the minute that it measures, and its last question may take a moment longer.
_TIMEOUT = cdk.Duration.seconds(70)
_SILENT_MINUTES = 3


class Telemetry(Construct):
    """Each minute wakes ``telemetry``, directly and once.

    No queue, no retry and no dead letters: a measurement that came late would be of another minute, and the next
    minute asks again. That it fails again and again is what ``NAME-core-silent`` tells.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, code: lambda_.Code) -> None:
        super().__init__(scope, construct_id)
        function = CoreFunction(
            self,
            "Core",
            settings=settings,
            name="telemetry",
            code=code,
            environment={"DRAWBRIDGE_PERIOD_S": str(settings.burst.period_s)},
            may=[],
            timeout=_TIMEOUT,
        ).function
        function.configure_async_invoke(retry_attempts=0, max_event_age=_MINUTE)
        events.Rule(
            self,
            "EachMinute",
            rule_name=f"{settings.name}-telemetry",
            description="Ask the core how it fares",
            schedule=events.Schedule.rate(_MINUTE),
            targets=[targets.LambdaFunction(function, retry_attempts=0, max_event_age=_MINUTE)],
        )
        silent = cloudwatch.Alarm(
            self,
            "CoreSilent",
            alarm_name=f"{settings.name}-core-silent",
            alarm_description="Nobody measured the core: it is down, or cannot be reached, or telemetry fails.",
            metric=telemetry_metric(
                settings, metric_names.CORE_SATURATION, statistic=cloudwatch.Stats.SAMPLE_COUNT, period=_MINUTE
            ),
            threshold=1,
            comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            evaluation_periods=_SILENT_MINUTES,
            treat_missing_data=cloudwatch.TreatMissingData.BREACHING,
        )
        notify.tell(silent, settings)
