"""What the bench of the spike makes of moments and answers; HAProxy itself is not needed to check that."""

from __future__ import annotations

import itertools
import json
import math
import random
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benches.claims import Claim
from benches.spill import core_death, crowd, faults, first_overflow, footing, no_edge, picture, spike
from benches.spill.answers import (
    Answer,
    before_overflow,
    by_server,
    failures,
    home_again,
    latency_ms,
    parse,
    percentile,
    rate,
    served,
)
from benches.spill.arrivals import Stretch, poisson, some
from benches.spill.cells import Run
from benches.spill.contenders import CONTENDERS, DRAWBRIDGE, SNIPPET, WEIGHTS, Contender
from benches.spill.ground import CAPACITY, CORE, EDGE, LOADS, ROUND_TRIP_MS, SLOTS
from benches.spill.server import Mood
from benches.spill.weight_loop import Demand, weight_for

EDGE_1 = EDGE[0]


def chance() -> random.Random:
    """The same chance each time."""
    return random.Random(1)  # noqa: S311 -- nothing here is secret


def answer(
    due: float = 0.0,
    *,
    ms: float = 50,
    status: int = 200,
    server: str = CORE,
    post: bool = False,
    retry_after: bool = False,
) -> Answer:
    """One request's end, served well by the core unless something else is said."""
    return Answer(due=due, latency_s=ms / 1000, status=status, server=server, post=post, retry_after=retry_after)


def a_run(answers: Sequence[Answer], *, seconds: float = 1, cpu_s: float = 0.1, queued_most: int = 0) -> Run:
    """One run whose load lasted from 0 to ``seconds``."""
    return Run(
        answers=answers,
        begin=0,
        end=seconds,
        sent=len(answers),
        cpu_s=cpu_s,
        late_s=[0.001] * len(answers),
        busy=0.5,
        queued_most=queued_most,
    )


def value_of(claims: Sequence[Claim], title: str) -> float:
    """The value of the one claim whose text is ``title``."""
    (value,) = [claim.value for claim in claims if claim.claim == title]
    return value


def test_arrivals_keep_their_rate_and_their_stretches() -> None:
    """Over a long time a load of one brings one server's capacity, in order, and nothing outside its stretch."""
    moments = poisson(chance(), [Stretch(seconds=100, load=1), Stretch(seconds=100, load=3)])
    first = [moment for moment in moments if moment < 100]
    assert moments == sorted(moments)
    assert len(first) == pytest.approx(100 * CAPACITY, rel=0.02)
    assert len(moments) - len(first) == pytest.approx(300 * CAPACITY, rel=0.02)
    assert moments[-1] < 200


def test_arrivals_come_as_people_do() -> None:
    """The gaps' spread is as large as their mean, which evenly spaced ones would not have."""
    moments = poisson(chance(), [Stretch(seconds=100, load=1)])
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    mean = sum(gaps) / len(gaps)
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert deviation == pytest.approx(mean, rel=0.05)


def test_some_are_the_share_that_was_asked_for() -> None:
    """None, all, or about half."""
    assert sum(some(chance(), 1000, 0)) == 0
    assert sum(some(chance(), 1000, 1)) == 1000
    assert sum(some(chance(), 10_000, 0.5)) == pytest.approx(5000, rel=0.05)


def test_columns_become_answers() -> None:
    """Each request keeps its own column entries, and the server's number its name."""
    document = {
        "due": [1.0, 2.0],
        "latency": [0.05, 0.2],
        "status": [200, 503],
        "server": [1, 0],
        "post": [0, 1],
        "retry_after": [0, 1],
        "names": ["", CORE],
    }
    assert parse(document) == [
        answer(1.0),
        answer(2.0, ms=200, status=503, server="", post=True, retry_after=True),
    ]


def test_only_whole_2xx_answers_count_as_served() -> None:
    """A 503, a cut and a time-out are failures with a word of their own, and no part of the latencies."""
    answers = [answer(), answer(status=503, ms=9000), answer(status=-2), answer(status=-3, ms=15_000)]
    assert served(answers) == 0.25
    assert failures(answers) == {"503": 1, "cut": 1, "no answer in 15 s": 1}
    assert latency_ms(answers, 99) == pytest.approx(50)
    assert by_server(answers) == {CORE: 1}


