"""Pure: knows a function URL's event and answer, payload format 2.0; it must not know sockets or signatures.

https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """An EC2 instance in its role's session."""

    access_key_id: str
    account: str
    role_name: str
    role_id: str
    instance_id: str

    @property
    def session_arn(self) -> str:
        """Who called, as ``sts get-caller-identity`` would say."""
        return f"arn:aws:sts::{self.account}:assumed-role/{self.role_name}/{self.instance_id}"

    @property
    def user_id(self) -> str:
        """The role's unique id and the session's name."""
        return f"{self.role_id}:{self.instance_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """What goes back over HTTP."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[str, ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """What came over HTTP: ``headers`` have lower-case names, ``target`` is the path and query, undecoded."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    source_ip: str
    protocol: str


def event(request: HttpRequest, *, caller: Caller, request_id: str, now: datetime) -> dict[str, Any]:
    """The event that the handler gets."""
    headers, body = request.headers, request.body
    raw_path, _, query = request.target.partition("?")
    path = unquote(raw_path)
    encoded, text = _body(headers, body)
    host = headers.get("host", "")
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    document: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": dict(headers),
        "requestContext": {
            "accountId": caller.account,
            "apiId": host.partition(".")[0],
            "authorizer": {
                "iam": {
                    "accessKey": caller.access_key_id,
                    "accountId": caller.account,
                    "callerId": caller.user_id,
                    "cognitoIdentity": None,
                    "principalOrgId": None,
                    "userArn": caller.session_arn,
                    "userId": caller.user_id,
                }
            },
            "domainName": host,
            "domainPrefix": host.partition(".")[0],
            "http": {
                "method": request.method,
                "path": path,
                "protocol": request.protocol,
                "sourceIp": request.source_ip,
                "userAgent": headers.get("user-agent"),
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": now.astimezone(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(now.timestamp() * 1000),
        },
        "isBase64Encoded": encoded,
    }
    if parameters:
        document["queryStringParameters"] = parameters
    if body:
        document["body"] = text
    return document


def answer(payload: bytes) -> HttpAnswer:
    """The handler's answer as HTTP: with ``statusCode`` it says all; anything else is the body, status 200."""
    value = json.loads(payload)
    if not isinstance(value, dict) or "statusCode" not in value:
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        return HttpAnswer(status=200, headers={"content-type": "application/json"}, body=body)
    text = value.get("body") or ""
    if not isinstance(text, str):
        text = json.dumps(text)
    headers = {name.lower(): str(content) for name, content in (value.get("headers") or {}).items()}
    headers.setdefault("content-type", "application/json")
    return HttpAnswer(
        status=int(value["statusCode"]),
        headers=headers,
        cookies=tuple(value.get("cookies") or ()),
        body=base64.b64decode(text) if value.get("isBase64Encoded") else text.encode(),
    )


def _body(headers: Mapping[str, str], body: bytes) -> tuple[bool, str]:
    """Text for the content types that AWS takes for text, base64 for all others."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    textual = kind.startswith("text/") or kind in {
        "application/json",
        "application/xml",
        "application/javascript",
    }
    if textual:
        try:
            return False, body.decode()
        except UnicodeDecodeError:
            pass
    return (True, base64.b64encode(body).decode()) if body else (False, "")
