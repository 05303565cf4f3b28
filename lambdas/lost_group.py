"""Emptying, on the core, a group that AWS no longer has: a renamed or deleted one; it must not know who asks for it.

The functions never do this: to them a missing group is an error and never an empty one. An operator may, and then three
things are made sure of: it is our account that has no such group, the group is one that the core knows, and why.
"""

from __future__ import annotations

from typing import Protocol

from core_agent.contract.messages import FactsReport, Seats, SyncFleet
from core_agent.contract.names import GroupName, Reason
from lambdas.cloud import Instance
from lambdas.errors import GroupExists, GroupMissing, GroupUnknown, WrongAccount


class Cloud(Protocol):
    """What this asks of AWS, in the group's region; ``lambdas.cloud.Cloud`` says what each means."""

    def account(self) -> str:
        """Return the account that answers."""
        ...

    def instances(self, group: str) -> tuple[Instance, ...]:
        """Return every member of the group."""
        ...


def emptying(
    group: GroupName, *, account: str, cloud: Cloud, facts: FactsReport, generation: int, reason: Reason
) -> SyncFleet:
    """Return the command that lets every node of ``group`` go; ``generation`` was read from the clock before this call.

    Raises ``GroupUnknown``, ``WrongAccount``, ``GroupExists``, and what AWS's errors become.
    """
    doing = f"emptying {group}"
    known = sorted(one.group for one in facts.groups)
    if group not in known:
        raise GroupUnknown(f"{doing}: wanted one of {', '.join(known) or 'none yet'}, which the core knows")
    found = cloud.account()
    if found != account:
        raise WrongAccount(f"{doing}: wanted credentials for account {account}, found some for {found}")
    try:
        members = cloud.instances(group.partition("/")[2])
    except GroupMissing:
        return SyncFleet(group=group, generation=generation, seats=Seats(), override=reason)
    raise GroupExists(f"{doing}: wanted a group that AWS no longer has, found it there with {len(members)} instances")
