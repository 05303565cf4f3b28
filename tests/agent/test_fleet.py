"""What becomes of nodes: the rules of ``core_agent.fleet`` through the whole agent over a fake host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from core_agent.contract.messages import FactsReport, Hold, NodeReport, Phase, ReadFacts
from core_agent.contract.names import GroupName, InstanceId
from core_agent.errors import Refused
from core_agent.fleet import Observation, advance
from tests.agent.core_under_test import GROUP, Core


def test_a_node_goes_the_whole_way_in(core: Core) -> None:
    """Seated, enrolled, active: each stage programs exactly what it should."""
    report = core.sync(i_1="joining")
    assert [(n.instance, n.phase, n.address) for n in report.nodes] == [("i-1", Phase.SEATED, "10.100.0.2")]
    assert core.host.text() == ""
    tunnel = core.enroll("i-1", 1)
    assert (tunnel.address, tunnel.core_address, tunnel.endpoint) == (
        "10.100.0.2/32",
        "10.100.0.1",
        "203.0.113.10:51820",
    )
    assert core.host.text() == "peer 10.100.0.2/32\nserver i-1 10.100.0.2 maint weight 28 maxconn 28"
    core.host.checked("i-1")
    assert core.host.filed_peers == {"i-1": "10.100.0.2 of eu-north-1/drawbridge-edge, none"}
    assert core.host.filed_servers["i-1"] == "10.100.0.2 id 1002 maint 28 28"
    answer = core.ready("i-1")
    assert isinstance(answer, NodeReport)
    assert (answer.phase, answer.server) == (Phase.ACTIVE, "ready")
    assert core.host.text() == "peer 10.100.0.2/32\nserver i-1 10.100.0.2 ready weight 28 maxconn 28"
    assert core.host.filed_servers["i-1"] == "10.100.0.2 id 1002 ready 28 28"


@pytest.mark.parametrize("lacks", ["check", "word"])
def test_a_node_opens_only_when_word_and_check_agree(core: Core, lacks: str) -> None:
    """Either missing keeps it closed; its arriving opens it without another message."""
    core.sync(i_1="joining")
    core.enroll("i-1", 1)
    events: dict[str, Callable[[], object]] = {
        "check": lambda: core.host.checked("i-1"),
        "word": lambda: core.ready("i-1"),
    }
    for name, event in events.items():
        if name != lacks:
            event()
    core.agent.tick()
    assert core.phases() == {"i-1": "enrolled"}
    events[lacks]()
    core.agent.tick()
    assert core.phases() == {"i-1": "active"}


def test_a_serving_seat_needs_no_word(core: Core) -> None:
    """A node that the cloud already counts as serving opens on its check alone, as after a core's rebuild."""
    core.sync(i_1="serving")
    core.enroll("i-1", 1)
    core.host.checked("i-1")
    core.agent.tick()
    assert core.phases() == {"i-1": "active"}


def test_a_node_goes_the_whole_way_out(core: Core) -> None:
    """Draining keeps server and peer until the last request is done; then both go."""
    core.join(1)
    core.host.busy("i-1", 3)
    report = core.sync(i_1="leaving")
    assert [n.phase for n in report.nodes] == [Phase.DRAINING]
    assert core.host.text() == "peer 10.100.0.2/32\nserver i-1 10.100.0.2 drain weight 28 maxconn 28"
    core.host.busy("i-1", 0)
    core.agent.tick()
    assert core.host.text() == ""
    assert [n.phase for n in core.sync(i_1="leaving").nodes] == [Phase.GONE]


def test_the_peer_stays_until_the_server_is_really_gone(core: Core) -> None:
    """HAProxy still holds connections of a deleted-to-be server: the node is not gone yet, and keeps its tunnel."""
    core.join(1)
    core.host.stuck.add("i-1")
    assert [n.phase for n in core.sync(i_1="leaving").nodes] == [Phase.DRAINING]
    core.agent.tick()
    assert core.host.text() == "peer 10.100.0.2/32\nserver i-1 10.100.0.2 maint weight 28 maxconn 28"
    core.host.stuck.clear()
    core.agent.tick()
    assert (core.host.text(), core.phases()) == ("", {"i-1": "gone"})


def test_an_idle_server_that_is_still_open_is_not_drained(core: Core) -> None:
    """No request at this instant means nothing while the next one may still be sent there."""
    core.join(1)
    core.host.busy("i-1", 1)
    core.sync(i_1="leaving")
    limits = core.agent._limits
    still_open = Observation(check=True, server=True, closed=False, busy=0)
    assert advance(core.state.nodes, {InstanceId("i-1"): still_open}, limits=limits, now=core.now).empty
    closed = replace(still_open, closed=True)
    (node,) = advance(core.state.nodes, {InstanceId("i-1"): closed}, limits=limits, now=core.now).nodes
    assert node.removing


