"""What the agent tells Prometheus: every number that was promised, in the format's own words."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from core_agent import __version__
from core_agent.contract.messages import Hold, Phase, ReadFacts, Suggestion
from core_agent.contract.names import InstanceId
from core_agent.converge import Sight
from core_agent.errors import DrawbridgeError, FileFailed, RecordFailed, RefusalKind, Refused
from core_agent.haproxy.facts import BackendFacts
from core_agent.metrics import Metrics, Snapshot, snapshot
from core_agent.metrics.summary import _load
from core_agent.metrics.text import Distribution, family
from core_agent.roll import Roll
from core_agent.telemetry import Telemetry
from core_agent.wireguard.facts import PeerFacts, WireguardFacts
from tests.agent.core_under_test import GROUP, START, Core, key
from tests.agent.exposition_text import parse

BACKEND = BackendFacts(servers={}, queue=0, requests_total=0)
KINDS = ("scoped", "full")
LOAD = (
    "drawbridge_saturation",
    "drawbridge_queue_wait",
    "drawbridge_answers",
    "drawbridge_server_errors",
    "drawbridge_requests_refused",
)


def look(core: Core, *, wireguard: bool = True, haproxy: bool = True) -> Snapshot:
    """Sum up what is on record and what the host shows; a side may be dead."""
    telemetry = Telemetry(core={"no-primary"}, node_slots=28, queue_timeout_s=5, low_percent=30)
    backend = core.host.read_backend() if haproxy else None
    if backend is not None:
        telemetry.sample(core.now, backend)
    return snapshot(
        core.state.nodes,
        network=core.settings.tunnel.network,
        generations=core.state.generations,
        burst=core.state.burst,
        wireguard=core.host.read_wireguard() if wireguard else None,
        backend=backend,
        telemetry=telemetry,
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


def grown(core: Core, before: dict[str, float]) -> dict[str, float]:
    """Return what the agent's counters have grown by, durations left out."""
    after = told(core.agent.metrics)
    return {
        words: after[words] - number
        for words, number in before.items()
        if "_total" in words and after[words] != number and "requests" not in words
    }


# --- counting -------------------------------------------------------------------------------------------------------


def test_everything_that_can_be_counted_is_there_from_the_start() -> None:
    """With 0: an alert on an increase must see the first one, and a sum must not lack a term."""
    before = told(Metrics(started_at=START))
    assert {f'drawbridge_refusals_total{{kind="{kind}"}}' for kind in RefusalKind} <= before.keys()
    for side in ("wireguard", "haproxy", "file"):
        assert before[f'drawbridge_errors_total{{side="{side}"}}'] == 0
        assert before[f'drawbridge_drift_repaired_total{{side="{side}"}}'] == 0
    assert before['drawbridge_errors_total{side="records"}'] == 0
    for command in ("SyncFleet", "EnrollNode", "ActivateNode", "SetBurst", "HoldNode", "ReadFacts"):
        for outcome in ("done", "refused", "failed"):
            assert before[f'drawbridge_commands_total{{command="{command}",outcome="{outcome}"}}'] == 0
    for kind in ("scoped", "full"):
        assert before[f'drawbridge_converge_duration_seconds_count{{kind="{kind}"}}'] == 0
    assert before[f'drawbridge_build_info{{version="{__version__}"}}'] == 1
    assert before["process_start_time_seconds"] == START


def test_what_is_done_and_what_is_refused_are_counted(core: Core) -> None:
    """Each answer under its command, a refusal under its reason too, and nothing else."""
    before = told(core.agent.metrics)
    core.sync(i_1="joining")
    with pytest.raises(Refused):
        core.enroll("i-7", 7)
    with pytest.raises(Refused):
        core.ready("i-1")
    assert grown(core, before) == {
        'drawbridge_commands_total{command="SyncFleet",outcome="done"}': 1,
        'drawbridge_commands_total{command="EnrollNode",outcome="refused"}': 1,
        'drawbridge_commands_total{command="ActivateNode",outcome="refused"}': 1,
        'drawbridge_refusals_total{kind="not_seated"}': 1,
        'drawbridge_refusals_total{kind="not_enrolled"}': 1,
    }