def test_a_percentile_is_a_sample() -> None:
    """The smallest one that so many do not exceed; of nothing there is none."""
    samples = [float(number) for number in range(1, 101)]
    assert (percentile(samples, 50), percentile(samples, 99), percentile(samples, 100)) == (50, 99, 100)
    assert percentile([7.0], 1) == 7
    assert math.isnan(percentile([], 50))


def test_a_rate_counts_answers_when_they_come() -> None:
    """Asked before the end and answered after it is not in it; another server's is not either."""
    answers = [answer(0.0), answer(0.5), answer(0.99), answer(0.5, server=EDGE_1), answer(0.5, status=500)]
    assert rate(answers, CORE, begin=0, end=1) == 2


def test_home_again_is_when_arrivals_go_there() -> None:
    """The first window that is the core's counts from its first request; a single answer before it does not."""
    away = [answer(number / 100, server=EDGE_1) for number in range(50)]
    stray = [answer(0.255)]
    home = [answer(0.5 + number / 100) for number in range(50)]
    answers = sorted([*away, *stray, *home], key=lambda one: one.due)
    assert home_again(answers, CORE, wanted=0.9, since=0.2, window_s=0.25) == pytest.approx(0.3)
    assert home_again(away, CORE, wanted=0.9, since=0.0, window_s=0.25) == math.inf


def test_the_next_request_after_the_last_slot_is_the_first_that_could_overflow() -> None:
    """None in between when the one after the slots' number goes elsewhere, and None at all when none ever does."""
    full = [answer() for _ in range(SLOTS)]
    assert before_overflow([*full, answer(server=EDGE_1)], CORE, SLOTS) == 0
    assert before_overflow([*full, answer(), answer(), answer(server=EDGE_1)], CORE, SLOTS) == 2
    assert before_overflow([*full, answer(status=503, server="")], CORE, SLOTS) is None


def test_the_loop_sends_away_what_the_core_cannot_serve() -> None:
    """Below nine tenths nothing, at twice the capacity about half, and never more than HAProxy takes."""
    nothing = Demand(requests=0, waiting=0)
    assert weight_for(nothing, Demand(requests=round(CAPACITY * 0.9), waiting=0), seconds=1) == 0
    weight = weight_for(nothing, Demand(requests=round(CAPACITY * 1.8), waiting=0), seconds=1)
    assert weight * len(EDGE) == 100
    assert weight_for(nothing, Demand(requests=0, waiting=10**6), seconds=1) == 256
    assert weight_for(nothing, Demand(requests=round(CAPACITY * 0.9) + 1, waiting=0), seconds=1) == 1


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
def test_every_contender_has_the_same_servers(contender: Contender) -> None:
    """With none, four or a thousand edge servers: each has its line, beside the core's."""
    for edge in (0, 4, 1000):
        lines = contender.text(edge).splitlines()
        names = [line.split()[1] for line in lines if line.split()[:1] == ["server"]]
        addresses = {line.split()[2] for line in lines if line.split()[:1] == ["server"]}
        assert names[0] == CORE
        assert set(EDGE[:edge]) <= set(names)
        assert len(addresses) == len(set(names)) == edge + 1


def test_the_snippet_is_as_it_is_copied() -> None:
    """A backup at the edge, and 500 connections for the core."""
    text = SNIPPET.text(4)
    assert f"server {CORE} 127.0.0.2:8080 check weight 100 maxconn 500" in text
    assert text.count("weight 10 backup") == 4


