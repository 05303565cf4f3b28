"""What a HAProxy really does, seen on its own socket many times a second; it knows no agent and no peer.

Servers are told apart by address, because not everybody gives a new node a new server. A moment is when the first look
that shows it was taken, so it is at most ``INTERVAL_S`` and one look too late.
"""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Mapping
from enum import StrEnum

from benches.fleet_changes.trouble import BenchError
from demo.hosts.host import Host

INTERVAL_S = 0.02
PATIENCE_S = 60.0


class Moment(StrEnum):
    """What can be seen to come about for one address, in this order."""

    KNOWN = "server there"
    HEALTHY = "first good check"
    OPEN = "open to requests"
    SERVED = "first request answered"
    CLOSED = "closed to new requests"
    REMOVED = "server away or in maintenance, without a connection"


class Watch:
    """Looks at ``backend`` of the HAProxy whose socket is ``path`` on ``host``, from ``start`` to ``stop``."""

    def __init__(self, host: Host, path: str, backend: str) -> None:
        self._host, self._path, self._backend = host, path, backend
        self._news = threading.Condition()
        self._moments: dict[str, dict[Moment, float]] = {}
        self._counted_from: dict[str, int] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name=f"watch {host.name}", daemon=True)
        self.workers: list[int] = []

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        self._thread.join()

    @property
    def reloads(self) -> int:
        """How often a new worker took over since the first look."""
        return max(0, len(self.workers) - 1)

    def until(self, address: str, moment: Moment, *, patience_s: float = PATIENCE_S) -> float:
        """Return the monotonic second of ``moment`` for the server at ``address``, once it has come.

        Raises ``BenchError`` saying what has been seen instead after ``patience_s`` seconds.
        """
        deadline = time.monotonic() + patience_s
        with self._news:
            while moment not in self._moments.get(address, {}):
                if not self._news.wait(deadline - time.monotonic()):
                    seen = ", ".join(self._moments.get(address, {})) or "nothing"
                    raise BenchError(f"waiting for {address}: wanted {moment} within {patience_s:g} s, found {seen}")
            return self._moments[address][moment]

    def _look_on(self) -> None:
        while not self._stopping.wait(INTERVAL_S):
            try:
                info, stat = self._ask("show info"), self._ask(f"show stat {self._backend} 4 -1")
            except OSError:  # nobody listens between two workers; the next look comes at once
                continue
            worker = next((int(line.split()[1]) for line in info.splitlines() if line.startswith("Pid:")), None)
            rows = {row["addr"]: row for row in csv.DictReader(stat.removeprefix("# ").splitlines())}
            with self._news:
                if worker is not None and worker not in self.workers:
                    self.workers.append(worker)
                self._take_in(rows, time.monotonic())
                self._news.notify_all()

    def _take_in(self, rows: Mapping[str, Mapping[str, str]], now: float) -> None:
        for address, row in rows.items():
            moments = self._moments.get(address)
            if moments is None or Moment.REMOVED in moments:
                if row["status"].startswith("MAINT") and moments is not None:
                    continue  # it has been let go of and only keeps its place in the file
                moments = self._moments[address] = {Moment.KNOWN: now}
                self._counted_from[address] = int(row["hrsp_2xx"] or 0)
            for moment in self._seen_in(address, row, moments):
                moments.setdefault(moment, now)
        for address, moments in self._moments.items():
            if address not in rows:
                moments.setdefault(Moment.CLOSED, now)
                moments.setdefault(Moment.REMOVED, now)

    def _seen_in(self, address: str, row: Mapping[str, str], before: Mapping[Moment, float]) -> list[Moment]:
        seen = []
        closed = not row["status"].startswith(("UP", "no check"))
        if row["check_status"].removeprefix("* ") == "L7OK":
            seen.append(Moment.HEALTHY)
        if not closed:
            seen.append(Moment.OPEN)
        # A server that changes its address keeps its counters, and a new worker's begin at zero.
        answered = int(row["hrsp_2xx"] or 0)
        self._counted_from[address] = min(self._counted_from[address], answered)
        if answered > self._counted_from[address]:
            seen.append(Moment.SERVED)
        if closed and Moment.OPEN in before:
            seen.append(Moment.CLOSED)
            if row["status"].startswith("MAINT") and row["scur"] == "0":
                seen.append(Moment.REMOVED)
        return seen

    def _ask(self, command: str) -> str:
        with self._host.connect_to(self._path, timeout_s=5) as connection:
            connection.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: connection.recv(65_536), b"")).decode()
