"""Scheduled actions of a group, and schedules that send to a queue: they act when their time comes, as allowed."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from demo.aws.server import LocalAws
from tests.demo_aws.group import Group
from tests.demo_aws.probe import Json

SUNDAY = datetime(2026, 11, 22, 12, tzinfo=UTC)
MONDAY_0730 = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)
QUEUE_TIME = "cron(30 7 ? * MON *)"


class Wall:
    """A wall clock for scheduled actions and schedules, which look at it only when it is moved."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        self.at = SUNDAY

    def now(self) -> datetime:
        """The time."""
        return self.at

    def move(self, to: datetime) -> None:
        """Let it be another time, and have both look."""
        self.at = to
        self._aws.scheduled_actions.look()
        self._aws.scheduler.look()


@pytest.fixture
def wall(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Wall:
    """The wall clock, on a Sunday at noon."""
    wall = Wall(aws)
    for service in (aws.scheduled_actions, aws.scheduler):
        monkeypatch.setattr(service, "_now", wall.now)
        monkeypatch.setattr(service._ticker, "_action", lambda: None)
    return wall


def put(group: Group, name: str, **more: Json) -> None:
    """Make, or change, a scheduled action of Monday morning in Oslo."""
    request = {"Recurrence": "30 7 * * 1", "TimeZone": "Europe/Oslo", **more}
    group.client.put_scheduled_update_group_action(AutoScalingGroupName=group.name, ScheduledActionName=name, **request)


def sizes(group: Group) -> tuple[int, int, int]:
    """Minimum, maximum and desired capacity."""
    (found,) = group.client.describe_auto_scaling_groups(AutoScalingGroupNames=[group.name])["AutoScalingGroups"]
    return found["MinSize"], found["MaxSize"], found["DesiredCapacity"]


def test_scheduled_action_raises_and_lowers_the_floor(wall: Wall, group: Group, name: str) -> None:
    """At its time the minimum rises and takes the desired capacity with it; when it falls again, the instances stay."""
    put(group, f"{name}-begins", MinSize=2)
    put(group, f"{name}-ends", MinSize=0, Recurrence="0 9 * * 1")
    wall.move(SUNDAY)
    wall.move(MONDAY_0730 - timedelta(seconds=1))
    assert sizes(group) == (0, 3, 0)
    wall.move(MONDAY_0730)
    assert sizes(group) == (2, 3, 2)
    group.becomes("InService", "InService")
    causes = [one["Cause"] for one in group.client.describe_scaling_activities()["Activities"] if name in str(one)]
    assert "a scheduled action update of AutoScalingGroup constraints to min: 2, max: 3, desired: 2" in causes[0]
    wall.move(MONDAY_0730 + timedelta(hours=2))
    assert sizes(group) == (0, 3, 2)


def test_maximum_lowers_the_desired_capacity(wall: Wall, group: Group, name: str) -> None:
    """A maximum below the desired capacity takes it down, and a desired capacity of its own is taken."""
    group.resize(3)
    put(group, name, MaxSize=2)
    wall.move(SUNDAY)
    wall.move(MONDAY_0730)
    assert sizes(group) == (0, 2, 2)
    put(group, name, DesiredCapacity=1)
    wall.move(MONDAY_0730 + timedelta(days=7))
    assert sizes(group) == (0, 2, 1)


def test_bounds_that_cross_change_nothing(wall: Wall, group: Group, name: str) -> None:
    """An action whose minimum is above the group's maximum leaves the group as it is, and others go on."""
    put(group, f"{name}-bad", MinSize=4)
    put(group, f"{name}-good", MinSize=1, Recurrence="31 7 * * 1")
    wall.move(SUNDAY)
    wall.move(MONDAY_0730 + timedelta(minutes=1))
    assert sizes(group) == (1, 3, 1)


def test_deleted_action_and_group_do_nothing(wall: Wall, group: Group, name: str) -> None:
    """Neither a deleted action nor one whose group is gone acts."""
    put(group, name, MinSize=2)
    wall.move(SUNDAY)
    group.client.delete_scheduled_action(AutoScalingGroupName=group.name, ScheduledActionName=name)
    wall.move(MONDAY_0730)
    assert sizes(group) == (0, 3, 0)
    put(group, name, MinSize=2)
    wall.move(MONDAY_0730 + timedelta(days=1))
    group.client.delete_auto_scaling_group(AutoScalingGroupName=group.name)
    wall.move(MONDAY_0730 + timedelta(days=7))
    assert not group.client.describe_auto_scaling_groups(AutoScalingGroupNames=[group.name])["AutoScalingGroups"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"Recurrence": "*/5 * * * *"}, "knows no other schedule"),
        ({"StartTime": SUNDAY}, "wanted a Recurrence alone"),
        ({"TimeZone": "Europe/Olso"}, "wanted a time zone of the IANA database"),
        ({"MinSize": None}, "found none"),
        ({"Recurrence": "30 6 * * 1", "TimeZone": "Etc/UTC"}, "wanted no other action at 2026-11-23 06:30"),
    ],
)
def test_actions_that_cannot_be_are_refused(
    wall: Wall, group: Group, name: str, more: dict[str, Json], words: str
) -> None:
    """What AWS refuses, such as a second action of one time, and what would never happen here, is refused at once."""
    put(group, f"{name}-first", MinSize=1)
    assert wall.now() == SUNDAY
    request = {name: value for name, value in {"MinSize": 1, **more}.items() if value is not None}
    with pytest.raises(ClientError, match=words):
        put(group, name, **request)


