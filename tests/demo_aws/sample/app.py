"""A small CDK application with the resource types of the project, so that the local AWS is tested without it.

``python app.py FOLDER GREETING…`` writes one assembly per greeting into the folder.
"""

import platform
import sys
from pathlib import Path

from aws_cdk import (
    App,
    CfnOutput,
    CustomResource,
    Duration,
    Environment,
    RemovalPolicy,
    Stack,
    TimeZone,
)
from aws_cdk import (
    aws_autoscaling as autoscaling,
)
from aws_cdk import (
    aws_cloudwatch as cloudwatch,
)
from aws_cdk import (
    aws_cloudwatch_actions as actions,
)
from aws_cdk import (
    aws_ec2 as ec2,
)
from aws_cdk import (
    aws_events as events,
)
from aws_cdk import (
    aws_events_targets as targets,
)
from aws_cdk import (
    aws_iam as iam,
)
from aws_cdk import (
    aws_lambda as functions,
)
from aws_cdk import (
    aws_lambda_event_sources as sources,
)
from aws_cdk import (
    aws_logs as logs,
)
from aws_cdk import (
    aws_scheduler as scheduler,
)
from aws_cdk import (
    aws_scheduler_targets as scheduler_targets,
)
from aws_cdk import (
    aws_sns as sns,
)
from aws_cdk import (
    aws_sqs as sqs,
)
from constructs import Construct

BUNDLE = str(Path(__file__).with_name("bundle"))
RUNTIME = functions.Runtime(f"python3.{sys.version_info.minor}", functions.RuntimeFamily.PYTHON)
PROCESSOR = (
    functions.Architecture.ARM_64 if platform.machine() in {"aarch64", "arm64"} else functions.Architecture.X86_64
)


def function(scope: Construct, name: str, environment: dict[str, str] | None = None) -> functions.Function:
    """A function of the bundle, for this machine's interpreter, with its own log group."""
    return functions.Function(
        scope,
        name,
        runtime=RUNTIME,
        architecture=PROCESSOR,
        handler=f"hold.{name}",
        code=functions.Code.from_asset(BUNDLE),
        timeout=Duration.seconds(60),
        memory_size=256,
        log_group=logs.LogGroup(
            scope, f"{name}-log", retention=logs.RetentionDays.ONE_WEEK, removal_policy=RemovalPolicy.DESTROY
        ),
        environment=environment,
    )


class Network(Stack):
    """A VPC with two public subnets and a flow log."""

    def __init__(self, scope: Construct, name: str, *, env: Environment) -> None:
        super().__init__(scope, name, env=env)
        self.vpc = ec2.Vpc(
            self,
            "vpc",
            ip_addresses=ec2.IpAddresses.cidr("10.50.0.0/20"),
            availability_zones=["eu-north-1a", "eu-north-1b"],
            nat_gateways=0,
            restrict_default_security_group=False,
            subnet_configuration=[ec2.SubnetConfiguration(name="public", subnet_type=ec2.SubnetType.PUBLIC)],
            flow_logs={"all": ec2.FlowLogOptions()},
        )


class Control(Stack):
    """Functions, the queue and rules that feed them, a URL, a custom resource."""

    def __init__(self, scope: Construct, name: str, *, greeting: str, env: Environment) -> None:
        super().__init__(scope, name, env=env)
        dead = sqs.Queue(self, "dead", enforce_ssl=True)
        queue = sqs.Queue(
            self,
            "queue",
            queue_name="sample-queue",
            visibility_timeout=Duration.seconds(60),
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead, max_receive_count=2),
            enforce_ssl=True,
        )
        release = function(self, "release")
        release.add_event_source(
            sources.SqsEventSource(queue, batch_size=10, report_batch_item_failures=True, max_concurrency=2)
        )
        release.add_to_role_policy(
            iam.PolicyStatement(actions=["autoscaling:CompleteLifecycleAction"], resources=["*"])
        )
        events.Rule(
            self,
            "lifecycle",
            event_pattern=events.EventPattern(
                source=["aws.autoscaling"],
                detail_type=["EC2 Instance-launch Lifecycle Action", "EC2 Instance-terminate Lifecycle Action"],
            ),
            targets=[targets.SqsQueue(queue)],
        )
        events.Rule(
            self, "sweep", schedule=events.Schedule.rate(Duration.minutes(1)), targets=[targets.SqsQueue(queue)]
        )
        answer = function(self, "answer", environment={"GREETING": greeting})
        url = answer.add_function_url(auth_type=functions.FunctionUrlAuthType.AWS_IAM)
        answer.add_alias("live")
        answer.configure_async_invoke(retry_attempts=0)
        events.Rule(
            self,
            "direct",
            rule_name="sample-direct",
            schedule=events.Schedule.rate(Duration.minutes(1)),
            targets=[targets.LambdaFunction(answer, retry_attempts=0)],
        )
        scheduler.Schedule(
            self,
            "monday",
            schedule_name="sample-monday",
            schedule=scheduler.ScheduleExpression.cron(
                minute="30", hour=str(len(greeting)), week_day="MON", time_zone=TimeZone.of("Europe/Oslo")
            ),
            target=scheduler_targets.SqsSendMessage(
                dead, input=scheduler.ScheduleTargetInput.from_object({"at": scheduler.ContextAttribute.scheduled_time})
            ),
        )
        self.role = iam.Role(
            self, "node", role_name="sample-node", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")
        )
        url.grant_invoke_url(self.role)
        provide = function(self, "provide")
        loud = CustomResource(self, "loud", service_token=provide.function_arn, properties={"Text": f"say {greeting}"})
        CfnOutput(self, "Loud", value=loud.get_att_string("Loud"))
        CfnOutput(self, "Url", value=url.url)
        CfnOutput(self, "Dead", value=dead.queue_url)


