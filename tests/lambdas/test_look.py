"""The look at the group: whatever happened before it, the core learns who belongs and hooks let go when they may."""

from __future__ import annotations

import pytest

from core_agent.contract.messages import Lifecycle, Phase, Seats
from core_agent.contract.names import InstanceId, Reason
from core_agent.errors import CoreUnreachable
from lambdas.errors import CloudBusy, CloudRefused, GroupMissing, UnknownState
from lambdas.group import Group
from lambdas.look import Look, look
from lambdas.states import Hook
from tests.handlers.fake_cloud import FakeCloud
from tests.handlers.fake_core import FakeCore

GROUP = Group(
    region="eu-north-1", name="drawbridge-edge", launch_hook="drawbridge-launch", terminate_hook="drawbridge-terminate"
)


class World:
    """A group, a core and a clock."""

    def __init__(self) -> None:
        self.cloud = FakeCloud()
        self.core = FakeCore()
        self.ms = 1_000

    def now_ms(self) -> int:
        """Tick."""
        self.ms += 1
        return self.ms

    def look(self, override: Reason | None = None) -> Look:
        """Look once."""
        return look(GROUP, cloud=self.cloud, core=self.core, now_ms=self.now_ms, override=override)


@pytest.fixture
def world() -> World:
    """An empty group and a core without nodes."""
    return World()


def test_a_launch_goes_on_only_when_the_node_is_active(world: World) -> None:
    """Seated and enrolled nodes stay held; an active one enters service, once."""
    node = world.cloud.add("i-1", "Pending:Wait")
    assert world.look().completed == ()
    world.core.nodes[node].phase = Phase.ENROLLED
    assert world.look().completed == ()
    world.core.nodes[node].phase = Phase.ACTIVE
    assert world.look().completed == ((node, Hook.LAUNCH),)
    assert world.cloud.members[node] == "InService"
    assert world.look().completed == ()


def test_a_termination_waits_for_the_drain(world: World) -> None:
    """A draining node is reported as leaving until it is gone; then its hook lets go."""
    node = world.cloud.add("i-1", "Terminating:Wait")
    world.core.active(node)
    assert world.look().leaving == (node,)
    assert node in world.cloud.members
    world.core.drained(node)
    seen = world.look()
    assert (seen.leaving, seen.completed) == ((), ((node, Hook.TERMINATE),))
    assert node not in world.cloud.members


def test_terminate_before_launch(world: World) -> None:
    """An instance that the core has never seen is let go at once."""
    node = world.cloud.add("i-1", "Terminating:Wait")
    seen = world.look()
    assert (seen.leaving, seen.completed) == ((), ((node, Hook.TERMINATE),))


def test_a_fresh_warm_node_enters_its_pool_when_enrolled(world: World) -> None:
    """Into the warm pool a node needs its tunnel, not traffic."""
    node = world.cloud.add("i-1", "Warmed:Pending:Wait")
    assert world.look().completed == ()
    world.core.nodes[node].phase = Phase.ENROLLED
    assert world.look().completed == ((node, Hook.LAUNCH),)


def test_a_group_of_none_is_synced_as_that(world: World) -> None:
    """Scale-in to zero is a legal answer of AWS."""
    seen = world.look()
    assert world.core.syncs[-1].seats == Seats()
    assert (seen.nodes, seen.applied) == ((), True)


def test_a_group_that_does_not_exist_changes_nothing(world: World) -> None:
    """No such group is an error and never an empty set: the core is not even asked."""
    world.cloud.group = "another"
    world.core.active(InstanceId("i-1"))
    with pytest.raises(GroupMissing):
        world.look()
    assert world.core.commands == []


@pytest.mark.parametrize("error", [CloudBusy("describing: throttled"), CloudRefused("describing: AccessDenied")])
def test_an_error_of_aws_changes_nothing(world: World, error: Exception) -> None:
    """An answer that is an error is not taken for an answer."""
    world.cloud.failures["instances"] = [error]
    with pytest.raises(type(error)):
        world.look()
    assert world.core.commands == []


