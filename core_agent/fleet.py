"""What should become of each node: pure rules from a command or an observation to changed records; no effects here.

    seated ──enroll──▶ enrolled ──ready, good check──▶ active
       │                   │  ▲                           │
       └──────leave────────┴──┼───────leave───────────────┤
                              └──seat serving again── draining ──empty or late──▶ (removing) ──server gone──▶ gone

Rule 1: an instance id has at most one address and one key; both stay its own until the quarantine is over.
Rule 2: a node leaves when the cloud says that *it* is leaving or gone, or an operator does; never for being missing.
Rule 3: a node opens when it asked to (or the cloud calls it serving) and its check, which crosses its tunnel, is good.
Rule 4: the peer outlives the server: nothing is routed to a machine whose tunnel was taken away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network

from core_agent.contract.messages import Hold, Lifecycle, Phase, SyncFleet
from core_agent.contract.names import GroupName, InstanceId, PublicKey
from core_agent.errors import RefusalKind, Refused
from core_agent.roll import Changes, Node, Roll

# A generation is a clock reading of the edge; one further ahead than this would shut out every later look.
MAX_CLOCK_LEAD_MS = 300_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What was seen of one node: ``check`` good, ``closed`` to new requests, ``busy`` requests."""

    check: bool
    server: bool
    closed: bool
    busy: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The numbers from the settings that the rules need; times in seconds."""

    network: IPv4Network
    quarantine_s: float
    drain_deadline_s: float


def sync(nodes: Roll, newest: int, command: SyncFleet, *, limits: Limits, now: float) -> Changes:
    """Return what ``command`` changes; nothing when it is not newer than ``newest``.

    An instance that another group still holds is left out: refusing the whole would let two groups that exchange
    instances wait for each other for ever. Raises ``Refused`` for a generation from the future.
    """
    lead_ms = command.generation - int(now * 1000)
    if lead_ms > MAX_CLOCK_LEAD_MS:
        raise Refused(
            RefusalKind.FUTURE_GENERATION,
            f"syncing {command.group}: wanted a generation at most {MAX_CLOCK_LEAD_MS // 1000} s ahead of the core's "
            f"clock, found one {lead_ms // 1000} s ahead; check the clocks of both sides",
        )
    if command.generation <= newest:
        return Changes()
    changed: dict[InstanceId, Node] = {}
    elsewhere: list[InstanceId] = []
    free: Iterator[str] | None = None
    for instance, lifecycle in nodes.unsettled(command.group, command.seats):
        node = nodes.get(instance)
        if node is not None and node.group != command.group and node.phase is not Phase.GONE:
            elsewhere.append(instance)
            continue
        after = _seated(node, instance, lifecycle, command.group, now)
        if after is not None and after.address is None and after.phase is not Phase.GONE:
            free = free or nodes.free_addresses(limits.network)
            after = replace(after, address=next(free, None))
        if after is not None and after != node:
            changed[instance] = after
    missing = _absent(nodes, command, changed, now)
    return Changes(
        nodes=tuple(changed.values()),
        generation=(command.group, command.generation),
        missing=missing,
        elsewhere=tuple(elsewhere),
    )


def _seated(node: Node | None, instance: InstanceId, lifecycle: Lifecycle, group: GroupName, now: float) -> Node | None:
    """One seat's effect on its node; None where there is nothing to keep a record of."""
    if lifecycle is Lifecycle.LEAVING:
        return None if node is None else _leaving(node, now)
    if node is None:
        return Node(instance=instance, group=group, lifecycle=lifecycle, since=now)
    if node.hold is Hold.REMOVE:
        return replace(node, lifecycle=lifecycle)
    if node.phase is Phase.GONE:  # the seat was renewed: same address, but a key must be shown anew
        fresh = Node(instance=node.instance, group=group, lifecycle=lifecycle, since=now)
        return replace(fresh, address=node.address)
    if node.phase is Phase.DRAINING:  # it is wanted after all: back in, by the same gate as everybody
        phase = Phase.ENROLLED if node.public_key else Phase.SEATED
        back = replace(node, phase=phase, since=now, removing=False, wants_ready=True)
        return replace(back, lifecycle=lifecycle)
    if node.lifecycle is Lifecycle.RESTING and lifecycle is Lifecycle.JOINING and node.phase is Phase.ACTIVE:
        # It was stopped meanwhile, perhaps: what it proved before it rested counts for nothing.
        node = replace(node, phase=Phase.ENROLLED, since=now, wants_ready=False)
    return replace(node, lifecycle=lifecycle)


def _absent(nodes: Roll, command: SyncFleet, changed: dict[InstanceId, Node], now: float) -> tuple[InstanceId, ...]:
    """Let go, into ``changed``, of the group's nodes without a seat that were disowned by name; return the others."""
    declared = set(command.gone)
    unseated = nodes.unseated(command.group, command.seats)
    absent = [node for node in unseated if node.phase is not Phase.GONE]
    doubtful = [n for n in absent if n.instance not in declared and n.lifecycle is not Lifecycle.LEAVING]
    kept = {node.instance for node in doubtful} if command.override is None else set()
    for node in absent:
        if node.instance in declared:  # the machine is no more: nothing to wait for
            left = _leaving(node, now)
            changed[node.instance] = replace(left, removing=left.phase is Phase.DRAINING)
        elif node.instance not in kept:
            changed[node.instance] = _leaving(node, now)
    for node in unseated:  # a removed node that lost its seat may be forgotten in time
        if node.phase is Phase.GONE and node.lifecycle is not Lifecycle.LEAVING:
            changed[node.instance] = replace(node, lifecycle=Lifecycle.LEAVING)
    for instance in [i for i, node in changed.items() if nodes.get(i) == node]:
        del changed[instance]
    return tuple(sorted(kept))


