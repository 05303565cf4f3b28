"""Which server takes a request: the core's by their slots while one is free, then the edge."""

from __future__ import annotations

import contextlib
import http.client
from collections import Counter
from functools import partial

from tests.proxy.application import Application
from tests.proxy.conftest import MakeSite
from tests.proxy.proxy_under_test import Answer, Proxy, node, until


def close(applications: dict[str, Application]) -> None:
    """Let every request wait."""
    for application in applications.values():
        application.gate.clear()


def release(applications: dict[str, Application]) -> None:
    """Let those that wait be answered."""
    for application in applications.values():
        application.gate.set()


def begun(proxy: Proxy, applications: dict[str, Application]) -> int:
    """Return how many requests are worked on or wait."""
    return sum(one.busy for one in applications.values()) + proxy.queue()


def fill(proxy: Proxy, applications: dict[str, Application], requests: int) -> list[Answer]:
    """Send ``requests``, each once the one before it is being worked on or waits; return where answers will come."""
    answers: list[Answer] = []
    for _ in range(requests):
        wanted = begun(proxy, applications) + 1
        proxy.begin(answers)
        until(partial(_reached, proxy, applications, wanted), f"{wanted} requests at work or waiting")
    return answers


def _reached(proxy: Proxy, applications: dict[str, Application], wanted: int) -> bool:
    return begun(proxy, applications) == wanted


def _came(answers: list[Answer], wanted: int) -> bool:
    return len(answers) == wanted


def _free(proxy: Proxy, applications: dict[str, Application]) -> bool:
    return not any(int(proxy.row(name)["scur"]) for name in applications)


def test_core_servers_share_by_their_slots(site: MakeSite) -> None:
    """With all slots free, three servers of 60, 30 and 10 slots take about 60, 30 and 10 percent; the edge nothing."""
    proxy, _ = site(60, 30, 10, nodes=1)
    proxy.start([node(2)])
    took = Counter(proxy.get().server for _ in range(600))
    # Four standard deviations of 600 fair draws are 8, 7.5 and 4.9 percent.
    assert abs(took["c1"] / 6 - 60) < 8
    assert abs(took["c2"] / 6 - 30) < 7.5
    assert abs(took["c3"] / 6 - 10) < 5
    assert took["i-2"] == 0


def test_nothing_overflows_while_a_core_server_has_a_free_slot(site: MakeSite) -> None:
    """However the draws fall: the first requests fill both servers to the last slot, the next goes to the edge."""
    proxy, applications = site(4, 2, nodes=1)
    proxy.start([node(2)])
    for _ in range(8):
        close(applications)
        answers = fill(proxy, applications, 7)
        assert {name: one.busy for name, one in applications.items()} == {"c1": 4, "c2": 2, "i-2": 1}
        release(applications)
        until(partial(_free, proxy, applications), "free slots")
        until(partial(_came, answers, 7), "seven answers")
        assert {answer.status for answer in answers} == {200}


def test_a_reserve_makes_requests_overflow_earlier(site: MakeSite) -> None:
    """With two of four slots in reserve the third request goes to the edge; a full edge gives the reserve free."""
    proxy, applications = site(4, nodes=1)
    proxy.start([node(2, slots=1)])
    proxy.steer("reserve_1", 2)
    close(applications)
    fill(proxy, applications, 3)
    assert {name: one.busy for name, one in applications.items()} == {"c1": 2, "i-2": 1}
    fill(proxy, applications, 2)
    assert {name: one.busy for name, one in applications.items()} == {"c1": 4, "i-2": 1}
    release(applications)


def test_nobody_is_sent_to_a_core_server_that_somebody_waits_for(site: MakeSite) -> None:
    """Though a slot counts as free, which a reserve below zero stands in for: it belongs to the one in line (0018)."""
    proxy, applications = site(1, nodes=1)
    proxy.start([node(2)], level=0)
    close(applications)
    fill(proxy, applications, 2)
    assert (applications["c1"].busy, proxy.queue()) == (1, 1)
    proxy.steer("reserve_1", -1)
    proxy.steer("edge_closed", 0)
    fill(proxy, applications, 1)
    assert (applications["i-2"].busy, proxy.queue()) == (1, 1)
    release(applications)