def test_an_unknown_state_stops_nobody_else(world: World) -> None:
    """One instance in a state of the future keeps what it has, is named in an error, and the others are seen to."""
    unclear = world.cloud.add("i-unclear", "Quarantined")
    world.core.active(unclear)
    leaving = world.cloud.add("i-leaving", "Terminating:Wait")
    fresh = world.cloud.add("i-fresh", "Pending:Wait")
    seen = world.look()
    (error,) = seen.failed
    assert isinstance(error, UnknownState)
    assert unclear in str(error)
    assert "found 'Quarantined'" in str(error)
    assert (seen.kept, seen.completed) == ((unclear,), ((leaving, Hook.TERMINATE),))
    assert world.core.nodes[unclear].phase is Phase.ACTIVE
    assert world.core.nodes[fresh].phase is Phase.SEATED


def test_an_unknown_state_seats_no_stranger_and_calls_nobody_back(world: World) -> None:
    """It is no reason to let an instance in, nor to open one again that was on its way out."""
    world.cloud.add("i-stranger", "Quarantined")
    draining = world.cloud.add("i-draining", "Terminating:Wait")
    world.core.active(draining)
    world.look()
    world.cloud.members[draining] = "Quarantined"
    assert len(world.look().failed) == 2
    assert world.core.nodes.keys() == {draining}
    assert world.core.nodes[draining].phase is Phase.DRAINING


def test_no_override_while_a_state_is_unknown(world: World) -> None:
    """An override lets go of whatever has no seat: the core is not asked before it is known who that is."""
    world.cloud.add("i-unclear", "Quarantined")
    with pytest.raises(UnknownState, match="i-unclear"):
        world.look(override=Reason("the group was rebuilt"))
    assert world.core.commands == []


def test_the_generation_is_older_than_the_description(world: World) -> None:
    """The clock is read before AWS is asked, so a look that started later knows at least as much."""
    readings: list[list[str]] = []

    def now_ms() -> int:
        readings.append(list(world.cloud.calls))
        return 5

    look(GROUP, cloud=world.cloud, core=world.core, now_ms=now_ms)
    assert readings == [[]]
    assert world.core.syncs[-1].generation == 5


def test_a_late_look_changes_nothing_on_the_core(world: World) -> None:
    """A look that was overtaken is told so, and what it saw is not applied."""
    world.cloud.add("i-1", "InService")
    world.core.generation = 10_000
    seen = world.look()
    assert (seen.applied, seen.generation) == (False, 10_000)
    assert world.core.nodes == {}


def test_a_dead_core_completes_nothing(world: World) -> None:
    """Without a report there is nothing to conclude from."""
    world.cloud.add("i-1", "Terminating:Wait")
    world.core.failures.append(CoreUnreachable("connecting: timed out"))
    with pytest.raises(CoreUnreachable):
        world.look()
    assert world.cloud.count("complete") == 0


def test_one_bad_completion_does_not_stop_the_others(world: World) -> None:
    """What cannot be completed is reported when everything else is done."""
    nodes = [world.cloud.add(f"i-{n}", "Terminating:Wait") for n in range(3)]
    error = CloudBusy("completing: Throttling")
    world.cloud.failures[f"complete drawbridge-terminate {nodes[1]}"] = [error]
    seen = world.look()
    assert seen.failed == (error,)
    assert [instance for instance, _ in seen.completed] == [nodes[0], nodes[2]]
    assert list(world.cloud.members) == [nodes[1]]


def test_no_active_action_is_done_and_not_counted(world: World) -> None:
    """An action that timed out, or that another look completed, is no error and no completion of ours."""
    node = world.cloud.add("i-1", "Terminating:Wait")
    world.cloud.overtaken.add(node)
    seen = world.look()
    assert (seen.completed, seen.failed, seen.leaving) == ((), (), ())
    assert world.cloud.count("complete") == 1


# --- who is missing -------------------------------------------------------------------------------------------------


def crowd(world: World, count: int) -> list[InstanceId]:
    """Give the core active nodes that the group does not list."""
    nodes = [InstanceId(f"i-{n}") for n in range(count)]
    for node in nodes:
        world.core.active(node)
    return nodes


@pytest.mark.parametrize("count", [1, 5])
def test_nodes_that_aws_does_not_disown_stay(world: World, count: int) -> None:
    """A group that answers with too few members costs nobody its place."""
    nodes = crowd(world, count)
    seen = world.look()
    assert seen.kept == tuple(nodes)
    assert all(world.core.nodes[node].phase is Phase.ACTIVE for node in nodes)
    assert len(world.core.syncs) == 1


