"""What HAProxy counts is what happened: answers by side, errors of servers, and users that it turned away itself."""

from __future__ import annotations

import signal

from core_agent.haproxy import apply, config
from core_agent.haproxy.facts import BackendFacts
from core_agent.telemetry import Telemetry
from tests.proxy.conftest import MakeSite
from tests.proxy.proxy_under_test import Proxy, node, until


def look(proxy: Proxy) -> BackendFacts:
    """Return what the agent finds."""
    return apply.read(proxy.socket, backend=config.BACKEND, frontend=config.FRONTEND, steered_by=())


def test_each_request_counts_once_where_it_ended(site: MakeSite) -> None:
    """At home, on the edge, failed by a server, refused by HAProxy, hung up on; and on through a reload."""
    proxy, applications = site(5, nodes=1)
    proxy.start([node(2)])
    telemetry = Telemetry(core={"c1"}, node_slots=28, queue_timeout_s=5, low_percent=30)
    telemetry.sample(0, look(proxy))

    def totals() -> tuple[float, float, float, float, float]:
        """Take another sample; return answers and errors of core and edge, and refusals."""
        latest = telemetry.latest
        assert latest is not None
        telemetry.sample(latest.at_ms / 1000 + 2, look(proxy))
        seen = telemetry.totals
        return seen.core, seen.core_failed, seen.edge, seen.edge_failed, seen.refused

    assert [proxy.get().status for _ in range(3)] == [200] * 3
    applications["c1"].status = 500
    assert [proxy.get().status for _ in range(2)] == [500] * 2
    assert totals() == (5, 2, 0, 0, 0)

    proxy.ask(f"set server {config.BACKEND}/c1 state maint")
    assert [proxy.get().server for _ in range(4)] == ["i-2"] * 4
    applications["i-2"].status = 503
    assert proxy.get().status == 503
    assert totals() == (5, 2, 5, 1, 0)

    applications["i-2"].hangs_up = True
    assert proxy.get(method="POST", body=b"order").status == 502
    proxy.ask(f"set server {config.BACKEND}/i-2 state maint")
    assert [proxy.get().status for _ in range(2)] == [503] * 2
    assert totals() == (5, 2, 5, 1, 3)

    assert proxy.process is not None
    proxy.process.send_signal(signal.SIGUSR2)
    until(lambda: look(proxy).requests_total == 0 and proxy.status("c1") == "L7OK", "another process")
    applications["c1"].status = 200
    assert [proxy.get().server for _ in range(2)] == ["c1"] * 2
    assert totals() == (7, 2, 5, 1, 3)
