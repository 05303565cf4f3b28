"""AWS takes a spot instance back in two minutes; it must not know what should be done about it.

Source: Amazon EC2 User Guide, "Spot Instance interruption notices".
"""

from __future__ import annotations

from dataclasses import dataclass

from core_agent.contract.names import InstanceId
from lambdas.events import fields
from lambdas.events.envelope import Metadata
from lambdas.events.fields import Fields

SOURCE = "aws.ec2"
DETAIL_TYPE = "EC2 Spot Instance Interruption Warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotInterruption:
    """``instance`` ends two minutes after the event; ``action`` is ``terminate``, ``stop`` or ``hibernate``."""

    metadata: Metadata
    instance: InstanceId
    action: str


def parse(metadata: Metadata, detail: Fields) -> SpotInterruption:
    """Return the event, or raise ``ContractError`` naming the field."""
    return SpotInterruption(
        metadata=metadata,
        instance=fields.instance(detail, "instance-id", "detail"),
        action=fields.string(detail, "instance-action", "detail"),
    )