def _leaving(node: Node, now: float) -> Node:
    """``node`` on its way out: draining, or gone at once when nothing was ever programmed for it."""
    node = replace(node, lifecycle=Lifecycle.LEAVING)
    if node.phase in (Phase.DRAINING, Phase.GONE):
        return node
    phase = Phase.GONE if node.phase is Phase.SEATED else Phase.DRAINING
    return replace(node, phase=phase, since=now, wants_ready=False)


def _rested(node: Node, limits: Limits, now: float) -> bool:
    return node.phase is Phase.GONE and now - node.since >= limits.quarantine_s and not _barred(node)


def _barred(node: Node) -> bool:
    """An operator removed it and the cloud still lists it: it stays on record, so that it cannot come back."""
    return node.hold is Hold.REMOVE and node.lifecycle is not Lifecycle.LEAVING


def enroll(
    nodes: Roll,
    instance: InstanceId,
    public_key: PublicKey,
    *,
    core_key: str,
    limits: Limits,
    now: float,
) -> Changes:
    """Return what it changes that ``instance`` holds ``public_key``; the same key again changes nothing.

    Raises ``Refused``: not seated, on its way out, held by an operator, another key than the live one, a key that
    another node or the core itself has, or no address left.
    """
    doing = f"enrolling {instance}"
    node = nodes.get(instance)
    if node is not None and node.hold is Hold.REMOVE:
        raise Refused(RefusalKind.HELD, f"{doing}: an operator removed this node; lift it with `fab remove --undo`")
    if node is None or node.phase is Phase.GONE:
        raise Refused(RefusalKind.NOT_SEATED, f"{doing}: wanted a seat in a group, found none; sync the group first")
    if node.phase is Phase.DRAINING:
        raise Refused(RefusalKind.LEAVING, f"{doing}: the node is leaving")
    holder = nodes.holder(public_key)
    if public_key == core_key or holder not in (None, instance):
        owner = holder or "the core"
        raise Refused(RefusalKind.KEY_TAKEN, f"{doing}: wanted a key of its own, found the key of {owner}")
    if node.public_key is not None and node.public_key != public_key:
        raise Refused(
            RefusalKind.KEY_CONFLICT,
            f"{doing}: wanted the key it enrolled with ({node.public_key}), found {public_key}; a node may change its "
            "key only when its seat is renewed",
        )
    address = node.address or next(nodes.free_addresses(limits.network), None)
    if address is None:
        raise Refused(
            RefusalKind.ADDRESSES_EXHAUSTED,
            f"{doing}: wanted a free address in {limits.network}, found none; enlarge tunnel.network or wait "
            f"{limits.quarantine_s:.0f} s for released ones",
        )
    if node.phase is not Phase.SEATED:
        return Changes()
    return Changes(
        nodes=(replace(node, phase=Phase.ENROLLED, since=now, public_key=public_key, address=address),),
    )


def activate(nodes: Mapping[InstanceId, Node], instance: InstanceId) -> Changes:
    """Return what it changes that ``instance`` says it is ready. Raises ``Refused`` unless it is enrolled."""
    node = nodes.get(instance)
    doing = f"activating {instance}"
    if node is None or node.phase is Phase.GONE:
        raise Refused(RefusalKind.UNKNOWN_NODE, f"{doing}: no such node on this core")
    if node.phase is Phase.SEATED:
        raise Refused(RefusalKind.NOT_ENROLLED, f"{doing}: wanted an enrolled node, found one without a key")
    if node.phase is Phase.DRAINING:
        raise Refused(RefusalKind.LEAVING, f"{doing}: the node is leaving")
    return Changes() if node.wants_ready else Changes(nodes=(replace(node, wants_ready=True),))


def hold(nodes: Mapping[InstanceId, Node], instance: InstanceId, wish: Hold, *, now: float) -> Changes:
    """Return what an operator's word on ``instance`` changes. Raises ``Refused`` for a node this core does not know."""
    node = nodes.get(instance)
    if node is None or (node.phase is Phase.GONE and wish is Hold.DRAIN):
        raise Refused(RefusalKind.UNKNOWN_NODE, f"holding {instance}: no such node on this core; see `fab nodes`")
    after = replace(node, hold=wish)
    if wish is Hold.REMOVE:
        after = replace(_leaving(after, now), lifecycle=node.lifecycle)
    elif node.phase is Phase.GONE and node.hold is Hold.REMOVE:
        after = replace(after, since=now)  # its rest begins now, so that a look at the group can seat it again
    return Changes(nodes=(after,)) if after != node else Changes()


def advance(
    nodes: Mapping[InstanceId, Node], seen: Mapping[InstanceId, Observation], *, limits: Limits, now: float
) -> Changes:
    """Return the phases that ``seen`` lets nodes take on their own, and the records whose quarantine is over."""
    changed, forgotten = [], []
    for node in nodes.values():
        if _rested(node, limits, now):
            forgotten.append(node.instance)
        elif (after := _advanced(node, seen.get(node.instance), limits, now)) is not None:
            changed.append(after)
    return Changes(nodes=tuple(changed), forgotten=tuple(forgotten))


def _advanced(node: Node, seen: Observation | None, limits: Limits, now: float) -> Node | None:
    if node.may_open and seen is not None and seen.check:
        return replace(node, phase=Phase.ACTIVE, since=now)
    if node.phase is Phase.DRAINING:
        if node.removing:
            absent = seen is None or not seen.server
            return replace(node, phase=Phase.GONE, since=now, removing=False) if absent else None
        empty = seen is None or not seen.server or (seen.closed and seen.busy == 0)
        if empty or now - node.since >= limits.drain_deadline_s:
            return replace(node, removing=True)
    return None
