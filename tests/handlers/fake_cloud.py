"""One Auto Scaling group with hooks, its queues and its alarms, as AWS would answer; refuses what it does not know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from core_agent.contract.names import InstanceId
from lambdas.alarms import Alarm
from lambdas.cloud import Disowned, Instance, Membership
from lambdas.errors import GroupMissing
from tests.handlers.payloads import ACCOUNT, ALARMS, GROUP

LAUNCH_HOOK = "drawbridge-launch"
TERMINATE_HOOK = "drawbridge-terminate"

# What a hook's completion makes of an instance that it holds.
_CONTINUED: Mapping[tuple[str, str], str | None] = {
    (LAUNCH_HOOK, "Pending:Wait"): "InService",
    (LAUNCH_HOOK, "Warmed:Pending:Wait"): "Warmed:Running",
    (TERMINATE_HOOK, "Terminating:Wait"): None,
    (TERMINATE_HOOK, "Warmed:Terminating:Wait"): None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message that was sent."""

    queue_url: str
    body: str
    delay_s: int
    attributes: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class FakeCloud:
    """``members`` maps instance ids to AWS's states; ``failures`` makes the named method raise, once per entry.

    ``listed`` False makes the group's description leave everybody out, as a partial answer would.
    Of the ``overtaken`` the hook's action is over before it is completed: timed out, or completed by somebody else.
    """

    group: str | None = GROUP
    members: dict[InstanceId, str] = field(default_factory=dict)
    listed: bool = True
    strangers: dict[InstanceId, str] = field(default_factory=dict)
    detached: set[InstanceId] = field(default_factory=set)
    ended: set[InstanceId] = field(default_factory=set)
    overtaken: set[InstanceId] = field(default_factory=set)
    ringing: set[str] = field(default_factory=set)
    alarm_reason: str = "Threshold Crossed: 1 datapoint"
    sent: list[Message] = field(default_factory=list)
    hidden: list[tuple[str, int]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    failures: dict[str, list[Exception]] = field(default_factory=dict)

    def add(self, instance: str, state: str) -> InstanceId:
        """Put an instance into the group in ``state``."""
        self.members[InstanceId(instance)] = state
        return InstanceId(instance)

    def end(self, instance: InstanceId) -> None:
        """Let an instance vanish as a terminated machine does: out of the group, on EC2's record as ended."""
        del self.members[instance]
        self.ended.add(instance)

    def instances(self, group: str) -> tuple[Instance, ...]:
        """Describe the group."""
        self._called("instances")
        if group != self.group:
            raise GroupMissing(f"describing group {group}: wanted one group of that name, found none")
        members = self.members if self.listed else {}
        return tuple(Instance(id=one, state=state, zone="eu-north-1a") for one, state in members.items())

    def membership(self, instance: InstanceId) -> Membership | None:
        """Describe one instance of any group."""
        self._called("membership")
        if instance in self.members:
            return Membership(group=str(self.group), state=self.members[instance])
        if instance in self.strangers:
            return Membership(group=self.strangers[instance], state="InService")
        return None

    def complete(self, *, group: str, hook: str, instance: InstanceId) -> bool:
        """Complete a lifecycle action, or find none."""
        self._called(f"complete {hook} {instance}")
        assert group == self.group, group
        assert hook in {LAUNCH_HOOK, TERMINATE_HOOK}, hook
        held = (hook, self.members.get(instance, ""))
        if instance in self.overtaken or held not in _CONTINUED:
            return False
        after = _CONTINUED[held]
        if after is None:
            self.end(instance)
        else:
            self.members[instance] = after
        return True

    def disowned(self, group: str, instances: Iterable[InstanceId]) -> Disowned:
        """Say which have ended or live on without the group."""
        self._called("disowned")
        assert group == self.group, group
        asked = frozenset(instances)
        return Disowned(ended=asked & self.ended, detached=asked & (self.detached | self.strangers.keys()))

    def terminate(self, instance: InstanceId) -> None:
        """Terminate by way of the terminate hook."""
        self._called(f"terminate {instance}")
        assert self.members[instance] == "InService", self.members[instance]
        self.members[instance] = "Terminating:Wait"

    def account(self) -> str:
        """Say whose AWS this is."""
        self._called("account")
        return ACCOUNT

    def alarms(self, names: Sequence[str]) -> tuple[Alarm, ...]:
        """Describe the alarms: those that are ``ringing`` are in ALARM."""
        self._called("alarms")
        assert set(names) == set(ALARMS), names
        states = {name: "ALARM" if name in self.ringing else "OK" for name in names}
        return tuple(Alarm(name=name, state=state, reason=self.alarm_reason) for name, state in states.items())

    def send(self, queue_url: str, body: str, *, delay_s: int = 0, attributes: Mapping[str, str] | None = None) -> None:
        """Keep the message."""
        self._called("send")
        self.sent.append(Message(queue_url=queue_url, body=body, delay_s=delay_s, attributes=attributes or {}))

    def hide(self, queue_url: str, receipt_handle: str, *, seconds: int) -> None:
        """Keep how long the message stays hidden."""
        self._called("hide")
        assert receipt_handle
        self.hidden.append((queue_url, seconds))

    def count(self, call: str) -> int:
        """Return how often a method was called, with or without arguments."""
        return sum(made == call or made.startswith(f"{call} ") for made in self.calls)

    def _called(self, call: str) -> None:
        self.calls.append(call)
        for name in (call, call.split(" ", maxsplit=1)[0]):
            if self.failures.get(name):
                raise self.failures[name].pop(0)
