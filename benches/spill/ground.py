"""The numbers that every contender stands on: slots, times, addresses, loads; it knows no contender and does nothing.

The round trip is of the length of Oslo to Stockholm (eu-north-1), the tunnel included.
"""

from __future__ import annotations

SLOTS, SERVICE_MS = 25, 50
CAPACITY = SLOTS * 1000 / SERVICE_MS
"""Requests per second of one server, core or edge, when every slot is busy and nothing costs time but the service."""

ROUND_TRIP_MS = 10
EDGE_MAXCONN = SLOTS * (SERVICE_MS + ROUND_TRIP_MS) // SERVICE_MS
"""What keeps a server at the far end of the round trip as busy as its slots allow."""

CORE = "no-primary"
EDGE = tuple(f"aws-burst-{number}" for number in range(1, 5))
CORE_ADDRESS = "127.0.0.2"
SERVER_PORT, FRONT_PORT = 8080, 8000

LOADS = (0.5, 1.0, 2.0, 3.0)
"""Multiples of ``CAPACITY``."""

INTER_S, DOWN_INTER_S, RISE = 1.0, 0.5, 2


def edge_address(number: int) -> str:
    """Return the address of edge server ``number``, 0 for the first; there is room for thousands."""
    return f"127.0.{1 + number // 200}.{1 + number % 200}"