class Fleet(Stack):
    """A group with both hooks, a scaling policy and the alarm that sets it off."""

    def __init__(self, scope: Construct, name: str, *, vpc: ec2.IVpc, role: iam.IRole, env: Environment) -> None:
        super().__init__(scope, name, env=env)
        group = autoscaling.AutoScalingGroup(
            self,
            "group",
            auto_scaling_group_name="sample-group",
            vpc=vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PUBLIC),
            min_capacity=0,
            max_capacity=4,
            launch_template=ec2.LaunchTemplate(
                self,
                "template",
                role=role,
                instance_type=ec2.InstanceType("t4g.small"),
                machine_image=ec2.MachineImage.from_ssm_parameter("/aws/service/debian/release/13/latest/arm64"),
                user_data=ec2.UserData.custom("#!/bin/sh\necho hello\n"),
                security_group=ec2.SecurityGroup(self, "nodes", vpc=vpc, allow_all_outbound=False),
                http_tokens=ec2.LaunchTemplateHttpTokens.REQUIRED,
                http_put_response_hop_limit=1,
                block_devices=[
                    ec2.BlockDevice(device_name="/dev/xvda", volume=ec2.BlockDeviceVolume.ebs(8, encrypted=True))
                ],
            ),
        )
        for transition in ("LAUNCHING", "TERMINATING"):
            autoscaling.CfnLifecycleHook(
                self,
                f"hook-{transition.lower()}",
                auto_scaling_group_name=group.auto_scaling_group_name,
                lifecycle_hook_name=f"sample-{transition.lower()}",
                lifecycle_transition=f"autoscaling:EC2_INSTANCE_{transition}",
                heartbeat_timeout=60,
                default_result="ABANDON",
            )
        step = autoscaling.StepScalingAction(
            self, "step", auto_scaling_group=group, adjustment_type=autoscaling.AdjustmentType.CHANGE_IN_CAPACITY
        )
        step.add_adjustment(adjustment=1, lower_bound=0)
        autoscaling.ScheduledAction(
            self,
            "monday",
            auto_scaling_group=group,
            schedule=autoscaling.Schedule.cron(minute="30", hour="7", week_day="1"),
            time_zone="Europe/Oslo",
            max_capacity=4,
        )
        cloudwatch.Metric(namespace="Sample", metric_name="Load", period=Duration.minutes(1)).create_alarm(
            self, "load", alarm_name="sample-load", threshold=5, evaluation_periods=1
        ).add_alarm_action(actions.AutoScalingAction(step))


def synthesise(folder: Path, greeting: str) -> None:
    """Write the assembly of all stacks, one of which cannot be deployed, into ``folder``."""
    app = App(outdir=str(folder))
    where = Environment(account="123456789012", region="eu-north-1")
    network = Network(app, "sample-network", env=where)
    control = Control(app, "sample-control", greeting=greeting, env=where)
    Fleet(app, "sample-fleet", vpc=network.vpc, role=control.role, env=where)
    unsupported = Stack(app, "sample-bad", env=where)
    sqs.Queue(unsupported, "fine", queue_name="sample-fine")
    sns.Topic(unsupported, "topic")
    app.synth()


if __name__ == "__main__":
    for greeting in sys.argv[2:]:
        synthesise(Path(sys.argv[1]) / greeting, greeting)
