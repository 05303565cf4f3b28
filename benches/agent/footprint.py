"""What the agent's process takes while nobody asks it anything; it knows only what the kernel counts (proc(5))."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass

from benches.agent.errors import BenchError
from demo.hosts.host import Host


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """``rss`` counts shared pages in full, ``pss`` by share; MiB."""

    rss: float
    pss: float


def memory(host: Host) -> Memory:
    """Return what the agent on ``host`` holds now."""
    pid = _agent(host)
    rss = re.search(r"^VmRSS:\s+(\d+) kB", host.read(f"/proc/{pid}/status").decode(), re.MULTILINE)
    pss = re.search(r"^Pss:\s+(\d+) kB", host.read(f"/proc/{pid}/smaps_rollup").decode(), re.MULTILINE)
    if rss is None or pss is None:
        raise BenchError("reading the agent's memory: wanted VmRSS and Pss, found neither or one")
    return Memory(rss=int(rss[1]) / 1024, pss=int(pss[1]) / 1024)


class CpuShare:
    """The share of one processor, in percent, that the agent and the programs it ran have used since this was made."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._pid = _agent(host)
        self._started, self._spent = time.monotonic(), self._cpu_seconds()

    @property
    def seconds(self) -> float:
        """How long it has been counted."""
        return time.monotonic() - self._started

    def percent(self) -> float:
        """Return the share so far."""
        return 100 * (self._cpu_seconds() - self._spent) / self.seconds

    def _cpu_seconds(self) -> float:
        # The program's name, in brackets, may hold spaces; times of waited-for children are the agent's own doing.
        fields = self._host.read(f"/proc/{self._pid}/stat").decode().rpartition(")")[2].split()
        return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def _agent(host: Host) -> int:
    found = host.run(("pgrep", "-f", "agent.pyz serve")).stdout.split()
    if len(found) != 1:
        raise BenchError(f"looking for the agent on {host.name}: wanted one process, found {len(found)}")
    return int(found[0])
