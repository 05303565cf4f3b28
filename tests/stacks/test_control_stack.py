"""What connects group and core: who may do what, what wakes whom, and what happens to a message nobody can handle."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from core_agent.contract.messages import BurstReport, LoadSample, PhaseCounts, SideReport, TelemetryReport
from core_agent.contract.names import Reason
from lambdas import environment, publish
from lambdas.events import metric_names
from settings import Settings
from settings.words import TopicArn
from tests.stacks.conftest import ROOT, House, Synthesise

FUNCTIONS = ("fleet", "enroll", "burst", "telemetry")
LEVEL_ALARMS = ("core-saturated", "core-calm", "queue-long", "queue-short")
ACCOUNT = "arn:aws:{}:eu-north-1:123456789012:{}"
GROUP = ACCOUNT.format("autoscaling", "autoScalingGroup:*:autoScalingGroupName/drawbridge-edge")
SSH_KEY = ACCOUNT.format("ssm", "parameter/drawbridge/ssh-key")
OWN_QUEUE = {
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
}
DEAD_LETTERS = {"sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"}
LOG = {"logs:CreateLogStream", "logs:PutLogEvents"}
DESCRIBE = {
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeAutoScalingInstances",
    "autoscaling:DescribeWarmPool",
    "ec2:DescribeInstances",
}

# A core that has answered requests, with a node that has shaken hands: the report that leaves nothing out.
REPORT = TelemetryReport(
    core="oslo-1",
    covered_s=60,
    samples=(LoadSample(at_ms=1, core_percent=90, total_percent=60, queue=0, queue_ms=0),),
    core_side=SideReport(answered=9, failed=0),
    edge_side=SideReport(answered=1, failed=0),
    refused=0,
    servers=(),
    burst=BurstReport(level_percent=25, core_percent=100, by_hand=False, reason=Reason("a test")),
    nodes=PhaseCounts(seated=0, enrolled=0, active=1, draining=0),
    handshake_age_s=5,
    stale_peers=0,
)


def function(house: House, name: str) -> Mapping[str, Any]:
    """The properties of the function ``name``."""
    found: list[Mapping[str, Any]] = [
        one["Properties"]
        for one in house.resources("control", "AWS::Lambda::Function")
        if one["Properties"]["FunctionName"] == f"drawbridge-{name}"
    ]
    assert len(found) == 1
    return found[0]


def plain(house: House, value: object) -> str:
    """An ARN as written; of a resource in the stack its type, and its queue's or log's part in the house."""
    if isinstance(value, str):
        return value
    assert isinstance(value, dict)
    logical_id = value["Fn::GetAtt"][0]
    resource = house.templates["control"]["Resources"][logical_id]
    if resource["Type"] == "AWS::SQS::Queue":
        return "queue" if "RedrivePolicy" in resource["Properties"] else "dead letters"
    return str(resource["Type"])


def may(house: House, role_id: str) -> dict[str, set[str]]:
    """Resource → actions that the role is allowed, over all its policies."""
    allowed: dict[str, set[str]] = {}
    for policy in house.resources("control", "AWS::IAM::Policy"):
        if {"Ref": role_id} not in policy["Properties"]["Roles"]:
            continue
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            actions = statement["Action"]
            resources = statement["Resource"]
            for resource in resources if isinstance(resources, list) else [resources]:
                allowed.setdefault(plain(house, resource), set()).update(
                    [actions] if isinstance(actions, str) else actions
                )
    return allowed


def function_may(house: House, name: str) -> dict[str, set[str]]:
    """What the function ``name`` is allowed."""
    return may(house, function(house, name)["Role"]["Fn::GetAtt"][0])


# --- rights ---------------------------------------------------------------------------------------------------------


def test_fleet_may_look_complete_and_terminate_in_its_own_group(house: House) -> None:
    """Least privilege, whole: exactly these actions on exactly these resources."""
    assert function_may(house, "fleet") == {
        "*": DESCRIBE,
        GROUP: {"autoscaling:CompleteLifecycleAction", "autoscaling:TerminateInstanceInAutoScalingGroup"},
        SSH_KEY: {"ssm:GetParameter"},
        "queue": OWN_QUEUE,
        "dead letters": DEAD_LETTERS,
        "AWS::Logs::LogGroup": LOG,
    }


def test_enroll_may_look_and_complete_but_not_terminate(house: House) -> None:
    """The function that the outside can reach is the one with the fewest rights over the group."""
    assert function_may(house, "enroll") == {
        "*": DESCRIBE,
        GROUP: {"autoscaling:CompleteLifecycleAction"},
        SSH_KEY: {"ssm:GetParameter"},
        "AWS::Logs::LogGroup": LOG,
    }


def test_burst_may_ask_for_its_alarms_and_knows_no_group(house: House) -> None:
    """It turns one knob on the core and needs nothing of Auto Scaling."""
    assert function_may(house, "burst") == {
        **{
            ACCOUNT.format("cloudwatch", f"alarm:drawbridge-{name}"): {"cloudwatch:DescribeAlarms"}
            for name in LEVEL_ALARMS
        },
        SSH_KEY: {"ssm:GetParameter"},
        "queue": OWN_QUEUE,
        "dead letters": DEAD_LETTERS,
        "AWS::Logs::LogGroup": LOG,
    }


def test_telemetry_may_read_its_key_and_log(house: House) -> None:
    """Metrics leave it by its log; of the group and of the alarms it knows nothing."""
    assert function_may(house, "telemetry") == {SSH_KEY: {"ssm:GetParameter"}, "AWS::Logs::LogGroup": LOG}


def test_a_node_may_call_enroll_by_its_url_and_nothing_else(house: House) -> None:
    """Both permissions that a new function URL asks for, on that one function, and only by way of the URL."""
    statements = [
        statement
        for policy in house.resources("control", "AWS::IAM::Policy")
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if "lambda:" in json.dumps(statement["Action"])
    ]
    assert len(statements) == 2
    enroll = house.only("control", "AWS::Lambda::Url")["TargetFunctionArn"]
    assert house.templates["control"]["Resources"][enroll["Fn::GetAtt"][0]]["Properties"] == function(house, "enroll")
    assert {(statement["Action"], json.dumps(statement["Condition"])) for statement in statements} == {
        ("lambda:InvokeFunctionUrl", '{"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}}'),
        ("lambda:InvokeFunction", '{"Bool": {"lambda:InvokedViaFunctionUrl": true}}'),
    }
    assert all(statement["Resource"] == enroll for statement in statements)
    (role_id,) = (
        logical_id
        for logical_id, resource in house.templates["control"]["Resources"].items()
        if resource.get("Properties", {}).get("RoleName") == house.settings.node_role_name
    )
    assert set(may(house, role_id)) == {"AWS::Lambda::Function"}


def test_the_url_admits_signed_requests_only_and_nobody_by_resource_policy(house: House) -> None:
    """AWS_IAM, and no permission on the function itself: who may call it is said in one place, the node role."""
    url = house.only("control", "AWS::Lambda::Url")
    assert url["AuthType"] == "AWS_IAM"
    permitted = [one["Properties"]["FunctionName"] for one in house.resources("control", "AWS::Lambda::Permission")]
    assert url["TargetFunctionArn"] not in permitted


# --- functions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_is_built_as_the_settings_say(house: House, name: str) -> None:
    """Handler, processor, runtime, bounds, and a log that forgets."""
    properties = function(house, name)
    assert properties["Handler"] == f"lambdas.handlers.{name}.handler"
    assert properties["Architectures"] == ["arm64"]
    assert properties["Runtime"] == "python3.13"
    # Telemetry is awake for a minute, and its last answer may come late.
    assert (properties["Timeout"], properties["MemorySize"]) == (70 if name == "telemetry" else 30, 512)
    log = house.templates["control"]["Resources"][properties["LoggingConfig"]["LogGroup"]["Ref"]]
    assert log["Properties"] == {"LogGroupName": f"/aws/lambda/drawbridge-{name}", "RetentionInDays": 30}
    assert log["DeletionPolicy"] == "Delete"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_finds_its_environment_complete(house: House, name: str) -> None:
    """The handlers' own reader accepts what the stack sets, and nothing is set that no reader wants."""
    variables = function(house, name)["Environment"]["Variables"]
    environ = {key: value if isinstance(value, str) else "https://queue" for key, value in variables.items()}
    environ["AWS_REGION"] = house.settings.edge.region
    place = environment.place(environ)
    assert place.group.name == house.settings.group_name
    assert place.group.launch_hook == "drawbridge-launch"
    assert place.group.terminate_hook == "drawbridge-terminate"
    assert place.node_role == house.settings.node_role_name
    assert place.core.host_key == house.settings.core.ssh_host_key
    if name in {"fleet", "burst"}:
        assert environment.queues(environ).own == "https://queue"
    if name == "burst":
        levels = environment.levels(environ)
        alarms = levels.alarms
        assert [alarms.saturated, alarms.calm, alarms.queue_long, alarms.queue_short] == [
            f"drawbridge-{alarm}" for alarm in LEVEL_ALARMS
        ]
        assert (levels.calm_percent, levels.alarm_percent) == (25, 100)
        assert environment.peaks(environ) == ()
    if name == "telemetry":
        assert environment.period_s(environ) == 60


