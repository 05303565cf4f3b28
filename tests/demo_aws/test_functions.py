"""Functions as deployed: isolated, warm, limited; invoked directly, by rules, by queues and on schedule."""

import base64
import itertools
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from moto.sqs.models import Message

from demo.aws.queues import reported_failures
from demo.aws.server import LocalAws
from tests.demo_aws.probe import PROCESSOR, Json, eventually

Deploy = Callable[..., str]


def invoke(aws: LocalAws, arn: str, event: Json = None) -> tuple[Json, str | None]:
    """What the function answered, and whether that is an error."""
    answer = aws.place.client("lambda").invoke(FunctionName=arn, Payload=json.dumps(event))
    return json.loads(answer["Payload"].read() or b"null"), answer.get("FunctionError")


def permit(aws: LocalAws, arn: str, rule: str) -> None:
    """Let a rule invoke a function, as CDK does."""
    aws.place.client("lambda").add_permission(
        FunctionName=arn,
        StatementId="rule",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule,
    )


def test_environment_and_context(aws: LocalAws, deploy: Deploy) -> None:
    """The handler sees its deployed environment, its limits and what AWS's runtime sets."""
    arn = deploy(
        """
        import os
        def handler(event, context):
            return {"event": event, "x": os.environ["X"], "region": os.environ["AWS_REGION"],
                    "memory": context.memory_limit_in_mb, "arn": context.invoked_function_arn,
                    "left": context.get_remaining_time_in_millis()}
        """,
        Environment={"Variables": {"X": "1"}},
        Timeout=900,
    )
    found, error = invoke(aws, arn, {"a": [1]})
    assert error is None
    assert 600_000 < found.pop("left") <= 900_000
    assert found == {"event": {"a": [1]}, "x": "1", "region": "eu-north-1", "memory": "256", "arn": arn}


def test_process_stays_warm_until_changed(aws: LocalAws, deploy: Deploy) -> None:
    """One process serves invocation after invocation; a changed configuration starts a new one."""
    arn = deploy("import os\ndef handler(event, context):\n    return os.getpid()\n")
    first, second = invoke(aws, arn), invoke(aws, arn)
    assert first == second
    aws.place.client("lambda").update_function_configuration(FunctionName=arn, Environment={"Variables": {"A": "b"}})
    assert invoke(aws, arn) != first


def test_each_environment_runs_one_at_a_time(aws: LocalAws, deploy: Deploy, tmp_path: Path) -> None:
    """Two invocations at once run in two processes; beyond the reserved concurrency they are throttled."""
    arn = deploy(
        """
        import os, pathlib, time
        def handler(event, context):
            here = pathlib.Path(os.environ["HERE"])
            (here / str(os.getpid())).touch()
            while not (here / "end").exists():
                time.sleep(0.02)
            return os.getpid()
        """,
        Environment={"Variables": {"HERE": str(tmp_path)}},
        Timeout=900,
    )
    aws.place.client("lambda").put_function_concurrency(FunctionName=arn, ReservedConcurrentExecutions=2)
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(invoke, aws, arn) for _ in range(2)]
        try:
            eventually(lambda: len(list(tmp_path.iterdir())) == 2)
            with pytest.raises(ClientError, match="TooManyRequestsException"):
                invoke(aws, arn)
        finally:
            (tmp_path / "end").touch()
        processes = {call.result()[0] for call in running}
    assert {path.name for path in tmp_path.iterdir()} == {*map(str, processes), "end"}
    assert len(processes) == 2


def test_timeout_ends_the_process(aws: LocalAws, deploy: Deploy) -> None:
    """A function that takes too long is ended with AWS's words, and the next invocation starts afresh."""
    arn = deploy(
        """
        import time
        def handler(event, context):
            time.sleep(event)
            return "done"
        """,
        Timeout=3,
    )
    found, error = invoke(aws, arn, 3600)
    assert error == "Unhandled"
    assert "Task timed out after 3.00 seconds" in found["errorMessage"]
    assert invoke(aws, arn, 0) == ("done", None)


