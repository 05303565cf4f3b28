"""Auto Scaling: hooks hold and release instances, machines hear of it, events say so, alarms scale."""

import json
import time
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from demo.aws.server import LocalAws
from tests.demo_aws.group import Group
from tests.demo_aws.probe import Json, RecordedMachines, eventually


@pytest.fixture
def heard(aws: LocalAws, group: Group, name: str) -> Callable[[], list[Json]]:
    """The events of this group so far, in order."""
    queue = aws.place.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    events = aws.place.client("events")
    pattern = {"source": ["aws.autoscaling"], "detail": {"AutoScalingGroupName": [name]}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": aws.place.arn("sqs", name)}])
    found: list[Json] = []

    def listen() -> list[Json]:
        answer = aws.place.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        found.extend(json.loads(message["Body"]) for message in answer.get("Messages", []))
        return found

    return listen


def test_instance_waits_in_both_hooks(
    aws: LocalAws, group: Group, heard: Callable[[], list[Json]], machines: RecordedMachines
) -> None:
    """A launch waits until it is continued, a termination too; the machine lives from the one to the other."""
    group.hook("LAUNCHING", NotificationMetadata="note")
    group.hook("TERMINATING")
    group.resize(1)
    (instance,) = group.becomes("Pending:Wait")
    (launch,) = eventually(heard)
    token = launch["detail"].pop("LifecycleActionToken")
    assert launch["detail-type"] == "EC2 Instance-launch Lifecycle Action"
    assert launch["detail"] == {
        "AutoScalingGroupName": group.name,
        "LifecycleHookName": "launching",
        "EC2InstanceId": instance,
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
        "NotificationMetadata": "note",
        "Origin": "EC2",
        "Destination": "AutoScalingGroup",
    }
    group.complete("launching", LifecycleActionToken=token)
    group.becomes("InService")
    group.resize(0)
    group.becomes("Terminating:Wait")
    assert ("terminate", instance) not in machines.asked
    group.complete("terminating", InstanceId=instance)
    group.empties()
    eventually(lambda: ("terminate", instance) in machines.asked)
    assert [what for what, who in machines.asked if who == instance] == ["launch", "terminate"]
    state = aws.place.client("ec2").describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0][
        "State"
    ]
    assert state["Name"] == "terminated"
    kinds = eventually(lambda: [event["detail-type"] for event in heard()] if len(heard()) == 4 else None)
    assert kinds == [
        "EC2 Instance-launch Lifecycle Action",
        "EC2 Instance Launch Successful",
        "EC2 Instance-terminate Lifecycle Action",
        "EC2 Instance Terminate Successful",
    ]


def test_machine_is_what_the_launch_template_says(group: Group, machines: RecordedMachines) -> None:
    """Image, user data, role, metadata options and zone reach whoever makes the machine; zones are balanced."""
    group.resize(2)
    ids = group.becomes("InService", "InService")
    eventually(lambda: machines.launched.keys() >= set(ids))
    found = [machines.launched[instance] for instance in ids]
    assert {machine.availability_zone for machine in found} == {"eu-north-1a", "eu-north-1b"}
    machine = found[0]
    assert machine.image_id.startswith("ami-")
    assert machine.user_data == b"#!/bin/sh\necho \xc3\xa5\n"
    assert (machine.role_name, machine.group_name) == (group.name, group.name)
    assert machine.role_arn == f"arn:aws:iam::123456789012:role/{group.name}"
    assert (machine.metadata_options.http_tokens, machine.metadata_options.hop_limit) == ("required", 1)
    assert machine.private_ip.startswith("10.60.")


def test_completed_action_is_unknown(group: Group) -> None:
    """An action is completed once; afterwards, and for strangers, AWS's words are found."""
    group.hook("LAUNCHING")
    group.resize(1)
    (instance,) = group.becomes("Pending:Wait")
    group.complete("launching", InstanceId=instance)
    with pytest.raises(ClientError, match=f"No active Lifecycle Action found with instance ID {instance}") as refused:
        group.complete("launching", InstanceId=instance)
    assert refused.value.response["Error"]["Code"] == "ValidationError"
    with pytest.raises(ClientError, match="No active Lifecycle Action found with token"):
        group.client.record_lifecycle_action_heartbeat(
            AutoScalingGroupName=group.name, LifecycleHookName="launching", LifecycleActionToken="x" * 36
        )


def test_abandoned_launch_is_replaced(group: Group) -> None:
    """ABANDON of a launch terminates the instance, and another one takes its place."""
    group.hook("LAUNCHING")
    group.resize(1)
    (first,) = group.becomes("Pending:Wait")
    group.complete("launching", "ABANDON", InstanceId=first)
    eventually(lambda: group.states() and first not in group.states())
    group.becomes("Pending:Wait")