def spikes(*, failed_at_3: int = 0, p99: float = 70) -> spike.Spikes:
    """Two rounds in which everybody fares alike, at home up to the capacity."""
    found = {}
    for contender in CONTENDERS:
        for load in LOADS:
            count, home = int(CAPACITY * load), int(min(CAPACITY, CAPACITY * load))
            ms = 60 if load < 1 else p99
            answers = [
                answer(0.9 * number / count, ms=ms, server=CORE if number < home else EDGE_1) for number in range(count)
            ]
            answers += [answer(0.5, status=503, server="")] * (failed_at_3 if load == 3 else 0)
            found[contender.name, load] = [a_run(answers, cpu_s=0.1 * (2 if contender is DRAWBRIDGE else 1))] * 2
    return found


def test_the_spikes_claims_say_what_was_found() -> None:
    """Failures are summed over the rounds; the round trip is taken off the latency; the core is beside its own best."""
    found = spike.claims(spikes(failed_at_3=3, p99=100), [2 * CAPACITY / 0.9])
    assert value_of(found, "at 2×: requests that failed") == 0
    assert value_of(found, "at 3×: requests that failed") == 6
    ratio = value_of(found, "p99 at 2×, less the edge's round trip, beside p99 at 0.5×")
    assert ratio == pytest.approx((100 - ROUND_TRIP_MS) / 60)
    assert value_of(found, "at 2×: of what the core alone can serve, it does not serve") == pytest.approx(50)
    assert value_of(found, "at 0.5×: AWS's part") == 0
    assert value_of(found, f"{WEIGHTS.name} at 2×: AWS's part") == pytest.approx(50)
    assert value_of(found, "at 0.5×: HAProxy's CPU per request, drawbridge ÷ snippet") == pytest.approx(2)


def test_the_spikes_table_has_everybody_at_every_load() -> None:
    """A row each, as wide as the header."""
    header, rows = spike.table(spikes())
    assert [row[:2] for row in rows] == [(f"{load:g}×", one.name) for load in LOADS for one in CONTENDERS]
    assert {len(row) for row in rows} == {len(header)}


def test_the_picture_is_an_svg_without_a_ground(tmp_path: Path) -> None:
    """It parses, paints no page, and is the same file from the same numbers."""
    first, second = tmp_path / "pictures" / "a.svg", tmp_path / "b.svg"
    picture.draw(spikes(), first)
    picture.draw(spikes(), second)
    assert first.read_bytes() == second.read_bytes()
    root = ET.parse(first).getroot()  # noqa: S314 -- the file was written two lines above
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    page = root.find(".//*[@id='patch_1']/{http://www.w3.org/2000/svg}path")
    assert page is not None
    assert "fill: none" in page.attrib["style"]


def test_without_an_edge_only_a_503_with_retry_after_is_an_answer() -> None:
    """Another failure, a bare 503 and a request that the core saw twice are each counted against it."""
    answers = [
        *(answer(0.1 + number / 110, ms=50) for number in range(81)),
        answer(0.5, ms=2, status=503, server="", retry_after=True),
        answer(0.5, ms=2, status=503, server=""),
        answer(0.5, status=502, server=""),
    ]
    alone = no_edge.Alone(contender=DRAWBRIDGE, load=2.0, run=a_run(answers), seen=len(answers) + 4)
    found = no_edge.claims([alone], [100.0])
    assert value_of(found, "no edge, 2×: of what the core alone can serve, it does not serve") == pytest.approx(10)
    assert value_of(found, "no edge, 2×: told anything else than 503 with Retry-After") == 2
    assert value_of(found, "no edge, 2×: requests at the core's server above those sent") == 4
    assert value_of(found, "no edge, 2×: time to the 503, median") == pytest.approx(2)


def test_a_death_may_cost_what_was_in_flight() -> None:
    """Only what is lost above that counts, the worst run of all; a core that never came back is no number."""
    lost = [answer(0.5, status=-2, server="", post=True)] * 5
    deaths = [
        core_death.Death(
            contender=DRAWBRIDGE, run=a_run([answer(), *lost]), in_flight=in_flight, home_after_s=home, watched_s=2.5
        )
        for in_flight, home in ((5, math.inf), (3, 0.7), (5, math.inf))
    ]
    found = core_death.claims(deaths)
    assert value_of(found, "core killed at 1×: requests lost above those in flight on it") == 2
    assert value_of(found, "core back: until requests go there first again") == 2.5


