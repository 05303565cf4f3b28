"""A long-running program inside a host: knows how to watch it and send it signals, and must not know what it does."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from demo.hosts.errors import HostError


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One program started by ``Host.spawn``; ``log`` holds what it prints, unless its output was asked for."""

    name: str
    log: Path
    entry: subprocess.Popen[bytes]  # nsenter, which waits outside for the program inside

    @property
    def running(self) -> bool:
        """Whether the program has not ended yet."""
        return self.entry.poll() is None

    @property
    def stdin(self) -> IO[bytes]:
        """The program's input, if it was spawned with ``interactive``."""
        return _opened(self.entry.stdin, self.name)

    @property
    def stdout(self) -> IO[bytes]:
        """The program's output, if it was spawned with ``interactive``."""
        return _opened(self.entry.stdout, self.name)

    def signal(self, signum: int) -> None:
        """Send ``signum`` to the program itself; one that has ended gets nothing."""
        for _ in range(100):
            if not self.running:
                return
            children = Path(f"/proc/{self.entry.pid}/task/{self.entry.pid}/children").read_text().split()
            if children:
                os.kill(int(children[0]), signum)
                return
            time.sleep(0.01)
        raise HostError(f"signalling {self.name}: wanted the program that nsenter started, found none within 1 s")

    def wait(self, timeout_s: float) -> int:
        """Return the exit status, negative for a signal's number; raises ``HostError`` after ``timeout_s`` seconds."""
        try:
            return self.entry.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise HostError(f"waiting for {self.name}: wanted its end within {timeout_s} s, found it running") from None

    def tail(self, lines: int = 10) -> str:
        """Return the last ``lines`` lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def _opened(stream: IO[bytes] | None, name: str) -> IO[bytes]:
    if stream is None:
        raise HostError(f"talking to {name}: wanted a program spawned with interactive=True, found one with a log")
    return stream
