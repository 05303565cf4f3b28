"""The look at the group: tell the core who belongs, let go whom the report allows; it must not know what prompted it.

Rule 1: a generation is a reading of the clock *before* AWS was asked, so of two looks the one that knows more wins.
Rule 2: nobody is declared gone unless AWS, asked about that very instance, says so.
Rule 3: one lifecycle action that cannot be completed does not keep the others waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from core_agent.contract.messages import FleetReport, LoadReport, NodeReport, Phase, Seat, SyncFleet
from core_agent.contract.names import InstanceId, Reason
from core_agent.errors import DrawbridgeError
from lambdas.cloud import Instance
from lambdas.core import Core, ask
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

    def disowned(self, instances: Iterable[InstanceId]) -> frozenset[InstanceId]:
        """Return those that AWS, asked by id, knows no more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen and done.

    ``seats`` are all members with what AWS says of each; ``nodes`` those in motion (see ``FleetReport``). ``completed``
    names the lifecycle actions that were held until now, ``leaving`` the instances whose terminate hook waits for the
    core, ``kept`` the nodes that the massacre guard keeps and AWS did not disown, ``failed`` what could not be done.
    """

    generation: int
    applied: bool
    seats: tuple[Seat, ...]
    nodes: tuple[NodeReport, ...]
    completed: tuple[tuple[InstanceId, Hook], ...]
    leaving: tuple[InstanceId, ...]
    kept: tuple[InstanceId, ...]
    failed: tuple[DrawbridgeError, ...]
    load: LoadReport


def look(group: Group, *, cloud: Cloud, core: Core, now_ms: Callable[[], int], override: Reason | None = None) -> Look:
    """Look at ``group`` once; ``override`` is an operator's word against the massacre guard.

    Raises what AWS or the core raise while the group is described and synced. What fails after that, for one instance,
    is in ``failed``: the caller raises it when everything else is done.
    """
    instances, report = _sync(group, (), cloud=cloud, core=core, now_ms=now_ms, override=override)
    completed: list[tuple[InstanceId, Hook]] = []
    leaving: list[InstanceId] = []
    failed: list[DrawbridgeError] = []
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
            gone = cloud.disowned(report.missing)
            if gone:
                instances, report = _sync(group, tuple(sorted(gone)), cloud=cloud, core=core, now_ms=now_ms)
        except DrawbridgeError as error:
            failed.append(error)
    return Look(
        generation=report.generation,
        applied=report.applied,
        seats=_seats(instances),
        nodes=report.nodes,
        completed=tuple(completed),
        leaving=tuple(leaving),
        kept=report.missing,
        failed=tuple(failed),
        load=report.load,
    )


def _sync(
    group: Group,
    gone: tuple[InstanceId, ...],
    *,
    cloud: Cloud,
    core: Core,
    now_ms: Callable[[], int],
    override: Reason | None = None,
) -> tuple[tuple[Instance, ...], FleetReport]:
    generation = now_ms()
    instances = cloud.instances(group.name)
    command = SyncFleet(
        group=group.contract_name, generation=generation, seats=_seats(instances), gone=gone, override=override
    )
    return instances, ask(core, command, FleetReport)


def _seats(instances: Iterable[Instance]) -> tuple[Seat, ...]:
    return tuple(Seat(instance=one.id, lifecycle=lifecycle(one.state)) for one in instances)
