"""What connects the group to the core: four functions, their queues and rules; it must not know the network."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from lambdas.events import rules
from settings import Settings
from stacks import permissions
from stacks.alarms import LevelAlarms
from stacks.core_function import CoreFunction
from stacks.peaks import PeakSchedules
from stacks.queued_function import QueuedFunction
from stacks.telemetry import Telemetry


class ControlStack(cdk.Stack):
    """``fleet`` and ``burst`` behind queues, ``enroll`` behind a function URL, ``telemetry``, and the nodes' role.

    ``bundle`` is the directory that all four functions run from.
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
        alarms = LevelAlarms.of(settings)
        burst = QueuedFunction(
            self,
            "Burst",
            settings=settings,
            name="burst",
            code=code,
            environment=_burst_environment(settings, alarms),
            may=[permissions.read_alarm(self, name) for name in alarms.names],
            rules=rules.burst_rules(alarms.names),
        )
        events.Rule(
            self,
            "Sweep",
            rule_name=f"{settings.name}-sweep",
            description="Look again, whatever was lost",
            schedule=events.Schedule.rate(cdk.Duration.minutes(1)),
            targets=[fleet.target(), burst.target()],
        )
        PeakSchedules(self, "Peaks", settings=settings, queue=burst.queue)
        Telemetry(self, "Telemetry", settings=settings, code=code)
        cdk.CfnOutput(self, "EnrollUrl", value=self.enroll_url, description="What nodes post to, signed")


def _burst_environment(settings: Settings, alarms: LevelAlarms) -> dict[str, str]:
    return {
        "DRAWBRIDGE_CALM_PERCENT": str(settings.burst.calm_percent),
        "DRAWBRIDGE_ALARM_PERCENT": str(settings.burst.alarm_percent),
        "DRAWBRIDGE_ALARM_SATURATED": alarms.saturated,
        "DRAWBRIDGE_ALARM_CALM": alarms.calm,
        "DRAWBRIDGE_ALARM_QUEUE_LONG": alarms.queue_long,
        "DRAWBRIDGE_ALARM_QUEUE_SHORT": alarms.queue_short,
        "DRAWBRIDGE_PEAKS": json.dumps([dataclasses.asdict(peak) for peak in settings.peaks], separators=(",", ":")),
    }
