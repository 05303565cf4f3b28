"""Fails the build when something on AWS could hold data, is unencrypted or lets anybody in.

It knows CloudFormation's resource types and must not know our stacks: a template is judged by what it says, whoever
wrote it. Regions outside the EEA are refused earlier, by ``settings``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import jsii

# Every type that may be used, because none of them holds what a user entrusted to the application. A type that is
# missing fails the build: adding it here is the moment to ask what it keeps.
STATELESS = frozenset(
    {
        "AWS::AutoScaling::AutoScalingGroup",
        "AWS::AutoScaling::LifecycleHook",
        "AWS::AutoScaling::ScalingPolicy",
        "AWS::AutoScaling::ScheduledAction",
        "AWS::CDK::Metadata",
        "AWS::CloudWatch::Alarm",
        "AWS::EC2::FlowLog",
        "AWS::EC2::InternetGateway",
        "AWS::EC2::LaunchTemplate",
        "AWS::EC2::Route",
        "AWS::EC2::RouteTable",
        "AWS::EC2::SecurityGroup",
        "AWS::EC2::Subnet",
        "AWS::EC2::SubnetRouteTableAssociation",
        "AWS::EC2::VPC",
        "AWS::EC2::VPCGatewayAttachment",
        "AWS::Events::Rule",
        "AWS::IAM::InstanceProfile",
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Lambda::Function",
        "AWS::Lambda::Permission",
        "AWS::Lambda::Url",
        "AWS::Logs::LogGroup",  # what happened to instances, never a request; kept for a limited time
        "AWS::SQS::Queue",  # events about instances, never a request
        "AWS::SQS::QueuePolicy",
        "AWS::Scheduler::Schedule",  # its message names a peak of drawbridge.toml
    }
)

Resource = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One resource that may not be: where in it, and what was wanted and found."""

    logical_id: str
    location: str
    problem: str


def findings(template: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield everything in a CloudFormation template that could hold data or let somebody in."""
    for logical_id, resource in template.get("Resources", {}).items():
        for location, problem in _problems(resource):
            yield Finding(logical_id=logical_id, location=location, problem=problem)


def _problems(resource: Resource) -> Iterator[tuple[str, str]]:
    kind = resource["Type"]
    if kind not in STATELESS:
        yield "Type", f"wanted a type that is known to hold no data (stacks/residency.py), found {kind}"
    judge = _JUDGES.get(kind)
    if judge is not None:
        yield from judge(resource.get("Properties", {}))


def _security_group(properties: Resource) -> Iterator[tuple[str, str]]:
    if properties.get("SecurityGroupIngress"):
        yield "Properties.SecurityGroupIngress", "wanted no way in, found one"


def _log_group(properties: Resource) -> Iterator[tuple[str, str]]:
    if "RetentionInDays" not in properties:
        yield "Properties.RetentionInDays", "wanted a limit, found none"


def _queue(properties: Resource) -> Iterator[tuple[str, str]]:
    if properties.get("SqsManagedSseEnabled") is not True and "KmsMasterKeyId" not in properties:
        yield "Properties.SqsManagedSseEnabled", "wanted encryption, found none"


def _function_url(properties: Resource) -> Iterator[tuple[str, str]]:
    if properties.get("AuthType") != "AWS_IAM":
        yield "Properties.AuthType", f"wanted AWS_IAM, found {properties.get('AuthType')}"


def _launch_template(properties: Resource) -> Iterator[tuple[str, str]]:
    where, data = "Properties.LaunchTemplateData", properties.get("LaunchTemplateData", {})
    volumes = data.get("BlockDeviceMappings", [])
    if not volumes:
        yield f"{where}.BlockDeviceMappings", "wanted an encrypted root volume, found the image's own"
    for volume in volumes:
        disk = volume.get("Ebs", {})
        for key in ("Encrypted", "DeleteOnTermination"):
            if disk.get(key) is not True:
                yield f"{where}.BlockDeviceMappings", f"{volume.get('DeviceName')}: wanted {key}, found it off"
    interfaces = data.get("NetworkInterfaces", [])
    groups = [*data.get("SecurityGroupIds", []), *(group for item in interfaces for group in item.get("Groups", []))]
    if not groups:
        yield f"{where}.SecurityGroupIds", "wanted a security group, found the network's default one"


_RULE = "data-stays-home"
_JUDGES: Mapping[str, Callable[[Resource], Iterator[tuple[str, str]]]] = {
    "AWS::EC2::LaunchTemplate": _launch_template,
    "AWS::EC2::SecurityGroup": _security_group,
    "AWS::Lambda::Url": _function_url,
    "AWS::Logs::LogGroup": _log_group,
    "AWS::SQS::Queue": _queue,
}


@jsii.implements(cdk.IPolicyValidationPlugin)
class Residency:
    """``findings`` as a plug-in of CDK: any of them fails ``cdk synth``."""

    @property
    def name(self) -> str:
        """What the report calls this check."""
        return "drawbridge-residency"

    @property
    def rule_ids(self) -> list[str]:
        """Its one rule."""
        return [_RULE]

    @property
    def version(self) -> None:
        """None: it is as old as the stacks."""

    def validate(self, context: cdk.IPolicyValidationContext) -> cdk.PolicyValidationPluginReport:
        """Judge every template of the app."""
        violations = [
            cdk.PolicyViolation(
                rule_name=_RULE,
                description=finding.problem,
                severity="error",
                violating_resources=[
                    cdk.PolicyViolatingResource(
                        resource_logical_id=finding.logical_id, template_path=path, locations=[finding.location]
                    )
                ],
            )
            for path in context.template_paths
            for finding in findings(json.loads(Path(path).read_text(encoding="utf-8")))
        ]
        return cdk.PolicyValidationPluginReport(success=not violations, violations=violations)
