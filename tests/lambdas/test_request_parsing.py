"""Requests of the function URL: only the signature says who asks, and the body is read strictly."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from core_agent.contract.names import InstanceId, PublicKey
from core_agent.errors import ContractError
from lambdas.errors import BodyTooLarge, Forbidden, MethodRefused, PathUnknown
from lambdas.events.request import MAX_BODY_BYTES, Enroll, Ready, parse
from tests.handlers.payloads import ACCOUNT, ROLE, payload

INSTANCE = InstanceId("i-0abc1234def567890")
KEY = PublicKey("xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=")
OTHER = "i-0fff1234def567890"
IAM = "requestContext__authorizer__iam"


def read(name: str = "function-url-enroll", **changes: object) -> Enroll | Ready:
    """Parse one request to our functions."""
    return parse(payload(name, **changes), account=ACCOUNT, role=ROLE)


def arn(*, account: str = ACCOUNT, role: str = ROLE, session: str = INSTANCE) -> str:
    """The ARN of an assumed role's session."""
    return f"arn:aws:sts::{account}:assumed-role/{role}/{session}"


def test_enroll_and_ready() -> None:
    """The two requests carry the signer's instance id, and the key in one of them."""
    assert read() == Enroll(instance=INSTANCE, public_key=KEY)
    assert read("function-url-ready") == Ready(instance=INSTANCE)


def test_base64_is_read() -> None:
    """Lambda hands a body over as base64 when it takes it for binary: it is the same body."""
    body = payload("function-url-enroll")["body"]
    encoded = base64.b64encode(body.encode()).decode()
    assert read(body=encoded, isBase64Encoded=True) == read()


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({f"{IAM}__userArn": arn(account="210987654321")}, f"wanted account {ACCOUNT}"),
        ({f"{IAM}__accountId": "210987654321"}, f"wanted account {ACCOUNT}"),
        ({f"{IAM}__userArn": arn(role="drawbridge-node-eu-north-1-admin")}, f"wanted role {ROLE}"),
        ({f"{IAM}__userArn": arn(role="Drawbridge-node-eu-north-1")}, f"wanted role {ROLE}"),
        ({f"{IAM}__userArn": f"arn:aws:iam::{ACCOUNT}:user/{ROLE}/{INSTANCE}"}, "wanted an instance of role"),
        ({f"{IAM}__userArn": f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"}, "wanted an instance of role"),
        ({f"{IAM}__userArn": f"arn:aws-cn:sts::{ACCOUNT}:assumed-role/{ROLE}/{INSTANCE}"}, "wanted an instance of"),
        ({f"{IAM}__userArn": arn(session=f"x/{INSTANCE}")}, "wanted an instance of role"),
        ({f"{IAM}__userArn": arn(session="operator")}, "wanted a session named by its instance id"),
        ({f"{IAM}__userArn": arn(session=f"{INSTANCE}\n")}, "wanted a session named by its instance id"),
        ({f"{IAM}__userArn": arn(session=INSTANCE.upper())}, "wanted a session named by its instance id"),
        ({f"{IAM}__userArn": arn(session="i-0abc")}, "wanted a session named by its instance id"),
        ({f"{IAM}__userArn": arn(session=OTHER)}, "wanted a user id that ends in"),
        ({f"{IAM}__userId": f"AROAEXAMPLE:{OTHER}"}, "wanted a user id that ends in"),
        ({f"{IAM}__userId": INSTANCE}, "wanted a user id that ends in"),
        ({f"{IAM}__userId": None}, "userId: wanted a string"),
        ({f"{IAM}__userArn": None}, "userArn: wanted a string"),
        ({f"{IAM}__userArn": ""}, "userArn: wanted a string"),
        ({IAM: None}, "wanted a request signed with SigV4"),
        ({"requestContext__authorizer": None}, "wanted a request signed with SigV4"),
        ({"requestContext": None}, "wanted a request signed with SigV4"),
    ],
)
def test_hostile_identities(change: dict[str, Any], wanted: str) -> None:
    """Whoever is not an instance of our role in our account is refused, with what gave it away."""
    with pytest.raises(Forbidden, match=wanted):
        read(**change)


def test_identity_comes_before_everything_else() -> None:
    """A stranger is told nothing about paths, methods or bodies."""
    with pytest.raises(Forbidden):
        read(requestContext__http__path="/no", body="x" * 10_000, requestContext__authorizer__iam=None)


def test_the_body_cannot_name_an_instance() -> None:
    """An instance id in the body is an unknown field, not an identity."""
    with pytest.raises(ContractError, match=r"body\.instance: unknown"):
        read(body=f'{{"public_key": "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", "instance": "{OTHER}"}}')


@pytest.mark.parametrize("path", ["/", "/enroll/", "/Enroll", "/ready/x", "//enroll", "/enroll?x"])
def test_other_paths(path: str) -> None:
    """There are two paths, spelled in one way."""
    with pytest.raises(PathUnknown):
        read(requestContext__http__path=path)


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "OPTIONS", "post"])
def test_other_methods(method: str) -> None:
    """Both paths take POST only."""
    with pytest.raises(MethodRefused, match="wanted POST /enroll"):
        read(requestContext__http__method=method)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("", "body: wanted one JSON object"),
        (None, "body: wanted one JSON object"),
        ("{", "body: wanted one JSON object"),
        ("[]", "body: wanted named fields"),
        ("{}", r"body\.public_key: missing"),
        ('{"public_key": 7}', r"body\.public_key: wanted a string"),
        ('{"public_key": "short"}', r"body\.public_key: wanted a WireGuard public key"),
        ('{"public_key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}', "the key of all zeros"),
        ('{"public_key": "x", "public_key": "y"}', "wanted each field once"),
        ('{"public_key": "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", "x": 1}', r"body\.x: unknown"),
        ("[" * 1000, "body: wanted one JSON object"),
        ("\ud800", "body: wanted one JSON object"),
        (7, "body: wanted text"),
    ],
)
def test_malformed_bodies_name_the_field(body: object, wanted: str) -> None:
    """A broken body is refused with the field, what was wanted and what was found."""
    with pytest.raises(ContractError, match=wanted):
        read(body=body)


@pytest.mark.parametrize("body", ["%%%", "abc", "é"])
def test_broken_base64(body: str) -> None:
    """What claims to be base64 and is not is refused as that."""
    with pytest.raises(ContractError, match="wanted base64"):
        read(body=body, isBase64Encoded=True)


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 6_000_000])
def test_oversize_bodies(size: int) -> None:
    """More than an honest request needs is refused before it is parsed, in either encoding."""
    body = '{"public_key": "' + "A" * size
    with pytest.raises(BodyTooLarge, match=f"at most {MAX_BODY_BYTES} bytes"):
        read(body=body)
    with pytest.raises(BodyTooLarge, match=f"at most {MAX_BODY_BYTES} bytes"):
        read(body=base64.b64encode(body.encode()).decode(), isBase64Encoded=True)


def test_size_is_counted_in_bytes() -> None:
    """Characters of more than one byte count as what they are on the wire."""
    with pytest.raises(BodyTooLarge):
        read(body='"' + "é" * (MAX_BODY_BYTES // 2) + '"')


def test_ready_takes_no_fields() -> None:
    """A field in the body of /ready is unknown; no body at all is no JSON."""
    with pytest.raises(ContractError, match=r"body\.public_key: unknown"):
        read("function-url-ready", body='{"public_key": "x"}')
