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
from lambdas.alarms import Alarm
from lambdas.aws_errors import calling
from lambdas.errors import AlarmMissing, GroupMissing

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_autoscaling.type_defs import AutoScalingGroupTypeDef, InstanceTypeDef
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient

_PATIENCE = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 4})
_MACHINES_AT_ONCE = 100
_MEMBERS_AT_ONCE = 50  # Auto Scaling takes no more
_ALARMS_AT_ONCE = 100  # nor CloudWatch
_UNKNOWN = "unknown"  # our word, beside those of EC2, for an instance that EC2 says does not exist
_ENDED = frozenset({"shutting-down", "terminated", _UNKNOWN})
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
class Disowned:
    """Instances that are no longer of a group, by AWS's word on each of them.

    ``ended``: EC2 says that it is ending, has ended or never existed. ``detached``: EC2 knows it, as neither, and Auto
    Scaling counts it to another group or to none.
    """

    ended: frozenset[InstanceId] = frozenset()
    detached: frozenset[InstanceId] = frozenset()


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
        return self._memberships([instance]).get(instance)

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

    def disowned(self, group: str, instances: Iterable[InstanceId]) -> Disowned:
        """Return those of ``instances`` that AWS, asked about each by its id, says are no longer of ``group``.

        One that EC2 merely leaves out of its answer is not among them. Auto Scaling documents that it leaves out those
        that it does not manage, so there an instance is believed to be left out when EC2 knows it.
        """
        found: dict[InstanceId, str] = {}
        for batch in _batches(sorted(set(instances)), _MACHINES_AT_ONCE):
            found |= self._machine_states(batch)
        ended = frozenset(one for one, state in found.items() if state in _ENDED)
        alive = sorted(found.keys() - ended)
        members = self._memberships(alive)
        detached = frozenset(one for one in alive if one not in members or members[one].group != group)
        return Disowned(ended=ended, detached=detached)

    def account(self) -> str:
        """Return the account that answers; a person's credentials may be for another one than he thinks."""
        with calling("asking whose credentials these are"):
            return boto3.client("sts", region_name=self._region, config=_PATIENCE).get_caller_identity()["Account"]

    # --- alarm, key, queues -----------------------------------------------------------------------------------------

    def alarms(self, names: Sequence[str]) -> tuple[Alarm, ...]:
        """Return the alarms of ``names``, at most 100, in their order, all as they stand at one moment.

        Raises ``AlarmMissing`` naming those that AWS does not have, ``CloudBusy``….
        """
        asked = ", ".join(names)
        with calling(f"asking for alarms {asked}"):
            answer = self._cloudwatch.describe_alarms(AlarmNames=list(names), MaxRecords=_ALARMS_AT_ONCE)
        found = {one["AlarmName"]: one for one in answer["MetricAlarms"]}
        missing = [name for name in names if name not in found]
        if missing:
            raise AlarmMissing(
                f"asking for alarms {asked}: wanted metric alarms, found none named {', '.join(missing)}"
            )
        return tuple(
            Alarm(name=name, state=found[name]["StateValue"], reason=found[name].get("StateReason", ""))
            for name in names
        )

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
        pages = self._autoscaling.get_paginator("describe_auto_scaling_groups").paginate(AutoScalingGroupNames=[group])
        with calling(f"describing group {group}"):
            for found in (found for page in pages for found in page["AutoScalingGroups"]):
                if found["AutoScalingGroupName"] == group:
                    return found
        raise GroupMissing(f"describing group {group}: wanted one group of that name, found none")

    def _pool(self, group: str) -> list[InstanceTypeDef]:
        pages = self._autoscaling.get_paginator("describe_warm_pool").paginate(AutoScalingGroupName=group)
        with calling(f"describing the warm pool of {group}"):
            return [found for page in pages for found in page["Instances"]]

    def _memberships(self, asked: list[InstanceId]) -> dict[InstanceId, Membership]:
        """Return the group of each of ``asked`` that has one; all pages are read, for AWS may send short ones."""
        found: dict[InstanceId, Membership] = {}
        for batch in _batches(asked, _MEMBERS_AT_ONCE):
            pages = self._autoscaling.get_paginator("describe_auto_scaling_instances").paginate(InstanceIds=batch)
            with calling(f"asking which group {', '.join(batch)} belongs to"):
                for one in (one for page in pages for one in page["AutoScalingInstances"]):
                    group, state = one["AutoScalingGroupName"], one["LifecycleState"]
                    found[InstanceId(one["InstanceId"])] = Membership(group=group, state=state)
        return found

    def _machine_states(self, asked: list[InstanceId]) -> dict[InstanceId, str]:
        """Return EC2's word for each; where EC2 names those that do not exist, ask about the others again."""
        if not asked:
            return {}
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
            known = self._machine_states([one for one in asked if one not in unknown])
            return known | {InstanceId(one): _UNKNOWN for one in unknown}
        return {
            InstanceId(found["InstanceId"]): found["State"]["Name"]
            for reservation in answer["Reservations"]
            for found in reservation["Instances"]
        }

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


def _batches(asked: list[InstanceId], size: int) -> Iterator[list[InstanceId]]:
    return (asked[at : at + size] for at in range(0, len(asked), size))


def _instances(found: Iterable[InstanceTypeDef]) -> tuple[Instance, ...]:
    return tuple(
        Instance(id=InstanceId(one["InstanceId"]), state=one["LifecycleState"], zone=one["AvailabilityZone"])
        for one in found
    )
