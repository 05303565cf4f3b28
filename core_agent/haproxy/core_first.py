"""The rules that choose a server: the core's while one has a free slot, the edge for the rest; pure.

It knows the core's own servers alone; what a burst server is called is not known here. docs/decisions/0003 and 0018.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core_agent.haproxy import variables
from settings.tables import CoreServer, Frontend

# The servers that are about to leave have a tag of 1 here: whoever stuck to one of them is served elsewhere. The agent
# writes it. A tag, because an entry that a request looks at just then cannot be removed, but can always be changed.
LEAVING = "drawbridge_leaving"

_CLOSED = f"{{ var(proc.{variables.EDGE_CLOSED}) -m int 1 }}"


def rules(servers: Sequence[CoreServer]) -> Iterator[str]:
    """Yield the rules for ``servers``, in order: the first that holds decides, and none means balancing among all."""
    # A slot counts as free until the request that it was given to from a queue has woken; one that came by this rule
    # meanwhile would wait at the core, open the same gap again, and hundreds would in the end, beside an idle edge.
    free = [
        f"{{ srv_conn_free({server.name}),sub(proc.{variables.reserve(number)}) gt 0 }} "
        f"{{ srv_queue({server.name}) eq 0 }}"
        for number, server in enumerate(servers, start=1)
    ]
    yield "# The core first: a server of its own that has a free slot, above those that a known peak keeps in reserve."
    yield from _share(servers, free)
    yield "# At burst level 0 requests wait at home, as long as a server there is up."
    yield from _share(servers, [_CLOSED] * len(servers))


def _share(servers: Sequence[CoreServer], conditions: Sequence[str]) -> Iterator[str]:
    """Yield rules that draw among the servers whose condition holds, by their slots, and miss none.

    Each is drawn with its share of the slots of those from it on, so the draws together are fair when all are free; the
    last needs no draw. Those that were not drawn, and would have been free, are asked again.
    """
    left = sum(server.maxconn for server in servers)
    again = []
    for server, condition in zip(servers, conditions, strict=True):
        rule = f"use-server {server.name} if {_willing(server)} {condition}"
        if server is servers[-1]:
            yield rule
        else:
            yield f"{rule} {{ rand({left}) lt {server.maxconn} }}"
            again.append(rule)
        left -= server.maxconn
    yield from again


def sticky_section(frontend: Frontend) -> Iterator[str]:
    """Yield the section that ``sticky_rules`` needs, its name first; nothing when users do not stick."""
    if frontend.sticky_cookie is not None:
        yield f"backend {LEAVING}"
        yield "    # The burst servers that are being drained, by name: their users move on. No request comes here."
        yield "    # An entry lasts as long as the drain may, so none expires."
        yield "    stick-table type string len 64 size 10k store gpt0"
        yield ""


def sticky_rules(frontend: Frontend, servers: Sequence[CoreServer]) -> Iterator[str]:
    """Yield the rules that keep a user where he is, before those of the core; nothing when users do not stick."""
    name = frontend.sticky_cookie
    if name is None:
        return
    nobody_waits = "{ var(txn.at),srv_queue eq 0 }"
    yield "# A user stays at the server that his cookie names while it is up, not leaving, and nobody waits for it."
    yield f"http-request set-var(txn.at) req.cook({name})"
    edge = "{ var(txn.at) -m beg i- }"
    yield "# But at burst level 0 a user of the edge comes home, as long as a server there is up."
    for server in servers:
        yield f"http-request unset-var(txn.at) if {edge} {_CLOSED} {_willing(server)}"
    for server in servers:
        yield f"use-server {server.name} if {{ var(txn.at) -m str {server.name} }} {_willing(server)} {nobody_waits}"
    staying = f"{{ var(txn.at),table_gpt0({LEAVING}) eq 0 }}"
    yield f"use-server %[var(txn.at)] if {edge} {staying} {nobody_waits}"
    secure = "; Secure" if frontend.tls_bind is not None and frontend.redirect_to_tls else ""
    moved = "!{ srv_name,strcmp(txn.at) eq 0 }"
    yield f'http-response add-header Set-Cookie "{name}=%[srv_name]; Path=/; HttpOnly; SameSite=Lax{secure}" if {moved}'
    yield "# No cache may hand one user's cookie to another."
    yield f"http-response add-header Cache-Control private if {moved}"


def _willing(server: CoreServer) -> str:
    """Up, and not drained by an operator."""
    return f"{{ srv_is_up({server.name}) }} {{ srv_weight({server.name}) gt 0 }}"
