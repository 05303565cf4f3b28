"""Every call to AWS: against moto where moto tells the truth, against botocore's own stub of the API where it does not.

moto puts instances straight into service, knows no lifecycle actions and no instances in warm pools.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError
from botocore.stub import Stubber
from moto import mock_aws

from core_agent.contract.names import InstanceId
from core_agent.errors import DrawbridgeError
from lambdas.alarms import Alarm
from lambdas.aws_errors import calling
from lambdas.cloud import Cloud, Disowned, Instance, Membership
from lambdas.errors import AlarmMissing, CloudBusy, CloudRefused, GroupMissing

REGION = "eu-north-1"
GROUP = "drawbridge-edge"
A, B, C = (InstanceId(f"i-0{letter * 3}1234def567890") for letter in "abc")


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sign with made-up credentials, so that nothing could ever reach an account."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def aws() -> Iterator[None]:
    """An AWS in this process."""
    with mock_aws():
        yield


@pytest.fixture
def cloud() -> Cloud:
    """What is tested."""
    return Cloud(region=REGION)


def make_group(count: int) -> list[str]:
    """Create the group with ``count`` instances and return their ids."""
    ec2, autoscaling = boto3.client("ec2", region_name=REGION), boto3.client("autoscaling", region_name=REGION)
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    autoscaling.create_launch_configuration(LaunchConfigurationName="lc", ImageId=image, InstanceType="t4g.small")
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName=GROUP,
        LaunchConfigurationName="lc",
        MinSize=0,
        MaxSize=10,
        DesiredCapacity=count,
        AvailabilityZones=[f"{REGION}a"],
    )
    [group] = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"]
    return [one["InstanceId"] for one in group["Instances"]]


# --- the group ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("aws")
def test_the_group_is_described(cloud: Cloud) -> None:
    """Each member comes with AWS's own word for its state and with its zone."""
    ids = make_group(2)
    assert set(cloud.instances(GROUP)) == {
        Instance(id=InstanceId(one), state="InService", zone=f"{REGION}a") for one in ids
    }


@pytest.mark.usefixtures("aws")
def test_an_empty_group_is_not_a_missing_one(cloud: Cloud) -> None:
    """No instances is an answer, no group is an error."""
    with pytest.raises(GroupMissing, match=GROUP):
        cloud.instances(GROUP)
    make_group(0)
    assert cloud.instances(GROUP) == ()


@pytest.mark.usefixtures("aws")
def test_membership(cloud: Cloud) -> None:
    """An instance of a group is found with group and state, a stranger is not."""
    [one] = make_group(1)
    assert cloud.membership(InstanceId(one)) == Membership(group=GROUP, state="InService")
    assert cloud.membership(A) is None


@pytest.mark.usefixtures("aws")
def test_terminate_keeps_the_desired_capacity(cloud: Cloud) -> None:
    """The group replaces what it was told to terminate."""
    [one] = make_group(1)
    cloud.terminate(InstanceId(one))
    autoscaling = boto3.client("autoscaling", region_name=REGION)
    [group] = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"]
    assert group["DesiredCapacity"] == 1
    assert [found["InstanceId"] for found in group["Instances"]] != [one]


def member(instance: str, state: str) -> dict[str, Any]:
    """One instance as both describe calls show it."""
    return {
        "InstanceId": instance,
        "AvailabilityZone": f"{REGION}a",
        "LifecycleState": state,
        "HealthStatus": "Healthy",
        "ProtectedFromScaleIn": False,
    }


def described(*members: dict[str, Any], pool: bool) -> dict[str, Any]:
    """An answer of DescribeAutoScalingGroups."""
    group: dict[str, Any] = {
        "AutoScalingGroupName": GROUP,
        "MinSize": 0,
        "MaxSize": 3,
        "DesiredCapacity": 1,
        "DefaultCooldown": 300,
        "AvailabilityZones": [f"{REGION}a"],
        "HealthCheckType": "EC2",
        "CreatedTime": "2026-11-22T08:00:00Z",
        "Instances": list(members),
    }
    if pool:
        group["WarmPoolConfiguration"] = {"MinSize": 1, "PoolState": "Stopped"}
    return {"AutoScalingGroups": [group]}


