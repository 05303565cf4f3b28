"""The text of ``haproxy.cfg`` from settings, level, slots and servers; pure: the file says what the process runs.

What its sections say of users and of the choice of a server is left to ``frontend`` and ``core_first``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from core_agent.desired import CoreSlots, Mode, Server
from core_agent.haproxy import core_first, frontend, variables
from core_agent.haproxy.options import CHECK, PROXIED, WATCH, declaration
from core_agent.paths import AGENT_USER, HAPROXY_SOCKET, OPERATOR_CFG
from core_agent.roll import Burst
from settings import Settings
from settings.tables import CoreServer, Frontend

BACKEND = "web_nodes"
FRONTEND = "fe_web"

# How the file begins, whichever version of the agent wrote it.
OURS = "# Written by the drawbridge agent"

# Two descriptors each, and systemd lets a service have 524,288.
_MOST_CONNECTIONS = 200_000

_HEAD = """\
{ours} from /etc/drawbridge/drawbridge.toml and its records; edits are overwritten.
# burst level {level} %, core share {core_share} %{by_hand}: {reason}
{told}# Frontends and backends of your own belong in {operator_cfg}: `agent.pyz operator-file FILE`.
global
    log /dev/log local0
    user haproxy
    group haproxy
    # Users' connections: one for each slot at home and on the edge and for each place in the queue, and as many again
    # that rest between two requests.
    maxconn {connections}
    # A machine that grants fewer descriptors is no reason not to start.
    no strict-limits
    nbthread 2
    stats socket {socket} mode 660 group {admin_group} level admin expose-fd listeners
    stats timeout 1m
    hard-stop-after 30s
{globals}
defaults
    mode http
    log global
    option httplog
    option dontlognull
    timeout client 50s
    timeout server 50s
    timeout connect 1s
    # Whoever waited this long for a free slot is better told than kept.
    timeout queue {queue_s}s
    timeout check 1s
    timeout http-request 10s
    timeout http-keep-alive 10s
    # What HAProxy itself answers when nobody is there or the wait was too long: a client that obeys spreads its retry.
    http-error status 503 content-type text/plain string "{busy}" hdr Retry-After {retry_after_s}

frontend {frontend}
{users}
    default_backend {backend}

{sections}backend {backend}
    balance leastconn
    option httpchk
    http-check send meth HEAD uri {health_path} ver HTTP/1.1 hdr Host {health_host}
    http-check expect status 200-399
    # Again, elsewhere, only when the server cannot have begun, or ended without a word and the method may be repeated:
    # a POST is never sent twice.
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response
    http-request disable-l7-retry unless {{ method GET HEAD OPTIONS }}
    # With {queue_factor} requests in line for each slot at home, one more would hardly be served before its time is up.
    # Answered at once, it costs nobody else his turn.
    {refuse} if {{ queue gt {queue_limit} }}
{rules}
"""

_BUSY = "No free slot just now; please try again in a moment.\\n"


def render(settings: Settings, burst: Burst, core: Mapping[str, CoreSlots], servers: Iterable[Server]) -> str:
    """Return the whole file; ``servers`` are the burst servers, ``core`` the slots of the core's own, by name."""
    burst_servers = (line(server, settings) for server in sorted(servers, key=_by_name))
    return head(settings, burst, core) + "".join(burst_servers)


def _by_name(server: Server) -> str:
    return server.name


def head(settings: Settings, burst: Burst, core: Mapping[str, CoreSlots]) -> str:
    """Return the file down to the core's own servers; the burst servers follow, a line each."""
    users, own = settings.frontend, settings.core.servers
    steering = variables.values(closed=burst.level_percent == 0, reserves=[one.reserve for one in core.values()])
    slots = sum(one.slots for one in core.values())
    refuse = f'http-request return status 503 content-type text/plain string "{_BUSY}" hdr Retry-After'
    text = _HEAD.format(
        ours=OURS,
        operator_cfg=OPERATOR_CFG,
        level=burst.level_percent,
        core_share=burst.core_percent,
        by_hand=", by hand" if burst.by_hand else "",
        reason=burst.reason,
        told="".join(f"# slots of {name} {one.slots}: {one.reason}\n" for name, one in core.items() if one.reason),
        connections=_connections(settings, slots),
        socket=HAPROXY_SOCKET,
        admin_group=AGENT_USER,
        globals=_indented(
            [*(f"set-var proc.{name} int({value})" for name, value in steering.items()), *frontend.tls_defaults(users)]
        ),
        queue_s=users.queue_s,
        busy=_BUSY,
        retry_after_s=users.retry_after_s,
        frontend=FRONTEND,
        users=_indented(frontend.lines(users)).removesuffix("\n"),
        sections="".join(f"{line}\n" for line in [*core_first.sticky_section(users)]),
        backend=BACKEND,
        health_path=users.health_path,
        health_host=users.health_host,
        queue_factor=users.queue_factor,
        refuse=f"{refuse} {users.retry_after_s}",
        queue_limit=users.queue_factor * slots,
        rules=_indented([*core_first.sticky_rules(users, own), *core_first.rules(own)]).removesuffix("\n"),
    )
    return text + "".join(_core_server(one, core[one.name].slots, users) for one in own)


def line(server: Server, settings: Settings) -> str:
    """Return the line of one burst server."""
    # Draining ones come back closed after a restart: their connections ended with the old process anyway.
    disabled = "" if server.mode is Mode.READY else " disabled"
    port, send_proxy = settings.application.port, settings.frontend.send_proxy
    return f"    server {server.name} {declaration(server, port, send_proxy=send_proxy)}{disabled}\n"


def _core_server(server: CoreServer, slots: int, users: Frontend) -> str:
    options = f"{CHECK} weight 1 maxconn {slots} {WATCH}{PROXIED if users.send_proxy else ''}"
    return f"    server {server.name} {server.address}:{server.port} {options}\n"


def _connections(settings: Settings, slots: int) -> int:
    at_work = slots + settings.edge.max_capacity * settings.burst.maxconn
    waiting = settings.frontend.queue_factor * slots
    return min(_MOST_CONNECTIONS, 2 * (at_work + waiting))


def _indented(lines: Iterable[str]) -> str:
    return "".join(f"{'' if line.startswith('.') else '    '}{line}\n" for line in lines)
