"""Knows when a group's scheduled actions come and that they set its bounds; it must not know why anybody wants them.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-scheduled-scaling.html
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from moto.autoscaling import models
from moto.autoscaling.exceptions import ValidationError

from demo.aws.agenda import Agenda
from demo.aws.autoscaling import Groups
from demo.aws.cron import Weekly, from_auto_scaling
from demo.aws.gaps import Gaps, Moto
from demo.aws.journal import Journal
from demo.aws.place import Place
from demo.aws.ticking import Ticker

_LOOK_S = 0.5


class ScheduledActions:
    """Carries out every group's scheduled actions, by the wall clock ``now``, which is aware."""

    def __init__(self, place: Place, groups: Groups, *, journal: Journal, now: Callable[[], datetime]) -> None:
        self._place = place
        self._groups = groups
        self._journal = journal
        self._now = now
        self._agenda = Agenda()
        self._ticker = Ticker("scheduled-actions", every_s=_LOOK_S, action=self.look, journal=journal)

    def install(self, gaps: Gaps) -> None:
        """Fill moto's gap until ``gaps`` are undone."""
        now = self._now

        def put(self: Moto, **request: Any) -> Moto:  # noqa: ANN401 - moto's keywords
            _refuse_unknown(self, request, now())
            return original(self, **request)

        backend = models.AutoScalingBackend
        original = gaps.fill(backend, "put_scheduled_update_group_action", put, gap="checks nothing, never acts")

    def start(self) -> None:
        """Begin to act."""
        self._ticker.start()

    def stop(self) -> None:
        """Act no more."""
        self._ticker.stop()

    def look(self) -> None:
        """Carry out what has become due."""
        backend = self._place.backend("autoscaling")
        actions = dict(backend.scheduled_actions)
        for name, at in self._agenda.due({name: _weekly(action) for name, action in actions.items()}, self._now()):
            action = actions[name]
            group = backend.autoscaling_groups.get(action.auto_scaling_group_name)
            if group is None:
                self._journal.say("autoscaling", f"{name}: NOT CARRIED OUT: {action.auto_scaling_group_name} is gone")
                continue
            try:
                self._groups.rebound(
                    group, minimum=action.min_size, maximum=action.max_size, desired=action.desired_capacity
                )
            except ValueError:
                self._journal.failed("autoscaling", f"{name} of {at:%H:%M}")
                continue
            sizes = f"at least {group.min_size}, at most {group.max_size}, {group.desired_capacity} desired"
            self._journal.say("autoscaling", f"{name} of {at:%Y-%m-%dT%H:%MZ}: {group.name}: {sizes}")


def _weekly(action: Moto) -> Weekly:
    return from_auto_scaling(action.recurrence, action.time_zone or "Etc/UTC")


def _refuse_unknown(backend: Moto, request: dict[str, Any], now: datetime) -> None:
    """Raise ``ValidationError`` for what AWS refuses, and for what this local AWS would not carry out."""
    name, group = request["scheduled_action_name"], request["name"]
    doing = f"making the scheduled action {name}"
    if group not in backend.autoscaling_groups:
        raise ValidationError("AutoScalingGroup name not found - null")
    if request["start_time"] or request["end_time"] or not request["recurrence"]:
        raise ValidationError(f"{doing}: wanted a Recurrence alone; this local AWS knows no other time")
    if all(request[size] is None for size in ("min_size", "max_size", "desired_capacity")):
        raise ValidationError(f"{doing}: wanted a minimum, a maximum or a desired capacity, found none")
    try:
        at = from_auto_scaling(request["recurrence"], request["timezone"] or "Etc/UTC").next_after(now)
    except ValueError as error:
        raise ValidationError(str(error)) from None
    for other in backend.scheduled_actions.values():
        same_group = other.auto_scaling_group_name == group and other.scheduled_action_name != name
        if same_group and _weekly(other).next_after(now) == at:
            raise ValidationError(f"{doing}: wanted no other action at {at}, found {other.scheduled_action_name}")