def test_the_warm_pool_belongs_to_the_group(cloud: Cloud) -> None:
    """Members of the pool are asked page by page; one that moves meanwhile is seen once, where it was seen last."""
    with Stubber(cloud._autoscaling) as aws:
        aws.add_response("describe_auto_scaling_groups", described(member(A, "InService"), pool=True))
        aws.add_response(
            "describe_warm_pool",
            {"Instances": [member(B, "Warmed:Stopped")], "NextToken": "more"},
            {"AutoScalingGroupName": GROUP},
        )
        aws.add_response(
            "describe_warm_pool",
            {"Instances": [member(C, "Warmed:Pending:Wait")]},
            {"AutoScalingGroupName": GROUP, "NextToken": "more"},
        )
        aws.add_response(
            "describe_auto_scaling_groups",
            described(member(A, "Terminating:Wait"), member(B, "Pending:Wait"), pool=True),
        )
        found = {one.id: one.state for one in cloud.instances(GROUP)}
        aws.assert_no_pending_responses()
    assert found == {A: "Terminating:Wait", B: "Pending:Wait", C: "Warmed:Pending:Wait"}


def test_a_group_on_the_second_page_is_not_a_missing_one(cloud: Cloud) -> None:
    """AWS may send short pages: only after the last one is the group missing."""
    with Stubber(cloud._autoscaling) as aws:
        aws.add_response("describe_auto_scaling_groups", {"AutoScalingGroups": [], "NextToken": "more"})
        aws.add_response("describe_auto_scaling_groups", described(member(A, "InService"), pool=False))
        assert [one.id for one in cloud.instances(GROUP)] == [A]


@pytest.mark.usefixtures("aws")
def test_whose_credentials_these_are(cloud: Cloud) -> None:
    """The account that answers, as twelve digits."""
    assert cloud.account() == "123456789012"


# --- lifecycle actions ----------------------------------------------------------------------------------------------

COMPLETION = {
    "AutoScalingGroupName": GROUP,
    "LifecycleHookName": "drawbridge-launch",
    "InstanceId": A,
    "LifecycleActionResult": "CONTINUE",
}


def test_completing_a_lifecycle_action(cloud: Cloud) -> None:
    """The action is named by hook and instance, never by a token that may be old."""
    with Stubber(cloud._autoscaling) as aws:
        aws.add_response("complete_lifecycle_action", {}, COMPLETION)
        assert cloud.complete(group=GROUP, hook="drawbridge-launch", instance=A)


def test_no_active_action_is_done(cloud: Cloud) -> None:
    """An action that is over already needs no completing."""
    with Stubber(cloud._autoscaling) as aws:
        aws.add_client_error(
            "complete_lifecycle_action",
            "ValidationError",
            f"No active Lifecycle Action found with instance ID {A}",
            400,
            expected_params=COMPLETION,
        )
        assert not cloud.complete(group=GROUP, hook="drawbridge-launch", instance=A)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("Throttling", 400, CloudBusy),
        ("ThrottlingException", 400, CloudBusy),
        ("RequestLimitExceeded", 503, CloudBusy),
        ("ResourceContention", 500, CloudBusy),
        ("InternalFailure", 500, CloudBusy),
        ("ServiceUnavailable", 503, CloudBusy),
        ("SomethingNew", 502, CloudBusy),
        ("SomethingNew", 429, CloudBusy),
        ("AccessDenied", 403, CloudRefused),
        ("ValidationError", 400, CloudRefused),
        ("ExpiredToken", 403, CloudRefused),
        ("", 400, CloudRefused),
    ],
)
def test_errors_say_whether_a_retry_can_help(cloud: Cloud, code: str, status: int, kind: type[DrawbridgeError]) -> None:
    """Throttling and AWS's own failures may be tried again, a missing permission may not."""
    with Stubber(cloud._autoscaling) as aws:
        aws.add_client_error("complete_lifecycle_action", code, "because", status)
        with pytest.raises(kind, match=f"completing drawbridge-launch of {A}: AWS answered {code}: because"):
            cloud.complete(group=GROUP, hook="drawbridge-launch", instance=A)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectTimeoutError(endpoint_url="https://x.example"), CloudBusy),
        (ReadTimeoutError(endpoint_url="https://x.example"), CloudBusy),
        (EndpointConnectionError(endpoint_url="https://x.example"), CloudBusy),
        (NoCredentialsError(), CloudRefused),
    ],
)
def test_an_aws_that_is_not_reached(error: Exception, kind: type[DrawbridgeError]) -> None:
    """A network that is down may be tried again, missing credentials may not; both say what was being done."""
    with pytest.raises(kind, match="describing"), calling("describing"):
        raise error


# --- disowned -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("aws")
def test_disowned_are_the_ended_and_the_unknown(cloud: Cloud) -> None:
    """Of running, terminated and unknown instances, the last two are disowned."""
    running, ended, stopped = make_group(3)
    ec2 = boto3.client("ec2", region_name=REGION)
    ec2.terminate_instances(InstanceIds=[ended])
    ec2.stop_instances(InstanceIds=[stopped])
    asked = [InstanceId(one) for one in (running, ended, stopped)]
    assert cloud.disowned(GROUP, [*asked, A, B]) == Disowned(ended=frozenset({InstanceId(ended), A, B}))
    assert cloud.disowned(GROUP, [InstanceId(running)]) == Disowned()
    assert cloud.disowned(GROUP, []) == Disowned()


