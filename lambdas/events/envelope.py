"""The outside of every EventBridge event; it must not know what any ``detail`` holds.

Source: Amazon EventBridge User Guide, "AWS service event metadata".
"""

from __future__ import annotations

from dataclasses import dataclass

from lambdas.events import fields
from lambdas.events.fields import Fields

TEST_NOTIFICATION = "autoscaling:TEST_NOTIFICATION"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """Where an event comes from; ``time`` is AWS's own text, ``2026-11-22T08:00:00Z``."""

    id: str
    source: str
    detail_type: str
    account: str
    region: str
    time: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """An event that asks for nothing, why it does not, and still where it came from."""

    reason: str
    metadata: Metadata


def metadata(event: Fields) -> Metadata:
    """Return where ``event`` comes from; raises ``ContractError`` naming the field that is missing or broken."""
    return Metadata(
        id=fields.string(event, "id", "event"),
        source=fields.string(event, "source", "event"),
        detail_type=fields.string(event, "detail-type", "event"),
        account=fields.string(event, "account", "event"),
        region=fields.string(event, "region", "event"),
        time=fields.string(event, "time", "event"),
    )


def notification_metadata(notification: Fields) -> Metadata:
    """Return where a notification comes from that Auto Scaling sent itself, around EventBridge; ``ContractError``.

    Its region stands only in the group's ARN, ``arn:aws:autoscaling:REGION:ACCOUNT:…``.
    """
    arn = fields.string(notification, "AutoScalingGroupARN", "notification")
    return Metadata(
        id=fields.string(notification, "RequestId", "notification"),
        source="aws.autoscaling",
        detail_type=fields.string(notification, "Event", "notification"),
        account=fields.string(notification, "AccountId", "notification"),
        region="".join(arn.split(":")[3:4]),
        time=fields.string(notification, "Time", "notification"),
    )
