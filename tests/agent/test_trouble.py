"""Drift, dead daemons and impossible names: what the agent mends, and what it does not take for granted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core_agent.contract.messages import EnrollNode, FactsReport, Phase, ReadFacts, Seats, SyncFleet
from core_agent.contract.names import InstanceId
from core_agent.desired import Mode, Server
from core_agent.errors import CommandFailed, RecordFailed, RecordsLost, Refused, RuntimeApiError
from core_agent.haproxy.plan import SetMode, Step, plan
from core_agent.roll import Changes
from tests.agent.core_under_test import GROUP, Core, key


def test_drift_is_repaired_and_a_second_pass_is_empty(core: Core) -> None:
    """A peer taken away, a weight turned and a stranger added by hand: put right, then nothing left to do."""
    core.join(1, 2)
    core.agent.tick()
    wanted = core.host.text()
    core.host.peers.clear()
    core.restart()
    core.host._change("i-1", weight=3)
    core.host.servers["i-stranger"] = replace(core.host.servers["i-2"], name="i-stranger")
    core.agent.tick()
    assert core.host.text() == wanted
    assert {peer.endpoint for peer in core.host.peers.values()} == {"198.51.100.10:40001"}
    effects = core.host.effects
    core.agent.tick()
    assert core.host.effects == effects


def test_facts_tell_everything_and_change_nothing(core: Core) -> None:
    """ReadFacts names the nodes, the level, the room left, and a plan of nothing."""
    core.join(1)
    effects = core.host.effects
    facts = core.agent.carry_out(ReadFacts())
    assert isinstance(facts, FactsReport)
    assert (facts.core, facts.network, facts.addresses_free) == ("oslo-1", "10.100.0.0/22", 1020)
    assert [(n.instance, n.phase) for n in facts.nodes] == [("i-1", Phase.ACTIVE)]
    assert (facts.burst.level_percent, facts.pending_steps) == (100, 0)
    assert [(g.group, g.generation) for g in facts.groups] == [(GROUP, core.generation)]
    assert core.host.effects == effects


def test_a_dead_haproxy_keeps_nothing_else_waiting(core: Core) -> None:
    """The wish is recorded, its file is written and the tunnel converges; the error says what is dead."""
    core.sync(i_1="joining")
    core.host.haproxy_down = True
    with pytest.raises(RuntimeApiError, match=r"admin\.sock"):
        core.enroll("i-1", 1)
    assert core.host.text() == "peer 10.100.0.2/32"
    assert core.host.filed_servers["i-1"] == "10.100.0.2 id 1002 maint 28 28"
    core.host.haproxy_down = False
    core.agent.tick()
    assert "server i-1" in core.host.text()


def test_a_dead_haproxy_is_not_an_empty_one(core: Core) -> None:
    """Nothing seen of a server is not its absence: a draining node stays until HAProxy says that it is gone."""
    core.join(1)
    core.host.busy("i-1", 1)
    core.sync(i_1="leaving")
    core.host.haproxy_down = True
    core.now += 10 * core.settings.edge.drain_deadline_s
    with pytest.raises(RuntimeApiError):
        core.agent.tick()
    assert (core.phases(), core.host.text().count("peer")) == ({"i-1": "draining"}, 1)


def test_a_dead_tunnel_keeps_no_server_waiting(core: Core) -> None:
    """A drain goes through while WireGuard is down; its file is written, and the peer goes when it is back."""
    core.join(1, 2)
    core.host.wireguard_down = True
    with pytest.raises(CommandFailed, match="No such device"):
        core.sync(i_1="leaving", i_2="serving")
    assert core.phases() == {"i-1": "gone", "i-2": "active"}
    assert "server i-1" not in core.host.text()
    assert core.host.filed_peers.keys() == {"i-2"}
    core.host.wireguard_down = False
    core.agent.tick()
    assert list(core.host.peers) == [key(2)]


def test_a_node_named_like_a_core_server_cannot_be(core: Core) -> None:
    """Such a seat is refused by its name; if one were on record, the core's own server would still not be touched."""
    with pytest.raises(ValueError, match="wanted an instance id: i-"):
        core.sync(no_primary="joining")
    assert (
        plan(
            {
                "no-primary": Server(
                    name="no-primary", id=1009, address="10.100.0.9", mode=Mode.MAINT, weight=1, maxconn=1
                )
            },
            core.host.servers,
            port=8080,
            kept={"no-primary"},
        )
        == ()
    )


