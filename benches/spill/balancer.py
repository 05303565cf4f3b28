"""One HAProxy with one configuration, from its start to its end: its socket and its processor time.

It must not know whose configuration it is. All of them use the product's socket, so there is one at a time.
"""

from __future__ import annotations

import csv
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from benches.spill.trouble import BenchError
from core_agent.errors import RuntimeApiError
from core_agent.haproxy.config import BACKEND, FRONTEND
from core_agent.haproxy.runtime import RuntimeSession
from core_agent.paths import HAPROXY_SOCKET

_START_S = 20.0


class Balancer:
    """A context manager; raises ``BenchError`` when HAProxy does not come up, with what it said."""

    def __init__(self, text: str, folder: Path) -> None:
        self._config = folder / "haproxy.cfg"
        self._log = folder / "haproxy.log"
        self._config.write_text(text)
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(("haproxy", "-db", "-f", self._config), stdout=log, stderr=log)
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self.rows()
            except RuntimeApiError as error:
                found = str(error)
            else:
                return self
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._end()
                said = self._log.read_text()[-1000:].strip()
                raise BenchError(f"starting HAProxy: wanted an answer, found {found}; it said {said!r}")
            time.sleep(0.05)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._end()

    def command(self, *lines: str) -> list[str]:
        """Say ``lines`` to its socket; return the answers."""
        with RuntimeSession(HAPROXY_SOCKET) as session:
            return session.run(lines)

    def rows(self) -> Mapping[str, Mapping[str, str]]:
        """Return the rows of `show stat` by server; the backend's own is "BACKEND", the frontend's "FRONTEND"."""
        (text,) = self.command("show stat")
        rows = csv.DictReader(text.removeprefix("# ").splitlines())
        return {row["svname"]: row for row in rows if row["pxname"] in (BACKEND, FRONTEND)}

    def cpu_s(self) -> float:
        """Return the processor time of all its threads so far: proc(5), `schedstat`, in nanoseconds there."""
        tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
