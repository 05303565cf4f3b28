"""A function URL's event and answer, payload format 2.0."""

import base64
import json
from datetime import UTC, datetime

import pytest

from demo.aws.payload import Caller, HttpAnswer, HttpRequest, answer, event
from tests.demo_aws.probe import Json

CALLER = Caller(access_key_id="ASIA", account="123456789012", role_name="node", role_id="AROA1", instance_id="i-1")


def made(**more: Json) -> Json:
    """The event of a request, but for what is given."""
    values: Json = {
        "method": "POST",
        "target": "/a%20b?x=1&x=2&y=",
        "headers": {
            "host": "abc.lambda-url.eu-north-1.on.aws",
            "content-type": "application/json",
            "user-agent": "curl",
        },
        "body": b"{}",
        "source_ip": "198.51.100.7",
        "protocol": "HTTP/1.1",
    }
    return event(
        HttpRequest(**(values | more)),
        caller=CALLER,
        request_id="r-1",
        now=datetime(2026, 11, 22, 8, 0, tzinfo=UTC),
    )


def test_event_says_who_called() -> None:
    """The caller appears as AWS shows an EC2 instance's role session."""
    assert made()["requestContext"]["authorizer"]["iam"] == {
        "accessKey": "ASIA",
        "accountId": "123456789012",
        "callerId": "AROA1:i-1",
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": "arn:aws:sts::123456789012:assumed-role/node/i-1",
        "userId": "AROA1:i-1",
    }


def test_event_carries_the_request() -> None:
    """Path, query, method, source and body arrive where AWS puts them."""
    found = made()
    assert (found["version"], found["rawPath"], found["rawQueryString"]) == ("2.0", "/a b", "x=1&x=2&y=")
    assert found["queryStringParameters"] == {"x": "1,2", "y": ""}
    assert found["requestContext"]["http"] == {
        "method": "POST",
        "path": "/a b",
        "protocol": "HTTP/1.1",
        "sourceIp": "198.51.100.7",
        "userAgent": "curl",
    }
    assert found["requestContext"]["domainPrefix"] == "abc"
    assert (found["isBase64Encoded"], found["body"]) == (False, "{}")


def test_binary_body_is_encoded() -> None:
    """A body that is not text arrives as base64, and no body as none."""
    found = made(headers={"host": "h", "content-type": "application/octet-stream"}, body=b"\xff\x00")
    assert found["isBase64Encoded"] is True
    assert base64.b64decode(found["body"]) == b"\xff\x00"
    assert "body" not in made(body=b"")


@pytest.mark.parametrize(
    ("returned", "wanted"),
    [
        (
            {"statusCode": 202, "headers": {"X-A": "b"}, "body": "hi", "cookies": ["c=1"]},
            HttpAnswer(
                status=202, headers={"x-a": "b", "content-type": "application/json"}, cookies=("c=1",), body=b"hi"
            ),
        ),
        (
            {"statusCode": 200, "isBase64Encoded": True, "body": base64.b64encode(b"\xff").decode()},
            HttpAnswer(status=200, headers={"content-type": "application/json"}, body=b"\xff"),
        ),
        ({"a": 1}, HttpAnswer(status=200, headers={"content-type": "application/json"}, body=b'{"a": 1}')),
        ("text", HttpAnswer(status=200, headers={"content-type": "application/json"}, body=b"text")),
    ],
)
def test_answers(returned: Json, wanted: HttpAnswer) -> None:
    """A handler may answer in full or with plain JSON."""
    assert answer(json.dumps(returned).encode()) == wanted
