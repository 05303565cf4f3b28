"""How a burst server is declared: the one wording for the runtime API and for the file; pure."""

from __future__ import annotations

# Measured (docs/decisions): without the pool options 2.6 gives dynamic servers no connection pool, which costs a new
# TCP connection across the WAN per request; a server that fails at layer 4 is out at once, not after two checks.
CHECK = "check inter 1s fastinter 200ms downinter 500ms fall 2 rise 2"
WATCH = "observe layer4 error-limit 3 on-error mark-down on-marked-down shutdown-sessions"
POOL = "pool-max-conn -1 pool-purge-delay 5s"


def declaration(address: str, port: int, *, weight: int, maxconn: int) -> str:
    """Return what follows a burst server's name, in ``add server`` and in the file alike."""
    return f"{address}:{port} {CHECK} weight {weight} maxconn {maxconn} {POOL} {WATCH}"