@pytest.mark.parametrize("side", ["wireguard", "haproxy"])
def test_a_side_that_fails_is_counted(core: Core, side: str) -> None:
    """Every pass that met the dead side counts it, and never the other."""
    core.join(1)
    before = told(core.agent.metrics)
    setattr(core.host, f"{side}_down", True)
    for _ in range(2):
        with pytest.raises(DrawbridgeError):
            core.agent.tick()
    assert grown(core, before) == {f'drawbridge_errors_total{{side="{side}"}}': 2}
    assert told(core.agent.metrics)[f'drawbridge_side_up{{side="{side}"}}'] == 0


def test_a_file_that_fails_is_counted_as_one(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """The side it belongs to is well, and is not blamed."""

    def refuse(*_: object) -> bool:
        raise FileFailed("writing haproxy.cfg: No space left on device")

    core.join(1)
    before = told(core.agent.metrics)
    monkeypatch.setattr(core.host, "write_servers", refuse)
    with pytest.raises(FileFailed):
        core.agent.tick()
    assert grown(core, before) == {'drawbridge_errors_total{side="file"}': 1}


def test_records_that_fail_are_counted(core: Core) -> None:
    """The command failed, and for the records' sake."""
    before = told(core.agent.metrics)
    core.state._connection.execute("PRAGMA query_only = 1")
    with pytest.raises(RecordFailed):
        core.sync(i_1="joining")
    assert grown(core, before) == {
        'drawbridge_commands_total{command="SyncFleet",outcome="failed"}': 1,
        'drawbridge_errors_total{side="records"}': 1,
    }


def test_drift_is_counted_by_side(core: Core) -> None:
    """What another hand changed is counted once, when it is put right; the agent's own changes never are."""
    core.join(1, 2)
    core.agent.tick()
    before = told(core.agent.metrics)
    core.join(3)
    core.host.peers.pop(key(1))
    core.host._change("i-2", weight=3)
    core.agent.tick()
    core.agent.tick()
    repaired = {words: number for words, number in grown(core, before).items() if "drift" in words}
    assert repaired == {
        'drawbridge_drift_repaired_total{side="wireguard"}': 1,
        'drawbridge_drift_repaired_total{side="haproxy"}': 1,
    }


def test_every_pass_is_timed_under_its_kind(core: Core) -> None:
    """A command's pass is scoped, the ticker's is full."""
    core.agent.tick()
    name = "drawbridge_converge_duration_seconds"
    before = told(core.agent.metrics)
    core.sync(i_1="joining")
    core.agent.tick()
    after = told(core.agent.metrics)
    assert {
        kind: after[f'{name}_count{{kind="{kind}"}}'] - before[f'{name}_count{{kind="{kind}"}}'] for kind in KINDS
    } == {
        "scoped": 1,
        "full": 1,
    }
    assert after[f'{name}_sum{{kind="full"}}'] > before[f'{name}_sum{{kind="full"}}']


def test_durations_fall_into_cumulative_buckets() -> None:
    """A value on a bound is inside it; what is above all bounds is in +Inf alone; sum and count are of all."""
    metrics = Metrics(started_at=START)
    sight = Sight(wireguard=WireguardFacts(public_key="", peers={}), backend=BACKEND, repaired={})
    for seconds in (0.001, 0.002, 0.25, 7):
        metrics.converged("scoped", seconds, sight)
    after = told(metrics)
    name = "drawbridge_converge_duration_seconds"
    buckets = {
        le: after[f'{name}_bucket{{kind="scoped",le="{le}"}}'] for le in ("0.001", "0.0025", "0.25", "5", "+Inf")
    }
    assert buckets == {"0.001": 1, "0.0025": 2, "0.25": 3, "5": 3, "+Inf": 4}
    assert after[f'{name}_sum{{kind="scoped"}}'] == pytest.approx(7.253)
    assert after[f'{name}_count{{kind="full"}}'] == 0


def test_missing_nodes_are_those_of_the_newest_look(core: Core) -> None:
    """An older look says nothing new; a group that found all its nodes again says 0, and does not vanish."""

    def missing() -> dict[str, float]:
        return {words: number for words, number in told(core.agent.metrics).items() if "missing" in words}

    name = f'drawbridge_missing_nodes{{group="{GROUP}"}}'
    core.join(1, 2)
    assert missing() == {name: 0}
    core.sync(i_1="serving")
    assert missing() == {name: 1}
    core.sync(i_1="serving", i_2="serving", generation=core.generation - 100)
    assert missing() == {name: 1}
    core.sync(i_1="serving", i_2="serving")
    assert missing() == {name: 0}


def test_the_agent_tells_of_its_last_full_look(core: Core) -> None:
    """Without being asked, every time it looks at everything."""
    core.agent.tick()
    core.join(1)
    core.now += 60
    core.agent.tick()
    after = told(core.agent.metrics)
    assert after["drawbridge_last_full_look_timestamp_seconds"] == core.now
    assert after['drawbridge_nodes{phase="active",hold="none"}'] == 1


class YieldingDict(dict[tuple[str, tuple[str, ...]], int]):
    """Lets other threads run between reading a number and writing it, as another Python may do by itself."""

    def __getitem__(self, key: tuple[str, tuple[str, ...]]) -> int:
        """Return the number, late."""
        number = super().__getitem__(key)
        time.sleep(0.0001)
        return number


def test_no_count_is_lost_between_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight threads count while a ninth reads."""
    metrics = Metrics(started_at=START)
    monkeypatch.setattr(metrics, "_counts", YieldingDict(metrics._counts))
    refused = Refused(RefusalKind.HELD, "no")

    def count() -> None:
        for _ in range(50):
            metrics.answered(ReadFacts(), refused)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        parse(metrics.render())
    assert told(metrics)['drawbridge_refusals_total{kind="held"}'] == 400


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
    assert (after["drawbridge_queued_requests"], after["drawbridge_requests_total"]) == (7, 0)


def test_the_level_is_a_ratio(core: Core) -> None:
    """Prometheus's base unit for a share, of the edge as of the core."""
    core.burst(25)
    after = seen(core)
    assert (after["drawbridge_burst_level_ratio"], after["drawbridge_core_share_ratio"]) == (0.25, 1)


def test_the_load_is_told_as_it_was_last_seen(core: Core) -> None:
    """Saturation of the core and of all, the wait, what each side answered and failed, and what was refused."""
    telemetry = Telemetry(core={"no-primary"}, node_slots=50, queue_timeout_s=5, low_percent=30)
    metrics = Metrics(started_at=START)
    core.join(1)
    for number in range(2):
        core.host._change("no-primary", answered=1000 + 90 * number, failed=4 * number, busy=50, queue=10 * number)
        core.host._change("i-1", answered=10 * number, failed=number, busy=15)
        backend = replace(core.host.read_backend(), requests_total=number, failed_total=8 * number)
        telemetry.sample(core.now + 2 * number, backend)
    before = look(core)
    metrics.observe(replace(before, load=_load(telemetry, backend)))
    after = told(metrics)
    assert {words: after[words] for words in after if words.startswith(LOAD)} == {
        'drawbridge_saturation_ratio{of="core"}': 1.2,
        'drawbridge_saturation_ratio{of="total"}': 0.75,
        "drawbridge_queue_wait_seconds": 0.2,
        'drawbridge_answers_total{side="core"}': 90,
        'drawbridge_answers_total{side="edge"}': 10,
        'drawbridge_server_errors_total{side="core"}': 4,
        'drawbridge_server_errors_total{side="edge"}': 1,
        "drawbridge_requests_refused_total": 3,
    }


def test_suggested_slots_are_told_by_server(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those that it has until the measurements speak for others."""
    name = 'drawbridge_core_server_suggested_slots{server="no-primary"}'
    assert seen(core)[name] == 50
    monkeypatch.setattr(Telemetry, "suggestion", lambda *_, slots: Suggestion(slots=slots // 2, reason="measured"))
    assert seen(core)[name] == 25


@pytest.mark.parametrize(
    ("dead", "alive", "absent"),
    [
        ("wireguard", "haproxy", ("drawbridge_handshake_age_seconds", "drawbridge_peers", "drawbridge_silent_nodes")),
        (
            "haproxy",
            "wireguard",
            ("drawbridge_core_server_up", "drawbridge_requests_total", "drawbridge_saturation_ratio"),
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
    nodes = Roll(
        replace(node, instance=InstanceId(f"i-{n}"), public_key=key(n), address=str(IPv4Address("10.100.0.1") + n))
        for n in numbers
    )
    peers: dict[str, PeerFacts] = {key(n): PeerFacts(allowed_ips=(), handshake_at=int(START)) for n in numbers}
    telemetry = Telemetry(core={"no-primary"}, node_slots=28, queue_timeout_s=5, low_percent=30)
    telemetry.sample(core.now, core.host.read_backend())
    large = snapshot(
        nodes,
        network=IPv4Network("10.100.0.0/16"),
        generations=core.state.generations,
        burst=core.state.burst,
        wireguard=WireguardFacts(public_key="", peers=peers),
        backend=core.host.read_backend(),
        telemetry=telemetry,
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
