"""A spot instance is at a raised risk of being taken back; it must not know what should be done about it.

Source: Amazon EC2 User Guide, "EC2 instance rebalance recommendations".
"""

from __future__ import annotations

from dataclasses import dataclass

from core_agent.contract.names import InstanceId
from lambdas.events import fields
from lambdas.events.envelope import Metadata
from lambdas.events.fields import Fields

SOURCE = "aws.ec2"
DETAIL_TYPE = "EC2 Instance Rebalance Recommendation"


@dataclass(frozen=True, slots=True, kw_only=True)
class RebalanceRecommendation:
    """AWS would rather see ``instance`` replaced."""

    metadata: Metadata
    instance: InstanceId


def parse(metadata: Metadata, detail: Fields) -> RebalanceRecommendation:
    """Return the event, or raise ``ContractError`` naming the field."""
    return RebalanceRecommendation(
        metadata=metadata,
        instance=fields.instance(detail, "instance-id", "detail"),
    )
