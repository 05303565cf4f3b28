"""Who a user is, and where he stays."""

from __future__ import annotations

import re
import socket

import pytest

from core_agent.desired import Mode
from core_agent.haproxy.plan import AddServer, DeleteServer, SetMode, StartChecks
from tests.proxy.application import Application
from tests.proxy.conftest import MakeSite
from tests.proxy.proxy_under_test import Answer, Proxy, node, until
from tests.proxy.test_core_first import fill, release

_FORGED = {
    "X-Forwarded-For": "203.0.113.9",
    "x-forwarded-host": "evil.example",
    "X-Forwarded-Proto": "https",
    "Forwarded": "for=203.0.113.9",
    "X-Real-IP": "203.0.113.9",
}


def told(application: Application) -> dict[str, list[str]]:
    """Return what the last request's headers said of its sender, to an application that goes by CGI's names."""
    found: dict[str, list[str]] = {}
    for name, value in application.headers[-1]:
        if re.sub("[^a-z0-9]", "-", name).startswith(("x-forwarded", "forwarded", "x-real")):
            found.setdefault(name, []).append(value)
    return found


def raw(proxy: Proxy, text: str) -> bytes:
    """Return what HAProxy answers to ``text``, to the end of the connection."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection:
        connection.sendall(text.encode())
        received = b""
        try:
            while data := connection.recv(65_536):
                received += data
        except ConnectionResetError:
            return received
        return received


_REQUEST = "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.66\r\nConnection: close\r\n\r\n"


def test_what_a_stranger_says_of_himself_is_dropped(site: MakeSite) -> None:
    """The application hears the connection's address and scheme, whatever the request says."""
    proxy, applications = site(5)
    proxy.start()
    proxy.get(headers=_FORGED)
    assert told(applications["c1"]) == {"x-forwarded-for": ["127.0.0.1"], "x-forwarded-proto": ["http"]}


# RFC 9110, 5.6.2: what a name may consist of besides letters and digits.
_MARKS = "!#$%&'*+-.^_`|~"
_MISSPELT = [
    spelling
    for mark in _MARKS
    for spelling in (
        f"X{mark}Forwarded{mark}For",
        f"x{mark}forwarded-for",
        f"X-FORWARDED{mark}FOR",
        f"X{mark}Real{mark}IP",
        f"X{mark}real-ip",
        f"X-Real{mark}IP",
        f"X{mark}Forwarded",
        f"X-Forwarded-Client{mark}Cert",
    )
    if mark != "-"
]


@pytest.mark.parametrize("frontend", ["", 'trusted_proxies = ["192.0.2.0/24"]', 'trusted_proxies = ["127.0.0.1/32"]'])
def test_no_spelling_gets_past(site: MakeSite, frontend: str) -> None:
    """CGI's names turn every mark into one, so such a header is dropped, also from a trusted proxy: users write it."""
    proxy, applications = site(5, frontend=frontend)
    proxy.start()
    for spelling in _MISSPELT:
        proxy.get(headers={spelling: "203.0.113.9", "api_key": "kept", "x_api_key": "kept"})
        assert told(applications["c1"]) == {"x-forwarded-for": ["127.0.0.1"], "x-forwarded-proto": ["http"]}, spelling
        assert {("api_key", "kept"), ("x_api_key", "kept")} <= set(applications["c1"].headers[-1])


@pytest.mark.parametrize(
    "name", ["FORWARDED", "forwarded", "X-REAL-IP", "x-Real-Ip", "X-FORWARDED-HOST", "X-Forwarded"]
)
def test_capitals_make_no_difference(site: MakeSite, name: str) -> None:
    """HAProxy compares in lower case."""
    proxy, applications = site(5)
    proxy.start()
    proxy.get(headers={name: "203.0.113.9"})
    assert told(applications["c1"]) == {"x-forwarded-for": ["127.0.0.1"], "x-forwarded-proto": ["http"]}


def test_what_a_trusted_proxy_says_is_kept(site: MakeSite) -> None:
    """And its own address comes after the user's."""
    proxy, applications = site(5, frontend='trusted_proxies = ["192.0.2.0/24", "127.0.0.1/32"]')
    proxy.start()
    proxy.get(headers=_FORGED)
    assert told(applications["c1"]) == {
        "x-forwarded-for": ["203.0.113.9", "127.0.0.1"],
        "x-forwarded-host": ["evil.example"],
        "x-forwarded-proto": ["https"],
        "forwarded": ["for=203.0.113.9"],
        "x-real-ip": ["203.0.113.9"],
    }


