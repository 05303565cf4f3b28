"""The real cdk command against the local AWS: bootstrap, deploy, nothing to do, update, use, refuse, destroy."""

import functools
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from demo.aws.server import LocalAws
from tests.demo_aws.probe import Json, RecordedMachines, eventually, free_port

ROOT = Path(__file__).parents[2]
APP = Path(__file__).with_name("sample") / "app.py"
QUIET = {f"JSII_SILENCE_WARNING_{why}_NODE_VERSION": "20" for why in ("END_OF_LIFE", "DEPRECATED", "UNTESTED")}


class Cdk:
    """The unmodified cdk command line, aimed at the local AWS by environment variables alone."""

    def __init__(self, aws: LocalAws, folder: Path) -> None:
        self._folder = folder
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._environment = {**os.environ, **QUIET, **aws.client_environment, "PATH": path, "HOME": str(folder)}

    def __call__(self, *words: str, app: str, ok: bool = True) -> str:
        """Run ``cdk WORDS`` and return what it said; fails unless it succeeds, or fails if that is wanted."""
        done = subprocess.run(
            (ROOT / "node_modules" / ".bin" / "cdk", *words, "--app", app, "--no-notices", "--no-color"),
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        return done.stdout + done.stderr


def synthesise(folder: Path, *greetings: str) -> None:
    """One assembly of the sample application per greeting, named after it; cdk deploys them with ``--app``."""
    node = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, **QUIET, "PATH": node}
    done = subprocess.run(
        (sys.executable, APP, folder, *greetings), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


STACKS = ("sample-network", "sample-control", "sample-fleet")


@pytest.mark.integration
def test_a_stack_lives_its_life(tmp_path: Path) -> None:
    """Real stacks deploy, deploy again without a change, update, work, and go without a trace; a bad one is refused."""
    machines = RecordedMachines()
    log = tmp_path / "aws.log"
    synthesise(tmp_path, "hello", "goodbye")
    wall = [datetime(2026, 11, 22, 12, tzinfo=UTC)]
    with LocalAws(port=free_port(), machines=machines, log_path=log, minute_s=2.0, now=lambda: wall[0]) as aws:
        cdk = Cdk(aws, tmp_path)
        cdk("bootstrap", "aws://123456789012/eu-north-1", app="")
        deployed = deploy(cdk, tmp_path, "hello")
        assert deployed["Loud"] == "SAY HELLO"
        unchanged = cdk("deploy", *STACKS, "--require-approval", "never", app=str(tmp_path / "hello"))
        assert unchanged.count("(no changes)") == len(STACKS)
        updated = deploy(cdk, tmp_path, "goodbye")
        assert (updated["Loud"], updated["Url"]) == ("SAY GOODBYE", deployed["Url"])
        check_update(aws, deployed["Url"])
        check_scaling(aws)
        eventually(lambda: log.read_text().count("sample-launching CONTINUE") == 2)
        eventually(lambda: log.read_text().count("sample-terminating CONTINUE") == 1)
        eventually(lambda: "swept Scheduled Event aws.events" in log.read_text())
        eventually(lambda: "sample-direct: Scheduled Event" in log.read_text())
        check_dead_letters(aws, updated["Dead"])
        check_schedules(aws, updated["Dead"], wall)
        check_refusal(aws, cdk, str(tmp_path / "goodbye"))
        cdk("destroy", "--all", "--force", app=str(tmp_path / "goodbye"))
        check_nothing_left(aws)
        eventually(lambda: len(machines.asked) == 4)
    launched = {who for what, who in machines.asked if what == "launch"}
    assert launched == {who for what, who in machines.asked if what == "terminate"}
    assert len(launched) == 2


def deploy(cdk: Cdk, folder: Path, greeting: str) -> Json:
    """Deploy the three good stacks and return what the second says of itself."""
    outputs = folder / "outputs.json"
    cdk("deploy", *STACKS, "--require-approval", "never", "--outputs-file", str(outputs), app=str(folder / greeting))
    return json.loads(outputs.read_text())["sample-control"]


def check_update(aws: LocalAws, url: str) -> None:
    """The function has its new environment under its old URL."""
    functions = aws.place.client("lambda")
    (answer,) = [f for f in functions.list_functions()["Functions"] if f["Handler"] == "hold.answer"]
    assert answer["Environment"]["Variables"]["GREETING"] == "goodbye"
    found = functions.get_function_url_config(FunctionName=answer["FunctionName"])
    assert (found["FunctionUrl"], found["AuthType"]) == (url, "AWS_IAM")


def check_scaling(aws: LocalAws) -> None:
    """Hooks hold instances until the deployed function, fed by rule and queue, lets them go; it counts what it did."""
    autoscaling = aws.place.client("autoscaling")

    def states() -> list[str]:
        (group,) = autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        return [instance["LifecycleState"] for instance in group["Instances"]]

    autoscaling.set_desired_capacity(AutoScalingGroupName="sample-group", DesiredCapacity=2)
    eventually(lambda: states() == ["InService"] * 2)
    autoscaling.set_desired_capacity(AutoScalingGroupName="sample-group", DesiredCapacity=1)
    eventually(lambda: states() == ["InService"])
    metrics = eventually(lambda: aws.place.client("cloudwatch").list_metrics(Namespace="Sample")["Metrics"])
    assert metrics[0]["MetricName"] == "Released"


def check_dead_letters(aws: LocalAws, url: str) -> None:
    """A message that always fails ends in the dead letters, once its two deliveries are over."""
    queues = aws.place.backend("sqs")
    body = json.dumps({"poison": True})
    queues.send_message("sample-queue", body)

    def in_flight(deliveries: int) -> list[Json]:
        messages = list(queues.queues["sample-queue"]._messages)
        poison = [message for message in messages if message.body == body and not message.visible]
        return [message for message in poison if message.approximate_receive_count == deliveries]

    for deliveries in (1, 2):
        (poison,) = eventually(functools.partial(in_flight, deliveries))
        queues.change_message_visibility("sample-queue", poison.receipt_handle, 0)
    dead = queues.queues[url.rsplit("/", 1)[1]]
    eventually(lambda: [message.body for message in dead.messages] == [body])


def check_schedules(aws: LocalAws, url: str, wall: list[datetime]) -> None:
    """On Monday the group's scheduled action and the schedule, at its updated hour, do what the templates say."""
    (schedule,) = aws.place.client("scheduler").list_schedules()["Schedules"]
    found = aws.place.client("scheduler").get_schedule(Name=schedule["Name"])
    assert found["ScheduleExpression"] == "cron(30 7 ? * MON *)"
    dead = aws.place.backend("sqs").queues[url.rsplit("/", 1)[1]]
    wall[0] = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)
    eventually(lambda: json.dumps({"at": "2026-11-23T06:30:00Z"}, separators=(",", ":")) in map(body_of, dead.messages))

    def largest() -> int:
        (group,) = aws.place.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
        return int(group["MaxSize"])

    eventually(lambda: largest() == 4)


