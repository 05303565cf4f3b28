"""What HAProxy runs now, from the text of ``show servers state`` and ``show stat``; pure.

Source: HAProxy Management Guide 9.1 (CSV format) and 9.3 (``show servers state``). A server's ``req_tot`` counts the
answers that came from it and ``hrsp_5xx`` those of them that were 5xx; the frontend's ``hrsp_5xx`` has HAProxy's own in
it too. The backend's queue holds requests that have no server yet; those that wait for one are in that one's row. The
bits of ``srv_admin_state`` are ``SRV_ADMF_*`` in ``include/haproxy/server-t.h``: 0x01 forced and 0x04 configured
maintenance, 0x08 forced drain; those of ``srv_check_state`` are ``CHK_ST_*`` in ``check-t.h``: 0x02 configured, 0x04
enabled, 0x08 paused.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from core_agent.desired import Mode
from core_agent.errors import UnreadableFacts

_MAINT_BITS = 0x01 | 0x02 | 0x04 | 0x20
_DRAIN_BITS = 0x08 | 0x10
_CHECK_ENABLED, _CHECK_PAUSED = 0x04, 0x08

# Asked for one by one, servers cost HAProxy 25 µs and a header of 1.2 KB each; all at once cost 5 µs each.
_FEW = 50


@dataclass(slots=True, kw_only=True)
class ServerFacts:
    """One server. ``checking``: its health check runs; ``check`` its last result; ``busy`` and ``queue`` requests.

    It ``answered`` requests since HAProxy's start or its own, if that was later; ``failed`` of the answers were 5xx.
    """

    name: str
    id: int
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
    answered: int = 0
    failed: int = 0

    @property
    def takes(self) -> bool:
        """Whether it takes requests, as one of the core's own: up, and not drained by an operator, by weight 0."""
        return self.up and self.weight > 0

    @property
    def healthy(self) -> bool:
        """Whether the last health check was good; False before the first."""
        return self.check in ("L4OK", "L6OK", "L7OK", "L7OKC")


@dataclass(slots=True, kw_only=True)
class BackendFacts:
    """The backend's servers by name, its own queue, the frontend's requests since HAProxy's start, and the variables.

    ``variables`` are those that steer the rules, by name.
    """

    servers: dict[str, ServerFacts]
    queue: int
    requests_total: int
    failed_total: int = 0
    variables: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What can change by itself of one server, or of the whole backend."""

    check: str
    up: bool
    maxconn: int
    busy: int
    queue: int
    answered: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Some servers' counters by name, the backend's own queue, and the frontend's requests and 5xx, as above."""

    servers: dict[str, Counters]
    queue: int
    requests_total: int
    failed_total: int


def whole(backend: str, frontend: str) -> tuple[str, str, str]:
    """Return the lines whose answers ``parse`` takes, in this order."""
    return f"show servers state {backend}", f"show stat {backend} 6 -1", f"show stat {frontend} 1 -1"


def partial(backend: str, frontend: str, ids: Collection[int]) -> tuple[str, ...]:
    """Return the lines whose answers ``refresh`` takes; of the servers, those with ``ids`` at least."""
    about_frontend = f"show stat {frontend} 1 -1"
    if len(ids) > _FEW:
        return about_frontend, f"show stat {backend} 6 -1"
    return about_frontend, f"show stat {backend} 2 -1", *(f"show stat {backend} 4 {number}" for number in ids)


def parse(state: str, stat: str, frontend_stat: str) -> BackendFacts:
    """Return the facts in the three answers; raises ``UnreadableFacts``."""
    stats = _stat_rows(stat)
    servers = {}
    for row in _state_rows(state):
        counters = stats.get(row.name)
        if counters is None:
            continue  # added between the two answers: the next look sees it whole
        servers[row.name] = ServerFacts(
            name=row.name,
            id=row.id,
            address=row.address,
            port=row.port,
            mode=Mode.MAINT if row.admin & _MAINT_BITS else Mode.DRAIN if row.admin & _DRAIN_BITS else Mode.READY,
            checking=bool(row.check & _CHECK_ENABLED) and not row.check & _CHECK_PAUSED,
            check=counters.check,
            up=counters.up,
            weight=row.weight,
            maxconn=counters.maxconn,
            busy=counters.busy,
            queue=counters.queue,
            answered=counters.answered,
            failed=counters.failed,
        )
    requests, failed = _frontend(frontend_stat)
    return BackendFacts(
        servers=servers, queue=_row(stats, "BACKEND").queue, requests_total=requests, failed_total=failed
    )


