"""The real cdk command against the local AWS: bootstrap, deploy, nothing to do, update, use, refuse, destroy."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.demo_aws.probe import RecordedMachines, eventually, free_port

from demo.aws.server import LocalAws

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
    """Real stacks deploy, deploy again without a change, update, hold and release an instance, and go without a trace."""
    machines = RecordedMachines()
    log = tmp_path / "aws.log"
    with LocalAws(port=free_port(), machines=machines, log_path=log, minute_s=2.0) as aws:
        cdk = Cdk(aws, tmp_path)
        synthesise(tmp_path, "hello", "goodbye")
        hello, goodbye = str(tmp_path / "hello"), str(tmp_path / "goodbye")
        cdk("bootstrap", "aws://123456789012/eu-north-1", app="")
        outputs = tmp_path / "outputs.json"
        cdk("deploy", *STACKS, "--require-approval", "never", "--outputs-file", str(outputs), app=hello)
        found = json.loads(outputs.read_text())["sample-control"]
        assert found["Loud"] == "SAY HELLO"

        again = cdk("deploy", *STACKS, "--require-approval", "never", app=hello)
        assert again.count("(no changes)") == len(STACKS)

        updated = cdk("deploy", *STACKS, "--require-approval", "never", "--outputs-file", str(outputs), app=goodbye)
        assert "UPDATE_COMPLETE" in updated
        later = json.loads(outputs.read_text())["sample-control"]
        assert (later["Loud"], later["Url"]) == ("SAY GOODBYE", found["Url"])
        functions = aws.place.client("lambda")
        (answer,) = [f for f in functions.list_functions()["Functions"] if f["Handler"] == "hold.answer"]
        assert answer["Environment"]["Variables"]["GREETING"] == "goodbye"
        url = functions.get_function_url_config(FunctionName=answer["FunctionName"])
        assert (url["FunctionUrl"], url["AuthType"]) == (found["Url"], "AWS_IAM")

        autoscaling = aws.place.client("autoscaling")
        autoscaling.set_desired_capacity(AutoScalingGroupName="sample-group", DesiredCapacity=2)

        def states() -> list[str]:
            (group,) = autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
            return [instance["LifecycleState"] for instance in group["Instances"]]

        assert states() == ["Pending:Wait"] * 2
        eventually(lambda: states() == ["InService"] * 2)
        autoscaling.set_desired_capacity(AutoScalingGroupName="sample-group", DesiredCapacity=1)
        eventually(lambda: states() == ["InService"])
        metrics = eventually(lambda: aws.place.client("cloudwatch").list_metrics(Namespace="Sample")["Metrics"])
        assert metrics[0]["MetricName"] == "Released"
        eventually(lambda: "swept Scheduled Event aws.events" in log.read_text())

        poison = json.dumps({"poison": True})
        aws.place.backend("sqs").send_message("sample-queue", poison)
        dead = later["Dead"].rsplit("/", 1)[1]
        eventually(lambda: aws.place.backend("sqs").queues[dead].messages, within_s=15)

        refused = cdk("deploy", "sample-bad", "--require-approval", "never", app=goodbye, ok=False)
        assert "the resource type AWS::SNS::Topic is not supported by this local AWS" in refused
        stacks = {
            s["StackName"]: s["StackStatus"] for s in aws.place.client("cloudformation").describe_stacks()["Stacks"]
        }
        assert stacks["sample-bad"] == "ROLLBACK_COMPLETE"
        assert "sample-fine" not in aws.place.backend("sqs").queues

        cdk("destroy", "--all", "--force", app=goodbye)
        left = [s["StackName"] for s in aws.place.client("cloudformation").describe_stacks()["Stacks"]]
        assert left == ["CDKToolkit"]
        assert not autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        assert not functions.list_functions()["Functions"]
        assert not aws.place.backend("sqs").queues
        retained = [group["logGroupName"] for group in aws.place.client("logs").describe_log_groups()["logGroups"]]
        assert [name.partition("-vpc")[0] for name in retained] == ["sample-network"]  # a flow log's, by CDK's default
        assert not [vpc for vpc in aws.place.client("ec2").describe_vpcs()["Vpcs"] if not vpc["IsDefault"]]
        eventually(lambda: len(machines.asked) == 4)
    launched = {who for what, who in machines.asked if what == "launch"}
    assert launched == {who for what, who in machines.asked if what == "terminate"}
    assert len(launched) == 2
