"""The look at the group: tell the core who belongs, let go whom the report allows; it must not know what prompted it.

Rule 1: a generation is a reading of the clock *before* AWS was asked, so of two looks the one that knows more wins.
Rule 2: nobody is declared gone unless AWS, asked about that very instance, says so.
Rule 3: one lifecycle action that cannot be completed does not keep the others waiting.
Rule 4: an instance in a state that nobody here knows keeps what it has: it is left out of the seats, the core keeps
whatever has none, and AWS does not disown what it counts as a member.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from core_agent.contract.messages import FleetReport, Lifecycle, NodeReport, Phase, Seats, SyncFleet
from core_agent.contract.names import InstanceId, Reason
from core_agent.errors import DrawbridgeError
from lambdas.cloud import Disowned, Instance
from lambdas.core import Core, ask
from lambdas.errors import UnknownState
from lambdas.group import Group
from lambdas.states import HELD_TO_LEAVE, Hook, lifecycle, released


class Cloud(Protocol):
    """What a look asks of AWS; ``lambdas.cloud.Cloud`` says what each means."""

    def instances(self, group: str) -> tuple[Instance, ...]:
        """Return every member of the group."""
        ...

    def complete(self, *, group: str, hook: str, instance: InstanceId) -> bool:
        """Let the hook hold the instance no longer; False when it held nothing."""
        ...

    def disowned(self, group: str, instances: Iterable[InstanceId]) -> Disowned:
        """Return those that AWS, asked about each by its id, says are no longer of the group."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen and done.

    ``seats`` are the members with what AWS says of each; ``nodes`` those in motion (see ``FleetReport``). ``completed``
    names the lifecycle actions that were held until now, ``leaving`` the instances whose terminate hook waits for the
    core, ``kept`` the nodes that have no seat and that AWS did not disown, ``elsewhere`` those that another group still
    holds, ``failed`` what could not be done, each member in an unknown state included.
    """

    generation: int
    applied: bool
    seats: Seats
    nodes: tuple[NodeReport, ...]
    completed: tuple[tuple[InstanceId, Hook], ...]
    leaving: tuple[InstanceId, ...]
    kept: tuple[InstanceId, ...]
    elsewhere: tuple[InstanceId, ...]
    failed: tuple[DrawbridgeError, ...]


def look(group: Group, *, cloud: Cloud, core: Core, now_ms: Callable[[], int], override: Reason | None = None) -> Look:
    """Look at ``group`` once; ``override`` is an operator's word that whatever has no seat may go.

    Raises what AWS or the core raise while the group is described and synced, and with an override ``UnknownState``.
    What fails after that, for one instance, is in ``failed``: the caller raises it when everything else is done.
    """
    instances, report = _sync(group, Disowned(), cloud=cloud, core=core, now_ms=now_ms, override=override)
    completed: list[tuple[InstanceId, Hook]] = []
    leaving: list[InstanceId] = []
    failed: list[DrawbridgeError] = list(seated(instances)[1])
    nodes = {node.instance: node for node in report.nodes}
    for instance in instances:
        node = nodes.get(instance.id)
        phase = node.phase if node else None
        if instance.state in HELD_TO_LEAVE and phase is not Phase.GONE:
            leaving.append(instance.id)
        for hook in released(instance.state, phase, node.connections if node else 0):
            try:
                if cloud.complete(group=group.name, hook=group.hook_name(hook), instance=instance.id):
                    completed.append((instance.id, hook))
            except DrawbridgeError as error:
                failed.append(error)
    if report.missing:
        try:
            disowned = cloud.disowned(group.name, report.missing)
            if disowned.ended or disowned.detached:
                instances, report = _sync(group, disowned, cloud=cloud, core=core, now_ms=now_ms)
        except DrawbridgeError as error:
            failed.append(error)
    return Look(
        generation=report.generation,
        applied=report.applied,
        seats=seated(instances)[0],
        nodes=report.nodes,
        completed=tuple(completed),
        leaving=tuple(leaving),
        kept=report.missing,
        elsewhere=report.elsewhere,
        failed=tuple(failed),
    )


def _sync(
    group: Group,
    disowned: Disowned,
    *,
    cloud: Cloud,
    core: Core,
    now_ms: Callable[[], int],
    override: Reason | None = None,
) -> tuple[tuple[Instance, ...], FleetReport]:
    generation = now_ms()
    instances = cloud.instances(group.name)
    command = telling(group, instances, disowned, generation=generation, override=override)
    return instances, ask(core, command, FleetReport)


def telling(
    group: Group, instances: tuple[Instance, ...], disowned: Disowned, *, generation: int, override: Reason | None
) -> SyncFleet:
    """Return the command that tells the core of ``instances``, all members of ``group``; see ``look`` for the rest."""
    seats, unclear = seated(instances)
    if override is not None and unclear:
        raise unclear[0]  # the core would let go of what has no seat
    # A detached machine still answers: it is drained like any that leaves, not cut off like one that has ended.
    away = disowned.detached.difference(one.id for one in instances)
    leaving = ((one, Lifecycle.LEAVING) for one in sorted(away))
    return SyncFleet(
        group=group.contract_name,
        generation=generation,
        seats=Seats.of([*seats, *leaving]),
        gone=tuple(sorted(disowned.ended)),
        override=override,
    )


def seated(instances: Iterable[Instance]) -> tuple[Seats, tuple[UnknownState, ...]]:
    """Return a seat for each whose state is known, and for each other one an error that names it and its state."""
    seats: list[tuple[InstanceId, Lifecycle]] = []
    unclear: list[UnknownState] = []
    for one in instances:
        try:
            seats.append((one.id, lifecycle(one.state)))
        except UnknownState as error:
            unclear.append(UnknownState(f"seating {one.id}: {error}"))
    return Seats.of(seats), tuple(unclear)