def test_a_single_node_goes_when_aws_disowns_it(world: World) -> None:
    """Few are asked about like many: the one that has ended goes, with its own look."""
    (node,) = crowd(world, 1)
    world.cloud.ended = {node}
    seen = world.look()
    assert [command.gone for command in world.core.syncs] == [(), (node,)]
    assert (seen.kept, world.core.nodes[node].phase) == ((), Phase.DRAINING)


@pytest.mark.parametrize("place", ["no group", "another group"])
def test_a_node_that_runs_on_without_its_group_is_drained(world: World, place: str) -> None:
    """A detached machine still answers its last requests: it leaves like any other, and is not declared gone."""
    detached, member = crowd(world, 2)
    world.cloud.members[member] = "InService"
    if place == "no group":
        world.cloud.detached = {detached}
    else:
        world.cloud.strangers = {detached: "another"}
    seen = world.look()
    _, second = world.core.syncs
    assert second.gone == ()
    assert (detached, Lifecycle.LEAVING) in set(second.seats)
    assert world.core.nodes[detached].phase is Phase.DRAINING
    assert world.core.nodes[member].phase is Phase.ACTIVE
    assert (seen.seats, seen.kept) == (Seats(serving=(member,)), ())
    world.core.drained(detached)
    assert world.look().nodes == ()


def test_a_node_that_the_second_look_lists_again_stays(world: World) -> None:
    """Of two answers that disagree, the one that lists the instance is believed."""
    (node,) = crowd(world, 1)
    world.cloud.members[node] = "InService"
    world.cloud.listed = False
    world.cloud.detached = {node}

    def now_ms() -> int:
        world.cloud.listed = bool(world.core.syncs)
        return world.now_ms()

    look(GROUP, cloud=world.cloud, core=world.core, now_ms=now_ms)
    assert len(world.core.syncs) == 2
    assert world.core.nodes[node].phase is Phase.ACTIVE


def test_nodes_that_aws_disowns_one_by_one_go(world: World) -> None:
    """Those that AWS declares ended by their id go, the others stay, by a second look with its own generation."""
    nodes = crowd(world, 5)
    world.cloud.ended = set(nodes[:2])
    seen = world.look()
    first, second = world.core.syncs
    assert second.gone == tuple(nodes[:2])
    assert second.generation > first.generation
    assert world.cloud.count("instances") == 2
    assert world.core.nodes[nodes[0]].phase is Phase.DRAINING
    assert world.core.nodes[nodes[4]].phase is Phase.ACTIVE
    assert seen.kept == tuple(nodes[2:])


def test_an_error_while_asking_keeps_everybody(world: World) -> None:
    """A failing question never means gone, and the hooks of others are completed all the same."""
    nodes = crowd(world, 5)
    leaving = world.cloud.add("i-leaving", "Terminating:Wait")
    error = CloudBusy("asking: RequestLimitExceeded")
    world.cloud.failures["disowned"] = [error]
    seen = world.look()
    assert (seen.failed, seen.kept) == ((error,), tuple(nodes))
    assert seen.completed == ((leaving, Hook.TERMINATE),)
    assert all(world.core.nodes[node].phase is Phase.ACTIVE for node in nodes)


def test_an_operator_may_let_them_go(world: World) -> None:
    """With a reason, the whole set is believed."""
    nodes = crowd(world, 5)
    seen = world.look(override=Reason("the group was rebuilt"))
    assert seen.kept == ()
    assert all(world.core.nodes[node].phase is Phase.DRAINING for node in nodes)


# --- any order ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", range(5))
def test_a_lost_look_changes_nothing_in_the_end(world: World, lost: int) -> None:
    """Whichever look is lost while nodes come and go, the last one brings group and core into agreement."""
    staying, going = world.cloud.add("i-a", "Pending:Wait"), world.cloud.add("i-b", "Pending:Wait")
    world.core.instant = True

    def come_up() -> None:
        for node in (staying, going):
            known = world.core.nodes.get(node)
            if known is not None and known.phase is Phase.SEATED:
                known.phase = Phase.ACTIVE

    def terminate() -> None:
        world.cloud.members[going] = "Terminating:Wait"

    def nothing() -> None:
        pass

    for step, happens in enumerate((nothing, come_up, terminate, nothing, nothing)):
        happens()
        if step != lost:
            world.look()
    come_up()
    world.look()
    assert world.cloud.members == {staying: "InService"}
    assert going not in world.core.nodes or world.core.nodes[going].phase is Phase.GONE
