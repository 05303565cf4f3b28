"""What the agent tells Prometheus: every number that was promised, in the format's own words."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from core_agent import __version__
from core_agent.contract.messages import Hold, Phase
from core_agent.contract.names import InstanceId
from core_agent.errors import RefusalKind
from core_agent.fleet import Limits
from core_agent.metrics import Metrics, Snapshot, snapshot
from core_agent.metrics.counts import UNREADABLE
from core_agent.metrics.text import Distribution, family
from core_agent.wireguard.facts import PeerFacts, WireguardFacts
from tests.agent.core_under_test import GROUP, START, Core, key
from tests.agent.exposition_text import parse


def limits(core: Core) -> Limits:
    """Return the limits that the agent has."""
    return Limits(network=core.settings.tunnel.network, quarantine_s=300, drain_deadline_s=60)


def look(core: Core, *, wireguard: bool = True, haproxy: bool = True) -> Snapshot:
    """Sum up what is on record and what the host shows; a side may be dead."""
    return snapshot(
        core.state.nodes.values(),
        generations=core.state.generations,
        level_percent=core.state.burst.level_percent,
        limits=limits(core),
        core_servers={server.name for server in core.settings.core.servers},
        wireguard=core.host.read_wireguard() if wireguard else None,
        backend=core.host.read_backend() if haproxy else None,
        now=core.now,
    )


def told(metrics: Metrics) -> dict[str, float]:
    """Return every sample as it is written, ``name{label="value"}``, with its number."""
    parse(metrics.render())
    return {
        words: float(number)
        for words, _, number in (line.rpartition(" ") for line in metrics.render().splitlines())
        if not words.startswith("#")
    }


def seen(core: Core, **sides: bool) -> dict[str, float]:
    """Return what is told after one full look."""
    metrics = Metrics(started_at=START)
    metrics.observe(look(core, **sides))
    return told(metrics)


# --- counting -------------------------------------------------------------------------------------------------------


def test_everything_that_can_be_counted_is_there_from_the_start() -> None:
    """With 0: an alert on an increase must see the first one, and a sum must not lack a term."""
    before = told(Metrics(started_at=START))
    assert {f'drawbridge_refusals_total{{kind="{kind}"}}' for kind in RefusalKind} <= before.keys()
    for side in ("wireguard", "haproxy", "file"):
        assert before[f'drawbridge_errors_total{{side="{side}"}}'] == 0
        assert before[f'drawbridge_drift_repaired_total{{side="{side}"}}'] == 0
    for command in ("SyncFleet", "EnrollNode", "ActivateNode", "SetBurst", "HoldNode", "ReadFacts", UNREADABLE):
        for outcome in ("done", "refused", "failed"):
            assert before[f'drawbridge_commands_total{{command="{command}",outcome="{outcome}"}}'] == 0
    for kind in ("scoped", "full"):
        assert before[f'drawbridge_converge_duration_seconds_count{{kind="{kind}"}}'] == 0
    assert before[f'drawbridge_build_info{{version="{__version__}"}}'] == 1
    assert before["process_start_time_seconds"] == START


def test_each_event_is_counted_where_it_belongs() -> None:
    """One of each changes its own series by as much as it says, and no other."""
    metrics = Metrics(started_at=START)
    before = told(metrics)
    metrics.answered("SyncFleet", "done")
    metrics.answered("SyncFleet", "done")
    metrics.answered(UNREADABLE, "failed")
    metrics.refused(RefusalKind.KEY_CONFLICT)
    metrics.failed("records")
    metrics.repaired("wireguard", 3)
    metrics.repaired("haproxy", 0)
    after = told(metrics)
    assert {words: after[words] - number for words, number in before.items() if after[words] != number} == {
        'drawbridge_commands_total{command="SyncFleet",outcome="done"}': 2,
        'drawbridge_commands_total{command="unreadable",outcome="failed"}': 1,
        'drawbridge_refusals_total{kind="key_conflict"}': 1,
        'drawbridge_errors_total{side="records"}': 1,
        'drawbridge_drift_repaired_total{side="wireguard"}': 3,
    }


def test_durations_fall_into_cumulative_buckets() -> None:
    """A value on a bound is inside it; what is above all bounds is in +Inf alone; sum and count are of all."""
    metrics = Metrics(started_at=START)
    for seconds in (0.001, 0.002, 0.25, 7):
        metrics.converged("scoped", seconds)
    after = told(metrics)
    name = "drawbridge_converge_duration_seconds"
    buckets = {
        le: after[f'{name}_bucket{{kind="scoped",le="{le}"}}'] for le in ("0.001", "0.0025", "0.25", "5", "+Inf")
    }
    assert buckets == {"0.001": 1, "0.0025": 2, "0.25": 3, "5": 3, "+Inf": 4}
    assert after[f'{name}_sum{{kind="scoped"}}'] == pytest.approx(7.253)
    assert after[f'{name}_count{{kind="full"}}'] == 0


def test_missing_nodes_are_those_of_the_newest_look() -> None:
    """A group that found all its nodes again says 0, and does not vanish."""
    metrics = Metrics(started_at=START)
    metrics.synced(GROUP, 4)
    metrics.synced("eu-west-1/other", 1)
    metrics.synced(GROUP, 0)
    missing = {words: number for words, number in told(metrics).items() if "missing" in words}
    assert missing == {
        f'drawbridge_missing_nodes{{group="{GROUP}"}}': 0,
        'drawbridge_missing_nodes{group="eu-west-1/other"}': 1,
    }


def test_no_count_is_lost_between_threads() -> None:
    """Eight threads count while a ninth reads."""
    metrics = Metrics(started_at=START)

    def count() -> None:
        for _ in range(500):
            metrics.answered("ReadFacts", "done")

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        parse(metrics.render())
    assert told(metrics)['drawbridge_commands_total{command="ReadFacts",outcome="done"}'] == 4000


# --- looking --------------------------------------------------------------------------------------------------------


def test_nodes_are_counted_by_phase_and_hold(core: Core) -> None:
    """Every pair is there; a seated, an active, a drained-by-hand and a gone node are each in one."""
    core.join(1, 2)
    core.sync(core.seats(i_3="joining", i_2="leaving"))
    core.agent.tick()
    core.hold("i-1", "drain")
    nodes = {words: number for words, number in seen(core).items() if words.startswith("drawbridge_nodes")}
    assert len(nodes) == len(Phase) * len(Hold)
    assert {words for words, number in nodes.items() if number == 1} == {
        'drawbridge_nodes{phase="active",hold="drain"}',
        'drawbridge_nodes{phase="seated",hold="none"}',
        'drawbridge_nodes{phase="gone",hold="none"}',
    }
    assert sum(nodes.values()) == 3


def test_addresses_add_up(core: Core) -> None:
    """Free, used and resting ones are all that the network has for nodes, as the agent itself counts them."""
    core.join(1, 2)
    core.sync(core.seats(i_3="joining", i_2="leaving"))
    core.agent.tick()
    after = seen(core)
    states = [after[f'drawbridge_addresses{{state="{state}"}}'] for state in ("free", "used", "quarantine")]
    assert states == [1018, 2, 1]
    assert sum(states) == core.settings.node_capacity


def test_groups_tell_when_they_were_last_looked_at(core: Core) -> None:
    """The newest generation is a moment, in seconds; an emptied group says that it has no nodes."""
    core.join(1, 2)
    after = seen(core)
    assert after[f'drawbridge_group_generation_timestamp_seconds{{group="{GROUP}"}}'] == core.generation / 1000
    assert after[f'drawbridge_group_nodes{{group="{GROUP}"}}'] == 2
    core.sync(i_1="leaving", i_2="leaving")
    core.agent.tick()
    assert seen(core)[f'drawbridge_group_nodes{{group="{GROUP}"}}'] == 0


def test_handshakes_are_told_by_age(core: Core) -> None:
    """Ages fall into the buckets; a peer that never spoke is in none of them."""
    core.join(1, 2, 3, 4)
    for number, age in ((1, 30), (2, 150), (3, 301)):
        core.host.handshake(key(number), int(core.now) - age)
    core.host.peers[key(4)] = PeerFacts(allowed_ips=("10.100.0.5/32",), handshake_at=0)
    after = seen(core)
    name = "drawbridge_handshake_age_seconds"
    buckets = {le: after[f'{name}_bucket{{le="{le}"}}'] for le in (30, 60, 120, 180, 300, "+Inf")}
    assert buckets == {30: 1, 60: 1, 120: 1, 180: 2, 300: 2, "+Inf": 3}
    assert after[f"{name}_sum"] == 481
    peers = {state: after[f'drawbridge_peers{{handshake="{state}"}}'] for state in ("fresh", "stale", "never")}
    assert peers == {"fresh": 2, "stale": 1, "never": 1}
    assert after["drawbridge_silent_nodes"] == 2


def test_a_resting_node_is_silent_by_right(core: Core) -> None:
    """A machine stopped in the warm pool keeps its peer, which goes stale: that alarms nobody."""
    core.join(1)
    core.now += 1000
    core.sync(i_1="resting")
    after = seen(core)
    assert (after["drawbridge_silent_nodes"], after['drawbridge_peers{handshake="stale"}']) == (0, 1)
    core.sync(i_1="serving")
    assert seen(core)["drawbridge_silent_nodes"] == 1


def test_a_handshake_from_the_future_is_young(core: Core) -> None:
    """A clock that was set back makes no age negative."""
    core.join(1)
    core.host.handshake(key(1), int(core.now) + 50)
    after = seen(core)
    assert after['drawbridge_handshake_age_seconds_bucket{le="30"}'] == 1
    assert after["drawbridge_handshake_age_seconds_sum"] == 0


def test_servers_tell_what_the_core_carries(core: Core) -> None:
    """The core's own by name, the edge's in sum; a closed server is not open, a dead one neither."""
    core.join(1, 2, 3)
    core.host.busy("no-primary", 41)
    core.host._change("no-primary", queue=7)
    core.host.busy("i-1", 5)
    core.host.busy("i-2", 6)
    core.hold("i-2", "drain")
    core.host.checked("i-3", "L4CON")
    after = seen(core)
    core_server = {
        word: after[f'drawbridge_core_server_{word}{{server="no-primary"}}']
        for word in ("up", "requests", "slots", "queued_requests")
    }
    assert core_server == {"up": 1, "requests": 41, "slots": 50, "queued_requests": 7}
    assert (after["drawbridge_edge_servers_open"], after["drawbridge_edge_requests"]) == (1, 11)
    assert (after["drawbridge_queued_requests"], after["drawbridge_requests_total"]) == (0, 0)


def test_the_level_is_a_ratio(core: Core) -> None:
    """Prometheus's base unit for a share."""
    core.burst(25)
    assert seen(core)["drawbridge_burst_level_ratio"] == 0.25