def test_no_function_holds_a_secret_in_its_environment(house: House) -> None:
    """The SSH key is named, not carried."""
    for name in FUNCTIONS:
        assert "PRIVATE KEY" not in json.dumps(function(house, name)["Environment"])


# --- queues and rules -----------------------------------------------------------------------------------------------


def queues(house: House, *, dead: bool) -> list[Mapping[str, Any]]:
    """The properties of the queues that feed functions, or of the dead-letter queues."""
    found = (queue["Properties"] for queue in house.resources("control", "AWS::SQS::Queue"))
    return [queue for queue in found if ("RedrivePolicy" in queue) is not dead]


def test_queues_are_encrypted_patient_and_end_in_dead_letters(house: House) -> None:
    """Two queues and two dead-letter queues; a message is hidden for six times the function's timeout."""
    working, dead = queues(house, dead=False), queues(house, dead=True)
    assert len(working) == len(dead) == 2
    assert all(queue["SqsManagedSseEnabled"] is True for queue in (*working, *dead))
    assert all(queue["VisibilityTimeout"] >= 6 * 30 for queue in working)
    assert all(queue["RedrivePolicy"]["maxReceiveCount"] == 10 for queue in working)
    assert all(queue["MessageRetentionPeriod"] == 14 * 86_400 for queue in dead)


