"""Every call to AWS that the functions make, and no other module here makes one; it must not decide anything.

An answer that is an error is raised, as ``CloudBusy`` or ``CloudRefused``; it is never read as "there is nothing".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from core_agent.contract.names import InstanceId
from lambdas import aws_errors
from lambdas.aws_errors import calling
from lambdas.errors import CloudRefused, GroupMissing

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_autoscaling.type_defs import AutoScalingGroupTypeDef, InstanceTypeDef
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient

_PATIENCE = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 4})
_ASKED_AT_ONCE = 100
_ENDING = frozenset({"shutting-down", "terminated"})
_INSTANCE = re.compile(r"\bi-[0-9a-f]{8,17}\b", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One member of a group; ``state`` is AWS's own word for its lifecycle state, such as ``Pending:Wait``."""

    id: InstanceId
    state: str
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """The one group that an instance belongs to, and AWS's own word for its lifecycle state there."""

    group: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm as it stands now: ``OK``, ``ALARM`` or ``INSUFFICIENT_DATA``, and AWS's sentence on why."""

    name: str
    state: str
    reason: str


class Cloud:
    """AWS in one region. Clients are made at their first use, for a function that needs two should not pay for five."""

    def __init__(self, *, region: str) -> None:
        self._region = region

    # --- the group --------------------------------------------------------------------------------------------------

    def instances(self, group: str) -> tuple[Instance, ...]:
        """Return every member of ``group``, those of its warm pool included; raises ``GroupMissing``, ``CloudBusy``….

        A group and its warm pool are two answers of AWS, and an instance may move between them while they are asked:
        group, pool and group once more miss none, whichever way it goes.
        """
        first = self._described(group)
        if not first.get("WarmPoolConfiguration"):
            return _instances(first.get("Instances", []))
        pool = self._pool(group)
        last = self._described(group)
        newest_last = [*first.get("Instances", []), *pool, *last.get("Instances", [])]
        return _instances({found["InstanceId"]: found for found in newest_last}.values())

    def membership(self, instance: InstanceId) -> Membership | None:
        """Return the group that ``instance`` belongs to and its state there; None when AWS says that it has none."""
        with calling(f"asking which group {instance} belongs to"):
            answer = self._autoscaling.describe_auto_scaling_instances(InstanceIds=[instance])
        for found in answer["AutoScalingInstances"]:
            if found["InstanceId"] == instance:
                return Membership(group=found["AutoScalingGroupName"], state=found["LifecycleState"])
        return None

    def complete(self, *, group: str, hook: str, instance: InstanceId) -> bool:
        """Let ``hook`` hold ``instance`` no longer. False when nothing was held: already completed, or timed out."""
        with calling(f"completing {hook} of {instance}"):
            try:
                self._autoscaling.complete_lifecycle_action(
                    AutoScalingGroupName=group,
                    LifecycleHookName=hook,
                    InstanceId=instance,
                    LifecycleActionResult="CONTINUE",
                )
            except ClientError as error:
                if "No active Lifecycle Action found" in aws_errors.message(error):
                    return False
                raise
        return True

    def terminate(self, instance: InstanceId) -> None:
        """Have the group terminate ``instance`` by way of its hooks, and replace it."""
        with calling(f"terminating {instance}"):
            self._autoscaling.terminate_instance_in_auto_scaling_group(
                InstanceId=instance, ShouldDecrementDesiredCapacity=False
            )

    def disowned(self, instances: Iterable[InstanceId]) -> frozenset[InstanceId]:
        """Return those of ``instances`` that AWS says, of each by its id, are ending, have ended or never existed."""
        asked = sorted(set(instances))
        batches = (asked[at : at + _ASKED_AT_ONCE] for at in range(0, len(asked), _ASKED_AT_ONCE))
        return frozenset(gone for batch in batches for gone in self._disowned(batch))

    # --- alarm, key, queues -----------------------------------------------------------------------------------------

    def alarm(self, name: str) -> Alarm:
        """Return the alarm as it stands now; raises ``CloudRefused`` when there is none of that name."""
        with calling(f"asking for alarm {name}"):
            found = self._cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        if not found:
            raise CloudRefused(f"asking for alarm {name}: wanted one alarm of that name, found none")
        return Alarm(name=name, state=found[0]["StateValue"], reason=found[0].get("StateReason", ""))

    def private_key(self, parameter: str) -> str:
        """Return the SSH private key, decrypted; never in any log or error."""
        with calling(f"reading parameter {parameter}"):
            return self._ssm.get_parameter(Name=parameter, WithDecryption=True)["Parameter"]["Value"]

    def send(self, queue_url: str, body: str, *, delay_s: int = 0, attributes: Mapping[str, str] | None = None) -> None:
        """Put one message into a queue, to be seen after ``delay_s`` (at most 900)."""
        with calling("sending to a queue"):
            self._sqs.send_message(
                QueueUrl=queue_url,
                MessageBody=body,
                DelaySeconds=delay_s,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": text} for name, text in (attributes or {}).items()
                },
            )

    def hide(self, queue_url: str, receipt_handle: str, *, seconds: int) -> None:
        """Have a received message come again after ``seconds``, whatever the queue's own visibility timeout."""
        with calling("changing when a message comes again"):
            self._sqs.change_message_visibility(
                QueueUrl=queue_url, ReceiptHandle=receipt_handle, VisibilityTimeout=seconds
            )

    # --- how it is asked --------------------------------------------------------------------------------------------

    def _described(self, group: str) -> AutoScalingGroupTypeDef:
        with calling(f"describing group {group}"):
            answer = self._autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])
        for found in answer["AutoScalingGroups"]:
            if found["AutoScalingGroupName"] == group:
                return found
        raise GroupMissing(f"describing group {group}: wanted one group of that name, found none")

    def _pool(self, group: str) -> list[InstanceTypeDef]:
        pages = self._autoscaling.get_paginator("describe_warm_pool").paginate(AutoScalingGroupName=group)
        with calling(f"describing the warm pool of {group}"):
            return [found for page in pages for found in page["Instances"]]

    def _disowned(self, asked: Sequence[InstanceId]) -> Iterator[InstanceId]:
        """Ask about all at once; where AWS names those that do not exist, ask about the others again."""
        if not asked:
            return
        with calling(f"asking what became of {', '.join(asked)}"):
            try:
                answer = self._ec2.describe_instances(InstanceIds=asked)
            except ClientError as error:
                if aws_errors.code(error) != "InvalidInstanceID.NotFound":
                    raise
                unknown = set(_INSTANCE.findall(aws_errors.message(error))).intersection(asked)
                if not unknown:
                    raise
                answer = None
        if answer is None:
            yield from (InstanceId(one) for one in sorted(unknown))
            yield from self._disowned([one for one in asked if one not in unknown])
            return
        for reservation in answer["Reservations"]:
            for found in reservation["Instances"]:
                if found["State"]["Name"] in _ENDING:
                    yield InstanceId(found["InstanceId"])

    @cached_property
    def _autoscaling(self) -> AutoScalingClient:
        return boto3.client("autoscaling", region_name=self._region, config=_PATIENCE)

    @cached_property
    def _ec2(self) -> EC2Client:
        return boto3.client("ec2", region_name=self._region, config=_PATIENCE)

    @cached_property
    def _sqs(self) -> SQSClient:
        return boto3.client("sqs", region_name=self._region, config=_PATIENCE)

    @cached_property
    def _ssm(self) -> SSMClient:
        return boto3.client("ssm", region_name=self._region, config=_PATIENCE)

    @cached_property
    def _cloudwatch(self) -> CloudWatchClient:
        return boto3.client("cloudwatch", region_name=self._region, config=_PATIENCE)


def _instances(found: Iterable[InstanceTypeDef]) -> tuple[Instance, ...]:
    return tuple(
        Instance(id=InstanceId(one["InstanceId"]), state=one["LifecycleState"], zone=one["AvailabilityZone"])
        for one in found
    )
