"""The clock struck: EventBridge's own event of a schedule rule; it must not know which rule or what for.

Source: Amazon EventBridge User Guide, "Creating a rule that runs on a schedule".
"""

from __future__ import annotations

from dataclasses import dataclass

from lambdas.events.envelope import Metadata
from lambdas.events.fields import Fields

SOURCE = "aws.events"
DETAIL_TYPE = "Scheduled Event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A minute has passed."""

    metadata: Metadata


def parse(metadata: Metadata, detail: Fields) -> Sweep:  # noqa: ARG001  # every parser of the table takes both
    """Return the event; its detail is always empty."""
    return Sweep(metadata=metadata)
