"""An instance that a lifecycle hook holds, as EventBridge tells it; it must not know what should be done about it.

Source: Amazon EC2 Auto Scaling User Guide, "EventBridge event reference for Auto Scaling", lifecycle actions.
"""

from __future__ import annotations

from dataclasses import dataclass

from core_agent.contract.names import InstanceId
from lambdas.events import fields
from lambdas.events.envelope import Metadata
from lambdas.events.fields import Fields

SOURCE = "aws.autoscaling"
LAUNCH = "EC2 Instance-launch Lifecycle Action"
TERMINATE = "EC2 Instance-terminate Lifecycle Action"
GROUP_FIELD = "AutoScalingGroupName"


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleAction:
    """``hook`` of ``group`` holds ``instance``.

    ``origin`` and ``destination`` are ``EC2``, ``AutoScalingGroup`` or ``WarmPool``; None from services that leave them
    out. A return to the warm pool is a *terminate* action whose destination is ``WarmPool``.
    """

    metadata: Metadata
    group: str
    hook: str
    instance: InstanceId
    origin: str | None
    destination: str | None


def parse(metadata: Metadata, detail: Fields) -> LifecycleAction:
    """Return the event, or raise ``ContractError`` naming the field."""
    return LifecycleAction(
        metadata=metadata,
        group=fields.string(detail, GROUP_FIELD, "detail"),
        hook=fields.string(detail, "LifecycleHookName", "detail"),
        instance=fields.instance(detail, "EC2InstanceId", "detail"),
        origin=fields.optional_string(detail, "Origin", "detail"),
        destination=fields.optional_string(detail, "Destination", "detail"),
    )
