"""What the tests of the local AWS share: recorded machines, patience, and what this machine can run."""

import platform
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from demo.aws.machines import Machine

Json: TypeAlias = Any
"""Whatever an API or a handler takes or gives."""

Found = TypeVar("Found")

RUNTIME = f"python3.{sys.version_info.minor}"
PROCESSOR = "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"


class RecordedMachines:
    """Machines that only remember what was asked, in order."""

    def __init__(self) -> None:
        self.launched: dict[str, Machine] = {}
        self.asked: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def launch(self, machine: Machine) -> None:
        """Remember the machine."""
        with self._lock:
            self.launched[machine.instance_id] = machine
            self.asked.append(("launch", machine.instance_id))

    def terminate(self, instance_id: str) -> None:
        """Remember its end."""
        with self._lock:
            self.asked.append(("terminate", instance_id))


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(condition: Callable[[], Found | None], *, within_s: float = 60.0) -> Found:
    """The first true answer of ``condition``; fails after ``within_s``."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.03)
    raise AssertionError(f"not within {within_s} s")