def test_queues_refuse_what_is_not_tls(house: House) -> None:
    """Every queue, the dead letters' too, denies everything to whoever comes without it."""
    denied = [
        queue["Ref"]
        for policy in house.resources("control", "AWS::SQS::QueuePolicy")
        for queue in policy["Properties"]["Queues"]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    ]
    assert len(set(denied)) == len(house.resources("control", "AWS::SQS::Queue")) == 4


def test_a_batch_fails_message_by_message(house: House) -> None:
    """One bad message does not bring back the nine good ones beside it, and few invocations run at a time."""
    mappings = [mapping["Properties"] for mapping in house.resources("control", "AWS::Lambda::EventSourceMapping")]
    assert len(mappings) == 2
    for mapping in mappings:
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}


def targets(house: House, rule: Mapping[str, Any]) -> Iterator[str]:
    """Which function each target of a rule ends at, by way of its queue or directly."""
    resources = house.templates["control"]["Resources"]
    for target in rule["Targets"]:
        logical_id = target["Arn"]["Fn::GetAtt"][0]
        if resources[logical_id]["Type"] == "AWS::SQS::Queue":
            (logical_id,) = (
                mapping["Properties"]["FunctionName"]["Ref"]
                for mapping in house.resources("control", "AWS::Lambda::EventSourceMapping")
                if mapping["Properties"]["EventSourceArn"] == target["Arn"]
            )
        yield resources[logical_id]["Properties"]["FunctionName"].removeprefix("drawbridge-")


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """EventBridge's matching, as far as the rules use it: lists of allowed values, nested."""
    return all(
        name in event and (matches(wanted, event[name]) if isinstance(wanted, dict) else event[name] in wanted)
        for name, wanted in pattern.items()
    )