@pytest.mark.usefixtures("aws")
def test_who_runs_on_without_the_group_is_disowned(cloud: Cloud) -> None:
    """An instance that was detached runs on: EC2 knows it, and Auto Scaling counts it to no group."""
    detached, member, *_ = (InstanceId(one) for one in make_group(3))
    autoscaling = boto3.client("autoscaling", region_name=REGION)
    autoscaling.detach_instances(
        AutoScalingGroupName=GROUP, InstanceIds=[detached], ShouldDecrementDesiredCapacity=True
    )
    assert cloud.disowned(GROUP, [detached, member, A]) == Disowned(
        ended=frozenset({A}), detached=frozenset({detached})
    )


@pytest.mark.usefixtures("aws")
def test_a_member_of_another_group_is_disowned_by_ours(cloud: Cloud) -> None:
    """What Auto Scaling counts to another group is not ours, as at the enroll function's door."""
    [one] = (InstanceId(one) for one in make_group(1))
    assert cloud.disowned("another", [one]) == Disowned(detached=frozenset({one}))


def running(*instances: InstanceId) -> dict[str, Any]:
    """EC2's answer when all of them run."""
    return {"Reservations": [{"Instances": [{"InstanceId": one, "State": {"Name": "running"}} for one in instances]}]}


def test_members_are_asked_fifty_at_a_time_and_page_by_page(cloud: Cloud) -> None:
    """Auto Scaling takes fifty ids, and a page that is short, or empty, is no answer yet."""
    asked = [InstanceId(f"i-{number:017x}") for number in range(60)]
    answers = [{**member(one, "InService"), "AutoScalingGroupName": GROUP} for one in asked]
    with Stubber(cloud._ec2) as ec2, Stubber(cloud._autoscaling) as aws:
        ec2.add_response("describe_instances", running(*asked))
        first = {"InstanceIds": asked[:50]}
        aws.add_response("describe_auto_scaling_instances", {"AutoScalingInstances": [], "NextToken": "more"}, first)
        rest = {"AutoScalingInstances": answers[:50]}
        aws.add_response("describe_auto_scaling_instances", rest, {**first, "NextToken": "more"})
        last = {"AutoScalingInstances": answers[50:59]}
        aws.add_response("describe_auto_scaling_instances", last, {"InstanceIds": asked[50:]})
        assert cloud.disowned(GROUP, asked) == Disowned(detached=frozenset(asked[59:]))
        aws.assert_no_pending_responses()


@pytest.mark.parametrize("code", ["Throttling", "AccessDenied", "InternalFailure"])
def test_an_error_of_auto_scaling_disowns_nobody(cloud: Cloud, code: str) -> None:
    """Not even those that EC2 says have ended: half an answer is none."""
    with Stubber(cloud._ec2) as ec2, Stubber(cloud._autoscaling) as aws:
        ec2.add_response("describe_instances", running(A))
        aws.add_client_error("describe_auto_scaling_instances", code, "because", 400)
        with pytest.raises(DrawbridgeError):
            cloud.disowned(GROUP, [A])


def test_many_are_asked_in_parts(cloud: Cloud) -> None:
    """However many are missing, no single question grows beyond what the API takes."""
    asked = [InstanceId(f"i-{number:017x}") for number in range(150)]
    with Stubber(cloud._ec2) as aws:
        aws.add_response("describe_instances", {"Reservations": []}, {"InstanceIds": asked[:100]})
        aws.add_response("describe_instances", {"Reservations": []}, {"InstanceIds": asked[100:]})
        assert cloud.disowned(GROUP, reversed(asked)) == Disowned()
        aws.assert_no_pending_responses()


def test_an_empty_answer_disowns_nobody(cloud: Cloud) -> None:
    """An answer that leaves an instance out without an error does not say that it is gone."""
    with Stubber(cloud._ec2) as aws:
        aws.add_response("describe_instances", {"Reservations": []})
        assert cloud.disowned(GROUP, [A]) == Disowned()


@pytest.mark.parametrize("code", ["RequestLimitExceeded", "UnauthorizedOperation", "InvalidInstanceID.Malformed"])
def test_an_error_disowns_nobody(cloud: Cloud, code: str) -> None:
    """Any other error than 'this id does not exist' is an error."""
    with Stubber(cloud._ec2) as aws:
        aws.add_client_error("describe_instances", code, f"The instance ID '{A}' is troublesome", 400)
        with pytest.raises(DrawbridgeError):
            cloud.disowned(GROUP, [A, B])


