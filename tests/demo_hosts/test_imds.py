"""The instance metadata service: nothing without a token of its own, and every refusal with EC2's status."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from demo.aws.credentials import CredentialStore, InstanceCredentials
from demo.aws.machines import Machine, MetadataOptions
from demo.hosts.imds import Answer, Metadata, MetadataServer

TOKEN, TTL = "X-aws-ec2-metadata-token", "X-aws-ec2-metadata-token-ttl-seconds"
MACHINE = Machine(
    instance_id="i-0abc1234def567890",
    account="123456789012",
    region="eu-north-1",
    availability_zone="eu-north-1a",
    group_name="drawbridge-edge",
    image_id="ami-0123456789abcdef0",
    instance_type="t4g.small",
    user_data=b"#!/bin/bash\n",
    role_name="drawbridge-node",
    role_arn="arn:aws:iam::123456789012:role/drawbridge-node",
    private_ip="10.200.0.7",
    metadata_options=MetadataOptions(http_tokens="required", hop_limit=1),
)


class Clock:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now


def metadata(machine: Machine = MACHINE, clock: Clock | None = None) -> Metadata:
    """The service of ``machine``."""
    return Metadata(machine, CredentialStore().mint, clock or Clock())


def token_of(service: Metadata, ttl: str = "60") -> str:
    """A new token."""
    answer = service.answer("PUT", "/latest/api/token", {TTL: ttl})
    assert answer.status == 200
    assert answer.headers == ((TTL, ttl),)
    return answer.body.decode()


def ask(service: Metadata, path: str) -> Answer:
    """The answer to a request with a good token."""
    return service.answer("GET", path, {TOKEN: token_of(service)})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/latest/meta-data/instance-id", "i-0abc1234def567890"),
        ("/latest/meta-data/placement/region", "eu-north-1"),
        ("/latest/meta-data/placement/availability-zone", "eu-north-1a"),
        ("/latest/meta-data/local-ipv4", "10.200.0.7"),
        ("/latest/meta-data/iam/security-credentials/", "drawbridge-node"),
        ("/latest/meta-data/placement", "availability-zone\nregion"),
        ("/latest/", "dynamic/\nmeta-data/\nuser-data"),
        ("/latest/user-data", "#!/bin/bash\n"),
    ],
)
def test_documents_and_folders(path: str, body: str) -> None:
    """With a token, each document has its value and each folder lists its entries."""
    assert ask(metadata(), path) == Answer(status=200, body=body.encode())


def test_credentials_are_in_aws_shape() -> None:
    """The role's credentials have the fields that every AWS SDK reads, with the expiry in UTC."""
    document = json.loads(ask(metadata(), "/latest/meta-data/iam/security-credentials/drawbridge-node").body)
    assert set(document) == {
        "Code", "LastUpdated", "Type", "AccessKeyId", "SecretAccessKey", "Token", "Expiration",
    }  # fmt: skip
    assert (document["Code"], document["Type"]) == ("Success", "AWS-HMAC")
    expires = datetime.strptime(document["Expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert expires > datetime.now(UTC) + timedelta(hours=1)


def test_identity_document_names_the_machine() -> None:
    """The identity document says account, region, instance and address."""
    document = json.loads(ask(metadata(), "/latest/dynamic/instance-identity/document").body)
    assert document["accountId"] == "123456789012"
    assert (document["instanceId"], document["region"]) == (MACHINE.instance_id, "eu-north-1")
    assert document["privateIp"] == "10.200.0.7"


def test_credentials_are_the_same_until_they_are_about_to_expire() -> None:
    """Asking again gives the same credentials; within minutes of their end, new ones."""
    lifetimes = [timedelta(minutes=4), timedelta(hours=6)]
    minted: list[InstanceCredentials] = []

    def mint(machine: Machine) -> InstanceCredentials:
        minted.append(CredentialStore().mint(machine, lifetime=lifetimes[len(minted)]))
        return minted[-1]

    service = Metadata(MACHINE, mint, Clock())
    keys = [
        json.loads(ask(service, "/latest/meta-data/iam/security-credentials/drawbridge-node").body)["AccessKeyId"]
        for _ in range(3)
    ]
    assert keys == [minted[0].access_key_id, minted[1].access_key_id, minted[1].access_key_id]


@pytest.mark.parametrize("token", [None, "", "wrong"])
def test_without_a_good_token_there_is_nothing(token: str | None) -> None:
    """No token, an empty one and a made-up one are 401 for every path, existing or not."""
    service = metadata()
    token_of(service)
    headers = {} if token is None else {TOKEN: token}
    for path in ("/latest/meta-data/instance-id", "/latest/user-data", "/nothing"):
        assert service.answer("GET", path, headers) == Answer(status=401)


def test_token_of_another_instance_is_refused() -> None:
    """A token is good on the instance that issued it, and only there."""
    token = token_of(metadata())
    assert metadata().answer("GET", "/latest/meta-data/instance-id", {TOKEN: token}).status == 401


def test_token_expires() -> None:
    """A token is good for as long as was asked, and no longer."""
    clock = Clock()
    service = metadata(clock=clock)
    token = token_of(service, "60")
    clock.now += 59
    assert service.answer("GET", "/latest/meta-data/instance-id", {TOKEN: token}).status == 200
    clock.now += 1
    assert service.answer("GET", "/latest/meta-data/instance-id", {TOKEN: token}).status == 401


def test_tokens_may_be_optional() -> None:
    """Where the launch template makes tokens optional, a request without one is answered, one with a bad one not."""
    service = metadata(replace(MACHINE, metadata_options=MetadataOptions(http_tokens="optional", hop_limit=1)))
    assert service.answer("GET", "/latest/meta-data/instance-id", {}).status == 200
    assert service.answer("GET", "/latest/meta-data/instance-id", {TOKEN: "wrong"}).status == 401


@pytest.mark.parametrize("ttl", [None, "", "0", "21601", "-1", "60s", "\uff11"])
def test_token_needs_a_lifetime(ttl: str | None) -> None:
    """A token is issued for 1 to 21,600 seconds; anything else is 400."""
    headers = {} if ttl is None else {TTL: ttl}
    assert metadata().answer("PUT", "/latest/api/token", headers) == Answer(status=400)


def test_forwarded_request_gets_no_token() -> None:
    """A request that came through a proxy, X-Forwarded-For says so, gets no token."""
    headers = {TTL: "60", "X-Forwarded-For": "192.0.2.1"}
    assert metadata().answer("PUT", "/latest/api/token", headers) == Answer(status=403)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/latest/api/token", 405),
        ("POST", "/latest/meta-data/instance-id", 405),
        ("PUT", "/latest/meta-data/instance-id", 405),
        ("GET", "/latest/meta-data/nothing", 404),
        ("GET", "/latest/meta-data/iam/security-credentials/other-role", 404),
        ("GET", "/", 404),
    ],
)
def test_what_is_not_there(method: str, path: str, status: int) -> None:
    """Unknown paths are 404 and wrong methods 405."""
    service = metadata()
    assert service.answer(method, path, {TOKEN: token_of(service)}) == Answer(status=status)


def test_instance_without_a_role_has_no_credentials() -> None:
    """Without an instance profile the whole iam folder is missing."""
    service = metadata(replace(MACHINE, role_name=None, role_arn=None))
    assert ask(service, "/latest/meta-data/iam/security-credentials/").status == 404


@pytest.fixture
def url() -> Iterator[str]:
    """A running service on loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = MetadataServer(metadata(), listener)
    server.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.stop()


def test_curl_speaks_with_it(url: str) -> None:
    """Curl gets a token and a document over HTTP, header names in any case, and a bare 401 without the token."""

    def curl(*options: str) -> str:
        argv = ("curl", "--silent", "--show-error", "--max-time", "60", *options)
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    token = curl("-X", "PUT", "-H", f"{TTL.upper()}: 60", f"{url}/latest/api/token")
    asked = (f"{url}/latest/meta-data/instance-id", "-w", " %{http_code}")
    assert curl("-H", f"{TOKEN.lower()}: {token}", *asked) == "i-0abc1234def567890 200"
    assert curl(*asked) == " 401"
    assert curl("-X", "PUT", "-H", f"{TTL}: 60", "-H", "x-forwarded-for: 10.0.0.1", f"{url}/latest/api/token") == ""
