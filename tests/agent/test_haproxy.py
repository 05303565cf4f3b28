"""HAProxy's facts, plan, commands and file; the file is read by the real HAProxy."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from core_agent.contract.names import Reason
from core_agent.desired import CoreSlots, Mode, Server
from core_agent.errors import CommandFailed, UnreadableFacts
from core_agent.files import replace as replace_file
from core_agent.haproxy.apply import line
from core_agent.haproxy.config import render
from core_agent.haproxy.facts import Counters, Reading, ServerFacts, parse, parse_part, refresh
from core_agent.haproxy.plan import (
    AddServer,
    DeleteServer,
    EndSessions,
    SetMaxconn,
    SetMode,
    SetWeight,
    StartChecks,
    plan,
)
from core_agent.host import check_haproxy
from core_agent.roll import Burst
from settings import load

CASES = Path(__file__).parent / "cases"
KEPT = frozenset({"no-primary"})


def _server(**changes: object) -> Server:
    server = Server(name="i-1", id=1002, address="10.100.0.2", mode=Mode.READY, weight=28, maxconn=28)
    return replace(server, **changes)  # type: ignore[arg-type]  # one known field each


def _facts(**changes: object) -> ServerFacts:
    facts = ServerFacts(
        name="i-1",
        id=1002,
        address="10.100.0.2",
        port=8080,
        mode=Mode.READY,
        checking=True,
        check="L7OK",
        up=True,
        weight=28,
        maxconn=28,
        busy=0,
        queue=0,
    )
    return replace(facts, **changes)  # type: ignore[arg-type]  # one known field each


def _plan(server: Server | None, facts: ServerFacts | None) -> tuple[object, ...]:
    return plan(
        {} if server is None else {"i-1": server}, {} if facts is None else {"i-1": facts}, port=8080, kept=KEPT
    )


@pytest.mark.parametrize(
    ("server", "facts", "steps"),
    [
        (_server(), _facts(), ()),
        (None, None, ()),
        (_server(), None, (AddServer(server=_server()), StartChecks(name="i-1"))),
        (_server(mode=Mode.MAINT), _facts(mode=Mode.MAINT), ()),
        (_server(), _facts(mode=Mode.MAINT), (SetMode(name="i-1", mode=Mode.READY),)),
        (_server(), _facts(mode=Mode.MAINT, check=""), ()),
        (_server(), _facts(mode=Mode.MAINT, check="L4CON"), ()),
        (_server(), _facts(mode=Mode.DRAIN, check="L4CON"), (SetMode(name="i-1", mode=Mode.READY),)),
        (
            _server(),
            _facts(mode=Mode.MAINT, checking=False),
            (DeleteServer(name="i-1"),),
        ),
        (_server(), _facts(mode=Mode.MAINT, checking=False, check=""), (DeleteServer(name="i-1"),)),
        (_server(mode=Mode.MAINT), _facts(mode=Mode.MAINT, checking=False), (DeleteServer(name="i-1"),)),
        (_server(), _facts(checking=False), (StartChecks(name="i-1"),)),
        (
            _server(weight=14, maxconn=15, mode=Mode.DRAIN),
            _facts(),
            (
                SetWeight(name="i-1", weight=14),
                SetMaxconn(name="i-1", maxconn=15),
                SetMode(name="i-1", mode=Mode.DRAIN),
            ),
        ),
        (
            _server(mode=Mode.MAINT),
            _facts(address="10.100.0.9"),
            (
                SetMode(name="i-1", mode=Mode.MAINT),
                DeleteServer(name="i-1"),
            ),
        ),
        (None, _facts(mode=Mode.MAINT), (DeleteServer(name="i-1"),)),
        (
            None,
            _facts(mode=Mode.DRAIN, busy=2),
            (SetMode(name="i-1", mode=Mode.MAINT), EndSessions(name="i-1"), DeleteServer(name="i-1")),
        ),
    ],
)
def test_the_plan(server: Server | None, facts: ServerFacts | None, steps: tuple[object, ...]) -> None:
    """Exactly these steps lead from the facts to the wish; a server is never opened without a good check."""
    assert _plan(server, facts) == steps


def test_the_cores_own_servers_are_never_touched() -> None:
    """Whatever is wished, `no-primary` stays."""
    assert plan({}, {"no-primary": _facts(name="no-primary")}, port=8080, kept=KEPT) == ()


def test_commands_are_what_haproxy_documents() -> None:
    """One line per step, with the pool options that dynamic servers do not inherit."""
    lines = [
        line(step, backend="web_nodes", port=8080)
        for step in (AddServer(server=_server()), StartChecks(name="i-1"), DeleteServer(name="i-1"))
    ]
    assert lines[0].startswith("add server web_nodes/i-1 10.100.0.2:8080 id 1002 check inter 1s ")
    assert "weight 28 maxconn 28 pool-max-conn -1 pool-purge-delay 5s observe layer4" in lines[0]
    assert lines[1:] == ["enable health web_nodes/i-1", "del server web_nodes/i-1"]


def test_facts_of_a_real_haproxy() -> None:
    """Captured from HAProxy 2.6.12: an open server, one checked in maintenance, one the file disabled, one drained."""
    state, stat, frontend = (CASES / "haproxy-2.6.txt").read_text().split("---\n")
    facts = parse(state, stat, frontend)
    seen = {name: (s.mode.value, s.checking, s.check, s.up, s.weight, s.maxconn) for name, s in facts.servers.items()}
    assert seen == {
        "no-primary": ("ready", True, "L7OK", True, 1, 50),
        "i-checked": ("maint", True, "L7OK", False, 3, 7),
        "i-disabled": ("maint", False, "", False, 28, 28),
        "i-drained": ("drain", True, "L7OK", False, 28, 28),
    }
    assert (facts.queue, facts.requests_total, facts.failed_total) == (0, 2, 0)
    assert {name: (s.answered, s.failed) for name, s in facts.servers.items() if s.answered} == {"no-primary": (2, 0)}


def test_a_part_brings_what_changes_by_itself_up_to_date() -> None:
    """A reading of some servers: their state and their counters, and those of the frontend; the others stay."""
    state, stat, frontend = (CASES / "haproxy-2.6.txt").read_text().split("---\n")
    facts = parse(state, stat, frontend)
    rows = {"BACKEND": _counters(queue=3), "no-primary": _counters(busy=7, queue=4, answered=12, failed=5)}
    refresh(facts, ["no-primary"], Reading(servers=rows, queue=3, requests_total=20, failed_total=6))
    server = facts.servers["no-primary"]
    assert (server.busy, server.queue, server.answered, server.failed) == (7, 4, 12, 5)
    assert (facts.queue, facts.requests_total, facts.failed_total) == (3, 20, 6)
    assert facts.servers["i-checked"].check == "L7OK"
    with pytest.raises(UnreadableFacts):
        refresh(facts, ["i-checked"], Reading(servers=rows, queue=3, requests_total=20, failed_total=6))


def _counters(**changes: int) -> Counters:
    return Counters(
        check="L7OK", up=True, maxconn=50, **({"busy": 0, "queue": 0, "answered": 0, "failed": 0} | changes)
    )


def test_counters_stand_in_their_columns() -> None:
    """Told apart by numbers that differ; a server's free text, commas and all, is behind the last that is read."""
    state, stat, frontend = (CASES / "haproxy-2.6.txt").read_text().split("---\n")
    first = stat.splitlines()[1]
    cells = first.split(",")
    header = stat.splitlines()[0].removeprefix("# ").split(",")
    for name, value in {"hrsp_5xx": "17", "req_tot": "1234", "stot": "99", "last_chk": '"no, not, so"'}.items():
        cells[header.index(name)] = value
    whole = parse(state, stat.replace(first, ",".join(cells)), frontend)
    part = parse_part([frontend, stat.replace(first, ",".join(cells))])
    for seen in (whole.servers["no-primary"], part.servers["no-primary"]):
        assert (seen.answered, seen.failed) == (1234, 17)