def test_not_found_without_a_name_disowns_nobody(cloud: Cloud) -> None:
    """AWS has to name the instance that does not exist, and it has to be one that was asked for."""
    with Stubber(cloud._ec2) as aws:
        aws.add_client_error("describe_instances", "InvalidInstanceID.NotFound", f"The instance ID '{C}' …", 400)
        with pytest.raises(CloudRefused):
            cloud.disowned(GROUP, [A, B])


# --- alarms, key, queues --------------------------------------------------------------------------------------------


def put_alarm(name: str) -> None:
    """Create one metric alarm."""
    boto3.client("cloudwatch", region_name=REGION).put_metric_alarm(
        AlarmName=name,
        Namespace="Drawbridge",
        MetricName="CoreSaturation",
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        Threshold=80,
        Period=60,
        Statistic="Average",
    )


@pytest.mark.usefixtures("aws")
def test_the_alarms_as_they_are_now(cloud: Cloud) -> None:
    """State and reason are the present ones, in the order that was asked for, whatever else there is."""
    for name in ("calm", "saturated", "somebody-elses"):
        put_alarm(name)
    boto3.client("cloudwatch", region_name=REGION).set_alarm_state(
        AlarmName="saturated", StateValue="ALARM", StateReason="because"
    )
    saturated, calm = cloud.alarms(["saturated", "calm"])
    assert saturated == Alarm(name="saturated", state="ALARM", reason="because")
    assert (calm.name, calm.state) == ("calm", "OK")


@pytest.mark.usefixtures("aws")
def test_an_alarm_that_is_not_there_is_named(cloud: Cloud) -> None:
    """AWS leaves it out without a word; that is no answer about the others either."""
    put_alarm("saturated")
    with pytest.raises(AlarmMissing, match=r"asking for alarms saturated, gone: .* found none named gone$"):
        cloud.alarms(["saturated", "gone"])


def test_all_alarms_are_asked_for_at_once(cloud: Cloud) -> None:
    """One question has one moment: four of them could each see another."""
    asked = {"AlarmNames": ["a", "b"], "MaxRecords": 100}
    answer = {"MetricAlarms": [{"AlarmName": name, "StateValue": "OK"} for name in "ba"]}
    with Stubber(cloud._cloudwatch) as aws:
        aws.add_response("describe_alarms", answer, asked)
        assert cloud.alarms(["a", "b"]) == tuple(Alarm(name=name, state="OK", reason="") for name in "ab")
        aws.assert_no_pending_responses()


@pytest.mark.usefixtures("aws")
def test_the_private_key_is_decrypted(cloud: Cloud) -> None:
    """The parameter's plain text comes back; one that is not there is named."""
    ssm = boto3.client("ssm", region_name=REGION)
    ssm.put_parameter(Name="/drawbridge/ssh-key", Value="PRIVATE", Type="SecureString")
    assert cloud.private_key("/drawbridge/ssh-key") == "PRIVATE"
    with pytest.raises(CloudRefused, match="reading parameter /another: AWS answered ParameterNotFound"):
        cloud.private_key("/another")


@pytest.mark.usefixtures("aws")
def test_messages_keep_body_delay_and_attributes(cloud: Cloud) -> None:
    """What is sent is what is received, with its attributes, and not before its delay."""
    sqs = boto3.client("sqs", region_name=REGION)
    url = sqs.create_queue(QueueName="dead")["QueueUrl"]
    cloud.send(url, "body", attributes={"Reason": "why"})
    cloud.send(url, "later", delay_s=900)
    received = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"], MaxNumberOfMessages=10)["Messages"]
    assert [message["Body"] for message in received] == ["body"]
    assert received[0]["MessageAttributes"]["Reason"]["StringValue"] == "why"


@pytest.mark.usefixtures("aws")
def test_a_hidden_message_comes_again_when_it_should(cloud: Cloud) -> None:
    """A received message is back at once when it is hidden for no time, whatever its queue's timeout."""
    sqs = boto3.client("sqs", region_name=REGION)
    url = sqs.create_queue(QueueName="own", Attributes={"VisibilityTimeout": "180"})["QueueUrl"]
    cloud.send(url, "body")
    [received] = sqs.receive_message(QueueUrl=url)["Messages"]
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    cloud.hide(url, received["ReceiptHandle"], seconds=0)
    assert [message["Body"] for message in sqs.receive_message(QueueUrl=url)["Messages"]] == ["body"]


@pytest.mark.usefixtures("aws")
def test_a_queue_that_is_not_there(cloud: Cloud) -> None:
    """A message that cannot be sent is an error, never lost in silence."""
    with pytest.raises(CloudRefused, match="sending to a queue"):
        cloud.send(f"https://sqs.{REGION}.amazonaws.com/123456789012/none", "body")
