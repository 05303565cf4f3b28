"""What connects the group to the core: three functions, their queues and rules; it must not know the network."""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from lambdas.events import rules
from settings import Settings
from stacks import permissions
from stacks.core_function import METRICS_NAMESPACE, CoreFunction, function_name
from stacks.queued_function import QueuedFunction

SATURATION_METRIC = "CoreSaturation"


class ControlStack(cdk.Stack):
    """``fleet`` and ``burst`` behind queues, ``enroll`` behind a function URL, the alarm, and the nodes' role.

    ``bundle`` is the directory that all three functions run from.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, env: cdk.Environment, settings: Settings, bundle: Path
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            description="Drawbridge: the functions between the Auto Scaling group and the core",
        )
        code = lambda_.Code.from_asset(str(bundle))
        # Made here and not beside the group: whoever may call the function is decided where the function is.
        self.node_role = iam.Role(
            self,
            "NodeRole",
            role_name=settings.node_role_name,
            description="A node: may ask to be enrolled, as itself, and nothing else",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
        )
        fleet = QueuedFunction(
            self,
            "Fleet",
            settings=settings,
            name="fleet",
            code=code,
            environment={},
            may=[
                permissions.describe_members(),
                permissions.complete_lifecycle(self, settings),
                permissions.terminate_members(self, settings),
            ],
            rules=rules.fleet_rules(settings.group_name),
        )
        events.Rule(
            self,
            "Sweep",
            rule_name=f"{settings.name}-sweep",
            description="Look again, whatever was lost",
            schedule=events.Schedule.rate(cdk.Duration.minutes(1)),
            targets=[fleet.target()],
        )
        enroll = CoreFunction(
            self,
            "Enroll",
            settings=settings,
            name="enroll",
            code=code,
            environment={},
            may=[permissions.describe_members(), permissions.complete_lifecycle(self, settings)],
        )
        url = enroll.function.add_function_url(auth_type=lambda_.FunctionUrlAuthType.AWS_IAM)
        url.grant_invoke_url(self.node_role)
        self.enroll_url = url.url
        alarm_name = _saturation_alarm(self, settings)
        QueuedFunction(
            self,
            "Burst",
            settings=settings,
            name="burst",
            code=code,
            environment={"DRAWBRIDGE_ALARM_NAME": alarm_name},
            may=[permissions.read_alarm(self, alarm_name)],
            rules=rules.burst_rules(alarm_name),
        )
        cdk.CfnOutput(self, "EnrollUrl", value=self.enroll_url, description="What nodes post to, signed")


def _saturation_alarm(scope: Construct, settings: Settings) -> str:
    """Alarm when the core is saturated, by the worst moment of each minute; return the alarm's name.

    A minute without data says nothing, so the alarm then has insufficient data and the burst level stays as it is.
    """
    name = f"{settings.name}-core-saturated"
    cloudwatch.Alarm(
        scope,
        "CoreSaturated",
        alarm_name=name,
        alarm_description="The core's slots, busy and queued, are nearly all taken: let the bridge down.",
        metric=cloudwatch.Metric(
            namespace=METRICS_NAMESPACE,
            metric_name=SATURATION_METRIC,
            dimensions_map={"service": function_name(settings, "fleet")},
            statistic="Maximum",
            period=cdk.Duration.minutes(1),
        ),
        threshold=settings.burst.saturation_high_percent,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        evaluation_periods=settings.burst.alarm_periods,
        treat_missing_data=cloudwatch.TreatMissingData.MISSING,
    )
    return name