def test_the_drain_ends_at_its_deadline(core: Core) -> None:
    """A request that never ends does not hold the machine for ever."""
    core.join(1)
    core.host.busy("i-1", 1)
    core.sync(i_1="leaving")
    core.now += core.settings.edge.drain_deadline_s - 1
    core.agent.tick()
    assert core.phases() == {"i-1": "draining"}
    core.now += 1
    core.agent.tick()
    assert core.phases() == {"i-1": "gone"}
    assert core.host.text() == ""


def test_a_draining_node_that_is_wanted_again_comes_back(core: Core) -> None:
    """A termination that was called off reopens the node without a new enrolment."""
    core.join(1)
    core.host.busy("i-1", 1)
    core.sync(i_1="leaving")
    core.sync(i_1="serving")
    assert core.phases() == {"i-1": "active"}
    assert "ready" in core.host.text()


def test_leaving_before_joining_is_gone_at_once(core: Core) -> None:
    """A terminate that overtakes its launch leaves nothing behind and may be completed."""
    report = core.sync(i_9="leaving")
    assert [(n.instance, n.phase) for n in report.nodes] == [("i-9", Phase.GONE)]
    assert core.phases() == {}


def test_a_seat_that_never_enrolled_goes_at_once(core: Core) -> None:
    """Nothing was programmed for it, so there is nothing to drain."""
    core.sync(i_1="joining")
    assert [n.phase for n in core.sync(i_1="leaving").nodes] == [Phase.GONE]


def test_an_older_generation_changes_nothing(core: Core) -> None:
    """A late look is answered with the current state."""
    core.join(1)
    newest = core.generation
    report = core.sync(generation=newest - 1)
    assert (report.applied, report.generation) == (False, newest)
    assert core.phases() == {"i-1": "active"}
    assert [n.phase for n in report.nodes] == [Phase.ACTIVE]


def test_an_equal_generation_changes_nothing(core: Core) -> None:
    """The same message delivered twice, with another node meanwhile gone, is answered and not applied."""
    core.join(1)
    report = core.sync(generation=core.generation, i_1="leaving")
    assert (report.applied, core.phases()) == (False, {"i-1": "active"})


def test_a_generation_from_the_future_is_refused(core: Core) -> None:
    """One wrong clock must not shut out every later look."""
    with pytest.raises(Refused, match="ahead of the core's clock"):
        core.sync(generation=int((core.now + 3600) * 1000), i_1="joining")
    assert core.phases() == {}
    assert core.sync(i_1="joining").applied


@pytest.mark.parametrize("count", [1, 2, 5])
def test_nobody_leaves_for_being_missing(core: Core, count: int) -> None:
    """An empty answer, from a small fleet as from a large one, removes nobody; the missing are named."""
    core.join(*range(1, count + 1))
    report = core.sync()
    assert report.missing == tuple(f"i-{n}" for n in range(1, count + 1))
    assert set(core.phases().values()) == {"active"}
    assert core.host.text().count(" ready ") == count


def test_short_answers_do_not_melt_the_fleet(core: Core) -> None:
    """Four looks in a row that each miss another one: all are named, none goes."""
    core.join(1, 2, 3, 4)
    for missing in range(1, 5):
        report = core.sync({f"i_{n}": "serving" for n in range(1, 5) if n != missing})
        assert report.missing == (f"i-{missing}",)
    assert set(core.phases().values()) == {"active"}


def test_declared_gone_leaves(core: Core) -> None:
    """The cloud disowned each by name: all five leave, requests in flight on dead machines or not."""
    core.join(1, 2, 3, 4, 5)
    core.host.busy("i-1", 2)
    report = core.sync(gone=("i-1", "i-2", "i-3", "i-4", "i-5"))
    assert report.missing == ()
    assert set(core.phases().values()) == {"gone"}
    assert core.host.text() == ""


def test_an_operators_reason_lets_the_missing_go(core: Core) -> None:
    """An operator's reason is enough."""
    core.join(1, 2, 3, 4, 5)
    assert core.sync(override="the group was rebuilt").missing == ()
    assert set(core.phases().values()) == {"gone"}


def test_leaving_seats_leave_all_at_once(core: Core) -> None:
    """A scale-in to nothing, node by node declared leaving, is no massacre."""
    core.join(1, 2, 3, 4, 5)
    report = core.sync({f"i_{n}": "leaving" for n in range(1, 6)})
    assert report.missing == ()
    assert set(core.phases().values()) == {"gone"}