def body_of(message: Json) -> str:
    """The text of a message in moto's records."""
    return str(message.body)


def check_refusal(aws: LocalAws, cdk: Cdk, assembly: str) -> None:
    """A stack with an unsupported type is named, and taken back whole."""
    said = cdk("deploy", "sample-bad", "--require-approval", "never", app=assembly, ok=False)
    assert "the resource type AWS::SNS::Topic is not supported by this local AWS" in said
    (stack,) = aws.place.client("cloudformation").describe_stacks(StackName="sample-bad")["Stacks"]
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "sample-fine" not in aws.place.backend("sqs").queues


def check_nothing_left(aws: LocalAws) -> None:
    """Only what `cdk bootstrap` made, and what CDK retains by default, is still there."""
    client = aws.place.client
    assert [s["StackName"] for s in client("cloudformation").describe_stacks()["Stacks"]] == ["CDKToolkit"]
    autoscaling = client("autoscaling")
    assert not autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert not autoscaling.describe_policies()["ScalingPolicies"]
    assert not autoscaling.describe_scheduled_actions()["ScheduledUpdateGroupActions"]
    assert not client("scheduler").list_schedules()["Schedules"]
    assert not client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert not client("events").list_rules()["Rules"]
    assert not client("lambda").list_functions()["Functions"]
    assert not aws.place.backend("sqs").queues
    assert not [vpc for vpc in client("ec2").describe_vpcs()["Vpcs"] if not vpc["IsDefault"]]
    retained = [group["logGroupName"] for group in client("logs").describe_log_groups()["logGroups"]]
    assert [name.partition("-vpc")[0] for name in retained] == ["sample-network"]
