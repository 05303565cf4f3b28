"""Who may enroll with which key, and at which address: through the whole agent over a fake host."""

from __future__ import annotations

import pytest

from core_agent.contract.messages import EnrollNode
from core_agent.contract.names import InstanceId, PublicKey
from core_agent.errors import Refused
from tests.agent.core_under_test import Core, key
from tests.agent.fake_host import CORE_KEY


def test_enrolling_again_with_the_same_key_answers_the_same(core: Core) -> None:
    """The node may ask as often as it likes."""
    core.sync(i_1="joining")
    first = core.enroll("i-1", 1)
    effects = core.host.effects
    assert core.enroll("i-1", 1) == first
    assert core.host.effects == effects


def test_another_key_for_a_live_node_is_refused(core: Core) -> None:
    """Whoever comes later with another key does not get the tunnel."""
    core.join(1)
    with pytest.raises(Refused, match="may change its key only when its seat is renewed"):
        core.enroll("i-1", 99)
    assert list(core.host.peers) == [key(1)]


def test_a_renewed_seat_takes_a_new_key(core: Core) -> None:
    """Gone and seated again: a new key, the same address."""
    core.join(1)
    core.sync(i_1="leaving")
    core.sync(i_1="joining")
    assert core.enroll("i-1", 99).address == "10.100.0.2/32"
    assert list(core.host.peers) == [key(99)]


def test_a_stolen_key_is_refused(core: Core) -> None:
    """A key that another node has, or the core, is nobody else's."""
    core.join(1)
    core.sync(core.seats(i_2="joining"))
    with pytest.raises(Refused, match="found the key of i-1"):
        core.enroll("i-2", 1)
    assert core.phases()["i-2"] == "seated"
    with pytest.raises(Refused, match="found the key of the core"):
        core.agent.carry_out(EnrollNode(instance=InstanceId("i-2"), public_key=PublicKey(CORE_KEY)))
    core.sync(i_1="leaving", i_2="joining")
    with pytest.raises(Refused, match="found the key of i-1"):
        core.enroll("i-2", 1)


def test_a_stranger_may_not_enroll(core: Core) -> None:
    """Only a seat admits."""
    with pytest.raises(Refused, match="wanted a seat in a group, found none"):
        core.enroll("i-7", 7)
    with pytest.raises(Refused, match="no such node"):
        core.ready("i-7")


def test_a_leaving_node_may_not_enroll_or_open(core: Core) -> None:
    """On its way out means out."""
    core.join(1)
    core.host.busy("i-1", 1)
    core.sync(i_1="leaving")
    with pytest.raises(Refused, match="leaving"):
        core.enroll("i-1", 1)
    with pytest.raises(Refused, match="leaving"):
        core.ready("i-1")


def test_addresses_rest_before_they_are_used_again(core: Core) -> None:
    """A released address stays its former node's until the quarantine is over."""
    core.join(1)
    core.sync(i_1="leaving")
    core.sync(i_2="joining")
    assert core.state.nodes[InstanceId("i-2")].address == "10.100.0.3"
    core.now += core.settings.tunnel.quarantine_s
    core.agent.tick()
    assert core.phases() == {"i-2": "seated"}
    core.sync(i_2="joining", i_3="joining")
    assert core.state.nodes[InstanceId("i-3")].address == "10.100.0.2"


def test_exhausted_addresses_are_said_and_healed(core: Core) -> None:
    """A seat beyond the last address is kept, refused at enrolment, and served once there is one again."""
    room = core.settings.node_capacity
    core.sync({f"i_{n}": "joining" for n in range(room)}, i_last="joining")
    with pytest.raises(Refused, match=r"wanted a free address in 10\.100\.0\.0/22, found none"):
        core.enroll("i-last", 5)
    core.sync({f"i_{n}": "joining" for n in range(1, room)}, i_0="leaving", i_last="joining")
    core.now += core.settings.tunnel.quarantine_s
    core.agent.tick()
    assert core.enroll("i-last", 5).address == "10.100.0.2/32"