def rules(house: House) -> list[Mapping[str, Any]]:
    """The properties of every rule: these six, so that no loop over them proves nothing."""
    found = [rule["Properties"] for rule in house.resources("control", "AWS::Events::Rule")]
    names = sorted(rule["Name"].removeprefix("drawbridge-") for rule in found)
    assert names == ["alarm", "interruption", "lifecycle", "rebalance", "sweep", "telemetry"]
    return found


@pytest.mark.parametrize(
    ("payload", "rule", "function_name"),
    [
        ("lifecycle-launch", "lifecycle", "fleet"),
        ("lifecycle-launch-bare", "lifecycle", "fleet"),
        ("lifecycle-launch-into-warm-pool", "lifecycle", "fleet"),
        ("lifecycle-terminate", "lifecycle", "fleet"),
        ("lifecycle-terminate-into-warm-pool", "lifecycle", "fleet"),
        ("spot-interruption", "interruption", "fleet"),
        ("rebalance", "rebalance", "fleet"),
        ("alarm-on", "alarm", "burst"),
        ("alarm-off", "alarm", "burst"),
        ("launch-successful", None, None),
    ],
)
def test_each_payload_meets_its_rule_and_no_other(
    house: House, payload: str, rule: str | None, function_name: str | None
) -> None:
    """A real payload of AWS wakes exactly the function that can read it."""
    event = json.loads((ROOT / "tests" / "events" / f"{payload}.json").read_text())
    found = [
        (properties["Name"].removeprefix("drawbridge-"), *targets(house, properties))
        for properties in rules(house)
        if "EventPattern" in properties and matches(properties["EventPattern"], event)
    ]
    assert found == ([] if rule is None else [(rule, function_name)])


def test_another_groups_events_pass_by(house: House) -> None:
    """The lifecycle rule is for our group alone."""
    event = json.loads((ROOT / "tests" / "events" / "lifecycle-launch.json").read_text())
    event["detail"]["AutoScalingGroupName"] = "somebody-elses"
    for rule in rules(house):
        assert not matches(rule.get("EventPattern", {"source": []}), event)


def test_each_minute_wakes_the_sweep_and_the_telemetry(house: House) -> None:
    """The two rules with a schedule: fleet's and burst's by their queues like every event, telemetry's directly."""
    found = {tuple(targets(house, rule)): rule for rule in rules(house) if "ScheduleExpression" in rule}
    assert set(found) == {("fleet", "burst"), ("telemetry",)}
    assert all(rule["ScheduleExpression"] == "rate(1 minute)" for rule in found.values())


