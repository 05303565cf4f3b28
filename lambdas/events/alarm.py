"""A CloudWatch alarm changed its state; it must not know what level that means.

Source: Amazon CloudWatch User Guide, "Alarm events and EventBridge".
"""

from __future__ import annotations

from dataclasses import dataclass

from lambdas.events import fields
from lambdas.events.envelope import Metadata
from lambdas.events.fields import Fields

SOURCE = "aws.cloudwatch"
DETAIL_TYPE = "CloudWatch Alarm State Change"
NAME_FIELD = "alarmName"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmChange:
    """The alarm ``name`` entered ``state`` (``OK``, ``ALARM``, ``INSUFFICIENT_DATA``); it may have left it since."""

    metadata: Metadata
    name: str
    state: str


def parse(metadata: Metadata, detail: Fields) -> AlarmChange:
    """Return the event, or raise ``ContractError`` naming the field."""
    return AlarmChange(
        metadata=metadata,
        name=fields.string(detail, NAME_FIELD, "detail"),
        state=fields.string(fields.member(detail, "state", "detail"), "value", "detail.state"),
    )