def test_a_fault_is_told_by_get_and_post() -> None:
    """The table keeps the two apart, and says how they failed."""
    lost = [answer(status=502, server="", post=True)] * 2
    answers = [answer(), *lost, answer(status=-2, server="")]
    one = faults.Suffered(fault=faults.FAULTS[3], contender=DRAWBRIDGE, run=a_run(answers))
    _, (row,) = faults.table([one])
    assert row[3:5] == ("1", "2")
    assert row[6] == "502 2, cut 1"


def test_every_mood_is_tried() -> None:
    """No way of misbehaving that the server knows is left out of the table."""
    assert {fault.mood for fault in faults.FAULTS} == set(Mood)


def test_an_overflow_that_never_came_meets_no_goal() -> None:
    """One run of three in which all was left to the core makes the claim fail."""
    full = [answer() for _ in range(SLOTS)]
    good, never = a_run([*full, answer(server=EDGE_1)]), a_run([*full, answer()])
    title = "the core is full: requests before the first one that an edge server gets"
    assert value_of(first_overflow.claims({DRAWBRIDGE.name: [good, good]}), title) == 0
    assert value_of(first_overflow.claims({DRAWBRIDGE.name: [good, never]}), title) == SLOTS + 1


def test_a_machine_that_is_too_busy_is_said_to_be() -> None:
    """A ground whose p99 is far above the service time is warned of; a steady one is not."""
    steady, shaking = a_run([answer(ms=55)] * 100), a_run([answer(ms=55)] * 98 + [answer(ms=122)] * 2)
    assert footing.warning(footing.Footing(direct=steady, alone=[480])) is None
    assert "122 ms" in (footing.warning(footing.Footing(direct=shaking, alone=[480])) or "")


def test_a_crowd_is_beside_a_few() -> None:
    """The ratio is the large fleet's time over the small one's."""
    few = crowd.Crowd(servers=10, checks=0.001, request_us=[100, 200])
    many = crowd.Crowd(servers=1000, checks=0.1, request_us=[150, 500])
    found = crowd.claims([few, many])
    assert value_of(found, "HAProxy's CPU per request at 2×, 1,000 edge servers ÷ 10") == pytest.approx(2.5)
    assert value_of(found, "health checks of 1,000 edge servers") == pytest.approx(10)


def test_users_and_a_server_speak_to_each_other() -> None:
    """GETs and POSTs over kept connections, each answered once, after its service time and the round trip."""
    limits = ("--slots", "2", "--service-ms", "20", "--round-trip-ms", "20")
    module = (sys.executable, "-m", "benches.spill.server", "--address", "127.0.0.1", "--port", "0", "--name", CORE)
    with (
        subprocess.Popen((*module, *limits), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
        subprocess.Popen(
            (sys.executable, "-m", "benches.spill.users"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as users,
    ):
        try:
            port = json.loads(_line(server))["port"]
            answers = _ask(users, {"port": port, "due": [0.0] * 4, "post": [0, 1, 0, 1]})
            assert [(one.status, one.server, one.post) for one in answers] == [
                (200, CORE, False),
                (200, CORE, True),
                (200, CORE, False),
                (200, CORE, True),
            ]
            _say(server, "mood resetting")
            assert json.loads(_line(server)) == {"requests": 4, "mood": "resetting"}
            (cut,) = _ask(users, {"port": port, "due": [0.0], "post": [0]})
            assert cut.word == "cut"
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
                with pytest.raises(ConnectionResetError):
                    connection.recv(1)
            _say(server, "mood well")
            _line(server)
            closed = _ask(users, {"port": port, "in_flight": 2, "begin": 0.0, "end": 0.0})
            assert closed == []
        finally:
            server.kill()
            users.kill()


def _ask(users: subprocess.Popen[str], order: dict[str, object]) -> list[Answer]:
    _say(users, json.dumps(order))
    return parse(json.loads(_line(users)))


def _say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()
