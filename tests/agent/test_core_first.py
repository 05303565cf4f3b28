"""How requests are steered: the core's share, its slots, and the weight of a node that has just opened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core_agent.contract.messages import CoreServerReport, ReadTelemetry, TelemetryReport
from core_agent.contract.names import InstanceId
from core_agent.errors import RefusalKind, Refused
from core_agent.ramp import Ramps
from settings import load
from settings.words import Label
from tests.agent.conftest import at_once
from tests.agent.core_under_test import Core

# --- the core's share and its slots ---------------------------------------------------------------------------------


def test_a_share_keeps_slots_free(core: Core) -> None:
    """60 % of 50 slots: requests overflow once no more than 20 are free; those are for when the edge is full."""
    core.burst(100, core=60)
    assert core.host.variables == {"edge_closed": 0, "reserve_1": 20}
    assert core.host.servers["no-primary"].maxconn == 50
    core.burst(100)
    assert core.host.variables == {"edge_closed": 0, "reserve_1": 0}


def test_the_smallest_share_is_one_slot(core: Core) -> None:
    """However small it is, the core takes a request at a time before the edge does."""
    core.burst(100, core=1)
    assert core.host.variables["reserve_1"] == 49


def test_slots_are_set_and_taken_back(core: Core) -> None:
    """At run time, in the file, after a restart and with the share; None is what drawbridge.toml says."""
    answer = core.capacity(80)
    assert isinstance(answer, CoreServerReport)
    assert (answer.name, answer.slots, answer.configured) == ("no-primary", 80, 50)
    assert core.host.servers["no-primary"].maxconn == 80
    assert core.host.filed_servers["slots of no-primary"] == "80, 0 kept free: test"
    core.burst(100, core=50)
    assert core.host.variables["reserve_1"] == 40
    core.restart()
    core.agent.tick()
    assert core.host.servers["no-primary"].maxconn == 80
    core.capacity(None)
    assert core.host.servers["no-primary"].maxconn == 50
    assert core.host.filed_servers["slots of no-primary"] == "50, 25 kept free: None"


def test_slots_of_a_server_that_nobody_has_are_refused(core: Core) -> None:
    """With the names that there are; nothing changes."""
    with pytest.raises(
        Refused, match=r"no-secondary: wanted a core server of drawbridge\.toml \(no-primary\)"
    ) as caught:
        core.capacity(80, server="no-secondary")
    assert caught.value.kind is RefusalKind.UNKNOWN_SERVER
    assert core.state.capacity == {}


def test_what_another_hand_steered_is_put_right(core: Core) -> None:
    """Variables and the core's slots are as much the agent's as a node's weight."""
    core.agent.tick()
    core.host.variables["edge_closed"] = 1
    core.host.checked("no-primary")
    core.host.servers["no-primary"].maxconn = 3
    core.agent.tick()
    assert core.host.variables["edge_closed"] == 0
    assert core.host.servers["no-primary"].maxconn == 50


# --- the ramp -------------------------------------------------------------------------------------------------------


def test_a_new_node_climbs_to_its_weight(ramping_core: Core) -> None:
    """A quarter at once, all of it after ten seconds; its slots and the file have all of it from the start."""
    core = ramping_core
    core.join(1)
    seen = []
    for second in range(12):
        assert core.agent.advance() == (second < 10)
        seen.append((core.host.servers["i-1"].weight, core.host.servers["i-1"].maxconn))
        core.now += 1
    assert [weight for weight, _ in seen] == [7, 7, 7, 7, 14, 14, 14, 21, 21, 21, 28, 28]
    assert {slots for _, slots in seen} == {28}
    assert core.host.filed_servers["i-1"].endswith("ready 28 28")


def test_a_queue_ends_every_ramp(ramping_core: Core) -> None:
    """Whoever waits, in the backend or at the core's server, is worth more than a cold cache."""
    core = ramping_core
    core.join(1)
    assert core.host.servers["i-1"].weight == 7
    core.host.servers["no-primary"].queue = 2
    core.agent.tick()
    core.agent.advance()
    assert core.host.servers["i-1"].weight == 28
    core.host.servers["no-primary"].queue, core.host.queue = 0, 1
    core.agent.tick()
    core.join(2)
    assert core.host.servers["i-2"].weight == 28