def test_a_measurement_that_failed_is_not_made_up_for(house: House) -> None:
    """Neither EventBridge nor Lambda tries again: the next minute does. The rule alone may wake the function."""
    (rule,) = (rule for rule in rules(house) if list(targets(house, rule)) == ["telemetry"])
    (target,) = rule["Targets"]
    once = {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
    assert target["RetryPolicy"] == once
    assert "DeadLetterConfig" not in target
    asynchronous = house.only("control", "AWS::Lambda::EventInvokeConfig")
    assert asynchronous.items() >= once.items()
    permission = house.only("control", "AWS::Lambda::Permission")
    assert permission["Principal"] == "events.amazonaws.com"
    assert permission["FunctionName"] == target["Arn"]
    source = house.templates["control"]["Resources"][permission["SourceArn"]["Fn::GetAtt"][0]]
    assert source["Properties"] == rule


def dead_letters_of(house: House, queue: Mapping[str, Any]) -> object:
    """The ARN of where the messages of ``queue`` end."""
    properties = house.templates["control"]["Resources"][queue["Fn::GetAtt"][0]]["Properties"]
    return properties["RedrivePolicy"]["deadLetterTargetArn"]


def test_what_cannot_be_delivered_is_a_dead_letter(house: House) -> None:
    """Each rule hands an event that its queue refused to that queue's dead letters."""
    found = [rule for rule in rules(house) if list(targets(house, rule)) != ["telemetry"]]
    assert len(found) == 5
    for rule in found:
        for target in rule["Targets"]:
            assert plain(house, target["DeadLetterConfig"]["Arn"]) == "dead letters"
            assert dead_letters_of(house, target["Arn"]) == target["DeadLetterConfig"]["Arn"]


# --- alarms ---------------------------------------------------------------------------------------------------------


def test_every_alarm_hears_what_telemetry_publishes(house: House) -> None:
    """Namespace, dimension and name of each alarm's metric are those that the function writes for a full report."""
    variables = function(house, "telemetry")["Environment"]["Variables"]
    published = {name for name, _, _ in publish.values(REPORT)}
    found = [
        alarm["Properties"]
        for alarm in house.all_resources()
        if alarm["Type"] == "AWS::CloudWatch::Alarm" and alarm["Properties"]["Namespace"] != "AWS/SQS"
    ]
    assert len(found) == 7
    for alarm in found:
        assert alarm["Namespace"] == variables["POWERTOOLS_METRICS_NAMESPACE"] == metric_names.NAMESPACE
        assert alarm["Dimensions"] == [{"Name": "service", "Value": variables["POWERTOOLS_SERVICE_NAME"]}]
        assert alarm["MetricName"] in published


def silence(house: House) -> Mapping[str, Any]:
    """The properties of the alarm on a core that nobody hears."""
    found: list[Mapping[str, Any]] = [
        alarm["Properties"]
        for alarm in house.resources("control", "AWS::CloudWatch::Alarm")
        if alarm["Properties"]["AlarmName"] == "drawbridge-core-silent"
    ]
    assert len(found) == 1
    return found[0]


def test_a_silent_core_raises_an_alarm(house: House) -> None:
    """Three minutes without a sample, and here alone silence counts; without a topic it is for whoever looks."""
    alarm = silence(house)
    assert (alarm["MetricName"], alarm["Statistic"]) == (metric_names.CORE_SATURATION, "SampleCount")
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (1, "LessThanThreshold")
    assert (alarm["Period"], alarm["EvaluationPeriods"]) == (60, 3)
    assert alarm["TreatMissingData"] == "breaching"
    assert "AlarmActions" not in alarm


def test_a_silent_core_is_told_to_the_topic_alone(busy_house: House) -> None:
    """It moves neither the level nor the group: one person is told."""
    assert silence(busy_house)["AlarmActions"] == ["arn:aws:sns:eu-north-1:123456789012:on-call"]


def dead_letter_alarms(house: House) -> list[Mapping[str, Any]]:
    """The properties of the alarms on dead letters: one for each of the two queues."""
    alarms = [
        alarm["Properties"]
        for alarm in house.resources("control", "AWS::CloudWatch::Alarm")
        if alarm["Properties"]["MetricName"] == "ApproximateNumberOfMessagesVisible"
    ]
    names = sorted(alarm["AlarmName"] for alarm in alarms)
    assert names == ["drawbridge-burst-dead-letters", "drawbridge-fleet-dead-letters"]
    return alarms


def test_dead_letters_raise_an_alarm(house: House) -> None:
    """One waiting message is enough; without a topic in the settings the alarm is for whoever looks."""
    for alarm in dead_letter_alarms(house):
        assert (alarm["Threshold"], alarm["Period"]) == (1, 60)
        assert "AlarmActions" not in alarm


def test_somebody_is_told_of_dead_letters(default_settings: Settings, synthesise: Synthesise, tmp_path: Path) -> None:
    """With a topic, both alarms notify it, and the check on what may be on AWS still passes: nothing is made."""
    topic = TopicArn("arn:aws:sns:eu-north-1:123456789012:on-call")
    edge = dataclasses.replace(default_settings.edge, notify_topic=topic)
    told = synthesise(dataclasses.replace(default_settings, edge=edge), tmp_path)
    for alarm in dead_letter_alarms(told):
        assert alarm["AlarmActions"] == [topic]
    assert told.resources("control", "AWS::SNS::Topic") == []
