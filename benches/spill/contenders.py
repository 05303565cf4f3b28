"""The four contenders as HAProxy configurations for the same servers; pure: what they say, not how they fare.

The product's text is the agent's own, with its nodes in it; the others share its frame, so that timeouts differ in
nothing, and have the backends that people write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import settings
from benches.spill.ground import (
    CORE,
    CORE_ADDRESS,
    EDGE,
    EDGE_MAXCONN,
    FRONT_PORT,
    SERVER_PORT,
    SLOTS,
    edge_address,
)
from core_agent.contract.names import Reason
from core_agent.desired import CoreSlots, Mode, Server
from core_agent.haproxy.config import BACKEND, FRONTEND, render
from core_agent.paths import HAPROXY_SOCKET
from core_agent.roll import Burst

_FRAME = f"""\
global
    log /dev/log local0
    user haproxy
    group haproxy
    maxconn 8000
    nbthread 2
    stats socket {HAPROXY_SOCKET} mode 600 level admin
defaults
    mode http
    log global
    option httplog
    option dontlognull
    timeout client 50s
    timeout server 50s
    timeout connect 1s
    timeout queue 5s
    timeout check 1s
    timeout http-request 10s
    timeout http-keep-alive 10s
frontend {FRONTEND}
    bind 127.0.0.1:{FRONT_PORT}
    default_backend {BACKEND}
backend {BACKEND}
"""
_CHECKED = """\
    option httpchk
    http-check send meth HEAD uri /health ver HTTP/1.1 hdr Host localhost
    option redispatch 1
    default-server check inter 1s fastinter 200ms downinter 500ms fall 2 rise 2
"""
_SETTINGS = f"""\
name = "bench"
[core]
name = "oslo-1"
public_address = "192.0.2.1"
ssh_host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINy5w5yD1Qp5oKJ7uUcO8oQm0SlwK3pNZP9i1m9o5mZb"
[[core.servers]]
name = "{CORE}"
address = "{CORE_ADDRESS}"
port = {SERVER_PORT}
maxconn = {SLOTS}
[tunnel]
network = "10.100.0.0/16"
[edge]
account = "123456789012"
region = "eu-north-1"
availability_zones = ["eu-north-1a", "eu-north-1b"]
vpc_network = "10.200.0.0/20"
max_capacity = 1000
[application]
port = {SERVER_PORT}
command = ["application"]
[burst]
weight = {EDGE_MAXCONN}
maxconn = {EDGE_MAXCONN}
[frontend]
bind = "127.0.0.1:{FRONT_PORT}"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A way to spill over: its configuration for a number of edge servers, and what it is in a sentence.

    ``weighed`` says that an agent's loop sets weights each second.
    """

    name: str
    terms: str
    text: Callable[[int], str]
    weighed: bool = False


def _edge(count: int) -> list[tuple[str, str]]:
    names = [*EDGE, *(f"aws-burst-{number}" for number in range(len(EDGE) + 1, count + 1))]
    return [(name, f"{edge_address(number)}:{SERVER_PORT}") for number, name in enumerate(names[:count])]


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"    {line}\n" for line in lines)


def _snippet(edge: int) -> str:
    return _FRAME + _lines(
        [
            "balance roundrobin",
            r"option httpchk HEAD /health HTTP/1.1\r\nHost:\ localhost",
            "option allbackups",
            f"server {CORE} {CORE_ADDRESS}:{SERVER_PORT} check weight 100 maxconn 500",
            *(f"server {name} {where} check weight 10 backup" for name, where in _edge(edge)),
        ]
    )


def _weights(edge: int) -> str:
    return (
        _FRAME
        + _CHECKED
        + _lines(
            [
                "balance leastconn",
                f"server {CORE} {CORE_ADDRESS}:{SERVER_PORT} weight 100 maxconn {SLOTS}",
                *(f"server {name} {where} weight 0 maxconn {EDGE_MAXCONN}" for name, where in _edge(edge)),
            ]
        )
    )


def _first(edge: int) -> str:
    return (
        _FRAME
        + _CHECKED
        + _lines(
            [
                "balance first",
                f"server {CORE} {CORE_ADDRESS}:{SERVER_PORT} maxconn {SLOTS}",
                *(f"server {name} {where} maxconn {EDGE_MAXCONN}" for name, where in _edge(edge)),
            ]
        )
    )


def _drawbridge(edge: int) -> str:
    servers = [
        Server(
            name=name,
            id=1001 + number,
            address=where.partition(":")[0],
            mode=Mode.READY,
            weight=EDGE_MAXCONN,
            maxconn=EDGE_MAXCONN,
        )
        for number, (name, where) in enumerate(_edge(edge))
    ]
    return render(
        settings.parse(_SETTINGS, source="the bench's drawbridge.toml"),
        Burst(level_percent=100, reason=Reason("bench")),
        {CORE: CoreSlots(slots=SLOTS, reserve=0, reason=None)},
        servers,
    )


DRAWBRIDGE = Contender(
    name="drawbridge",
    terms="the agent's own configuration with its nodes in it, and nobody who moves anything",
    text=_drawbridge,
)
SNIPPET = Contender(
    name="article's snippet",
    terms="as it is copied: the core `weight 100 maxconn 500`, the edge `weight 10 backup`; with `option allbackups`, "
    "or only one backup would ever serve",
    text=_snippet,
)
WEIGHTS = Contender(
    name="weights by a loop",
    terms="`balance leastconn`, true slots as maxconn; each second a loop reads demand and sets the edge's weights to "
    "the part above 90 % of the core's capacity, 0 below it",
    text=_weights,
    weighed=True,
)
FIRST = Contender(
    name="balance first",
    terms="`balance first`, the core first in the list, true slots as maxconn",
    text=_first,
)
CONTENDERS = (SNIPPET, WEIGHTS, FIRST, DRAWBRIDGE)