def test_a_trusted_proxy_says_who_the_user_is(site: MakeSite) -> None:
    """In PROXY protocol, which it has to speak; the user himself is a stranger, whose headers are dropped."""
    proxy, applications = site(5, frontend='trusted_proxies = ["127.0.0.1/32"]\naccept_proxy = true')
    proxy.start()
    assert b"200 OK" in raw(proxy, f"PROXY TCP4 203.0.113.9 198.51.100.1 4711 80\r\n{_REQUEST}")
    assert told(applications["c1"]) == {"x-forwarded-for": ["203.0.113.9"], "x-forwarded-proto": ["http"]}
    assert raw(proxy, _REQUEST) == b""


def test_a_stranger_may_not_speak_proxy_protocol(site: MakeSite) -> None:
    """To HAProxy it is no HTTP, so nobody can claim to be somebody else."""
    proxy, applications = site(5, frontend='trusted_proxies = ["192.0.2.0/24"]\naccept_proxy = true')
    proxy.start()
    assert b"400 Bad" in raw(proxy, f"PROXY TCP4 203.0.113.9 198.51.100.1 4711 80\r\n{_REQUEST}")
    assert applications["c1"].seen == []


def test_the_application_is_told_in_proxy_protocol(site: MakeSite) -> None:
    """At home, on a node of the file, and on one that was added at run time; health checks speak it too."""
    proxy, applications = site(5, nodes=2, frontend="send_proxy = true", expects_proxy=True)
    proxy.start([node(2)])
    proxy.carry_out(AddServer(server=node(3, mode=Mode.MAINT)), StartChecks(name="i-3"))
    until(lambda: proxy.status("i-3") == "L7OK", "a good check of what was added")
    assert proxy.get().server == "c1"
    proxy.ask("set weight web_nodes/c1 0%")
    assert proxy.get().server == "i-2"
    proxy.carry_out(SetMode(name="i-3", mode=Mode.READY), SetMode(name="i-2", mode=Mode.DRAIN))
    assert proxy.get().server == "i-3"
    assert {name: one.senders for name, one in applications.items()} == {name: ["127.0.0.1"] for name in applications}


STICKY = 'sticky_cookie = "WHERE"'


def test_a_user_stays_where_he_is(site: MakeSite) -> None:
    """On the edge too, when the core is free again; a new user goes to the core, and is given a cookie once."""
    proxy, _ = site(5, 5, nodes=2, frontend=STICKY)
    proxy.start([node(2), node(3)])
    first = proxy.get()
    assert first.headers["set-cookie"] == f"WHERE={first.server}; Path=/; HttpOnly; SameSite=Lax"
    assert first.headers["cache-control"] == "private"
    for name in ("c1", "c2", "i-2", "i-3"):
        answers = [proxy.get(headers={"Cookie": f"a=b; WHERE={name}"}) for _ in range(8)]
        assert {answer.server for answer in answers} == {name}
        assert not any("set-cookie" in answer.headers for answer in answers)


def test_a_user_moves_on_when_his_server_leaves(site: MakeSite) -> None:
    """Drained, dead, gone or never there: he is served at home and given a new cookie; undrained, he may stay again."""
    proxy, applications = site(5, nodes=2, frontend=STICKY)
    proxy.start([node(2), node(3)])
    proxy.carry_out(SetMode(name="i-2", mode=Mode.DRAIN))
    applications["i-3"].health = 500
    until(lambda: proxy.row("i-3")["status"] == "DOWN", "a node that is down")
    for name in ("i-2", "i-3", "i-4", "c2", "../x"):
        answer = proxy.get(headers={"Cookie": f"WHERE={name}"})
        assert (answer.server, answer.headers["set-cookie"].partition(";")[0]) == ("c1", "WHERE=c1")
    proxy.carry_out(SetMode(name="i-2", mode=Mode.READY))
    assert proxy.get(headers={"Cookie": "WHERE=i-2"}).server == "i-2"


def leaving(proxy: Proxy) -> dict[str, int]:
    """Return the servers' tags, 1 for one that leaves; none of them may have a time to expire at."""
    (table,) = proxy.ask("show table drawbridge_leaving")
    entries = re.findall(r"key=(\S+) use=\d+ exp=(\d+) .*?gpt0=(\d+)", table)
    # Milliseconds: 0 for none, but HAProxy's threads' clocks may be a little apart.
    assert all(int(expires) < 1000 for _, expires, _ in entries), table
    return {name: int(tag) for name, _, tag in entries}


