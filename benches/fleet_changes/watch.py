"""What a HAProxy really does, seen on its own socket many times a second; it knows no agent and no peer.

A moment is when the first look that shows it was over, so it is at most ``INTERVAL_S`` and one look too late.
"""

from __future__ import annotations

import csv
import threading
import time

from benches.fleet_changes.moments import Moment, Moments
from benches.fleet_changes.trouble import BenchError
from demo.hosts.host import Host

INTERVAL_S = 0.02
PATIENCE_S = 60.0


class Watch:
    """Looks at ``backend`` of the HAProxy whose socket is ``path`` on ``host``, from ``start`` to ``stop``."""

    def __init__(self, host: Host, path: str, backend: str) -> None:
        self._host, self._path, self._backend = host, path, backend
        self._news = threading.Condition()
        self._moments = Moments()
        self._workers: list[str] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name=f"watch {host.name}", daemon=True)

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
        return max(0, len(self._workers) - 1)

    def until(self, address: str, moment: Moment, *, patience_s: float = PATIENCE_S) -> float:
        """Return the monotonic second of ``moment`` for the server at ``address``, once it has come.

        Raises ``BenchError`` saying what has been seen instead after ``patience_s`` seconds.
        """
        deadline = time.monotonic() + patience_s
        with self._news:
            while moment not in self._moments.of(address):
                if not self._news.wait(deadline - time.monotonic()):
                    seen = ", ".join(self._moments.of(address)) or "nothing"
                    raise BenchError(f"waiting for {address}: wanted {moment} within {patience_s:g} s, found {seen}")
            return self._moments.of(address)[moment]

    def _look_on(self) -> None:
        while not self._stopping.wait(INTERVAL_S):
            try:
                info, stat = self._ask("show info"), self._ask(f"show stat {self._backend} 4 -1")
            except OSError:  # nobody listens between two workers; the next look comes at once
                continue
            workers = [line.split()[1] for line in info.splitlines() if line.startswith("Pid:")]
            rows = {row["addr"]: row for row in csv.DictReader(stat.removeprefix("# ").splitlines())}
            with self._news:
                self._workers += [worker for worker in workers if worker not in self._workers]
                self._moments.take_in(rows, time.monotonic())
                self._news.notify_all()

    def _ask(self, command: str) -> str:
        with self._host.connect_to(self._path, timeout_s=5) as connection:
            connection.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: connection.recv(65_536), b"")).decode()
