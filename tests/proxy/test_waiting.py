"""How long a request waits, what it is told when it waits in vain, and which requests are sent again."""

from __future__ import annotations

import pytest

from tests.proxy.conftest import MakeSite
from tests.proxy.proxy_under_test import Answer, node, until
from tests.proxy.test_core_first import fill, release


def test_a_request_that_waits_too_long_is_told_to_come_back(site: MakeSite) -> None:
    """After `queue_s`: 503 with `Retry-After`, and the server never saw it."""
    proxy, applications = site(1, frontend="queue_s = 1\nretry_after_s = 7")
    proxy.start()
    applications["c1"].gate.clear()
    fill(proxy, applications, 1)
    answer = proxy.get("/late")
    assert (answer.status, answer.headers["retry-after"]) == (503, "7")
    assert 0.9 < answer.seconds < 3
    release(applications)
    assert ("GET", "/late") not in applications["c1"].seen


def test_a_queue_that_is_full_answers_at_once(site: MakeSite) -> None:
    """With `queue_factor` times the slots waiting, the next is not let in, and those who wait are still served."""
    proxy, applications = site(2, frontend="queue_factor = 2")
    proxy.start()
    applications["c1"].gate.clear()
    answers = fill(proxy, applications, 2 + 4 + 1)
    refused = proxy.get()
    assert (refused.status, refused.headers["retry-after"]) == (503, "2")
    assert refused.seconds < 0.5
    release(applications)
    until(lambda: len(answers) == 7, "seven answers")
    assert {answer.status for answer in answers} == {200}


def test_nobody_there_is_told_with_a_retry_after(site: MakeSite) -> None:
    """When no server is up at all, at once."""
    proxy, applications = site(1)
    proxy.start()
    applications["c1"].health = 500
    until(lambda: proxy.row("c1")["status"] == "DOWN", "a core that is down")
    answer = proxy.get()
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert answer.seconds < 0.5


@pytest.mark.parametrize(
    ("method", "body", "sent", "status"),
    [("GET", None, 2, 200), ("HEAD", None, 2, 200), ("POST", b"", 1, 502), ("POST", b"order", 1, 502)],
)
def test_what_a_dying_server_took_is_sent_again_unless_it_may_have_acted(
    site: MakeSite, method: str, body: bytes | None, sent: int, status: int
) -> None:
    """A server takes a request and closes: GET and HEAD go to another one, a POST is never sent twice."""
    proxy, applications = site(1, nodes=1)
    applications["c1"].hangs_up = True
    proxy.start([node(2)])
    assert proxy.get(method=method, body=body).status == status
    assert applications["c1"].took(method) + applications["i-2"].took(method) == sent


def test_a_request_that_kills_its_server_kills_four_at_most(site: MakeSite) -> None:
    """No storm: it is sent four times, whatever the number of servers."""
    proxy, applications = site(1, nodes=6)
    for application in applications.values():
        application.hangs_up = True
    proxy.start([node(number) for number in range(2, 8)])
    assert proxy.get().status == 502
    assert sum(application.took("GET") for application in applications.values()) == 4


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_server_that_resets_connections_costs_no_request(site: MakeSite, method: str) -> None:
    """Nothing was sent yet, or nothing that may not be repeated: the edge answers, and checks take the server out."""
    proxy, applications = site(1, nodes=1)
    proxy.start([node(2)])
    applications["c1"].resets = True
    if method == "GET":
        assert proxy.get().server == "i-2"
    until(lambda: proxy.row("c1")["status"] == "DOWN", "a core that is down")
    assert (proxy.get(method=method).server, applications["c1"].seen) == ("i-2", [])


def test_a_server_that_hangs_is_left_and_its_requests_are_served_elsewhere(site: MakeSite) -> None:
    """It takes connections and says nothing: the check's time limit finds it, and who waited for it is answered."""
    proxy, applications = site(1, nodes=1)
    proxy.start([node(2)])
    applications["c1"].hangs = True
    answers: list[Answer] = []
    proxy.begin(answers)
    until(lambda: answers, "an answer")
    assert (answers[0].status, answers[0].server) == (200, "i-2")
    assert answers[0].seconds < 5


def test_a_server_whose_check_fails_takes_nothing_until_it_is_good_again(site: MakeSite) -> None:
    """500 on the health path is enough, though it answers everything else."""
    proxy, applications = site(1, nodes=1)
    proxy.start([node(2)])
    applications["c1"].health = 500
    until(lambda: proxy.row("c1")["status"] == "DOWN", "a core that is down")
    assert proxy.get().server == "i-2"
    applications["c1"].health = 200
    until(lambda: proxy.row("c1")["status"] == "UP", "a core that is up")
    assert proxy.get().server == "c1"