def test_a_node_that_comes_back_climbs_again(ramping_core: Core) -> None:
    """An operator's hold let its caches go cold as well."""
    core = ramping_core
    core.join(1)
    core.now += 60
    core.agent.tick()
    core.hold("i-1", "drain")
    core.hold("i-1", "none")
    assert core.host.servers["i-1"].weight == 7


def test_levels_and_ramps_multiply(ramping_core: Core) -> None:
    """Half a level and half a ramp are a quarter; never 0."""
    core = ramping_core
    core.join(1)
    core.burst(50)
    core.now += 4
    core.agent.advance()
    assert core.host.servers["i-1"].weight == 7
    core.burst(1)
    assert core.host.servers["i-1"].weight == 1


def test_a_new_agent_ramps_nobody(ramping_core: Core) -> None:
    """It does not know who opened when, and the file has the full weight."""
    core = ramping_core
    core.join(1)
    core.restart()
    core.agent.tick()
    assert core.host.servers["i-1"].weight == 28


def test_a_clock_that_goes_back_holds_nobody_down() -> None:
    """A ramp is a few seconds or it is over."""
    ramps = Ramps(10)
    ramps.begin([InstanceId("i-1")], 1000)
    assert ramps.percents(900, 0) == {"i-1": 100}
    assert not ramps


# --- a core that is down --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [1, 25, 0])
def test_an_edge_that_is_alone_has_all_its_slots(core: Core, level: int) -> None:
    """Whatever the level, once no core server is up, and only until one is again; the file keeps to the level."""
    core.join(1)
    core.burst(level)
    before, filed = core.host.text(), core.host.filed_servers
    core.host.checked("no-primary", "L4CON")
    core.agent.tick()
    assert "ready weight 28 maxconn 28" in core.host.text()
    assert core.host.filed_servers == filed
    core.host.checked("no-primary")
    core.agent.tick()
    assert core.host.text() == before


def test_one_core_server_that_is_up_is_a_core(tmp_path: Path) -> None:
    """The level holds for as long as any of them works."""
    settings = at_once(load(Path("drawbridge.toml")))
    (first,) = settings.core.servers
    second = replace(first, name=Label("no-second"), port=8081)
    core = Core(replace(settings, core=replace(settings.core, servers=(first, second))), tmp_path / "state.db")
    core.join(1)
    core.burst(25)
    core.host.checked("no-primary", "L4CON")
    core.agent.tick()
    assert "ready weight 7 maxconn 7" in core.host.text()
    core.host.checked("no-second", "L4CON")
    core.agent.tick()
    assert "ready weight 28 maxconn 28" in core.host.text()
    core.state.close()


def test_a_core_server_that_an_operator_drained_is_no_core(core: Core) -> None:
    """Weight 0 is how one is taken out: it is up and takes nothing, so the edge is alone."""
    core.join(1)
    core.burst(25)
    core.host.servers["no-primary"].weight = 0
    core.agent.tick()
    assert "ready weight 28 maxconn 28" in core.host.text()
    (server,) = core.facts().load.servers
    assert (server.up, server.takes) == (True, False)
    core.host.servers["no-primary"].weight = 1
    core.agent.tick()
    assert "ready weight 7 maxconn 7" in core.host.text()


@pytest.mark.parametrize("percent", range(1, 101))
def test_a_share_is_whole_slots_exactly(core: Core, percent: int) -> None:
    """Of a hundred slots, no float makes one more of them."""
    core.capacity(100)
    core.burst(100, core=percent)
    assert core.host.variables["reserve_1"] == 100 - percent


def test_a_region_that_is_further_away_has_less(tmp_path: Path) -> None:
    """Its factor scales what a node gets, and what telemetry counts it for."""
    settings = at_once(load(Path("drawbridge.toml")))
    far = replace(settings, edge=replace(settings.edge, region_factor_percent=50))
    core = Core(far, tmp_path / "state.db")
    core.join(1)
    assert "ready weight 14 maxconn 14" in core.host.text()
    core.host.busy("no-primary", 50)
    core.host.busy("i-1", 14)
    core.agent.tick()
    report = core.agent.carry_out(ReadTelemetry(window_s=1))
    assert isinstance(report, TelemetryReport)
    assert [(one.core_percent, one.total_percent) for one in report.samples[-1:]] == [(100, 100)]
    core.state.close()
