"""Knows how a group comes to its desired capacity, instance by instance and hook by hook; not what a machine is.

The one lock here guards moto's records of groups; machines and events are only handed over under it, never waited for.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from moto.autoscaling import models

from demo.aws import launching, lifecycle
from demo.aws.activities import Activities, Change, Status, What
from demo.aws.adjustments import Capacity, Decision
from demo.aws.eventbridge import EventBridge
from demo.aws.gaps import Moto
from demo.aws.journal import Journal
from demo.aws.lifecycle import COUNTED, Action, Result, State, Transition
from demo.aws.machines import Machine, MachineRoom
from demo.aws.place import Place
from demo.aws.ticking import Ticker

_TICK_S = 0.2
_VERBS = {Transition.LAUNCHING: "launch", Transition.TERMINATING: "terminate"}
_SETTLED = {State.PENDING: State.IN_SERVICE, State.PENDING_PROCEED: State.IN_SERVICE}
_LEAVING = frozenset({State.TERMINATING, State.TERMINATING_PROCEED})
_BY_REQUEST = "a user request explicitly set group desired capacity"


class NoActiveAction(Exception):
    """There is no such lifecycle action: never was, completed, or expired."""


class Groups:
    """Launches, holds, lets go and terminates the instances of every group.

    ``abandoned_passes_hook``: whether an instance whose launch is abandoned also waits in the terminating hook. AWS
    does not document it, so an application must be right either way.
    """

    def __init__(
        self,
        place: Place,
        *,
        bridge: EventBridge,
        machines: MachineRoom,
        journal: Journal,
        abandoned_passes_hook: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = place
        self._bridge = bridge
        self._machines = machines
        self._journal = journal
        self._abandoned_passes_hook = abandoned_passes_hook
        self._clock = clock
        self._actions: tuple[Action, ...] = ()
        self._known: dict[str, Machine] = {}
        self._activities = Activities()
        self._lock = threading.RLock()
        self._outbox = ThreadPoolExecutor(1, thread_name_prefix="autoscaling-events")
        self._ticker = Ticker("autoscaling", every_s=_TICK_S, action=self._tick, journal=journal)

    def start(self) -> None:
        """Let time pass: heartbeats expire, states proceed."""
        self._ticker.start()

    def stop(self) -> None:
        """Return when every event has been sent; instances stay as they are."""
        self._ticker.stop()
        self._outbox.shutdown(wait=True)

    def machine(self, instance_id: str) -> Machine | None:
        """The instance as it was launched, while it exists."""
        with self._lock:
            return self._known.get(instance_id)

    def resize(self, group: Moto, desired: int | None) -> None:
        """Set the desired capacity and go there. ``None`` means the minimum."""
        with self._lock:
            self._aim(group, int(group.min_size if desired is None else desired), why=_BY_REQUEST)

    def rebound(self, group: Moto, *, minimum: int | None, maximum: int | None, desired: int | None) -> None:
        """Carry out a scheduled action: what is given changes, and the desired capacity keeps within the bounds.

        ``ValueError`` if the bounds would cross; nothing has changed then.
        """
        with self._lock:
            least = int(group.min_size if minimum is None else minimum)
            most = int(group.max_size if maximum is None else maximum)
            if least > most:
                raise ValueError(f"changing the bounds of {group.name}: wanted at most {most}, found at least {least}")
            group.min_size, group.max_size = least, most
            wanted = group.desired_capacity if desired is None else desired
            bounded = max(least, min(most, int(wanted)))
            bounds = f"min: {least}, max: {most}, desired: {bounded}"
            why = f"a scheduled action update of AutoScalingGroup constraints to {bounds}"
            self._aim(group, bounded, why=why)

    def scale(
        self, group: Moto, decide: Callable[[Capacity], Decision], *, why: str, warmup_s: float = 0.0
    ) -> Decision:
        """Carry out a scaling policy on the group as it is now; what it launches warms up for so many real seconds."""
        with self._lock:
            decision = decide(self._capacity(group))
            if decision.desired is not None:
                self._aim(group, decision.desired, why=why, warmup_s=warmup_s)
            return decision

    def activities(self, group: str | None) -> list[dict[str, Any]]:
        """What DescribeScalingActivities answers, the newest first."""
        with self._lock:
            return self._activities.described(group)

    def terminate(self, group: Moto, state: Moto, *, decrement: bool) -> None:
        """Let one instance go, through its hook; without ``decrement`` another one comes."""
        with self._lock:
            if decrement:
                group.desired_capacity -= 1
            self._leave(group, state)
            self._reconcile(group)

    def terminated_outside(self, instance_ids: list[str]) -> None:
        """EC2 was asked directly: the instances are gone, and are replaced."""
        with self._lock:
            for group in self._groups():
                for state in list(group.instance_states):
                    if state.instance.id in instance_ids:
                        self._remove(group, state)
                self._reconcile(group)

    def dissolve(self, group: Moto) -> None:
        """Terminate whatever the group has, at once and without hooks."""
        with self._lock:
            group.min_size = group.max_size = group.desired_capacity = 0
            for state in list(group.instance_states):
                self._remove(group, state)

    def complete(self, *, group: str, hook: str, token: str | None, instance_id: str | None, result: Result) -> None:
        """End an action. Raises ``NoActiveAction``."""
        with self._lock:
            self._end(self._find(group=group, hook=hook, token=token, instance_id=instance_id), result)

    def heartbeat(self, *, group: str, hook: str, token: str | None, instance_id: str | None) -> None:
        """Begin an action's time anew, within AWS's global limit. Raises ``NoActiveAction``."""
        with self._lock:
            action = self._find(group=group, hook=hook, token=token, instance_id=instance_id)
            beaten = action.beaten(self._clock())
            self._actions = tuple(beaten if other == action else other for other in self._actions)

    def hook_deleted(self, group: str, hook: str) -> None:
        """Outstanding actions end as AWS ends them: launches are abandoned, terminations continue."""
        with self._lock:
            for action in self._actions:
                if (action.group, action.hook) == (group, hook):
                    launching = action.transition is Transition.LAUNCHING
                    self._end(action, Result.ABANDON if launching else Result.CONTINUE)

    def _find(self, *, group: str, hook: str, token: str | None, instance_id: str | None) -> Action:
        action = lifecycle.find(self._actions, group=group, hook=hook, token=token, instance_id=instance_id)
        if action is None:
            named = f"token {token}" if token else f"instance ID {instance_id}"
            raise NoActiveAction(f"No active Lifecycle Action found with {named}")
        return action

    def _groups(self) -> list[Moto]:
        return list(self._place.backend("autoscaling").autoscaling_groups.values())

    def _capacity(self, group: Moto) -> Capacity:
        warming = self._activities.warming(group.name, now=self._clock())
        states = [(state.instance.id, State(state.lifecycle_state)) for state in group.instance_states]
        serving = [name for name, state in states if state is State.IN_SERVICE and name not in warming]
        return Capacity(
            desired=int(group.desired_capacity),
            minimum=int(group.min_size),
            maximum=int(group.max_size),
            serving=len(serving),
            coming=sum(state in COUNTED for _, state in states) - len(serving),
            leaving=sum(state not in COUNTED for _, state in states),
        )

    def _aim(self, group: Moto, desired: int, *, why: str, warmup_s: float = 0.0) -> None:
        before = int(getattr(group, "desired_capacity", None) or 0)  # moto resizes a group while it makes it
        group.desired_capacity = desired
        self._reconcile(group, Change(why=why, before=before, after=desired, warmup_s=warmup_s))

    def _reconcile(self, group: Moto, change: Change | None = None) -> None:
        counted = [state for state in group.instance_states if state.lifecycle_state in COUNTED]
        for _ in range(group.desired_capacity - len(counted)):
            self._launch(group, change)
        surplus = len(counted) - group.desired_capacity
        for _ in range(max(0, surplus)):
            victim = _victim(group)
            if victim is None:
                break
            self._leave(group, victim, change)

    def _launch(self, group: Moto, change: Change | None) -> None:
        instance, machine = launching.launch(self._place, group)
        state = models.InstanceState(
            instance,
            lifecycle_state=State.PENDING.value,
            protected_from_scale_in=group.new_instances_protected_from_scale_in,
            autoscaling_group=group,
        )
        group.instance_states.append(state)
        self._known[instance.id] = machine
        self._activities.begin(
            What.LAUNCH, group=group.name, instance_id=instance.id, zone=machine.availability_zone, change=change
        )
        self._machines.launch(machine)
        self._journal.say("autoscaling", f"{group.name}: {instance.id} launched in {machine.availability_zone}")
        self._state_change(instance.id, "running")
        self._hold(group, state, Transition.LAUNCHING)

    def _hold(self, group: Moto, state: Moto, transition: Transition) -> bool:
        """Open an action for every hook of ``transition``; False if there is none to wait for."""
        hooks = [
            hook
            for hook in self._place.backend("autoscaling").lifecycle_hooks.values()
            if hook.auto_scaling_group_name == group.name and hook.lifecycle_transition == transition
        ]
        for hook in hooks:
            action = lifecycle.opened(
                token=str(uuid.uuid4()),
                group=group.name,
                hook=hook.name,
                instance_id=state.instance.id,
                transition=transition,
                heartbeat_s=float(hook.heartbeat_timeout),
                default=Result(hook.default_result),
                now=self._clock(),
            )
            self._actions += (action,)
            state.lifecycle_state = lifecycle.WAITING[transition].value
            self._announce(group, action, getattr(hook, "notification_metadata", None))
        return bool(hooks)

    def _announce(self, group: Moto, action: Action, metadata: str | None) -> None:
        launching = action.transition is Transition.LAUNCHING
        detail = {
            "LifecycleActionToken": action.token,
            "AutoScalingGroupName": group.name,
            "LifecycleHookName": action.hook,
            "EC2InstanceId": action.instance_id,
            "LifecycleTransition": action.transition.value,
            **({"NotificationMetadata": metadata} if metadata else {}),
            "Origin": "EC2" if launching else "AutoScalingGroup",
            "Destination": "AutoScalingGroup" if launching else "EC2",
        }
        self._emit(f"EC2 Instance-{_VERBS[action.transition]} Lifecycle Action", detail, (group.arn,))

    def _leave(self, group: Moto, state: Moto, change: Change | None = None, *, through_hooks: bool = True) -> None:
        if state.lifecycle_state not in COUNTED:
            return
        instance_id, zone = state.instance.id, state.availability_zone
        self._activities.end(What.LAUNCH, instance_id, status=Status.CANCELLED, now=self._clock())
        self._activities.begin(What.TERMINATE, group=group.name, instance_id=instance_id, zone=zone, change=change)
        self._actions = tuple(action for action in self._actions if action.instance_id != state.instance.id)
        state.lifecycle_state = State.TERMINATING.value
        if through_hooks:
            self._hold(group, state, Transition.TERMINATING)

    def _end(self, action: Action, result: Result) -> None:
        self._actions, ended = lifecycle.settle(self._actions, action, result)
        self._journal.say("autoscaling", f"{action.group}: {action.instance_id} {action.hook} {result}")
        found = self._state_of(action.instance_id)
        if ended is None or found is None:
            return
        group, state = found
        if action.transition is Transition.LAUNCHING and ended is Result.ABANDON:
            state.lifecycle_state = State.PENDING.value
            self._leave(group, state, through_hooks=self._abandoned_passes_hook)
            self._reconcile(group)
        else:
            state.lifecycle_state = lifecycle.PROCEEDING[action.transition].value

    def _state_of(self, instance_id: str) -> tuple[Moto, Moto] | None:
        for group in self._groups():
            for state in group.instance_states:
                if state.instance.id == instance_id:
                    return group, state
        return None

    def _tick(self) -> None:
        with self._lock:
            for action in lifecycle.expired(self._actions, self._clock()):
                if action in self._actions:
                    self._journal.say("autoscaling", f"{action.group}: {action.hook} of {action.instance_id} expired")
                    self._end(action, action.default)
            for group in self._groups():
                self._proceed(group)

    def _proceed(self, group: Moto) -> None:
        for state in list(group.instance_states):
            current = State(state.lifecycle_state)
            if current in _SETTLED:
                state.lifecycle_state = _SETTLED[current].value
                self._activities.end(What.LAUNCH, state.instance.id, status=Status.SUCCESSFUL, now=self._clock())
                self._came_or_went(group, state, "Launch")
            elif current in _LEAVING:
                self._remove(group, state)
            elif current is State.IN_SERVICE and state.health_status == "Unhealthy":
                self._leave(group, state)
        self._reconcile(group)

    def _remove(self, group: Moto, state: Moto) -> None:
        instance_id = state.instance.id
        self._actions = tuple(action for action in self._actions if action.instance_id != instance_id)
        group.instance_states.remove(state)
        if state.instance.state != "terminated":
            group.ec2_backend.terminate_instances([instance_id])
        self._known.pop(instance_id, None)
        self._activities.end(What.LAUNCH, instance_id, status=Status.CANCELLED, now=self._clock())
        self._activities.end(What.TERMINATE, instance_id, status=Status.SUCCESSFUL, now=self._clock())
        self._machines.terminate(instance_id)
        self._journal.say("autoscaling", f"{group.name}: {instance_id} terminated")
        self._state_change(instance_id, "terminated")
        self._came_or_went(group, state, "Terminate")

    def _came_or_went(self, group: Moto, state: Moto, what: str) -> None:
        detail = {
            "StatusCode": "InProgress",
            "AutoScalingGroupName": group.name,
            "ActivityId": str(uuid.uuid4()),
            "EC2InstanceId": state.instance.id,
            "Description": f"{what} of EC2 instance: {state.instance.id}",
            "Details": {"Availability Zone": state.availability_zone},
        }
        instance_arn = self._place.arn("ec2", f"instance/{state.instance.id}")
        self._emit(f"EC2 Instance {what} Successful", detail, (group.arn, instance_arn))

    def _state_change(self, instance_id: str, state: str) -> None:
        detail = {"instance-id": instance_id, "state": state}
        resources = (self._place.arn("ec2", f"instance/{instance_id}"),)
        self._emit("EC2 Instance State-change Notification", detail, resources, source="aws.ec2")

    def _emit(
        self, detail_type: str, detail: dict[str, Any], resources: tuple[str, ...], source: str = "aws.autoscaling"
    ) -> None:
        self._outbox.submit(
            self._bridge.emit, source=source, detail_type=detail_type, detail=detail, resources=resources
        )


def _victim(group: Moto) -> Moto | None:
    """Whom a scale-in takes: in service before pending, from the fullest zone, the oldest; None if all are safe."""
    free = [
        state
        for state in group.instance_states
        if state.lifecycle_state in COUNTED and not state.protected_from_scale_in
    ]
    zones = Counter(state.availability_zone for state in group.instance_states if state.lifecycle_state in COUNTED)
    in_service_first = sorted(
        free,
        key=lambda state: (state.lifecycle_state != State.IN_SERVICE, -zones[state.availability_zone]),
    )
    return in_service_first[0] if in_service_first else None
