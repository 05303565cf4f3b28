"""Knows the launch templates, Auto Scaling groups, hooks, policies and warm pools that a stack makes."""

from __future__ import annotations

import time
from typing import Any

from demo.aws.cloudformation.kind import Kind, Made, Order, Properties, Resource, as_map, integers, takes

_EMPTYING_S = 60
_SIZES = ("MinSize", "MaxSize", "DesiredCapacity", "HealthCheckGracePeriod", "Cooldown")


def _launch_template(order: Order) -> Made:
    request = order.pick("VersionDescription", "TagSpecifications")
    template = order.place.client("ec2").create_launch_template(
        LaunchTemplateName=order.properties.get("LaunchTemplateName", order.name),
        LaunchTemplateData=order.properties["LaunchTemplateData"],
        **request,
    )["LaunchTemplate"]
    return _template_made(template["LaunchTemplateId"], template["LatestVersionNumber"])


def _template_made(template_id: str, latest: int) -> Made:
    attributes = {
        "LaunchTemplateId": template_id,
        "LatestVersionNumber": str(latest),
        "DefaultVersionNumber": "1",
    }
    return Made(physical_id=template_id, attributes=attributes)


def _change_launch_template(order: Order, old: Resource) -> Made:
    version = order.place.client("ec2").create_launch_template_version(
        LaunchTemplateId=old.made.physical_id,
        LaunchTemplateData=order.properties["LaunchTemplateData"],
        **order.pick("VersionDescription"),
    )["LaunchTemplateVersion"]
    return _template_made(old.made.physical_id, version["VersionNumber"])


def _delete_launch_template(order: Order, resource: Resource) -> None:
    order.place.client("ec2").delete_launch_template(LaunchTemplateId=resource.made.physical_id)


def _group_request(order: Order) -> Properties:
    request = order.pick(
        *_SIZES, "LaunchTemplate", "HealthCheckType", "NewInstancesProtectedFromScaleIn", "TerminationPolicies",
        "CapacityRebalance",
    )  # fmt: skip
    request = integers(request, *_SIZES)
    if "Cooldown" in request:
        request["DefaultCooldown"] = request.pop("Cooldown")
    if "VPCZoneIdentifier" in order.properties:
        request["VPCZoneIdentifier"] = ",".join(order.properties["VPCZoneIdentifier"])
    return request


def _group_tags(name: str, properties: Properties) -> list[dict[str, Any]]:
    return [{"ResourceId": name, "ResourceType": "auto-scaling-group", **tag} for tag in properties.get("Tags", [])]


def _group(order: Order) -> Made:
    name = str(order.properties.get("AutoScalingGroupName", order.name))
    autoscaling = order.place.client("autoscaling")
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName=name, Tags=_group_tags(name, order.properties), **_group_request(order)
    )
    for metrics in order.properties.get("MetricsCollection", []):
        autoscaling.enable_metrics_collection(AutoScalingGroupName=name, **metrics)
    return Made(physical_id=name)


def _change_group(order: Order, old: Resource) -> Made:
    name = old.made.physical_id
    autoscaling = order.place.client("autoscaling")
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=name, **_group_request(order))
    gone = as_map(old.properties.get("Tags", [])).keys() - as_map(order.properties.get("Tags", [])).keys()
    if gone:
        autoscaling.delete_tags(
            Tags=[{"ResourceId": name, "ResourceType": "auto-scaling-group", "Key": key} for key in sorted(gone)]
        )
    if order.properties.get("Tags"):
        autoscaling.create_or_update_tags(Tags=_group_tags(name, order.properties))
    return old.made


def _delete_group(order: Order, resource: Resource) -> None:
    """As CloudFormation does: the sizes go to zero, the instances leave through their hooks, then the group goes."""
    name = resource.made.physical_id
    autoscaling = order.place.client("autoscaling")
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=name, MinSize=0, MaxSize=0, DesiredCapacity=0)
    deadline = time.monotonic() + _EMPTYING_S
    while time.monotonic() < deadline:
        (group,) = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
        if not group["Instances"]:
            break
        time.sleep(0.1)
    autoscaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)


def _hook(order: Order) -> Made:
    name = str(order.properties.get("LifecycleHookName", order.name))
    request = order.pick(
        "AutoScalingGroupName", "LifecycleTransition", "DefaultResult", "HeartbeatTimeout", "NotificationMetadata"
    )
    order.place.client("autoscaling").put_lifecycle_hook(
        LifecycleHookName=name, **integers(request, "HeartbeatTimeout")
    )
    return Made(physical_id=name)


def _change_hook(order: Order, old: Resource) -> Made:
    _hook(order)
    return old.made


def _delete_hook(order: Order, resource: Resource) -> None:
    order.place.client("autoscaling").delete_lifecycle_hook(
        LifecycleHookName=resource.made.physical_id,
        AutoScalingGroupName=resource.properties["AutoScalingGroupName"],
    )


_POLICY = (
    "AutoScalingGroupName", "PolicyType", "AdjustmentType", "MetricAggregationType", "EstimatedInstanceWarmup",
    "MinAdjustmentMagnitude",
)  # fmt: skip


def _policy(order: Order) -> Made:
    return _put_policy(order, order.name)


def _put_policy(order: Order, name: str) -> Made:
    steps = [
        {key: int(value) if key == "ScalingAdjustment" else float(value) for key, value in step.items()}
        for step in order.properties.get("StepAdjustments", [])
    ]
    arn = order.place.client("autoscaling").put_scaling_policy(
        PolicyName=name,
        StepAdjustments=steps,
        **integers(order.pick(*_POLICY), "EstimatedInstanceWarmup", "MinAdjustmentMagnitude"),
    )["PolicyARN"]
    return Made(physical_id=arn, attributes={"Arn": arn, "PolicyName": name})


def _change_policy(order: Order, old: Resource) -> Made:
    return _put_policy(order, old.made.attributes["PolicyName"])


def _delete_policy(order: Order, resource: Resource) -> None:
    order.place.client("autoscaling").delete_policy(PolicyName=resource.made.attributes["PolicyName"])


KINDS = (
    Kind(
        type="AWS::EC2::LaunchTemplate",
        takes=takes("LaunchTemplateName LaunchTemplateData VersionDescription TagSpecifications"),
        create=_launch_template,
        update=_change_launch_template,
        replaces=takes("LaunchTemplateName"),
        delete=_delete_launch_template,
    ),
    Kind(
        type="AWS::AutoScaling::AutoScalingGroup",
        takes=frozenset(_SIZES)
        | takes(
            "AutoScalingGroupName LaunchTemplate HealthCheckType NewInstancesProtectedFromScaleIn Tags "
            "TerminationPolicies CapacityRebalance VPCZoneIdentifier MetricsCollection"
        ),
        create=_group,
        update=_change_group,
        replaces=takes("AutoScalingGroupName"),
        delete=_delete_group,
    ),
    Kind(
        type="AWS::AutoScaling::LifecycleHook",
        takes=takes(
            "AutoScalingGroupName LifecycleHookName LifecycleTransition DefaultResult HeartbeatTimeout "
            "NotificationMetadata"
        ),
        create=_hook,
        update=_change_hook,
        replaces=takes("LifecycleHookName AutoScalingGroupName"),
        delete=_delete_hook,
    ),
    Kind(
        type="AWS::AutoScaling::ScalingPolicy",
        takes=frozenset(_POLICY) | takes("StepAdjustments"),
        create=_policy,
        update=_change_policy,
        replaces=takes("AutoScalingGroupName PolicyType"),
        delete=_delete_policy,
    ),
)