@pytest.mark.parametrize(
    ("dead", "alive", "absent"),
    [
        ("wireguard", "haproxy", ("drawbridge_handshake_age_seconds", "drawbridge_peers", "drawbridge_silent_nodes")),
        (
            "haproxy",
            "wireguard",
            ("drawbridge_core_server_up", "drawbridge_edge_requests", "drawbridge_requests_total"),
        ),
    ],
)
def test_a_dead_side_has_no_numbers(core: Core, dead: str, alive: str, absent: tuple[str, ...]) -> None:
    """It says that it is dead, and its last numbers do not live on as if they were true."""
    core.join(1)
    metrics = Metrics(started_at=START)
    metrics.observe(look(core))
    assert set(absent) <= parse(metrics.render()).keys()
    metrics.observe(look(core, **{dead: False}))
    after = told(metrics)
    assert (after[f'drawbridge_side_up{{side="{dead}"}}'], after[f'drawbridge_side_up{{side="{alive}"}}']) == (0, 1)
    assert not set(absent) & parse(metrics.render()).keys()
    assert after["drawbridge_last_full_look_timestamp_seconds"] == core.now


def test_writing_out_does_not_depend_on_the_fleet(core: Core) -> None:
    """4,000 nodes take as many lines as one, and a small fraction of a scrape's time."""
    core.join(1)
    metrics = Metrics(started_at=START)
    metrics.observe(look(core))
    lines = metrics.render().count("\n")
    (node,) = core.state.nodes.values()
    numbers = range(1, 4001)
    nodes = [replace(node, instance=InstanceId(f"i-{n}"), public_key=key(n), address=f"a{n}") for n in numbers]
    peers: dict[str, PeerFacts] = {key(n): PeerFacts(allowed_ips=(), handshake_at=int(START)) for n in numbers}
    network = replace(limits(core), network=IPv4Network("10.100.0.0/16"))
    large = snapshot(
        nodes,
        generations=core.state.generations,
        level_percent=100,
        limits=network,
        core_servers={"no-primary"},
        wireguard=WireguardFacts(public_key="", peers=peers),
        backend=core.host.read_backend(),
        now=core.now,
    )
    assert large.addresses.free == 65_533 - 4000
    metrics.observe(large)
    assert metrics.render().count("\n") == lines
    begin = time.perf_counter()
    for _ in range(10):
        metrics.render()
    assert (time.perf_counter() - begin) / 10 < 0.05


# --- the format -----------------------------------------------------------------------------------------------------


def test_label_values_are_escaped() -> None:
    """Backslash, quote and line feed come back as they were."""
    words = 'a\\b"c\nd\\n'
    (sample,) = parse("".join(family("x", "gauge", "Says.", [({"w": words}, 1)])))["x"].samples
    assert dict(sample[1]) == {"w": words}


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0"), (True, "1"), (1_800_000_000.25, "1800000000.25"), (2.0**53, "9007199254740992"), (1e-7, "1e-07")],
)
def test_numbers_are_written_exactly(value: float, written: str) -> None:
    """Whole ones without a fraction, others to their last digit."""
    line = list(family("x", "gauge", "Says.", [({}, value)]))[-1]
    assert line == f"x {written}\n"
    assert math.isclose(float(written), value, rel_tol=0)


def test_one_more_is_the_same_as_counting_again() -> None:
    """A distribution grown value by value is the one made of all of them."""
    bounds, values = (1.0, 2.0, 4.0), (0.5, 1.0, 3.0, 9.0, 2.0)
    grown = Distribution.of(bounds)
    for value in values:
        grown = grown.plus(value)
    assert grown == Distribution.of(bounds, values)
    assert grown.counts == (2, 1, 1, 1)