def test_memory_is_limited(aws: LocalAws, deploy: Deploy) -> None:
    """A function that outgrows its memory is killed, not the machine."""
    arn = deploy(
        """
        import time
        def handler(event, context):
            hoard = bytearray(b"x" * (300 << 20))
            time.sleep(3600)
        """,
        MemorySize=128,
        Timeout=900,
    )
    found, error = invoke(aws, arn)
    assert (error, found["errorType"]) == ("Unhandled", "Runtime.OutOfMemory")


def test_only_the_bundle_and_boto3_are_there(aws: LocalAws, deploy: Deploy) -> None:
    """This machine's packages are hidden, so what a bundle lacks fails here as on AWS; boto3 is the runtime's."""
    arn = deploy(
        """
        import importlib.util
        def handler(event, context):
            return [importlib.util.find_spec(name) is not None for name in ("boto3", "moto", "pytest", "demo")]
        """
    )
    assert invoke(aws, arn) == ([True, False, False, False], None)


def test_errors_and_broken_imports_are_answers(aws: LocalAws, deploy: Deploy) -> None:
    """What a handler raises, and what its import raises, comes back in AWS's shape."""
    failing = deploy("def handler(event, context):\n    raise KeyError('lost')\n")
    found, error = invoke(aws, failing)
    assert (error, found["errorType"], found["errorMessage"]) == ("Unhandled", "KeyError", "'lost'")
    broken = deploy("import not_in_the_bundle\n")
    found, error = invoke(aws, broken)
    assert (error, found["errorType"]) == ("Unhandled", "ModuleNotFoundError")
    exiting = deploy("import os\ndef handler(event, context):\n    os._exit(3)\n")
    found, error = invoke(aws, exiting)
    assert (error, found["errorType"]) == ("Unhandled", "Runtime.ExitError")


def test_foreign_runtime_is_refused(deploy: Deploy) -> None:
    """A function for another interpreter or processor is refused when it is created, naming both."""
    other = "x86_64" if PROCESSOR == "arm64" else "arm64"
    with pytest.raises(ClientError, match=f"found .* on {other}"):
        deploy("", Architectures=[other])
    with pytest.raises(ClientError, match=r"found nodejs22\.x"):
        deploy("", Runtime="nodejs22.x")


def test_output_is_logged_and_metrics_counted(aws: LocalAws, deploy: Deploy, name: str) -> None:
    """Printed lines reach CloudWatch Logs, embedded metrics CloudWatch."""
    aws.place.client("logs").create_log_group(logGroupName=f"/{name}")
    arn = deploy(
        """
        import json, time
        def handler(event, context):
            print("a line")
            print(json.dumps({"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [
                {"Namespace": event, "Dimensions": [["d"]], "Metrics": [{"Name": "M"}]}]}, "d": "v", "M": 4}))
        """,
        LoggingConfig={"LogGroup": f"/{name}"},
    )
    answer = aws.place.client("lambda").invoke(FunctionName=arn, Payload=json.dumps(name), LogType="Tail")
    assert "a line" in base64.b64decode(answer["LogResult"]).decode()
    logs = aws.place.client("logs")
    messages = eventually(
        lambda: [event["message"] for event in logs.filter_log_events(logGroupName=f"/{name}")["events"]]
    )
    assert messages[0].startswith("START RequestId")
    assert "a line" in messages
    metric = eventually(lambda: aws.place.client("cloudwatch").list_metrics(Namespace=name)["Metrics"])
    assert metric == [{"Namespace": name, "MetricName": "M", "Dimensions": [{"Name": "d", "Value": "v"}]}]


