"""How a burst server is declared: the one wording for the runtime API and for the file; pure."""

from __future__ import annotations

from core_agent.desired import Server

# Measured (docs/decisions): without the pool options 2.6 gives dynamic servers no connection pool, which costs a new
# TCP connection across the WAN per request; a server that fails at layer 4 is out at once, not after two checks.
CHECK = "check inter 1s fastinter 200ms downinter 500ms fall 2 rise 2"
WATCH = "observe layer4 error-limit 3 on-error mark-down on-marked-down shutdown-sessions"
POOL = "pool-max-conn -1 pool-purge-delay 5s"
# The health check says it too: an application that expects the header takes nothing without.
PROXIED = " send-proxy-v2 check-send-proxy"


def declaration(server: Server, port: int, *, send_proxy: bool) -> str:
    """Return what follows a burst server's name, in ``add server`` and in the file alike."""
    where = f"{server.address}:{port} id {server.id}"
    options = f"{CHECK} weight {server.weight} maxconn {server.maxconn} {POOL} {WATCH}"
    return f"{where} {options}{PROXIED if send_proxy else ''}"