def test_groups_do_not_touch_each_other(core: Core) -> None:
    """An empty look at one group leaves another's nodes alone."""
    core.join(1)
    core.sync(group=GroupName("eu-west-1/other"))
    assert core.phases() == {"i-1": "active"}


def test_two_groups_can_exchange_their_nodes(core: Core) -> None:
    """A seat of another group's node is left out and named, and keeps nothing else from happening."""
    other = GroupName("eu-west-1/other")
    core.sync(i_1="joining")
    core.sync(group=other, i_2="joining")
    report = core.sync(i_2="joining", gone=("i-1",))
    assert (report.elsewhere, [node.instance for node in report.nodes]) == (("i-2",), [])
    assert core.phases() == {"i-1": "gone", "i-2": "seated"}
    report = core.sync(group=other, i_1="joining", gone=("i-2",))
    assert (report.elsewhere, [node.phase for node in report.nodes]) == ((), [Phase.SEATED])
    assert core.sync(i_2="joining").elsewhere == ()
    assert {name: node.group for name, node in core.state.nodes.items()} == {"i-1": other, "i-2": GROUP}


def test_levels_scale_weight_and_slots(core: Core) -> None:
    """Half a level is half of both, never 0; at level 0 the rules keep requests home, and an edge alone has it all."""
    core.join(1)
    core.burst(50)
    assert "ready weight 14 maxconn 14" in core.host.text()
    core.burst(1)
    assert "ready weight 1 maxconn 1" in core.host.text()
    core.burst(0)
    assert "ready weight 28 maxconn 28" in core.host.text()
    assert core.host.variables["edge_closed"] == 1
    core.burst(25)
    assert "ready weight 7 maxconn 7" in core.host.text()
    assert core.host.variables["edge_closed"] == 0


def test_a_rested_node_proves_itself_anew(core: Core) -> None:
    """Out of the pool and joining again: what it showed before it was stopped opens nothing and completes nothing."""
    core.join(1)
    core.sync(i_1="resting")
    core.now += 3600
    core.host.checked("i-1", "L4TOUT")
    report = core.sync(i_1="joining")
    assert [n.phase for n in report.nodes] == [Phase.ENROLLED]
    core.ready("i-1")
    assert core.phases() == {"i-1": "enrolled"}
    core.host.checked("i-1")
    core.agent.advance()
    assert core.phases() == {"i-1": "active"}


def test_resting_nodes_keep_their_peer_and_take_no_traffic(core: Core) -> None:
    """Standby and warm pool: tunnel up, server closed, and back without enrolling."""
    core.join(1)
    core.sync(i_1="resting")
    assert core.host.text() == "peer 10.100.0.2/32\nserver i-1 10.100.0.2 drain weight 28 maxconn 28"
    core.sync(i_1="serving")
    assert "ready" in core.host.text()


def test_an_operators_drain_outlives_syncs(core: Core) -> None:
    """The cloud says serving; the operator said drain; lifting it opens the node again."""
    core.join(1)
    core.hold("i-1", "drain")
    core.sync(i_1="serving")
    assert "drain" in core.host.text()
    core.hold("i-1", "none")
    assert "ready" in core.host.text()


def test_an_operators_removal_lasts_while_the_cloud_lists_it(core: Core) -> None:
    """It goes, cannot enroll again, is not forgotten while seated, and is welcome after the hold was lifted."""
    core.join(1)
    core.hold("i-1", "remove")
    core.now += 10 * core.settings.tunnel.quarantine_s
    core.agent.tick()
    core.sync(i_1="serving")
    assert core.host.text() == ""
    facts = core.agent.carry_out(ReadFacts())
    assert isinstance(facts, FactsReport)
    assert [(n.instance, n.phase, n.hold) for n in facts.nodes] == [("i-1", Phase.GONE, Hold.REMOVE)]
    with pytest.raises(Refused, match="an operator removed this node"):
        core.enroll("i-1", 1)
    core.hold("i-1", "none")
    core.sync(i_1="serving")
    core.enroll("i-1", 1)
    assert core.phases() == {"i-1": "enrolled"}


def test_a_removed_node_is_forgotten_once_the_cloud_forgets_it(core: Core) -> None:
    """No seat, quarantine over: the record goes and its address is free."""
    core.join(1)
    core.hold("i-1", "remove")
    core.sync(gone=("i-1",))
    core.now += core.settings.tunnel.quarantine_s
    core.agent.tick()
    assert core.phases() == {}
