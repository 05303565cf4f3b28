"""The sentences of IAM that the functions speak, by exact ARN where AWS has one; it must not know which function."""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import IConstruct

from settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """Some actions on one resource; ``wildcard`` says why the resource has a ``*`` in it, None when it has none."""

    actions: tuple[str, ...]
    resource: str
    wildcard: str | None = None

    def grant(self, role: iam.Role) -> None:
        """Let ``role`` do it, and acknowledge the wildcard where it stands."""
        role.add_to_policy(iam.PolicyStatement(actions=list(self.actions), resources=[self.resource]))
        if self.wildcard is not None:
            cdk.Validations.of(role).acknowledge(
                cdk.Acknowledgment(
                    id=f"AwsSolutions::AwsSolutions-IAM5[Resource::{self.resource}]", reason=self.wildcard
                )
            )


def describe_members() -> Permission:
    """May look at groups and instances."""
    return Permission(
        actions=(
            "autoscaling:DescribeAutoScalingGroups",
            "autoscaling:DescribeAutoScalingInstances",
            "autoscaling:DescribeWarmPool",
            "ec2:DescribeInstances",
        ),
        resource="*",
        wildcard="AWS has no resource-level permissions for describing groups and instances; all of it only reads.",
    )


def complete_lifecycle(scope: IConstruct, settings: Settings) -> Permission:
    """May let the group's instances go on with their launch or their termination."""
    return _on_group(scope, settings, "autoscaling:CompleteLifecycleAction")


def terminate_members(scope: IConstruct, settings: Settings) -> Permission:
    """May tell the group to let one of its instances go."""
    return _on_group(scope, settings, "autoscaling:TerminateInstanceInAutoScalingGroup")


def read_ssh_key(scope: IConstruct, settings: Settings) -> Permission:
    """May read the one parameter; its AWS-managed key admits whoever may read the parameter."""
    parameter = cdk.Stack.of(scope).format_arn(
        service="ssm", resource="parameter", resource_name=settings.core.ssh_key_parameter.removeprefix("/")
    )
    return Permission(actions=("ssm:GetParameter",), resource=parameter)


def read_alarm(scope: IConstruct, alarm_name: str) -> Permission:
    """May ask for the present state of the one alarm."""
    alarm = cdk.Stack.of(scope).format_arn(
        service="cloudwatch",
        resource="alarm",
        resource_name=alarm_name,
        arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
    )
    return Permission(actions=("cloudwatch:DescribeAlarms",), resource=alarm)


def _on_group(scope: IConstruct, settings: Settings, action: str) -> Permission:
    arn = cdk.Stack.of(scope).format_arn(
        service="autoscaling",
        resource="autoScalingGroup:*",
        resource_name=f"autoScalingGroupName/{settings.group_name}",
        arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
    )
    return Permission(
        actions=(action,),
        resource=arn,
        wildcard="The * stands for the id that AWS gives the group when it is made; account and name are exact.",
    )
