"""The lines of ``fab``: reports in, text out."""

from __future__ import annotations

import pytest

from core_agent.contract.messages import (
    BurstReport,
    FactsReport,
    FleetReport,
    GroupReport,
    Hold,
    Lifecycle,
    LoadReport,
    NodeReport,
    Phase,
    Seats,
    SyncFleet,
)
from core_agent.contract.names import GroupName, InstanceId, Reason
from operator_view.changes import of_sync
from operator_view.status import status
from operator_view.synced import emptied

OWN, OLD = GroupName("eu-north-1/drawbridge-edge"), GroupName("eu-north-1/old-edge")
SEEN_MS = 1_700_000_000_000
LOAD = LoadReport(servers=(), queue=0, requests_total=0)


def node(instance: str, group: GroupName, phase: Phase = Phase.ACTIVE) -> NodeReport:
    """A node of ``group``."""
    return NodeReport(
        instance=InstanceId(instance),
        group=group,
        lifecycle=Lifecycle.SERVING,
        phase=phase,
        hold=Hold.NONE,
        waited_s=1,
        address="10.100.0.2",
        handshake_age_s=3,
        server="ready",
        check="L7OK",
        weight=28,
        maxconn=28,
        connections=0,
    )


def facts(*nodes: NodeReport, groups: tuple[GroupName, ...] = (OWN, OLD)) -> FactsReport:
    """A core that heard of ``groups`` at ``SEEN_MS``."""
    return FactsReport(
        agent_version="0.1.0",
        core="oslo-1",
        network="10.100.0.0/22",
        addresses_free=1019,
        groups=tuple(GroupReport(group=group, generation=SEEN_MS) for group in groups),
        nodes=nodes,
        burst=BurstReport(level_percent=25, core_percent=100, by_hand=False, reason=Reason("calm")),
        load=LOAD,
        pending_steps=0,
    )


def group_lines(report: FactsReport, *, silent_s: int) -> list[str]:
    """The lines of ``fab status`` that are about groups, without what they begin with."""
    lines = status(report, where="192.0.2.1:22", own=OWN, now_ms=SEEN_MS + 1000 * silent_s).splitlines()
    return [line.partition(" UTC")[2] for line in lines if "last seen" in line]


def test_groups_that_are_synced_are_only_named() -> None:
    """For ten minutes silence means nothing."""
    assert group_lines(facts(node("i-a", OLD)), silent_s=600) == ["", ""]


def test_our_own_group_must_not_fall_silent() -> None:
    """Even without a node: the next burst would find nobody to answer its hooks."""
    assert group_lines(facts(groups=(OWN,)), silent_s=1200) == [": NOT SYNCED for 20m; does the fleet function run?"]


def test_a_lost_group_is_flagged_as_long_as_it_has_nodes() -> None:
    """A renamed group's nodes would stay for ever: they are counted, and the way to let them go is said."""
    told = group_lines(facts(node("i-a", OLD), node("i-b", OLD), node("i-c", OWN), groups=(OLD,)), silent_s=1200)
    assert told == [": NOT SYNCED for 20m, 2 nodes; if AWS has no such group: fab sync --group"]
    gone = node("i-a", OLD, Phase.GONE)
    assert group_lines(facts(gone, groups=(OLD,)), silent_s=1200) == [", no node left"]


@pytest.mark.parametrize(
    ("override", "fate"),
    [(None, "stays, unless AWS, asked about it by its id, disowns it"), (Reason("moved"), "leaves")],
)
def test_a_dry_sync_tells_what_becomes_of_those_without_a_seat(override: Reason | None, fate: str) -> None:
    """Nobody leaves for being missing; nodes of other groups are not spoken of."""
    seats = Seats(serving=(InstanceId("i-b"),))
    command = SyncFleet(group=OWN, generation=SEEN_MS, seats=seats, override=override)
    report = facts(node("i-a", OWN), node("i-b", OWN), node("i-c", OLD))
    assert of_sync(command, report) == f"i-a: active, not in the group → {fate}"


def test_an_emptied_group_shows_what_still_drains() -> None:
    """What was done, then the nodes on their way; a command that came too late says that nothing was done."""

    def report(*nodes: NodeReport, applied: bool = True) -> FleetReport:
        return FleetReport(group=OLD, generation=SEEN_MS, applied=applied, nodes=nodes, missing=())

    first, heading, line = emptied(report(node("i-a", OLD, Phase.DRAINING))).splitlines()
    assert first == f"{OLD}: AWS has no such group; emptied at generation {SEEN_MS}"
    assert (heading.split()[0], line.split()[:2]) == ("INSTANCE", ["i-a", "draining"])
    assert emptied(report()).endswith(", no node was left to drain")
    assert "not applied" in emptied(report(node("i-a", OLD), applied=False))