def parse_part(answers: Sequence[str]) -> Reading:
    """Return what the answers to ``partial`` say; raises ``UnreadableFacts``."""
    frontend_stat, *stats = answers
    rows: dict[str, Counters] = {}
    for stat in stats:
        rows |= _stat_rows(stat)
    requests, failed = _frontend(frontend_stat)
    return Reading(servers=rows, queue=_row(rows, "BACKEND").queue, requests_total=requests, failed_total=failed)


def refresh(facts: BackendFacts, names: Iterable[str], reading: Reading) -> None:
    """Bring what can change by itself of ``names`` in ``facts`` up to date.

    Raises ``UnreadableFacts`` when HAProxy has no server of such a name and id.
    """
    facts.queue = reading.queue
    facts.requests_total, facts.failed_total = reading.requests_total, reading.failed_total
    for name in names:
        row, server = _row(reading.servers, name), facts.servers[name]
        server.check, server.up, server.maxconn = row.check, row.up, row.maxconn
        server.busy, server.queue = row.busy, row.queue
        server.answered, server.failed = row.answered, row.failed


@dataclass(frozen=True, slots=True)
class _State:
    name: str
    id: int
    address: str
    port: int
    admin: int
    weight: int
    check: int


_STATE_COLUMNS = ("srv_name", "srv_id", "srv_addr", "srv_port", "srv_admin_state", "srv_uweight", "srv_check_state")


def _state_rows(text: str) -> list[_State]:
    lines = text.splitlines()
    if len(lines) < 2 or lines[0].strip() != "1" or not lines[1].startswith("# "):
        raise UnreadableFacts(f"reading HAProxy's servers: wanted version 1 and a header, found {text[:80]!r}")
    header = lines[1][2:].split()
    try:
        columns = itemgetter(*(header.index(column) for column in _STATE_COLUMNS))
        rows = [columns(line.split()) for line in lines[2:] if line]
        return [
            _State(name, int(number), address, int(port), int(admin), int(weight), int(check))
            for name, number, address, port, admin, weight, check in rows
        ]
    except (ValueError, IndexError) as error:
        raise UnreadableFacts(f"reading HAProxy's servers: wanted {', '.join(_STATE_COLUMNS)}, found {error}") from None


_STAT_COLUMNS = ("svname", "qcur", "scur", "slim", "status", "check_status", "hrsp_5xx", "req_tot")


def _stat_rows(text: str) -> dict[str, Counters]:
    """Rows of ``show stat`` by server name (or ``BACKEND``, ``FRONTEND``)."""
    header, last, columns = _stat_header(text.partition("\n")[0])
    rows = {}
    for line in text[len(header) :].splitlines():
        if not line:
            continue
        try:
            # The columns that may be quoted, because they hold free text, all come after the last that is read.
            name, queue, busy, limit, status, check, failed, answered = columns(line.split(",", last + 1))
            rows[name] = Counters(
                check=check.removeprefix("* "),
                up=status.startswith(("UP", "no check")),
                maxconn=int(limit or 0),
                busy=int(busy or 0),
                queue=int(queue or 0),
                answered=int(answered or 0),
                failed=int(failed or 0),
            )
        except (ValueError, IndexError) as error:
            raise UnreadableFacts(f"reading HAProxy's statistics: wanted {_STAT_COLUMNS}, found {error}") from None
    return rows


@functools.lru_cache(maxsize=4)
def _stat_header(line: str) -> tuple[str, int, Callable[[list[str]], tuple[str, ...]]]:
    """The header itself, the index of the last column that is read, and the way to the columns."""
    names = line.removeprefix("# ").split(",")
    if not line.startswith("# ") or not set(_STAT_COLUMNS) <= set(names):
        raise UnreadableFacts(f"reading HAProxy's statistics: wanted a CSV header, found {line[:80]!r}")
    where = [names.index(column) for column in _STAT_COLUMNS]
    return line, max(where), itemgetter(*where)


def _row(rows: dict[str, Counters], name: str) -> Counters:
    if name not in rows:
        raise UnreadableFacts(f"reading HAProxy's statistics: wanted a row of {name}, found none")
    return rows[name]


def _frontend(text: str) -> tuple[int, int]:
    """The requests that the frontend has seen and the 5xx that it has sent, in the one row of ``text``."""
    rows = list(csv.DictReader(text.removeprefix("# ").splitlines()))
    counts = [rows[0].get(column) or "" for column in ("req_tot", "hrsp_5xx")] if rows else []
    if not counts or not all(count.isdecimal() for count in counts):
        raise UnreadableFacts(
            f"reading HAProxy's statistics: wanted the frontend's req_tot and hrsp_5xx, found {text[:80]!r}"
        )
    requests, failed = map(int, counts)
    return requests, failed
