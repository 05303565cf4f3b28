"""Client, sshd, relay and server, with nothing between them replaced; only the agent behind them is a stand-in."""

from __future__ import annotations

import grp
import os
import threading
from collections.abc import Iterator, Sequence
from typing import cast

import pytest

from core_agent.agent import Agent
from core_agent.client import CoreClient
from core_agent.contract.codec import MAX_REPLY_BYTES
from core_agent.contract.messages import (
    BurstReport,
    Command,
    FactsReport,
    Phase,
    ReadFacts,
    Report,
    Seats,
    SyncFleet,
)
from core_agent.contract.names import InstanceId, Reason
from core_agent.errors import DrawbridgeError, Refused
from core_agent.server import Server, listen
from tests.agent.stand_in import StandIn, burst
from tests.client.loopback_core import ROOT, LoopbackCore
from tests.client.stub_agent import GROUP, facts, node

PATIENCE_S = 60
FLEET = facts(
    BurstReport(level_percent=25, core_percent=100, by_hand=False, reason=Reason("calm")),
    tuple(node(f"i-{n:017x}", Phase.ACTIVE) for n in range(4_000)),
)


class Fleet(StandIn):
    """A stand-in with facts to tell: those of four thousand nodes."""

    def carry_out_all(self, commands: Sequence[Command]) -> list[Report | DrawbridgeError]:
        """Return an outcome for each command."""
        outcomes = super().carry_out_all(commands)
        return [FLEET if command == ReadFacts() else told for command, told in zip(commands, outcomes, strict=True)]


@pytest.fixture
def agent() -> Fleet:
    """The agent at the far end."""
    return Fleet()


@pytest.fixture
def server(agent: Fleet, core: LoopbackCore) -> Iterator[Server]:
    """Its server, which the one key of ``core`` opens."""
    path = core.folder / "agent.sock"
    core.authorise(core.identity, str(ROOT / "core_agent" / "system" / "relay"), str(path))
    with listen(path, group=grp.getgrgid(os.getgid()).gr_name) as listener:
        server = Server(cast("Agent", agent), listener)
        thread = threading.Thread(target=server.accept, daemon=True)
        thread.start()
        yield server
        server.stop()
        thread.join(PATIENCE_S)


@pytest.fixture
def client(core: LoopbackCore, server: Server) -> Iterator[CoreClient]:
    """A client on the other side of it all."""
    patience = {"connect_timeout_s": PATIENCE_S, "reply_timeout_s": PATIENCE_S}
    with CoreClient("127.0.0.1", core.port, core.user, core.host_key, core.identity, **patience) as client:
        yield client


def test_a_thousand_commands_share_few_turns(client: CoreClient, agent: Fleet, core: LoopbackCore) -> None:
    """All over one channel, each answered in its place."""
    outcomes = client.request_all([burst(number % 100) for number in range(1_000)])
    assert [told.level_percent for told in outcomes if isinstance(told, BurstReport)] == [*range(100)] * 10
    assert len(agent.turns) < 50
    assert core.sessions == 1


def test_long_requests_and_long_replies_do_not_wait_for_each_other(client: CoreClient) -> None:
    """Several times what all the pipes on the way hold, in both directions at once."""
    seats = Seats(serving=tuple(InstanceId(f"i-{n:017x}") for n in range(40_000)))
    large = SyncFleet(group=GROUP, generation=1, seats=seats)
    outcomes = client.request_all([ReadFacts(), large, *(burst(level) for level in range(100))] * 8)
    kinds = [FactsReport, Refused, *[BurstReport] * 100] * 8
    assert [type(outcome) for outcome in outcomes] == kinds


def test_the_facts_of_the_largest_fleet_come_whole(client: CoreClient) -> None:
    """Again and again over one channel, and well below what a reply may have."""
    for _ in range(3):
        assert client.request(ReadFacts()) == FLEET
    assert len(repr(FLEET)) < MAX_REPLY_BYTES


def test_a_server_that_stops_costs_the_next_request_nothing(
    client: CoreClient, server: Server, core: LoopbackCore, agent: Fleet
) -> None:
    """The kept channel ends with the server; the next request finds the next server, over the connection there is."""
    client.request(burst(1))
    path = core.folder / "agent.sock"
    server.stop()
    with listen(path, group=grp.getgrgid(os.getgid()).gr_name) as listener:
        following = Server(cast("Agent", agent), listener)
        thread = threading.Thread(target=following.accept, daemon=True)
        thread.start()
        assert client.request(burst(2)).level_percent == 2
        following.stop()
        thread.join(PATIENCE_S)
    assert (core.connections, core.sessions) == (1, 2)
