"""The HTTPS front of function URLs, asked by curl as a node would ask."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.aws.credentials import InstanceCredentials
from demo.aws.machines import Machine, MetadataOptions
from demo.aws.server import LocalAws

SOURCE = """
def handler(event, context):
    if event["rawPath"] == "/fail":
        raise RuntimeError("asked to")
    iam = event["requestContext"]["authorizer"]["iam"]
    return {"statusCode": 201, "headers": {"X-Sample": "yes"}, "body": iam["userArn"] + " " + event["body"]}
"""


class Door:
    """A deployed function URL and the credentials of a node."""

    def __init__(self, aws: LocalAws, arn: str, ca_path: Path, role: str) -> None:
        self._aws, self._ca_path = aws, ca_path
        self.arn = arn
        self.url = aws.place.client("lambda").create_function_url_config(FunctionName=arn, AuthType="AWS_IAM")[
            "FunctionUrl"
        ]
        machine = Machine(
            instance_id="i-0123456789abcdef0",
            account=aws.place.account,
            region=aws.place.region,
            availability_zone="eu-north-1a",
            group_name="g",
            image_id="ami-1",
            instance_type="t4g.small",
            user_data=b"",
            role_name=role,
            role_arn=f"arn:aws:iam::{aws.place.account}:role/{role}",
            private_ip="10.0.0.9",
            metadata_options=MetadataOptions(http_tokens="required", hop_limit=1),
        )
        self.credentials = aws.credentials.mint(machine)

    def knock(
        self,
        path: str = "enroll",
        *,
        body: str = "{}",
        credentials: InstanceCredentials | None = None,
        sign: bool = True,
    ) -> tuple[int, dict[str, str], str]:
        """Status, headers and body of one POST."""
        port = self._aws.urls.port if self._aws.urls else 0
        host = self.url.removeprefix("https://").removesuffix("/")
        used = credentials or self.credentials
        signing = (
            "--aws-sigv4", "aws:amz:eu-north-1:lambda",
            "--user", f"{used.access_key_id}:{used.secret_access_key}",
            "--header", f"x-amz-security-token: {used.token}",
        )  # fmt: skip
        answer = subprocess.run(
            (
                "curl", "--silent", "--show-error", "--include", "--cacert", str(self._ca_path),
                "--connect-to", f"{host}:443:127.0.0.1:{port}", "--data", body,
                "--header", "content-type: application/json",
                *(signing if sign else ()), f"{self.url}{path}",
            ),
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        head, _, text = answer.partition("\n\n")
        status, *lines = head.splitlines()
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return int(status.split()[1]), headers, text


@pytest.fixture
def role(aws: LocalAws, name: str) -> str:
    """A role without any permission."""
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    aws.place.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    return name


@pytest.fixture
def door(aws: LocalAws, deploy: Callable[..., str], ca_path: Path, role: str) -> Door:
    """The sample function behind its URL."""
    return Door(aws, deploy(SOURCE), ca_path, role)


def permit(aws: LocalAws, role: str, resource: str, *actions: str, effect: str = "Allow") -> None:
    """Give the role one statement of its own."""
    statement: dict[str, Any] = {"Effect": effect, "Action": list(actions), "Resource": resource}
    aws.place.client("iam").put_role_policy(
        RoleName=role,
        PolicyName=effect,
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )


BOTH = ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction")


def test_permitted_node_is_answered(aws: LocalAws, door: Door, role: str) -> None:
    """A signed request of a permitted role reaches the handler, which learns who called; its answer comes back."""
    assert door.url.startswith("https://")
    assert door.url.endswith(".lambda-url.eu-north-1.on.aws/")
    permit(aws, role, door.arn, *BOTH)
    status, headers, body = door.knock(body='{"k": 1}')
    assert (status, headers["x-sample"]) == (201, "yes")
    assert body == f'arn:aws:sts::123456789012:assumed-role/{role}/i-0123456789abcdef0 {{"k": 1}}'


def test_unsigned_and_wrongly_signed_are_refused(aws: LocalAws, door: Door, role: str) -> None:
    """Without a signature, or with another secret, the answer is AWS's 403 and the handler never runs."""
    permit(aws, role, door.arn, *BOTH)
    status, headers, body = door.knock(sign=False)
    assert (status, headers["x-amzn-errortype"]) == (403, "accessdeniedexception")
    assert json.loads(body)["Message"].startswith("Forbidden")
    status, headers, body = door.knock(credentials=replace(door.credentials, secret_access_key="guess"))
    assert (status, headers["x-amzn-errortype"]) == (403, "invalidsignatureexception")
    assert "does not match" in json.loads(body)["Message"]


def test_both_permissions_are_wanted(aws: LocalAws, door: Door, role: str) -> None:
    """A role without both actions, or with a denial, is refused; the function's own policy may allow one."""
    assert door.knock()[0] == 403
    permit(aws, role, door.arn, "lambda:InvokeFunctionUrl")
    assert door.knock()[0] == 403
    aws.place.client("lambda").add_permission(
        FunctionName=door.arn,
        StatementId="s",
        Action="lambda:InvokeFunction",
        Principal=f"arn:aws:iam::123456789012:role/{role}",
    )
    assert door.knock()[0] == 201
    permit(aws, role, "*", "lambda:*", effect="Deny")
    assert door.knock()[0] == 403


def test_failing_function_is_a_bad_gateway(aws: LocalAws, door: Door, role: str) -> None:
    """A function that raises is 502 to the caller, without a word about why."""
    permit(aws, role, door.arn, *BOTH)
    status, _, body = door.knock("fail")
    assert (status, body) == (502, "Internal Server Error")
