"""The deployed house: the real stacks, functions from their bundle, one real node; what it does with bad input.

Each refusal is asked of the outermost door, the function URL, the queue or SSH, and must change nothing on the core.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from core_agent.contract.messages import NodeReport, Phase
from demo import configuration
from demo.aws.credentials import InstanceCredentials
from demo.hosts.switch import API_ADDRESS
from demo.house import House
from tests.integration.inside.real_bridge import until

REGION = configuration.REGION


@dataclass
class Deployed:
    """The house with one node active, and the ways to speak to it."""

    house: House
    url_host: str

    @property
    def node(self) -> NodeReport:
        """The one node, as the core sees it now."""
        (node,) = self.house.core.ask_facts().nodes
        return node

    def credentials(self, instance_id: str | None = None) -> InstanceCredentials:
        """Fresh credentials of the running instance, or of a made-up one of the same role."""
        (instance,) = self.house.instances.running.values()
        machine = instance.machine
        return self.house.aws.credentials.mint(
            dataclasses.replace(machine, instance_id=instance_id or machine.instance_id)
        )

    def post(self, path: str, body: str, credentials: InstanceCredentials | None) -> tuple[int, dict[str, Any], str]:
        """POST to the function URL with curl, signed unless ``credentials`` is None: (status, JSON, headers)."""
        headers = self.house.folder / "headers"
        resolve = f"{self.url_host}:443:{API_ADDRESS}"
        argv = ["curl", "--silent", "--show-error", "--cacert", str(self.house.folder / "authority.pem")]
        argv += ["--resolve", resolve, "--config", "-", "--data-raw", body, "--dump-header", str(headers)]
        argv += ["--header", "Content-Type: application/json", "--write-out", "\n%{http_code}"]
        signer = ""
        if credentials is not None:
            argv += ["--aws-sigv4", f"aws:amz:{REGION}:lambda"]
            signer = (
                f'user = "{credentials.access_key_id}:{credentials.secret_access_key}"\n'
                f'header = "x-amz-security-token: {credentials.token}"\n'
            )
        argv.append(f"https://{self.url_host}/{path}")
        done = subprocess.run(argv, input=signer, capture_output=True, text=True, check=True, timeout=60)
        text, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(text), headers.read_text().lower()

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes a client's class at run time
        """A client of the local AWS."""
        return self.house.aws.place.client(service)

    def queues(self, function: str) -> tuple[str, str]:
        """The URLs of the queue that ``function`` reads and of its dead-letter queue."""
        mappings = self.client("lambda").list_event_source_mappings(FunctionName=f"{configuration.NAME}-{function}")
        sqs = self.client("sqs")
        name = mappings["EventSourceMappings"][0]["EventSourceArn"].rpartition(":")[2]
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        policy = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]["RedrivePolicy"]
        dead = json.loads(policy)["deadLetterTargetArn"].rpartition(":")[2]
        return url, sqs.get_queue_url(QueueName=dead)["QueueUrl"]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Deploy once for the module; one node joins."""
    house = House(tmp_path_factory.mktemp("house") / "folder")
    house.build_core()
    house.open_aws()
    house.fab("publish-key")
    house.deploy(lambda _: None)
    assert house.group().minimum == 1  # below which no alarm goes
    burst = house.settings.burst
    grown = [(Phase.ACTIVE, burst.weight * burst.calm_percent // 100)]  # its weight rises for a while
    until(
        lambda: [(node.phase, node.weight) for node in house.core.ask_facts().nodes] == grown,
        "one active node with its whole weight",
        limit_s=90,
    )
    yield Deployed(house, next(iter(house.url_names())))
    house.close()


@pytest.fixture(autouse=True)
def _nothing_changes(deployed: Deployed) -> Iterator[None]:
    """Whatever a test asks for, the node is as it was, and nothing is left to do."""
    before = deployed.node
    yield
    after = deployed.node
    same = ("instance", "phase", "address", "hold", "server", "weight")
    assert [getattr(after, name) for name in same] == [getattr(before, name) for name in same]
    assert deployed.house.core.ask_facts().pending_steps == 0


def test_the_nodes_own_signature_is_answered_again(deployed: Deployed) -> None:
    """The positive case that the refusals below stand beside: the same key, signed by the node, same tunnel."""
    (instance,) = deployed.house.instances.running.values()
    key = instance.host.run(("wg", "show", "wg0", "public-key")).stdout.decode().strip()
    status, answer, _ = deployed.post("enroll", json.dumps({"public_key": key}), deployed.credentials())
    assert (status, answer["address"]) == (200, f"{deployed.node.address}/32")


def test_an_unsigned_request_is_refused(deployed: Deployed) -> None:
    """AWS's own 403, before any function runs."""
    status, answer, _ = deployed.post("enroll", "{}", None)
    assert (status, answer) == (403, {"Message": "Forbidden"})


def test_a_wrong_signature_is_refused(deployed: Deployed) -> None:
    """The right key id with another secret."""
    forged = dataclasses.replace(deployed.credentials(), secret_access_key="A" * 40)
    status, answer, _ = deployed.post("enroll", "{}", forged)
    assert status == 403
    assert "signature" in answer["Message"].lower()


def test_an_instance_outside_the_group_is_refused(deployed: Deployed) -> None:
    """A genuine signature of an instance that the group does not have."""
    key = base64.b64encode(os.urandom(32)).decode()
    stranger = deployed.credentials("i-0123456789abcdef0")
    status, answer, _ = deployed.post("enroll", json.dumps({"public_key": key}), stranger)
    assert status == 403
    assert "i-0123456789abcdef0" in answer["error"]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ("{}", 400, "public_key"),
        ("nonsense", 400, "JSON"),
        ('{"public_key": "AAAA"}', 400, "wanted a WireGuard public key"),
        ('{"public_key": "%s", "instance": "i-1"}', 400, "instance"),
        ('{"public_key": "%s"}', 409, "may change its key only when its seat is renewed"),
    ],
)
def test_a_bad_enrolment_is_refused(deployed: Deployed, body: str, status: int, says: str) -> None:
    """A malformed body names its field; another key for the live node is not taken."""
    fresh = base64.b64encode(os.urandom(32)).decode()
    found, answer, _ = deployed.post("enroll", body.replace("%s", fresh), deployed.credentials())
    assert found == status, answer
    assert says in answer["error"]


