"""The load generator: it sends what is due when it is due, and every request sent is counted exactly once."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from demo.load.__main__ import Load
from demo.load.exchange import Client, Target
from demo.load.pace import Pace, Step, parse_schedule
from demo.load.tally import BOUNDS_MS, Ledger

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-Served-By: a\r\n\r\nyes"
FROM_B = OK.replace(b": a", b": b")
WHOLE = (OK, FROM_B)  # after these the connection stays open


class Scripted(ThreadingHTTPServer):
    """Answers request number n, from 0, with raw bytes ``script[n % len(script)]``; None is OK once ``gate`` is set."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *script: bytes | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.requests = 0
        self.connections = 0
        self.lock = threading.Lock()
        self.gate = threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def do_GET(self) -> None:
        """Follow the script."""
        with self.server.lock:
            answer = self.server.script[self.server.requests % len(self.server.script)]
            self.server.requests += 1
        if answer is None:
            self.server.gate.wait()
            answer = OK
        with suppress(OSError):  # whoever asked may have given up
            self.wfile.write(answer)
        self.close_connection = answer not in WHOLE

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's parameter
        """Say nothing."""


@pytest.fixture
def servers() -> Iterator[list[Scripted]]:
    """Servers put in here are closed after the test."""
    made: list[Scripted] = []
    yield made
    for server in made:
        server.gate.set()
        server.shutdown()
        server.server_close()


def run(*options: str, stdin: str = "") -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run the generator as a process of its own; return the seconds and the summary."""
    argv = (sys.executable, "-m", "demo.load", *options)
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=True, timeout=60)
    *seconds, summary = map(json.loads, done.stdout.splitlines())
    assert summary["summary"] is True
    return seconds, summary


def test_every_outcome_is_counted_by_its_kind(servers: list[Scripted]) -> None:
    """Against a server that fails in several ways, sent, served and failed agree with what the server did."""
    script = (
        OK,
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\ncut",
        b"",
        b"gibberish\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        FROM_B,
    )
    servers.append(Scripted(*script))
    seconds, summary = run("--url", servers[0].url, "--rate", "70", "--seconds", "1", "--timeout", "60")
    assert servers[0].requests == summary["sent"] == 70
    assert summary["failed_by_kind"] == {"status_503": 10, "cut": 20, "malformed": 10, "status_302": 10}
    assert (summary["ok"], summary["failed"]) == (20, 50)
    assert summary["servers"] == {"a": 10, "b": 10}
    for name in ("sent", "ok", "failed"):
        assert sum(second[name] for second in seconds) == summary[name]
    assert seconds[-1]["in_flight"] == 0
    assert sum(count for _, count in summary["histogram_ms"]) == summary["ok"]


def test_nobody_there_is_a_failure_to_connect(servers: list[Scripted]) -> None:
    """Requests to a closed port all fail as `connect`."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and nobody listens
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        _, summary = run("--url", url, "--rate", "40", "--seconds", "0.5")
    assert summary["failed_by_kind"] == {"connect": 20}


def test_no_answer_in_time_is_a_timeout(servers: list[Scripted]) -> None:
    """Requests that are never answered all end as `timeout`, and the run with them."""
    servers.append(Scripted(None))
    _, summary = run("--url", servers[0].url, "--rate", "40", "--seconds", "0.5", "--timeout", "0.5")
    assert summary["failed_by_kind"] == {"timeout": 20}


def test_connection_is_used_again_while_it_is_fresh(servers: list[Scripted]) -> None:
    """Requests that follow one another share a connection, unless it was idle for a second or is not to be kept."""
    servers += [Scripted(OK), Scripted(OK)]
    clock = Clock()

    async def ask(server: Scripted, *, keep: bool) -> int:
        client = Client(Target.parse(server.url), keep=keep, timeout_s=60, clock=clock)
        for pause_s in (0, 0.9, 0.9, 1.1):
            clock.now += pause_s
            assert await client.get() == "a"
        client.close()
        return server.connections

    assert asyncio.run(ask(servers[0], keep=True)) == 2
    assert asyncio.run(ask(servers[1], keep=False)) == 4


def test_connections_are_kept_or_new_as_asked(servers: list[Scripted]) -> None:
    """Without the option, a load has fewer connections than requests; with --new-connections, one for each."""
    servers += [Scripted(OK), Scripted(OK)]
    run("--url", servers[0].url, "--rate", "25", "--seconds", "2")
    run("--url", servers[1].url, "--rate", "50", "--seconds", "1", "--new-connections")
    assert servers[0].connections < servers[0].requests == 50
    assert servers[1].connections == servers[1].requests == 50