def test_failed_messages_come_back_and_end_in_the_dead_letters(
    aws: LocalAws, deploy: Deploy, name: str, tmp_path: Path
) -> None:
    """Of a batch only the reported messages are delivered again, as often as the redrive policy says."""
    sqs, backend = aws.place.client("sqs"), aws.place.backend("sqs")
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    redrive = {"deadLetterTargetArn": aws.place.arn("sqs", f"{name}-dead"), "maxReceiveCount": 2}
    queue = sqs.create_queue(
        QueueName=name, Attributes={"VisibilityTimeout": "3600", "RedrivePolicy": json.dumps(redrive)}
    )["QueueUrl"]
    arn = deploy(
        """
        import os
        def handler(event, context):
            with open(os.environ["NOTE"], "a") as note:
                print(*(record["body"] for record in event["Records"]), sep="\\n", file=note)
            bad = [record for record in event["Records"] if record["body"] == "bad"]
            return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in bad]}
        """,
        Environment={"Variables": {"NOTE": str(tmp_path / "note")}},
        Timeout=900,
    )
    aws.place.client("lambda").create_event_source_mapping(
        EventSourceArn=aws.place.arn("sqs", name), FunctionName=arn, FunctionResponseTypes=["ReportBatchItemFailures"]
    )
    for body in ("good", "bad", "good"):
        sqs.send_message(QueueUrl=queue, MessageBody=body)

    def delivered() -> list[str]:
        return sorted((tmp_path / "note").read_text().split()) if (tmp_path / "note").exists() else []

    def bring_back() -> None:
        (bad,) = backend.queues[name]._messages
        backend.change_message_visibility(name, bad.receipt_handle, 0)

    eventually(lambda: len(delivered()) == 3 and len(backend.queues[name]._messages) == 1)
    bring_back()
    eventually(lambda: len(delivered()) == 4)
    bring_back()
    (letter,) = eventually(lambda: sqs.receive_message(QueueUrl=dead).get("Messages"))
    assert letter["Body"] == "bad"
    assert delivered() == ["bad", "bad", "good", "good"]
    counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert (counts["ApproximateNumberOfMessages"], counts["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (None, set()),
        ({}, set()),
        ({"batchItemFailures": []}, set()),
        ({"batchItemFailures": [{"itemIdentifier": "a"}]}, {"a"}),
        ({"batchItemFailures": [{"itemIdentifier": "unknown"}]}, {"a", "b"}),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, {"a", "b"}),
        ({"batchItemFailures": ["a"]}, {"a", "b"}),
        ("text", {"a", "b"}),
    ],
)
def test_reported_failures_as_lambda_reads_them(answer: Json, wanted: set[str]) -> None:
    """An answer that Lambda cannot read fails the whole batch, so nothing is lost."""
    assert reported_failures(answer, {"a", "b"}) == wanted