def test_a_drain_is_remembered_as_long_as_it_lasts(site: MakeSite) -> None:
    """The entry has no time to expire at; opening the server turns it, and deleting the server takes it away."""
    proxy, _ = site(5, nodes=1, frontend=STICKY)
    proxy.start([node(2)])
    proxy.carry_out(SetMode(name="i-2", mode=Mode.DRAIN))
    assert leaving(proxy) == {"i-2": 1}
    proxy.carry_out(SetMode(name="i-2", mode=Mode.READY))
    assert leaving(proxy) == {"i-2": 0}
    proxy.carry_out(SetMode(name="i-2", mode=Mode.MAINT), DeleteServer(name="i-2"))
    assert leaving(proxy) == {}


def test_a_drain_outlives_haproxy(site: MakeSite) -> None:
    """A new process knows no tags, but its file has the node closed; and opened again it takes its users back."""
    proxy, _ = site(5, nodes=2, frontend=STICKY)
    proxy.start([node(2, mode=Mode.DRAIN), node(3)])
    assert leaving(proxy) == {}
    assert proxy.get(headers={"Cookie": "WHERE=i-2"}).server == "c1"
    proxy.carry_out(SetMode(name="i-2", mode=Mode.DRAIN))
    assert proxy.get(headers={"Cookie": "WHERE=i-2"}).server == "c1"
    proxy.carry_out(SetMode(name="i-2", mode=Mode.READY))
    assert proxy.get(headers={"Cookie": "WHERE=i-2"}).server == "i-2"


def test_a_user_of_the_edge_comes_home_at_level_zero(site: MakeSite) -> None:
    """From then on his cookie names the core; while no core server takes requests he stays where he is."""
    proxy, applications = site(1, 1, nodes=2, frontend=STICKY)
    proxy.start([node(2), node(3)])
    here = {"Cookie": "WHERE=i-3"}
    assert proxy.get(headers=here).server == "i-3"
    proxy.steer("edge_closed", 1)
    answer = proxy.get(headers=here)
    assert answer.server in ("c1", "c2")
    assert answer.headers["set-cookie"].startswith(f"WHERE={answer.server};")
    applications["c1"].health = 500
    until(lambda: proxy.row("c1")["status"] == "DOWN", "a core server that is down")
    assert {proxy.get(headers=here).server for _ in range(4)} == {"c2"}
    proxy.ask("set weight web_nodes/c2 0%")
    answers = [proxy.get(headers=here) for _ in range(4)]
    assert {answer.server for answer in answers} == {"i-3"}
    assert not any("set-cookie" in answer.headers for answer in answers)


def test_a_user_of_the_edge_waits_at_home_at_level_zero(site: MakeSite) -> None:
    """A full core is no reason to stay on an edge that is closed."""
    proxy, applications = site(1, nodes=1, frontend=STICKY)
    proxy.start([node(2)], level=0)
    applications["c1"].gate.clear()
    fill(proxy, applications, 1)
    answers: list[Answer] = []
    proxy.begin(answers, headers={"Cookie": "WHERE=i-2"})
    until(lambda: proxy.queue() == 1, "one who waits")
    release(applications)
    until(lambda: answers, "an answer")
    assert answers[0].server == "c1"


def test_a_user_moves_on_when_others_wait_for_his_server(site: MakeSite) -> None:
    """One may wait for a slot where he was; the next is served where there is room."""
    proxy, applications = site(1, nodes=1, frontend=STICKY)
    proxy.start([node(2)])
    applications["c1"].gate.clear()
    fill(proxy, applications, 1)
    waiting: list[object] = []
    proxy.begin(waiting, headers={"Cookie": "WHERE=c1"})  # type: ignore[arg-type]  # what comes is not looked at
    until(lambda: proxy.queue() == 1, "one who waits")
    assert proxy.get(headers={"Cookie": "WHERE=c1"}).server == "i-2"
    release(applications)


def test_a_user_leaves_a_core_server_that_an_operator_drains(site: MakeSite) -> None:
    """His cookie is no better than the operator's word."""
    proxy, _ = site(5, 5, frontend=STICKY)
    proxy.start()
    proxy.ask("set weight web_nodes/c1 0%")
    assert proxy.get(headers={"Cookie": "WHERE=c1"}).server == "c2"


def test_nobody_gets_a_cookie_unasked(site: MakeSite) -> None:
    """Without `sticky_cookie` HAProxy adds nothing to what the application says."""
    proxy, _ = site(5)
    proxy.start()
    assert not {"set-cookie", "cache-control"} & proxy.get().headers.keys()