def test_load_is_open_loop(servers: list[Scripted]) -> None:
    """A server that does not answer slows nothing down; beyond the limit in flight, requests count as failed."""
    servers.append(Scripted(None))
    options = ("--rate", "100", "--seconds", "0.5", "--timeout", "300", "--max-in-flight", "30")
    argv = (sys.executable, "-m", "demo.load", "--url", servers[0].url, *options)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        sent = 0
        while sent < 50:  # all of them while not one has been answered
            sent += json.loads(process.stdout.readline())["sent"]
        servers[0].gate.set()
        summary = json.loads(process.stdout.readlines()[-1])
    assert (summary["sent"], summary["ok"], summary["failed_by_kind"]) == (50, 30, {"saturated": 20})


class Clock:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now


def test_what_is_sent_follows_the_rate(servers: list[Scripted]) -> None:
    """A rate told during the run counts from that moment, 0 sends nothing, and each second's line says so."""
    servers.append(Scripted(OK))
    clock, output = Clock(), io.StringIO()

    async def follow() -> None:
        client = Client(Target.parse(servers[0].url), keep=True, timeout_s=60)
        load = Load(client, (Step(seconds=30, rate=0),), max_in_flight=100, output=output, clock=clock)
        running = asyncio.create_task(load.run())
        for second, (rate, sent) in enumerate([(0, 0), (60, 60), (10, 70), (0, 70)], start=1):
            load.obey(f"rate {rate}")
            clock.now += 1
            while load.total.ok < sent or len(output.getvalue().splitlines()) < second:  # noqa: ASYNC110 -- a load tells nobody
                await asyncio.sleep(0.001)
        load.obey("stop")
        await running

    asyncio.run(follow())
    *seconds, _, summary = map(json.loads, output.getvalue().splitlines())
    assert [(line["rate"], line["sent"]) for line in seconds] == [(0, 0), (60, 60), (10, 10), (0, 0)]
    assert (summary["sent"], summary["ok"], summary["seconds"]) == (70, 70, 4)


def test_a_ramp_and_a_volley_are_sent_whole(servers: list[Scripted]) -> None:
    """A ramp sends what its straight line owes and keeps its last rate; a volley comes beside the rate, at once."""
    servers.append(Scripted(OK))
    clock, output = Clock(), io.StringIO()

    async def follow() -> None:
        client = Client(Target.parse(servers[0].url), keep=True, timeout_s=60)
        load = Load(client, (Step(seconds=30, rate=0),), max_in_flight=100, output=output, clock=clock)
        running = asyncio.create_task(load.run())
        load.obey("ramp 40 2")
        for second, sent in enumerate([10, 40, 80, 100], start=1):
            if second == 4:
                load.obey("rate 0")
                load.obey("volley 20")
            clock.now += 1
            while load.total.ok < sent or len(output.getvalue().splitlines()) < second:  # noqa: ASYNC110 -- a load tells nobody
                await asyncio.sleep(0.001)
        load.obey("stop")
        await running

    asyncio.run(follow())
    lines = list(map(json.loads, output.getvalue().splitlines()))[:4]
    assert [(line["rate"], line["sent"], line["at"]) for line in lines] == [
        (22.5, 10, 1001),  # the stair after the middle
        (40, 30, 1002),
        (40, 40, 1003),
        (0, 20, 1004),
    ]


def test_a_servers_first_answer_is_told_once(servers: list[Scripted]) -> None:
    """The moment of a server's first answer ever stands in its second's line, by this machine's monotonic clock."""
    servers.append(Scripted(*[OK] * 50, *[FROM_B] * 50))
    before = time.monotonic()
    seconds, _ = run("--url", servers[0].url, "--rate", "50", "--seconds", "2")
    told = [(name, moment) for second in seconds for name, moment in second["first_answers"].items()]
    (a, first_a), (b, first_b) = told
    assert (a, b) == ("a", "b")
    assert before < first_a < first_b - 0.5 < first_b < time.monotonic()


def test_rate_changes_and_stops_on_command(servers: list[Scripted]) -> None:
    """`rate` and `stop` arriving in one piece are obeyed in order, and what is no command changes nothing."""
    servers.append(Scripted(OK))
    argv = (sys.executable, "-m", "demo.load", "--url", servers[0].url, "--rate", "0", "--seconds", "3600")
    pipe = subprocess.PIPE
    process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert (first["rate"], first["sent"]) == (0, 0)
    process.stdin.write("rate 10\nhurry\nrate 999999\nrate 60\n")
    process.stdin.flush()
    sent = 0
    while sent < 60:
        line = json.loads(process.stdout.readline())
        assert line["rate"] in (0, 60), "the commands came in one piece, and only the last rate is in force"
        sent += line["sent"]
    output, errors = process.communicate("stop\n", timeout=60)
    summary = json.loads(output.splitlines()[-1])
    assert summary["sent"] == summary["ok"] == servers[0].requests
    assert summary["sent"] <= 60 * (summary["seconds"] - 1)
    assert errors.splitlines() == [
        "wanted `rate N`, `ramp N SECONDS`, `volley N` or `stop`, found 'hurry'",
        "wanted a rate from 0 to 5000, found '999999'",
    ]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--url", "http://8.8.8.8/", "--rate", "1"), "wanted an address of the demo"),
        (("--url", "https://127.0.0.1/", "--rate", "1"), "wanted a URL http://ADDRESS"),
        (("--url", "http://127.0.0.1/", "--rate", "5001"), "wanted a rate from 0 to 5000, found '5001'"),
        (("--url", "http://127.0.0.1/", "--rate", "1", "--seconds", "3601"), "wanted a number of seconds"),
        (("--url", "http://127.0.0.1/", "--schedule", "/nowhere"), "No such file"),
    ],
)
def test_bad_input_is_refused_in_one_line(options: tuple[str, ...], says: str) -> None:
    """An address outside the demo, too much or too long are refused before anything is sent."""
    argv = (sys.executable, "-m", "demo.load", *options)
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_target_keeps_port_path_and_query() -> None:
    """A URL's port, path and query reach the request as they are."""
    assert Target.parse("http://192.0.2.1:8080/a/b?c=d") == Target(address="192.0.2.1", port=8080, path="/a/b?c=d")
    assert Target.parse("http://127.0.0.1") == Target(address="127.0.0.1", port=80, path="/")


