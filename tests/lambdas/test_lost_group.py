"""Emptying a group that AWS no longer has: only by a person, only when AWS says so, and only in our account."""

from __future__ import annotations

import pytest

from core_agent.contract.messages import BurstReport, FactsReport, GroupReport, Phase, Seats, SyncFleet
from core_agent.contract.names import GroupName, InstanceId, Reason
from core_agent.errors import DrawbridgeError
from lambdas.errors import CloudBusy, GroupExists, GroupUnknown, WrongAccount
from lambdas.lost_group import emptying
from tests.handlers.fake_cloud import FakeCloud
from tests.handlers.fake_core import GROUP_NAME, LOAD, FakeCore
from tests.handlers.payloads import ACCOUNT

REASON = Reason("the group was renamed")


@pytest.fixture
def cloud() -> FakeCloud:
    """An AWS with the one group, empty."""
    return FakeCloud()


def facts(*groups: GroupName) -> FactsReport:
    """What a core says that heard of ``groups``."""
    return FactsReport(
        agent_version="0.1.0",
        core="oslo-1",
        network="10.100.0.0/22",
        addresses_free=1019,
        groups=tuple(GroupReport(group=group, generation=1) for group in groups),
        nodes=(),
        burst=BurstReport(level_percent=25, core_percent=100, by_hand=False, reason=Reason("calm")),
        load=LOAD,
        pending_steps=0,
    )


def command(cloud: FakeCloud, *, account: str = ACCOUNT, group: GroupName = GROUP_NAME) -> SyncFleet:
    """Ask for the command; the core knows one group."""
    known = facts(GROUP_NAME)
    return emptying(group, account=account, cloud=cloud, facts=known, generation=7, reason=REASON)


def test_a_lost_groups_nodes_drain(cloud: FakeCloud) -> None:
    """AWS has no such group: nobody has a seat, and the operator's reason goes with it."""
    core = FakeCore()
    core.active(InstanceId("i-1"))
    cloud.group = None
    told = command(cloud)
    assert told == SyncFleet(group=GROUP_NAME, generation=7, seats=Seats(), override=REASON)
    core.request(told)
    assert core.nodes[InstanceId("i-1")].phase is Phase.DRAINING


def test_a_group_that_exists_is_not_emptied(cloud: FakeCloud) -> None:
    """Empty or not: as long as AWS has it, its nodes leave as it says."""
    with pytest.raises(GroupExists, match="wanted a group that AWS no longer has, found it there with 0 instances"):
        command(cloud)


def test_another_account_has_no_say(cloud: FakeCloud) -> None:
    """Where the group never was, not to find it means nothing; and then AWS is asked nothing more."""
    cloud.group = None
    with pytest.raises(WrongAccount, match=f"wanted credentials for account 210987654321, found some for {ACCOUNT}"):
        command(cloud, account="210987654321")
    assert cloud.count("instances") == 0


def test_a_mistyped_group_leaves_no_trace(cloud: FakeCloud) -> None:
    """A name that the core never heard is a typing error: it is answered with the names that it knows."""
    with pytest.raises(GroupUnknown, match=f"wanted one of {GROUP_NAME}, which the core knows"):
        command(cloud, group=GroupName("eu-north-1/drawbrigde-edge"))
    assert cloud.calls == []


def test_an_error_of_aws_is_no_answer(cloud: FakeCloud) -> None:
    """A throttled AWS does not say that the group is gone."""
    cloud.group = None
    cloud.failures["instances"] = [CloudBusy("describing: Throttling")]
    with pytest.raises(DrawbridgeError, match="Throttling"):
        command(cloud)
