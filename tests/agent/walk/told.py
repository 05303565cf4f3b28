"""What the agent was told by those who may tell it: the only reasons it has to close or to take away anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core_agent.contract.messages import Hold, Lifecycle, SyncFleet
from core_agent.contract.names import InstanceId
from core_agent.roll import Node


@dataclass(slots=True)
class Told:
    """``leave``: nodes that the cloud or an operator sent away; ``dead``: those that the cloud declared gone.

    ``rested``: nodes that joined again out of a rest, and have to prove themselves anew.
    """

    leave: set[InstanceId] = field(default_factory=set)
    dead: set[InstanceId] = field(default_factory=set)
    lifecycles: dict[InstanceId, Lifecycle] = field(default_factory=dict)
    holds: dict[InstanceId, Hold] = field(default_factory=dict)
    rested: set[InstanceId] = field(default_factory=set)

    def sync(self, command: SyncFleet, before: Mapping[InstanceId, Node]) -> None:
        """Take note of a sync that was applied; ``before`` are the records as they were."""
        seats = dict(command.seats)
        for instance, lifecycle in seats.items():
            if lifecycle is Lifecycle.LEAVING:
                self.leave.add(instance)
            elif self.holds.get(instance) is not Hold.REMOVE:
                self.leave.discard(instance)
            if self.lifecycles.get(instance) is Lifecycle.RESTING and lifecycle is Lifecycle.JOINING:
                self.rested.add(instance)
            self.dead.discard(instance)
            self.lifecycles[instance] = lifecycle
        for instance, node in before.items():
            disowned = instance in command.gone or command.override is not None
            if disowned and node.group == command.group and instance not in seats:
                self.leave.add(instance)
            if instance in command.gone and node.group == command.group and instance not in seats:
                self.dead.add(instance)

    def hold(self, instance: InstanceId, hold: Hold) -> None:
        """Take note of an operator's word that was recorded."""
        self.holds[instance] = hold
        if hold is Hold.REMOVE:
            self.leave.add(instance)

    def may_close(self, instance: InstanceId) -> bool:
        """Whether there is a reason to keep ``instance`` from new requests."""
        return (
            instance in self.leave
            or instance in self.rested
            or self.holds.get(instance, Hold.NONE) is not Hold.NONE
            or self.lifecycles.get(instance) is Lifecycle.RESTING
        )