def test_schedule_file_is_steps() -> None:
    """A schedule is one SECONDS RATE per line, with comments; a wrong line is named."""
    assert parse_schedule("10 50 # calm\n\n0.5 200\n") == (Step(seconds=10, rate=50), Step(seconds=0.5, rate=200))
    for text, line in (("10\n", 1), ("1 2\nx 3\n", 2), ("1 nan\n", 1), ("1 -1\n", 1)):
        with pytest.raises(ValueError, match=f"schedule line {line}: wanted"):
            parse_schedule(text)
    with pytest.raises(ValueError, match="at least one line"):
        parse_schedule("# nothing\n")
    with pytest.raises(ValueError, match="at most 3600 seconds in all"):
        parse_schedule("3000 1\n3000 1\n")


@pytest.mark.parametrize("ticks", [1, 7, 1000])
def test_pace_owes_the_same_however_often_it_is_asked(ticks: int) -> None:
    """Over a schedule, the number and times of due requests don't depend on when one asks."""
    pace = Pace((Step(seconds=2, rate=10), Step(seconds=1, rate=0), Step(seconds=2, rate=25)), start=100)
    due = [moment for tick in range(1, ticks + 1) for moment in pace.due(now=100 + 6 * tick / ticks)]
    assert len(due) == 20 + 50
    assert due[:2] == pytest.approx([100.1, 100.2])
    assert due[19:22] == pytest.approx([102.0, 103.04, 103.08])
    assert due == sorted(due)


def test_pace_change_neither_loses_nor_doubles() -> None:
    """A rate changed between two requests keeps the part that was already owed."""
    pace = Pace((Step(seconds=100, rate=1),), start=0)
    assert pace.set_rate(10, now=0.5) == []
    assert pace.due(now=1.0) == pytest.approx([0.55, 0.65, 0.75, 0.85, 0.95])
    assert pace.set_rate(0, now=1.0) == []
    assert pace.due(now=50) == []


@pytest.mark.parametrize("ticks", [1, 7, 1000])
def test_pace_climbs_a_ramp_however_often_it_is_asked(ticks: int) -> None:
    """A ramp owes its mean rate times its length, more in each part than in the one before, and then its end's rate."""
    pace = Pace((Step(seconds=100, rate=10),), start=0)
    due = pace.ramp_to(50, seconds=8, now=1)
    due += [moment for tick in range(1, ticks + 1) for moment in pace.due(now=1 + 10 * tick / ticks)]
    per_part = [sum(begin < moment <= begin + 2 for moment in due) for begin in (1, 3, 5, 7, 9)]
    assert per_part == pytest.approx([30, 50, 70, 90, 100], abs=1)
    assert len(due) == 10 + 8 * 30 + 2 * 50
    assert due == sorted(due)
    assert pace.rate == 50


def test_percentiles_are_at_most_one_slot_too_high() -> None:
    """Percentiles come from the histogram's slots, never below the truth and never above the slowest."""
    ledger = Ledger()
    for latency in range(1, 101):
        ledger.start()
        ledger.succeed("a", float(latency))
    for percent in (50, 95, 99, 100):
        found = ledger.total.percentile_ms(percent)
        assert found is not None
        assert percent <= found <= min(percent * 1.13, 100)
    assert Ledger().total.percentile_ms(50) is None
    assert BOUNDS_MS[-1] > 59_000


def test_ledger_balances_at_every_moment() -> None:
    """Sent is served plus failed plus in flight, and the seconds add up to the whole."""
    ledger = Ledger()
    for _ in range(3):
        ledger.start()
    ledger.succeed("a", 1)
    first = ledger.close_second()
    ledger.fail("cut")
    second = ledger.close_second()
    assert ledger.in_flight == 1
    assert (first.sent + second.sent, first.ok + second.ok) == (3, 1)
    assert (first.failed.total(), second.failed.total()) == (0, 1)