@pytest.fixture
def schedule(aws: LocalAws, name: str) -> Callable[..., None]:
    """Make a schedule that sends to the queue of the test's name."""
    iam = aws.place.client("iam")
    trust = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"Service": "scheduler.amazonaws.com"},
        "Condition": {"StringEquals": {"aws:SourceAccount": aws.place.account}},
    }
    allow = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": aws.place.arn("sqs", name)}
    for role, statement in ((name, trust), (f"{name}-untrusting", {**trust, "Principal": {"Service": "ec2"}})):
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=document)
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_role_policy(RoleName=name, PolicyName="send", PolicyDocument=policy)
    for queue in (name, f"{name}-other"):
        aws.place.client("sqs").create_queue(QueueName=queue)

    def make(*, queue: str = name, role: str = name, target: Json = None, change: bool = False, **more: Json) -> None:
        sent = {"id": "<aws.scheduler.execution-id>", "time": "<aws.scheduler.scheduled-time>", "account": "1"}
        request = {
            "Name": name,
            "ScheduleExpression": QUEUE_TIME,
            "ScheduleExpressionTimezone": "Europe/Oslo",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {
                "Arn": aws.place.arn("sqs", queue),
                "RoleArn": f"arn:aws:iam::{aws.place.account}:role/{role}",
                "Input": json.dumps(sent),
                "SqsParameters": {},
                "RetryPolicy": {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185},
                **(target or {}),
            },
            **more,
        }
        client = aws.place.client("scheduler")
        (client.update_schedule if change else client.create_schedule)(**request)

    return make


def received(aws: LocalAws, queue: str) -> list[Json]:
    """The bodies that are in a queue."""
    answer = aws.place.client("sqs").receive_message(
        QueueUrl=aws.place.client("sqs").get_queue_url(QueueName=queue)["QueueUrl"], MaxNumberOfMessages=10
    )
    return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


def test_schedule_sends_its_input_once(aws: LocalAws, wall: Wall, schedule: Callable[..., None], name: str) -> None:
    """At its time the input is sent, with the time it was meant for and an id of its own, however late the look."""
    schedule()
    wall.move(SUNDAY)
    wall.move(MONDAY_0730 - timedelta(seconds=1))
    assert received(aws, name) == []
    wall.move(MONDAY_0730 + timedelta(seconds=40))
    wall.move(MONDAY_0730 + timedelta(seconds=50))
    (message,) = received(aws, name)
    assert len(message.pop("id")) == 16
    assert message == {"time": "2026-11-23T06:30:00Z", "account": "1"}


def test_schedule_follows_its_changes(aws: LocalAws, wall: Wall, schedule: Callable[..., None], name: str) -> None:
    """A changed time counts from the change; a disabled schedule and a deleted one send nothing."""
    schedule()
    wall.move(SUNDAY)
    schedule(change=True, ScheduleExpression="cron(0 8 ? * MON *)")
    wall.move(MONDAY_0730)
    assert received(aws, name) == []
    wall.move(MONDAY_0730 + timedelta(minutes=30))
    assert len(received(aws, name)) == 1
    schedule(change=True, State="DISABLED")
    wall.move(MONDAY_0730 + timedelta(days=7))
    schedule(change=True, State="ENABLED")
    wall.move(MONDAY_0730 + timedelta(days=8))
    aws.place.client("scheduler").delete_schedule(Name=name)
    wall.move(MONDAY_0730 + timedelta(days=15))
    assert received(aws, name) == []


def test_schedule_may_send_what_its_role_may(
    aws: LocalAws, wall: Wall, schedule: Callable[..., None], name: str
) -> None:
    """A queue that the role may not send to gets nothing."""
    schedule(queue=f"{name}-other")
    wall.move(SUNDAY)
    wall.move(MONDAY_0730)
    assert received(aws, f"{name}-other") == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"ScheduleExpression": "rate(5 minutes)"}, "knows no other schedule"),
        ({"ScheduleExpressionTimezone": "Europe/Olso"}, "wanted a time zone"),
        ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5}}, "wanted Mode OFF"),
        ({"StartDate": SUNDAY}, "StartDate and EndDate: wanted none"),
        ({"target": {"DeadLetterConfig": {}}}, "wanted Arn, Input, RetryPolicy, RoleArn, SqsParameters, found"),
        ({"target": {"SqsParameters": {"MessageGroupId": "g"}}}, "SqsParameters: wanted none"),
        ({"target": {"Arn": "arn:aws:lambda:eu-north-1:123456789012:function:f"}}, "wanted a queue"),
        ({"target": {"RoleArn": "arn:aws:iam::123456789012:role/nobody"}}, "found no such role"),
    ],
)
def test_schedules_that_cannot_be_are_refused(schedule: Callable[..., None], more: dict[str, Json], words: str) -> None:
    """What AWS refuses, and what would not be sent here, is refused when the schedule is made."""
    with pytest.raises(ClientError, match=words):
        schedule(**more)


def test_schedule_wants_a_role_that_trusts_it(schedule: Callable[..., None], name: str) -> None:
    """A role that does not let EventBridge Scheduler assume it is refused with AWS's words."""
    with pytest.raises(ClientError, match="must allow AWS EventBridge Scheduler to assume the role"):
        schedule(role=f"{name}-untrusting")
