"""What HAProxy runs now, from the text of ``show servers state`` and ``show stat``; pure.

Source: HAProxy Management Guide 9.1 (CSV format) and 9.3 (``show servers state``); the bits of ``srv_admin_state`` are
``SRV_ADMF_*`` in ``include/haproxy/server-t.h``: 0x01 forced and 0x04 configured maintenance, 0x08 forced drain; those
of ``srv_check_state`` are ``CHK_ST_*`` in ``check-t.h``: 0x02 configured, 0x04 enabled, 0x08 paused.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass

from core_agent.desired import Mode
from core_agent.errors import UnreadableFacts

_MAINT_BITS = 0x01 | 0x02 | 0x04 | 0x20
_DRAIN_BITS = 0x08 | 0x10
_CHECK_ENABLED, _CHECK_PAUSED = 0x04, 0x08


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """One server. ``checking``: its health check runs; ``check`` its last result; ``busy`` and ``queue`` requests."""

    name: str
    address: str
    port: int
    mode: Mode
    checking: bool
    check: str
    up: bool
    weight: int
    maxconn: int
    busy: int
    queue: int

    @property
    def healthy(self) -> bool:
        """Whether the last health check was good; False before the first."""
        return self.check in ("L4OK", "L6OK", "L7OK", "L7OKC")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendFacts:
    """The backend's servers by name, its own queue, and the frontend's requests since HAProxy's start."""

    servers: dict[str, ServerFacts]
    queue: int
    requests_total: int


def commands(backend: str, frontend: str) -> tuple[str, str, str]:
    """Return the lines whose answers ``parse`` takes, in this order."""
    return f"show servers state {backend}", f"show stat {backend} 6 -1", f"show stat {frontend} 1 -1"


def parse(state: str, stat: str, frontend_stat: str) -> BackendFacts:
    """Return the facts in the three answers; raises ``UnreadableFacts``."""
    stats = _stat_rows(stat)
    servers = {}
    for row in _state_rows(state):
        name = row["srv_name"]
        counters = stats.get(name)
        if counters is None:
            continue  # added between the two answers: the next look sees it whole
        admin, check = int(row["srv_admin_state"]), int(row["srv_check_state"])
        servers[name] = ServerFacts(
            name=name,
            address=row["srv_addr"],
            port=int(row["srv_port"]),
            mode=Mode.MAINT if admin & _MAINT_BITS else Mode.DRAIN if admin & _DRAIN_BITS else Mode.READY,
            checking=bool(check & _CHECK_ENABLED) and not check & _CHECK_PAUSED,
            check=counters["check_status"].removeprefix("* "),
            up=counters["status"].startswith(("UP", "no check")),
            weight=int(row["srv_uweight"]),
            maxconn=_count(counters["slim"]),
            busy=_count(counters["scur"]),
            queue=_count(counters["qcur"]),
        )
    frontends = list(_stat_rows(frontend_stat).values())
    if "BACKEND" not in stats or not frontends:
        raise UnreadableFacts("reading HAProxy's statistics: wanted rows of the backend and the frontend, found none")
    return BackendFacts(
        servers=servers,
        queue=_count(stats["BACKEND"]["qcur"]),
        requests_total=_count(frontends[0]["req_tot"]),
    )


def _state_rows(text: str) -> list[dict[str, str]]:
    lines = text.splitlines()
    if len(lines) < 2 or lines[0].strip() != "1" or not lines[1].startswith("# "):
        raise UnreadableFacts(f"reading HAProxy's servers: wanted version 1 and a header, found {text[:80]!r}")
    header = lines[1][2:].split()
    return [dict(zip(header, line.split(), strict=False)) for line in lines[2:] if line.strip()]


def _stat_rows(text: str) -> dict[str, dict[str, str]]:
    """Rows of ``show stat`` by server name (or ``BACKEND``, ``FRONTEND``)."""
    if not text.startswith("# "):
        raise UnreadableFacts(f"reading HAProxy's statistics: wanted a CSV header, found {text[:80]!r}")
    return {row["svname"]: row for row in csv.DictReader(text[2:].splitlines())}


def _count(field: str) -> int:
    return int(field) if field else 0