def test_nothing_opens_while_the_tunnel_is_gone(core: Core) -> None:
    """Whoever else has the address would answer the check: it counts only while WireGuard is there."""
    core.sync(i_1="joining")
    core.enroll("i-1", 1)
    core.host.checked("i-1")
    core.host.wireguard_down = True
    with pytest.raises(CommandFailed):
        core.agent.tick()
    with pytest.raises(CommandFailed):
        core.ready("i-1")
    assert core.phases() == {"i-1": "enrolled"}
    core.host.wireguard_down = False
    core.agent.tick()
    assert core.phases() == {"i-1": "active"}


def test_a_request_that_slips_in_while_a_server_closes_is_waited_for(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server is empty only if it was seen so after it was closed."""
    core.join(1)
    change = core.host._change_server

    def slip_in(step: Step) -> bool:
        done = change(step)
        if isinstance(step, SetMode) and step.mode is Mode.DRAIN:
            core.host.busy("i-1", 1)
        return done

    monkeypatch.setattr(core.host, "_change_server", slip_in)
    core.sync(i_1="leaving")
    assert core.phases() == {"i-1": "draining"}
    assert core.host.servers["i-1"].busy == 1
    core.host.busy("i-1", 0)
    core.agent.advance()
    assert core.phases() == {"i-1": "gone"}


def test_peers_stay_while_haproxy_is_not_seen(core: Core) -> None:
    """A node that has gone by the records keeps its peer until HAProxy shows that nothing is sent there."""
    core.join(1)
    core.host.stuck.add("i-1")
    core.sync(i_1="leaving")
    core.host.haproxy_down = True
    with pytest.raises(RuntimeApiError):
        core.agent.tick()
    assert list(core.host.peers) == [key(1)]


def test_what_another_hand_changed_is_said(core: Core, caplog: pytest.LogCaptureFixture) -> None:
    """The log names each thing that was put right, so that its cause can be found; a quiet core says nothing."""
    core.join(1, 2)
    core.agent.tick()
    caplog.clear()
    core.agent.tick()
    assert [record for record in caplog.records if "drift" in record.message] == []
    core.host._change("i-1", weight=3)
    del core.host.peers[key(2)]
    core.agent.tick()
    said = [record.message for record in caplog.records if "drift" in record.message]
    assert len(said) == 2
    assert "wireguard: SetPeer" in said[0]
    assert key(2) in said[0]
    assert "haproxy: SetWeight(name='i-1', weight=28)" in said[1]


def test_records_that_are_taken_away_end_the_agent(core: Core) -> None:
    """What is recorded in a file without a name is lost: the next start rebuilds, so this one does not go on."""
    core.join(1)
    core.path.unlink()
    with pytest.raises(RecordsLost, match="taken away while the agent ran"):
        core.agent.tick()
    assert core.host.peers, "nothing was touched"


def test_a_full_disk_in_the_middle_of_a_turn_loses_nothing_that_was_decided(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decision is recorded and carried out; only what follows from it waits, and a refusal keeps its answer."""
    core.join(1)
    commit = core.state.commit

    def full(_: Changes) -> None:
        raise RecordFailed("writing state.db: database or disk is full")

    monkeypatch.setattr(core.state, "commit", full)
    leave = SyncFleet(group=GROUP, generation=core.generation + 1, seats=Seats(leaving=(InstanceId("i-1"),)))
    stranger = EnrollNode(instance=InstanceId("i-9"), public_key=key(9))
    synced, refused = core.agent.carry_out_all((leave, stranger))
    assert isinstance(synced, RecordFailed)
    assert isinstance(refused, Refused)
    assert core.phases() == {"i-1": "draining"}
    assert "drain" in core.host.text()
    monkeypatch.setattr(core.state, "commit", commit)
    core.agent.tick()
    assert core.phases() == {"i-1": "gone"}
