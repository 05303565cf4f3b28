"""Knows each group's scaling activities, why they happened and who still warms up; it must not know how one is done.

The cause reads as on AWS, and times are of one monotonic clock, the caller's, and of the wall, for showing.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

_KEPT: Final = 100
"""Activities of each group that DescribeScalingActivities can show; AWS keeps six weeks."""


class What(StrEnum):
    """What an activity does to its instance."""

    LAUNCH = "Launching a new EC2 instance"
    TERMINATE = "Terminating EC2 instance"


class Status(StrEnum):
    """How far an activity is."""

    IN_PROGRESS = "InProgress"
    SUCCESSFUL = "Successful"
    CANCELLED = "Cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Why a desired capacity changed; ``warmup_s`` is how long what is launched for it warms up, in real seconds."""

    why: str
    before: int
    after: int
    warmup_s: float = 0.0

    def text(self, stamp: str) -> str:
        """As AWS writes it."""
        return f"At {stamp} {self.why} changing the desired capacity from {self.before} to {self.after}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One instance's coming or going."""

    activity_id: str
    group: str
    instance_id: str
    what: What
    cause: str
    zone: str
    started: datetime
    ended: datetime | None = None
    status: Status = Status.IN_PROGRESS
    warmup_s: float = 0.0
    warm_at: float = 0.0

    def described(self) -> dict[str, Any]:
        """As DescribeScalingActivities answers."""
        return {
            "ActivityId": self.activity_id,
            "AutoScalingGroupName": self.group,
            "Description": f"{self.what}: {self.instance_id}",
            "Cause": self.cause,
            "StartTime": self.started,
            **({"EndTime": self.ended} if self.ended else {}),
            "StatusCode": self.status.value,
            "Progress": 50 if self.status is Status.IN_PROGRESS else 100,
            "Details": f'{{"Availability Zone":"{self.zone}"}}',
        }


class Activities:
    """The activities of every group, the oldest first. Its owner's lock guards it."""

    def __init__(self) -> None:
        self._kept: dict[str, list[Activity]] = {}

    def begin(self, what: What, *, group: str, instance_id: str, zone: str, change: Change | None) -> None:
        """An instance begins to come or go; without a ``change`` it is replaced, or is not healthy."""
        now = datetime.now(UTC)
        stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        activity = Activity(
            activity_id=str(uuid.uuid4()),
            group=group,
            instance_id=instance_id,
            what=what,
            cause=_cause(what, change, stamp),
            zone=zone,
            started=now,
            warmup_s=change.warmup_s if change and what is What.LAUNCH else 0.0,
        )
        self._kept[group] = [*self._kept.get(group, ()), activity][-_KEPT:]

    def end(self, what: What, instance_id: str, *, status: Status, now: float) -> None:
        """The instance has come or gone, or will not come. A launch that succeeded begins to warm up at ``now``."""
        for activities in self._kept.values():
            for place, activity in enumerate(activities):
                named = activity.instance_id == instance_id and activity.what is what
                if named and activity.status is Status.IN_PROGRESS:
                    ended = replace(activity, status=status, ended=datetime.now(UTC), warm_at=now + activity.warmup_s)
                    activities[place] = ended

    def warming(self, group: str, *, now: float) -> frozenset[str]:
        """The instances in service that a policy launched and that are still to warm up."""
        return frozenset(
            activity.instance_id
            for activity in self._kept.get(group, ())
            if activity.what is What.LAUNCH and activity.status is Status.SUCCESSFUL and now < activity.warm_at
        )

    def described(self, group: str | None) -> list[dict[str, Any]]:
        """The activities of one group, or of all, the newest first."""
        found = [activity for name, kept in self._kept.items() if group in {None, name} for activity in kept]
        return [activity.described() for activity in sorted(found, key=lambda one: one.started, reverse=True)]


def _cause(what: What, change: Change | None, stamp: str) -> str:
    launching = what is What.LAUNCH
    if change is None:
        if launching:
            return f"At {stamp} an instance was started in response to an instance that needs to be replaced."
        return f"At {stamp} an instance was taken out of service by request or in response to a health check."
    deed = "started" if launching else "taken out of service"
    difference = "in response to a difference between desired and actual capacity"
    return f"{change.text(stamp)}  At {stamp} an instance was {deed} {difference}."