def test_a_stolen_key_is_refused(deployed: Deployed) -> None:
    """The core's own public key, shown by a genuine node."""
    stolen = deployed.house.core.host.run(("wg", "show", "wg0", "public-key")).stdout.decode().strip()
    status, answer, _ = deployed.post("enroll", json.dumps({"public_key": stolen}), deployed.credentials())
    assert status == 409
    assert "found the key of the core" in answer["error"]


def test_a_message_of_the_wrong_version_is_refused(deployed: Deployed) -> None:
    """Through SSH with the genuine key: named, and answered in the contract."""
    house = deployed.house
    argv = ("ssh", "-F", "none", "-i", str(house._identity), "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes")
    known = ("-o", f"UserKnownHostsFile={house.folder / 'known'}", "-o", "LogLevel=ERROR")
    document = b'{"version":9,"id":"a","command":"SetBurst","body":{"level_percent":0,"reason":"x"}}'
    done = subprocess.run(
        (*argv, *known, "drawbridge@192.0.2.1", "drawbridge"),
        input=document,
        capture_output=True,
        check=False,
        timeout=20,
    )
    assert json.loads(done.stdout)["failed"] == {"message": "request.version: wanted 3, found 9", "retryable": False}


def test_a_core_that_cannot_be_reached_is_said_and_healed(deployed: Deployed) -> None:
    """With sshd down the node hears 503 and when to come back; afterwards the same request is answered."""
    core = deployed.house.core
    core.host.run(("pkill", "-KILL", "sshd"))  # the listener and every warm connection
    try:
        status, answer, headers = deployed.post("ready", "{}", deployed.credentials())
    finally:
        core._start_sshd()
    assert (status, answer["retryable"]) == (503, True)
    assert "retry-after:" in headers
    assert deployed.post("ready", "{}", deployed.credentials())[:2] == (200, {"phase": "active"})


def test_a_message_that_nothing_can_mend_becomes_a_dead_letter_with_its_reason(deployed: Deployed) -> None:
    """Garbage in the fleet's queue: kept whole in the dead-letter queue, with words."""
    sqs = deployed.client("sqs")
    queue, dead = deployed.queues("fleet")
    sqs.send_message(QueueUrl=queue, MessageBody="this is no event")
    letters: list[Any] = []

    def arrived() -> bool:
        answer = sqs.receive_message(QueueUrl=dead, MessageAttributeNames=["All"], MaxNumberOfMessages=10)
        letters.extend(answer.get("Messages", []))
        return bool(letters)

    until(arrived, "the dead letter", limit_s=30)
    (letter,) = letters
    assert letter["Body"] == "this is no event"
    assert "wanted" in letter["MessageAttributes"]["Reason"]["StringValue"]


def test_the_alarm_turns_the_level(deployed: Deployed) -> None:
    """A saturated core's ALARM raises the level: through rule, queue, function and SSH."""
    house, before = deployed.house, deployed.house.core.ask_facts().burst.level_percent

    def raised() -> bool:
        # Again and again: telemetry finds the core idle, so that the next evaluation takes the state back.
        deployed.client("cloudwatch").set_alarm_state(
            AlarmName=f"{configuration.NAME}-core-saturated", StateValue="ALARM", StateReason="a test"
        )
        return house.core.ask_facts().burst.level_percent == house.settings.burst.alarm_percent

    house.fab("burst", "40", "test: before the alarm")
    until(raised, "the alarm's level", limit_s=30)
    assert "core-saturated" in house.core.ask_facts().burst.reason
    deployed.client("cloudwatch").set_alarm_state(
        AlarmName=f"{configuration.NAME}-core-saturated", StateValue="OK", StateReason="a test"
    )

    def back() -> bool:
        # Again and again: alarms that rang above may still be on their way to the function.
        house.fab("burst", str(before), "test: after the alarm")
        time.sleep(2)
        return house.core.ask_facts().burst.level_percent == before

    until(back, "the level of before", limit_s=60)
