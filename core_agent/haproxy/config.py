"""The text of ``haproxy.cfg`` from the settings, the level and the servers; pure: the file says what the process runs.

The backend is core-first: one ``use-server`` rule per core server takes a request while that server has a free slot;
only the rest is shared among all by ``leastconn`` and weight. docs/decisions/0003 has the reasons and the measurements.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from core_agent.desired import CoreSlots, Mode, Server
from core_agent.haproxy import variables
from core_agent.haproxy.options import CHECK, WATCH, declaration
from core_agent.paths import AGENT_USER, HAPROXY_SOCKET
from core_agent.roll import Burst
from settings import Settings
from settings.tables import CoreServer

BACKEND = "web_nodes"
FRONTEND = "fe_web"

# How the file begins, whichever version of the agent wrote it.
OURS = "# Written by the drawbridge agent"

_HEAD = """\
{ours} from /etc/drawbridge/drawbridge.toml and its records; edits are overwritten.
# burst level {level} %, core share {core_share} %: {reason}
{slots}global
    log /dev/log local0
    user haproxy
    group haproxy
    maxconn {global_maxconn}
    nbthread 2
    stats socket {socket} mode 660 group {admin_group} level admin expose-fd listeners
    stats timeout 1m
    hard-stop-after 30s
{variables}

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

frontend {frontend}
    bind {bind}
    default_backend {backend}

backend {backend}
    balance leastconn
    option httpchk
    http-check send meth HEAD uri {health_path} ver HTTP/1.1 hdr Host {health_host}
    http-check expect status 200-399
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response
    http-request disable-l7-retry unless {{ method GET HEAD OPTIONS }}
"""


def render(settings: Settings, burst: Burst, core: Mapping[str, CoreSlots], servers: Iterable[Server]) -> str:
    """Return the whole file; ``servers`` are the burst servers, ``core`` the slots of the core's own, by name."""
    port = settings.application.port
    return head(settings, burst, core) + "".join(line(server, port) for server in sorted(servers, key=_by_name))


def _by_name(server: Server) -> str:
    return server.name


def head(settings: Settings, burst: Burst, core: Mapping[str, CoreSlots]) -> str:
    """Return the file down to the core's own servers; the burst servers follow, a line each."""
    steering = variables.values(closed=burst.level_percent == 0, reserves=[one.reserve for one in core.values()])
    text = _HEAD.format(
        ours=OURS,
        global_maxconn=8000,
        socket=HAPROXY_SOCKET,
        admin_group=AGENT_USER,
        frontend=FRONTEND,
        bind=settings.frontend.bind,
        backend=BACKEND,
        health_path=settings.frontend.health_path,
        health_host=settings.frontend.health_host,
        level=burst.level_percent,
        core_share=burst.core_percent,
        slots="".join(
            f"# slots of {name} {one.slots}: {one.reason}\n" for name, one in core.items() if one.reason is not None
        ),
        variables="".join(f"    set-var proc.{name} int({value})\n" for name, value in steering.items()),
        reason=burst.reason,
    )
    rules = [rule for number, server in enumerate(settings.core.servers, start=1) for rule in _rules(server, number)]
    own = [_core_server(server, core[server.name].slots) for server in settings.core.servers]
    return text + "".join(f"    {line}\n" for line in [*rules, *own])


def line(server: Server, port: int) -> str:
    """Return the line of one burst server."""
    # Draining ones come back closed after a restart: their connections ended with the old process anyway.
    disabled = "" if server.mode is Mode.READY else " disabled"
    return f"    server {server.name} {declaration(server, port)}{disabled}\n"


def _rules(server: CoreServer, number: int) -> tuple[str, str]:
    name, free = server.name, f"srv_conn_free({server.name}),sub(proc.{variables.reserve(number)})"
    up = f"use-server {name} if {{ srv_is_up({name}) }} {{ srv_weight({name}) gt 0 }}"
    return f"{up} {{ {free} gt 0 }}", f"{up} {{ var(proc.{variables.EDGE_CLOSED}) -m int 1 }}"


def _core_server(server: CoreServer, slots: int) -> str:
    return f"server {server.name} {server.address}:{server.port} {CHECK} weight 1 maxconn {slots} {WATCH}"
