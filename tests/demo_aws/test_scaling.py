"""Step scaling of a real group: what is coming counts, scale-in waits, and every activity says its cause."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from demo.aws.server import LocalAws
from tests.demo_aws.group import Group
from tests.demo_aws.probe import Json, eventually

UP = [
    {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 10.0, "ScalingAdjustment": 1},
    {"MetricIntervalLowerBound": 10.0, "ScalingAdjustment": 3},
]
DOWN = [{"MetricIntervalUpperBound": 0.0, "ScalingAdjustment": -25}]


def put(group: Group, name: str, steps: Json, **more: Json) -> str:
    """Make a step scaling policy; its ARN."""
    request = {"AdjustmentType": "ChangeInCapacity", "PolicyType": "StepScaling", **more}
    answer = group.client.put_scaling_policy(
        PolicyName=name, AutoScalingGroupName=group.name, StepAdjustments=steps, **request
    )
    return str(answer["PolicyARN"])


class Breach:
    """What an alarm of threshold 80 hands to a policy."""

    name = "high"
    threshold = 80.0
    state_value = "ALARM"


def breach(aws: LocalAws, arn: str, value: float | None) -> None:
    """Have a policy carried out for a metric's value."""
    aws.alarms._policies.carry_out(arn, alarm=Breach(), newest=value)


def activities(group: Group) -> list[dict[str, Any]]:
    """What DescribeScalingActivities answers."""
    found: list[dict[str, Any]] = group.client.describe_scaling_activities(AutoScalingGroupName=group.name)[
        "Activities"
    ]
    return found


def test_instances_in_a_hook_and_warming_up_count_once(
    aws: LocalAws, group: Group, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A breach that lasts adds nothing while an instance waits in its hook or warms up, and adds again afterwards."""
    now = 1000.0
    monkeypatch.setattr(aws.groups, "_clock", lambda: now)
    group.hook("LAUNCHING", HeartbeatTimeout=7200)
    arn = put(group, name, UP, EstimatedInstanceWarmup=120)
    breach(aws, arn, 85)
    (instance,) = group.becomes("Pending:Wait")
    breach(aws, arn, 85)
    assert group.desired() == 1
    group.complete("launching", InstanceId=instance)
    group.becomes("InService")
    now += aws.place.seconds(119)
    breach(aws, arn, 85)
    assert group.desired() == 1
    now += aws.place.seconds(2)
    breach(aws, arn, 85)
    assert group.desired() == 2
    breach(aws, arn, 95)
    assert group.desired() == 3


def test_scale_in_waits_for_warm_instances(
    aws: LocalAws, group: Group, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scale-in begins only when what a policy launched has warmed up; an instance launched by hand need not."""
    now = 1000.0
    monkeypatch.setattr(aws.groups, "_clock", lambda: now)
    out = put(group, f"{name}-out", UP, EstimatedInstanceWarmup=60)
    back = put(group, f"{name}-in", DOWN, AdjustmentType="PercentChangeInCapacity", MinAdjustmentMagnitude=1)
    group.resize(1)
    group.becomes("InService")
    breach(aws, out, 81)
    group.becomes("InService", "InService")
    breach(aws, back, 40)
    assert group.desired() == 2
    now += aws.place.seconds(61)
    breach(aws, back, 40)
    assert group.desired() == 1


def test_no_data_point_scales_nothing(aws: LocalAws, group: Group, name: str) -> None:
    """An alarm that is in ALARM for want of data chooses no step; a policy that is gone is no error."""
    arn = put(group, name, UP)
    breach(aws, arn, None)
    group.client.delete_policy(AutoScalingGroupName=group.name, PolicyName=name)
    breach(aws, arn, 95)
    assert group.desired() == 0


def test_activities_say_why(aws: LocalAws, group: Group, name: str) -> None:
    """Each launch and termination is an activity, the newest first, with the alarm, the policy and the numbers."""
    breach(aws, put(group, name, UP), 85)
    (instance,) = group.becomes("InService")
    (launched,) = activities(group)
    assert launched["Description"] == f"Launching a new EC2 instance: {instance}"
    assert (
        f"a monitor alarm high in state ALARM triggered policy {name} changing the desired capacity from 0 to 1."
        in (launched["Cause"])
    )
    assert (launched["StatusCode"], launched["Progress"]) == ("Successful", 100)
    group.resize(0)
    group.empties()
    gone, _ = eventually(lambda: found if (found := activities(group))[0]["StatusCode"] == "Successful" else None)
    assert gone["Description"] == f"Terminating EC2 instance: {instance}"
    assert (
        "a user request explicitly set group desired capacity changing the desired capacity from 1 to 0."
        in (gone["Cause"])
    )


def test_activity_in_a_hook_is_in_progress_and_abandoned_cancelled(group: Group) -> None:
    """A launch that waits is in progress; one that is abandoned is cancelled, and its replacement says so."""
    group.hook("LAUNCHING")
    group.resize(1)
    (first,) = group.becomes("Pending:Wait")
    assert [one["StatusCode"] for one in activities(group)] == ["InProgress"]
    group.complete("launching", "ABANDON", InstanceId=first)
    eventually(lambda: group.states() and first not in group.states())
    found = {(one["Description"].split(":")[0], one["StatusCode"]): one["Cause"] for one in activities(group)}
    assert ("Launching a new EC2 instance", "Cancelled") in found
    assert "needs to be replaced" in found["Launching a new EC2 instance", "InProgress"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"PolicyType": "SimpleScaling", "ScalingAdjustment": 1}, "wanted StepScaling, found SimpleScaling"),
        ({"StepAdjustments": [{"ScalingAdjustment": 1}]}, "wanted a lower bound below an upper one"),
        ({"MinAdjustmentMagnitude": 2}, "MinAdjustmentMagnitude wants PercentChangeInCapacity"),
        ({"AdjustmentType": "Other"}, "'Other' is not a valid Adjustment"),
        ({"AutoScalingGroupName": "nobody"}, "Group name not found"),
        ({"MetricAggregationType": "Maximum"}, "wanted MetricAggregationType Average"),
    ],
)
def test_policies_that_cannot_be_are_refused(group: Group, name: str, more: dict[str, Json], words: str) -> None:
    """A policy that AWS refuses, or that this local AWS would carry out wrongly, is refused when it is made."""
    request = {
        "PolicyName": name,
        "AutoScalingGroupName": group.name,
        "PolicyType": "StepScaling",
        "AdjustmentType": "ChangeInCapacity",
        "StepAdjustments": UP,
        **more,
    }
    with pytest.raises(ClientError, match=words):
        group.client.put_scaling_policy(**request)
