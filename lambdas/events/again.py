"""Our own word to ourselves: look at the group again; it must not know how it is sent or after how long.

It has EventBridge's envelope, so the queue's consumer reads one kind of document.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from lambdas.events import fields
from lambdas.events.envelope import Metadata
from lambdas.events.fields import Fields

SOURCE = "drawbridge"
DETAIL_TYPE = "Look again"
GROUP_FIELD = "group"


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAgain:
    """The last look saw something in ``group`` on its way out."""

    metadata: Metadata
    group: str


def parse(metadata: Metadata, detail: Fields) -> LookAgain:
    """Return the event, or raise ``ContractError`` naming the field."""
    return LookAgain(metadata=metadata, group=fields.string(detail, GROUP_FIELD, "detail"))


def render(metadata: Metadata, *, group: str) -> str:
    """Return the message that ``parse`` reads: the same envelope, as JSON."""
    return json.dumps(
        {
            "id": metadata.id,
            "source": metadata.source,
            "detail-type": metadata.detail_type,
            "account": metadata.account,
            "region": metadata.region,
            "time": metadata.time,
            "detail": {GROUP_FIELD: group},
        }
    )
