"""AWS as the walk plays it: who is a member of which group, and every look that was ever taken; no core in it."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from core_agent.contract.messages import Lifecycle, Seats, SyncFleet
from core_agent.contract.names import GroupName, InstanceId, PublicKey, Reason

GROUPS = (GroupName("eu-north-1/drawbridge-edge"), GroupName("eu-west-1/drawbridge-edge"))
INSTANCES = tuple(InstanceId(f"i-{number}") for number in range(6))


@dataclass(slots=True, kw_only=True)
class Instance:
    """One instance that exists: where it belongs, what the cloud says of it, its key, and whether it works."""

    group: GroupName
    lifecycle: Lifecycle
    key: PublicKey
    alive: bool = True


@dataclass(slots=True)
class Cloud:
    """What there is now in ``instances``; ``looks`` are all the answers, of which any may arrive late or twice."""

    instances: dict[InstanceId, Instance] = field(default_factory=dict)
    looks: list[SyncFleet] = field(default_factory=list)
    keys_made: int = 0

    def named(self, which: int) -> InstanceId:
        """Return the name of one of the instances there are, or beyond those of one that there could be."""
        return [*self.instances, *(name for name in INSTANCES if name not in self.instances)][which]

    def launch(self, instance: InstanceId, group: GroupName) -> Instance:
        """Start ``instance``; every one makes a key of its own when it boots."""
        launched = Instance(group=group, lifecycle=Lifecycle.JOINING, key=self.new_key())
        self.instances[instance] = launched
        return launched

    def new_key(self) -> PublicKey:
        """Return a key that nobody has had."""
        self.keys_made += 1
        return PublicKey(base64.b64encode(self.keys_made.to_bytes(32, "big")).decode())

    def look(
        self,
        group: GroupName,
        now: float,
        *,
        leave_out: int = 0,
        gone: tuple[InstanceId, ...] = (),
        override: Reason | None = None,
    ) -> SyncFleet:
        """Take a look at ``group``; a wrong answer of the cloud leaves the first ``leave_out`` members out."""
        members = [(i, one.lifecycle) for i, one in self.instances.items() if one.group == group]
        newest = max((look.generation for look in self.looks), default=0)
        look = SyncFleet(
            group=group,
            generation=max(int(now * 1000), newest + 1),
            seats=Seats.of(members[leave_out:]),
            gone=gone,
            override=override,
        )
        self.looks.append(look)
        return look
