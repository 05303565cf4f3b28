"""Pure: knows the states of an instance in a group and the actions that hooks wait for; no clock, no AWS.

Rule 1: an instance waits while any action of its transition is open; one ABANDON ends a launch at once.
Rule 2: an action is completed once, by token or by instance; afterwards it is unknown, as on AWS.
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

_GLOBAL_HEARTBEATS: Final = 100
_GLOBAL_S: Final = 48 * 3600.0


class State(StrEnum):
    """As DescribeAutoScalingInstances shows it."""

    PENDING = "Pending"
    PENDING_WAIT = "Pending:Wait"
    PENDING_PROCEED = "Pending:Proceed"
    IN_SERVICE = "InService"
    TERMINATING = "Terminating"
    TERMINATING_WAIT = "Terminating:Wait"
    TERMINATING_PROCEED = "Terminating:Proceed"


class Transition(StrEnum):
    """What a hook is for."""

    LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
    TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"


class Result(StrEnum):
    """How an action ends."""

    CONTINUE = "CONTINUE"
    ABANDON = "ABANDON"


COUNTED: Final = frozenset({State.PENDING, State.PENDING_WAIT, State.PENDING_PROCEED, State.IN_SERVICE})
"""The states that count towards the desired capacity."""

WAITING: Final = {Transition.LAUNCHING: State.PENDING_WAIT, Transition.TERMINATING: State.TERMINATING_WAIT}

PROCEEDING: Final = {Transition.LAUNCHING: State.PENDING_PROCEED, Transition.TERMINATING: State.TERMINATING_PROCEED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One open lifecycle action. Times are seconds of one monotonic clock, the caller's."""

    token: str
    group: str
    hook: str
    instance_id: str
    transition: Transition
    heartbeat_s: float
    default: Result
    deadline: float
    limit: float

    def beaten(self, now: float) -> Action:
        """The action after a heartbeat, which never passes AWS's global limit."""
        return replace(self, deadline=min(now + self.heartbeat_s, self.limit))


def opened(
    *,
    token: str,
    group: str,
    hook: str,
    instance_id: str,
    transition: Transition,
    heartbeat_s: float,
    default: Result,
    now: float,
) -> Action:
    """A new action, whose first heartbeat is now; it ends after 48 hours or 100 heartbeats at the latest."""
    return Action(
        token=token,
        group=group,
        hook=hook,
        instance_id=instance_id,
        transition=transition,
        heartbeat_s=heartbeat_s,
        default=default,
        deadline=now + heartbeat_s,
        limit=now + min(_GLOBAL_S, _GLOBAL_HEARTBEATS * heartbeat_s),
    )


def find(
    actions: tuple[Action, ...], *, group: str, hook: str, token: str | None, instance_id: str | None
) -> Action | None:
    """The open action that a caller names by token or by instance id."""
    for action in actions:
        if (action.group, action.hook) != (group, hook):
            continue
        if (token is not None and action.token == token) or (token is None and action.instance_id == instance_id):
            return action
    return None


def settle(actions: tuple[Action, ...], ended: Action, result: Result) -> tuple[tuple[Action, ...], Result | None]:
    """What stays open when ``ended`` has ended with ``result``, and the result of the transition if that is it.

    A terminating instance terminates either way: ABANDON only stops waiting for other hooks.
    """
    siblings = tuple(
        action
        for action in actions
        if action.instance_id == ended.instance_id and action.transition is ended.transition and action != ended
    )
    others = tuple(action for action in actions if action not in siblings and action != ended)
    if result is Result.ABANDON:
        return others, result
    return others + siblings, None if siblings else result


def expired(actions: tuple[Action, ...], now: float) -> tuple[Action, ...]:
    """The actions whose heartbeat is overdue; each ends with its hook's default result."""
    return tuple(action for action in actions if now >= action.deadline)
