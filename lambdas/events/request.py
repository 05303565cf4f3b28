"""What a node asks of the function URL, payload format 2.0; it must not know whether it will be granted.

Source: AWS Lambda Developer Guide, "Invoking Lambda function URLs", request payload format.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass

from core_agent.contract.names import InstanceId, PublicKey, shown
from core_agent.contract.shapes import build
from core_agent.errors import ContractError
from lambdas.errors import BodyTooLarge, MethodRefused, PathUnknown
from lambdas.events import fields
from lambdas.events.fields import Fields
from lambdas.events.identity import caller

MAX_BODY_BYTES = 1024  # an enrollment needs about 70
ENROLL_PATH = "/enroll"
READY_PATH = "/ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Enroll:
    """``instance`` asks for a tunnel for ``public_key``."""

    instance: InstanceId
    public_key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """``instance`` says that its application answers."""

    instance: InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollBody:
    """The body of ``POST /enroll``."""

    public_key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyBody:
    """The body of ``POST /ready``: ``{}``."""


def parse(event: Mapping[str, object], *, account: str, role: str) -> Enroll | Ready:
    """Return what is asked and by which instance.

    Raises ``Forbidden``, ``PathUnknown``, ``MethodRefused``, ``BodyTooLarge``, or ``ContractError`` naming the field of
    the body. Who asks is settled first: a stranger learns nothing else.
    """
    instance = caller(event, account=account, role=role)
    http = fields.member(fields.member(event, "requestContext", "request"), "http", "requestContext")
    path = fields.string(http, "path", "http")
    if path not in {ENROLL_PATH, READY_PATH}:
        raise PathUnknown(f"reading the request: wanted {ENROLL_PATH} or {READY_PATH}, found {shown(path)}")
    method = fields.string(http, "method", "http")
    if method != "POST":
        raise MethodRefused(f"reading the request: wanted POST {path}, found {shown(method)}")
    body = _body(event)
    if path == READY_PATH:
        build(ReadyBody, body, "body")
        return Ready(instance=instance)
    return Enroll(instance=instance, public_key=build(EnrollBody, body, "body").public_key)


def _body(event: Fields) -> object:
    text = event.get("body") or ""
    if not isinstance(text, str):
        raise ContractError(f"body: wanted text, found {shown(text)}")
    # Base64 is four characters for three bytes: what is longer than this is too long either way.
    if len(text) > MAX_BODY_BYTES * 4 // 3 + 4:
        raise BodyTooLarge(f"body: wanted at most {MAX_BODY_BYTES} bytes, found more")
    raw = _decoded(text) if event.get("isBase64Encoded") is True else text.encode(errors="surrogatepass")
    if len(raw) > MAX_BODY_BYTES:
        raise BodyTooLarge(f"body: wanted at most {MAX_BODY_BYTES} bytes, found {len(raw)}")
    try:
        return json.loads(raw, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError):
        raise ContractError(f"body: wanted one JSON object, found {shown(text)}") from None


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ContractError(f"body: wanted base64, found {shown(text)}") from None


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    body = dict(pairs)
    if len(body) != len(pairs):
        raise ContractError(f"body: wanted each field once, found {shown([name for name, _ in pairs])}")
    return body