def test_silence_ends_with_the_default_result(aws: LocalAws, group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a heartbeat the hook's default result comes; heartbeats put it off."""
    now = time.monotonic()
    monkeypatch.setattr(aws.groups, "_clock", lambda: now)
    group.hook("LAUNCHING", DefaultResult="CONTINUE", HeartbeatTimeout=600)
    group.resize(1)
    (instance,) = group.becomes("Pending:Wait")
    now += 599
    group.client.record_lifecycle_action_heartbeat(
        AutoScalingGroupName=group.name, LifecycleHookName="launching", InstanceId=instance
    )
    now += 599
    aws.groups._tick()
    assert list(group.states().values()) == ["Pending:Wait"]
    now += 1
    group.becomes("InService")


def test_deleted_hook_lets_go(group: Group) -> None:
    """Deleting a terminating hook continues what waits in it."""
    group.hook("TERMINATING")
    group.resize(1)
    group.becomes("InService")
    group.resize(0)
    group.becomes("Terminating:Wait")
    group.client.delete_lifecycle_hook(AutoScalingGroupName=group.name, LifecycleHookName="terminating")
    group.empties()


@pytest.mark.parametrize("decrement", [True, False])
def test_terminating_one_instance(group: Group, *, decrement: bool) -> None:
    """One named instance goes through the hook; whether another comes is the caller's choice."""
    group.hook("TERMINATING")
    group.resize(1)
    (instance,) = group.becomes("InService")
    group.client.terminate_instance_in_auto_scaling_group(InstanceId=instance, ShouldDecrementDesiredCapacity=decrement)
    group.becomes(*(["Terminating:Wait"] if decrement else ["Terminating:Wait", "InService"]))
    assert group.desired() == (0 if decrement else 1)
    group.complete("terminating", InstanceId=instance)
    eventually(lambda: instance not in group.states())


def test_instance_terminated_in_ec2_is_replaced(aws: LocalAws, group: Group, machines: RecordedMachines) -> None:
    """An instance that EC2 terminates is gone at once, and replaced."""
    group.resize(1)
    (first,) = group.becomes("InService")
    aws.place.client("ec2").terminate_instances(InstanceIds=[first])
    eventually(lambda: group.states() and first not in group.states())
    eventually(lambda: ("terminate", first) in machines.asked)


@pytest.mark.parametrize(("desired", "words"), [(4, "above max value 3"), (-1, "below min value 0")])
def test_bounds_are_checked(group: Group, desired: int, words: str) -> None:
    """A desired capacity outside the group's bounds is refused with AWS's words."""
    with pytest.raises(ClientError, match=words):
        group.resize(desired)


def test_group_with_instances_wants_force(group: Group) -> None:
    """A group that still has instances is deleted by force only."""
    group.resize(1)
    group.becomes("InService")
    with pytest.raises(ClientError, match="ResourceInUse"):
        group.client.delete_auto_scaling_group(AutoScalingGroupName=group.name)
    group.client.delete_auto_scaling_group(AutoScalingGroupName=group.name, ForceDelete=True)
    assert not group.client.describe_auto_scaling_groups(AutoScalingGroupNames=[group.name])["AutoScalingGroups"]


def test_alarm_scales_and_tells(aws: LocalAws, group: Group, name: str) -> None:
    """A metric beyond the threshold is an event in AWS's whole shape, and carries out the scaling policy."""
    arn = group.client.put_scaling_policy(
        PolicyName=name,
        AutoScalingGroupName=name,
        PolicyType="StepScaling",
        AdjustmentType="ChangeInCapacity",
        StepAdjustments=[
            {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 10.0, "ScalingAdjustment": 1},
            {"MetricIntervalLowerBound": 10.0, "ScalingAdjustment": 2},
        ],
    )["PolicyARN"]
    sqs, events, cloudwatch = (aws.place.client(service) for service in ("sqs", "events", "cloudwatch"))
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    events.put_rule(Name=name, EventPattern=json.dumps({"source": ["aws.cloudwatch"], "detail": {"alarmName": [name]}}))
    events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": aws.place.arn("sqs", name)}])
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace=name,
        MetricName="Load",
        Statistic="Average",
        Period=300,
        EvaluationPeriods=1,
        Threshold=80,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[arn],
    )
    (fresh,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert fresh["StateValue"] == "INSUFFICIENT_DATA"
    cloudwatch.put_metric_data(Namespace=name, MetricData=[{"MetricName": "Load", "Value": 95}])
    eventually(lambda: group.desired() == 2)
    (message,) = eventually(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
    found = json.loads(message["Body"])
    assert found["detail-type"] == "CloudWatch Alarm State Change"
    assert found["resources"] == [aws.place.arn("cloudwatch", f"alarm:{name}")]
    detail = found["detail"]
    assert (detail["alarmName"], detail["state"]["value"]) == (name, "ALARM")
    assert detail["previousState"]["value"] == "INSUFFICIENT_DATA"
    assert json.loads(detail["state"]["reasonData"])["recentDatapoints"] == [95.0]
    assert detail["configuration"]["metrics"][0]["metricStat"]["metric"] == {
        "namespace": name,
        "name": "Load",
        "dimensions": {},
    }