def test_message_beside_a_deletion_stays(aws: LocalAws, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one thread deletes a message and another moves one to the dead letters, a third message is not lost."""
    client, sqs = aws.place.client("sqs"), aws.place.backend("sqs")
    client.create_queue(QueueName=f"{name}-dead")
    redrive = {"deadLetterTargetArn": aws.place.arn("sqs", f"{name}-dead"), "maxReceiveCount": 1}
    client.create_queue(QueueName=name, Attributes={"RedrivePolicy": json.dumps(redrive)})
    for body in ("failed", "beside", "done"):
        sqs.send_message(name, body)
    failed, _, done = sqs.receive_message(name, 3, 0, 30)
    sqs.change_message_visibility(name, failed.receipt_handle, 0)
    deleting = threading.Event()
    calls = itertools.count(1)
    at_once = Message.had_receipt_handle

    def slowly(message: Json, handle: str) -> bool:
        if next(calls) == 4:  # three to find the message; from the fourth on, moto copies what stays
            deleting.set()
            time.sleep(0.3)
        return bool(at_once(message, handle))

    monkeypatch.setattr(Message, "had_receipt_handle", slowly)
    deletion = threading.Thread(target=sqs.delete_message, args=(name, done.receipt_handle))
    deletion.start()
    deleting.wait()
    assert sqs.receive_message(name, 1, 0, 30) == []
    deletion.join()
    assert [message.body for message in sqs.queues[f"{name}-dead"].messages] == ["failed"]
    assert [message.body for message in sqs.queues[name]._messages] == ["beside"]


def test_pattern_and_schedule_reach_a_queue(aws: LocalAws, name: str) -> None:
    """A matching event arrives in AWS's whole envelope, another does not; a rate fires by itself."""
    events, sqs = aws.place.client("events"), aws.place.client("sqs")
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    target = {"Id": "q", "Arn": aws.place.arn("sqs", name)}
    pattern = {"source": [name], "detail": {"kind": [{"prefix": "launch"}], "count": [{"numeric": [">", 3]}]}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[target])
    for kind, count in (("launch-1", 4), ("launch-2", 3), ("other", 4)):
        detail = json.dumps({"kind": kind, "count": count})
        events.put_events(Entries=[{"Source": name, "DetailType": "Test", "Detail": detail, "Resources": ["arn:x"]}])
    (message,) = eventually(lambda: sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"))
    found = json.loads(message["Body"])
    assert found.pop("id")
    assert found.pop("time").endswith("Z")
    assert found == {
        "version": "0",
        "detail-type": "Test",
        "source": name,
        "account": "123456789012",
        "region": "eu-north-1",
        "resources": ["arn:x"],
        "detail": {"kind": "launch-1", "count": 4},
    }
    events.put_rule(Name=f"{name}-tick", ScheduleExpression="rate(1 minute)")
    events.put_targets(Rule=f"{name}-tick", Targets=[target])
    (tick,) = eventually(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
    assert json.loads(tick["Body"])["detail-type"] == "Scheduled Event"
    assert json.loads(tick["Body"])["resources"] == [aws.place.arn("events", f"rule/{name}-tick")]
    events.disable_rule(Name=f"{name}-tick")


def test_unknown_schedule_is_refused(aws: LocalAws, name: str) -> None:
    """A schedule that would never fire here is refused when the rule is made."""
    with pytest.raises(ClientError, match="knows no other schedule"):
        aws.place.client("events").put_rule(Name=name, ScheduleExpression="cron(0 12 * * ? *)")


def test_rule_invokes_a_function_until_it_succeeds(aws: LocalAws, deploy: Deploy, name: str, tmp_path: Path) -> None:
    """A function that a rule invokes gets the event again after it failed."""
    arn = deploy(
        """
        import os
        def handler(event, context):
            with open(os.environ["NOTE"], "a") as note:
                note.write(event["detail"]["word"])
            if os.path.getsize(os.environ["NOTE"]) < 4:
                raise RuntimeError("not yet")
        """,
        Environment={"Variables": {"NOTE": str(tmp_path / "note")}},
    )
    events = aws.place.client("events")
    rule = events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))["RuleArn"]
    events.put_targets(Rule=name, Targets=[{"Id": "f", "Arn": arn}])
    permit(aws, arn, rule)
    events.put_events(Entries=[{"Source": name, "DetailType": "Test", "Detail": '{"word": "hi"}'}])
    eventually(lambda: (tmp_path / "note").exists() and (tmp_path / "note").read_text() == "hihi")


def test_rule_without_permission_invokes_nothing(
    aws: LocalAws, deploy: Deploy, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule invokes a function that lets this very rule, and no other that names it as its target."""
    later: list[tuple[str, bytes]] = []
    monkeypatch.setattr(aws.functions, "invoke_later", lambda arn, payload: later.append((arn, payload)))
    arn = deploy("def handler(event, context): return None")
    events = aws.place.client("events")
    for rule in (name, f"{name}-other"):
        made = events.put_rule(Name=rule, EventPattern=json.dumps({"source": [rule]}))["RuleArn"]
        retry = {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
        events.put_targets(Rule=rule, Targets=[{"Id": "f", "Arn": arn, "RetryPolicy": retry, "Input": '"hi"'}])
        if rule == name:
            permit(aws, arn, made)
    for rule in (f"{name}-other", name):
        events.put_events(Entries=[{"Source": rule, "DetailType": "Test", "Detail": "{}"}])
    assert eventually(lambda: later) == [(arn, b'"hi"')]


def test_output_comes_while_the_function_runs(aws: LocalAws, deploy: Deploy, name: str, tmp_path: Path) -> None:
    """A metric that a long invocation prints counts at once, in its own resolution, and other functions answer."""
    arn = deploy(
        """
        import json, os, pathlib, time
        def handler(event, context):
            metric = {"Name": "Load", "Unit": "Percent", "StorageResolution": 1}
            directive = {"Namespace": event, "Dimensions": [[]], "Metrics": [metric]}
            line = {"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}, "Load": [1, 2, 3]}
            print(json.dumps(line))
            print("half a line", end="", flush=True)
            while not pathlib.Path(os.environ["END"]).exists():
                time.sleep(0.02)
            return "ended"
        """,
        Environment={"Variables": {"END": str(tmp_path / "end")}},
        Timeout=70,
    )
    other = deploy("def handler(event, context): return event")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(invoke, aws, arn, name)
        try:
            found = eventually(
                lambda: [datum for datum in aws.place.backend("cloudwatch").metric_data if datum.namespace == name]
            )
            assert invoke(aws, other, 7) == (7, None)
            assert not running.done()
        finally:
            (tmp_path / "end").touch()
        assert running.result() == ("ended", None)
    assert [datum.value for datum in found] == [1, 2, 3]
    assert found[0].timestamp.microsecond != 0 or found[0].timestamp.second % 60 != 0


def test_throttled_event_waits_and_counts_no_attempt(aws: LocalAws, deploy: Deploy, name: str, tmp_path: Path) -> None:
    """An event for a function whose environments are all busy is handled later, also where nothing is retried."""
    arn = deploy(
        """
        import os, pathlib, time
        def handler(event, context):
            here = pathlib.Path(os.environ["HERE"])
            (here / event).touch()
            while not (here / "end").exists():
                time.sleep(0.02)
        """,
        Environment={"Variables": {"HERE": str(tmp_path)}},
        Timeout=70,
    )
    client = aws.place.client("lambda")
    client.put_function_concurrency(FunctionName=arn, ReservedConcurrentExecutions=1)
    client.put_function_event_invoke_config(FunctionName=arn, MaximumRetryAttempts=0)
    client.invoke(FunctionName=arn, InvocationType="Event", Payload=b'"first"')
    eventually((tmp_path / "first").exists)
    client.invoke(FunctionName=arn, InvocationType="Event", Payload=b'"second"')
    time.sleep(0.3)
    assert not (tmp_path / "second").exists()
    (tmp_path / "end").touch()
    eventually((tmp_path / "second").exists)


def test_failed_event_is_retried_as_configured(aws: LocalAws, deploy: Deploy, name: str, tmp_path: Path) -> None:
    """With no retry attempts a failing function gets its event once."""
    arn = deploy(
        """
        import os
        def handler(event, context):
            with open(os.environ["NOTE"], "a") as note:
                note.write(event)
            raise RuntimeError("no")
        """,
        Environment={"Variables": {"NOTE": str(tmp_path / "note")}},
    )
    client = aws.place.client("lambda")
    client.put_function_event_invoke_config(FunctionName=arn, MaximumRetryAttempts=0)
    client.invoke(FunctionName=arn, InvocationType="Event", Payload=b'"x"')
    eventually((tmp_path / "note").exists)
    time.sleep(3.0)
    assert (tmp_path / "note").read_text() == "x"