def test_at_level_zero_requests_wait_at_home(site: MakeSite) -> None:
    """The edge is open and idle, the core is full: the request waits and the core answers it."""
    proxy, applications = site(1, 1, nodes=1)
    proxy.start([node(2)], level=0)
    close(applications)
    answers = fill(proxy, applications, 4)
    assert {name: one.busy for name, one in applications.items()} == {"c1": 1, "c2": 1, "i-2": 0}
    assert proxy.queue() == 2
    release(applications)
    until(lambda: len(answers) == 4, "four answers")
    assert {answer.server for answer in answers} <= {"c1", "c2"}


def test_the_edge_is_closed_and_opened_at_run_time(site: MakeSite) -> None:
    """The variable alone decides whether a request waits at home or overflows."""
    proxy, applications = site(1, nodes=1)
    proxy.start([node(2)])
    close(applications)
    fill(proxy, applications, 2)
    assert applications["i-2"].busy == 1
    proxy.steer("edge_closed", 1)
    fill(proxy, applications, 1)
    assert (applications["i-2"].busy, proxy.queue()) == (1, 1)
    proxy.steer("edge_closed", 0)
    fill(proxy, applications, 1)
    assert applications["i-2"].busy == 2
    release(applications)


def test_at_level_zero_the_edge_stands_in_for_a_dead_core(site: MakeSite) -> None:
    """Nobody has to say so: when no core server is up, the next request goes to the edge, and home again after."""
    proxy, applications = site(2, 2, nodes=1)
    proxy.start([node(2)], level=0)
    for name in ("c1", "c2"):
        applications[name].health = 500
    until(lambda: {proxy.row(name)["status"] for name in ("c1", "c2")} == {"DOWN"}, "a core that is down")
    assert {proxy.get().server for _ in range(10)} == {"i-2"}
    applications["c2"].health = 200
    until(lambda: proxy.row("c2")["status"] == "UP", "a core server that is up")
    assert {proxy.get().server for _ in range(10)} == {"c2"}


def test_those_who_wait_at_home_go_to_the_edge_when_the_core_dies(site: MakeSite) -> None:
    """At level 0 too, a queue does not die with the server that it waits for."""
    proxy, applications = site(1, nodes=1)
    proxy.start([node(2)], level=0)
    applications["c1"].gate.clear()
    answers = fill(proxy, applications, 3)
    assert proxy.queue() == 2
    applications["c1"].health = 500
    until(lambda: len(answers) == 3, "an answer for everybody")
    assert {(answer.status, answer.server) for answer in answers} == {(200, "i-2")}


def test_the_core_serves_everybody_when_the_edge_is_dead(site: MakeSite) -> None:
    """Open nodes that are all dead are no reason to refuse anybody: those that would overflow wait at home."""
    proxy, applications = site(1, nodes=1)
    proxy.start([node(2)])
    applications.pop("i-2").stop()
    until(lambda: proxy.row("i-2")["status"] == "DOWN", "a dead node that is noticed")
    close(applications)
    answers = fill(proxy, applications, 4)
    release(applications)
    until(lambda: len(answers) == 4, "four answers")
    assert {(answer.status, answer.server) for answer in answers} == {(200, "c1")}


def test_a_node_that_dies_costs_one_request_at_most(site: MakeSite) -> None:
    """What cannot connect goes to another node; the one whose error marks the server down is ended with it (0018)."""
    proxy, applications = site(1, nodes=2)
    proxy.start([node(2), node(3)])
    applications.pop("i-2").stop()
    applications["c1"].gate.clear()
    fill(proxy, applications, 1)
    answered: list[Answer] = []
    for _ in range(30):
        with contextlib.suppress(http.client.RemoteDisconnected):
            answered.append(proxy.get())
    served = [answer for answer in answered if (answer.status, answer.server) == (200, "i-3")]
    assert len(served) >= 29
    assert max(answer.seconds for answer in served) < 2
    release(applications)


def test_a_core_server_that_an_operator_drains_takes_nothing(site: MakeSite) -> None:
    """At every level, for as long as he gives it weight 0; HAProxy shows its rules nothing of `state drain`."""
    proxy, _ = site(5, 5, nodes=1)
    proxy.start([node(2)])
    assert proxy.ask("set weight web_nodes/c1 0%") == [""]
    assert {proxy.get().server for _ in range(20)} == {"c2"}
    proxy.steer("edge_closed", 1)
    assert {proxy.get().server for _ in range(20)} == {"c2"}
    assert proxy.ask("set weight web_nodes/c1 100%") == [""]
    assert {proxy.get().server for _ in range(40)} == {"c1", "c2"}
