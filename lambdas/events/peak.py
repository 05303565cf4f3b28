"""The clock struck for a known peak: its beginning or its end; it must not know what that peak asks for.

It comes from EventBridge Scheduler in the envelope of an EventBridge event: the queue's consumer reads one kind of
document.
Source: EventBridge Scheduler User Guide, "Adding context attributes".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from core_agent.contract.names import shown
from core_agent.errors import ContractError
from lambdas.events import fields
from lambdas.events.envelope import Metadata
from lambdas.events.fields import Fields

SOURCE = "drawbridge.peak"
DETAIL_TYPE = "Peak"
PEAK_FIELD = "peak"
CHANGE_FIELD = "change"

# Scheduler puts its own values in their place.
_EXECUTION_ID = "<aws.scheduler.execution-id>"
_SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"


class Change(StrEnum):
    """What happens to the peak."""

    BEGINS = "begins"
    ENDS = "ends"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakChange:
    """The peak ``name`` was to begin or end about now; the message may be late."""

    metadata: Metadata
    name: str
    change: Change


def parse(metadata: Metadata, detail: Fields) -> PeakChange:
    """Return the event, or raise ``ContractError`` naming the field."""
    word = fields.string(detail, CHANGE_FIELD, "detail")
    if word not in tuple(Change):
        raise ContractError(f"detail.{CHANGE_FIELD}: wanted {' or '.join(Change)}, found {shown(word)}")
    return PeakChange(metadata=metadata, name=fields.string(detail, PEAK_FIELD, "detail"), change=Change(word))


def scheduled(*, account: str, region: str, peak: str, change: Change) -> str:
    """Return the input of a schedule whose message ``parse`` reads, as JSON."""
    return json.dumps(
        {
            "id": _EXECUTION_ID,
            "source": SOURCE,
            "detail-type": DETAIL_TYPE,
            "account": account,
            "region": region,
            "time": _SCHEDULED_TIME,
            "detail": {PEAK_FIELD: peak, CHANGE_FIELD: change.value},
        }
    )
