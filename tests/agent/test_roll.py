"""The roll of nodes: every way to find a node says what a walk over all of them would say."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_agent.contract.messages import Hold, Lifecycle, Phase, Seats
from core_agent.contract.names import GroupName, InstanceId
from core_agent.roll import Node, Roll
from tests.agent.core_under_test import key

NETWORK = IPv4Network("10.100.0.0/29")
GROUPS = (GroupName("eu-north-1/edge"), GroupName("eu-west-1/edge"))
INSTANCES = tuple(InstanceId(f"i-{n}") for n in range(5))


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    """One of five instances in any place of its life, with an address and a key of its own or without."""
    number = draw(st.integers(0, len(INSTANCES) - 1))
    return Node(
        instance=INSTANCES[number],
        group=draw(st.sampled_from(GROUPS)),
        lifecycle=draw(st.sampled_from(Lifecycle)),
        since=0.0,
        phase=draw(st.sampled_from(Phase)),
        address=draw(st.sampled_from([None, f"10.100.0.{number + 2}"])),
        public_key=draw(st.sampled_from([None, key(number + 1)])),
    )


SEATS = st.dictionaries(st.sampled_from(INSTANCES), st.sampled_from(Lifecycle)).map(
    lambda found: Seats.of(found.items())
)


@given(changes=st.lists(nodes() | st.sampled_from(INSTANCES)), seats=SEATS)
def test_every_way_to_a_node_agrees_with_a_walk(changes: list[Node | InstanceId], seats: Seats) -> None:
    """Whatever was put, put again and forgotten, no way to a node is left behind and none leads astray."""
    roll, records = Roll(), dict[InstanceId, Node]()
    for change in changes:
        if isinstance(change, Node):
            roll.put(change)
            records[change.instance] = change
        else:
            roll.forget(change)
            records.pop(change, None)
    assert dict(roll) == records
    present = records.values()
    asked = [n for n in present if n.phase is Phase.ENROLLED and (n.wants_ready or n.lifecycle is Lifecycle.SERVING)]
    open_soon = {
        n.instance for n in asked if n.hold is Hold.NONE and n.lifecycle in (Lifecycle.JOINING, Lifecycle.SERVING)
    }
    assert roll.moving == open_soon | {n.instance for n in present if n.phase is Phase.DRAINING}
    for number, instance in enumerate(INSTANCES):
        held = instance in records and records[instance].public_key is not None
        assert roll.holder(key(number + 1)) == (instance if held else None)
    taken = {n.address for n in present}
    free = [f"10.100.0.{last}" for last in range(2, 7) if f"10.100.0.{last}" not in taken]
    assert list(roll.free_addresses(NETWORK)) == free
    assert roll.addresses_left(NETWORK) == len(free)
    seated = dict(seats)
    for group in GROUPS:
        without = [n for n in present if n.group == group and n.instance not in seated]
        assert roll.unseated(group, seats) == sorted(without, key=lambda node: node.instance)
        settled = {
            n.instance
            for n in present
            if n.group == group and n.phase is Phase.ACTIVE and n.lifecycle is Lifecycle.SERVING and n.address
        }
        unsettled = [(i, said) for i, said in seats if said is not Lifecycle.SERVING or i not in settled]
        assert list(roll.unsettled(group, seats)) == unsettled


@pytest.mark.parametrize(
    "other",
    [
        {"phase": Phase.ENROLLED},
        {"phase": Phase.DRAINING},
        {"lifecycle": Lifecycle.RESTING},
        {"group": GROUPS[1]},
        {"address": None},
    ],
    ids=lambda other: next(iter(other)),
)
def test_only_what_no_rule_can_change_is_passed_over(other: dict[str, object]) -> None:
    """A serving seat is passed over for an active, serving node of that group, and for no node that differs in one."""
    node = Node(
        instance=INSTANCES[0],
        group=GROUPS[0],
        lifecycle=Lifecycle.SERVING,
        since=0.0,
        phase=Phase.ACTIVE,
        address="10.100.0.2",
    )
    seats = Seats(serving=(node.instance,))
    assert Roll([node]).unsettled(GROUPS[0], seats) == Seats()
    assert Roll([replace(node, **other)]).unsettled(GROUPS[0], seats) == seats  # type: ignore[arg-type]  # any field