def test_the_frontends_failures_are_read_or_refused() -> None:
    """Both its counters are there, or nothing is said."""
    state, stat, frontend = (CASES / "haproxy-2.6.txt").read_text().split("---\n")
    header, row = frontend.splitlines()[:2]
    place = header.split(",").index("hrsp_5xx")
    cells = row.split(",")
    for value, wanted in (("31", 31), ("", None), ("x", None)):
        cells[place] = value
        text = f"{header}\n{','.join(cells)}\n"
        if wanted is None:
            with pytest.raises(UnreadableFacts, match="hrsp_5xx"):
                parse(state, stat, text)
        else:
            assert parse(state, stat, text).failed_total == wanted


@pytest.mark.parametrize(
    "answers", [("", "", ""), ("1\n# a b\n", "Unknown command", ""), ("2\n# a\n", "# pxname\n", "")]
)
def test_unreadable_facts_are_an_error(answers: tuple[str, str, str]) -> None:
    """Another answer than the documented one is never taken for an empty backend."""
    with pytest.raises(UnreadableFacts):
        parse(*answers)


def test_the_file_passes_haproxys_own_check(tmp_path: Path) -> None:
    """With and without burst servers; only the open one is open after a restart."""
    assert shutil.which("haproxy", path="/usr/sbin:/usr/bin"), "wanted haproxy installed: run scripts/packages"
    settings = load(Path("drawbridge.toml"))
    for servers in (
        (),
        (_server(), _server(name="i-2", id=1003, mode=Mode.MAINT), _server(name="i-3", id=1004, mode=Mode.DRAIN)),
    ):
        burst = Burst(level_percent=25, reason=Reason('say "${HOME}" \\'))
        text = render(settings, burst, {"no-primary": CoreSlots(slots=50, reserve=0)}, servers)
        text = text.replace("    user haproxy\n    group haproxy\n", "").replace(" group drawbridge-agent", "")
        path = tmp_path / "haproxy.cfg"
        path.write_text(text)
        check_haproxy(path)
    nodes = [line for line in text.splitlines() if line.startswith("    server i-")]
    assert [line.endswith(" disabled") for line in nodes] == [False, True, True]


def test_a_file_that_haproxy_refuses_never_replaces_the_old_one(tmp_path: Path) -> None:
    """The check sees the draft; the running file is untouched and no draft is left."""
    path = tmp_path / "haproxy.cfg"
    path.write_text("old")
    with pytest.raises(CommandFailed, match=r"checking \.haproxy\.cfg\.new: haproxy exited 1"):
        replace_file(path, "nonsense\n", mode=0o644, check=check_haproxy)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
