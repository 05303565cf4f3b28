"""The users of the demo: knows how to run the load generator on a host of its own and read what it counts.

It must not know what answers, or what the numbers should be.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from demo.hosts import image
from demo.hosts.errors import HostError
from demo.hosts.host import Host
from demo.hosts.process import Process
from demo.hosts.switch import CLIENT_ADDRESS, Switch

_FINISH_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the load generator counted in one second, or, as the summary, in all; latencies in milliseconds.

    ``at``, when the second ended, and ``first_answers``, when a server answered for the first time ever, are moments of
    this machine's monotonic clock.
    """

    sent: int
    ok: int
    failed: int
    failed_by_kind: Mapping[str, int]
    servers: Mapping[str, int]
    latency_ms: Mapping[str, float | None]
    rate: float = 0.0
    in_flight: int = 0
    second: int = 0
    at: float = 0.0
    first_answers: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Reading:
        """Return the reading in one document of the generator's output."""
        return cls(**{name: document[name] for name in cls.__dataclass_fields__ if name in document})


class LoadClient:
    """A host at ``address`` that sends one load at a time; ``on_second`` is called from a thread, once per second."""

    def __init__(self, *, switch: Switch, log_folder: Path, address: IPv4Address = CLIENT_ADDRESS) -> None:
        self.host = Host(name="client", address=address, switch=switch, log_folder=log_folder)
        self._process: Process | None = None
        self._reader: threading.Thread | None = None
        self._readings: list[Reading] = []
        self._summary: Reading | None = None

    def boot(self) -> None:
        """Start the machine and put the generator on it."""
        self.host.start()
        for path, content in image.with_load_generator().items():
            self.host.write(path, content)

    def start(
        self, url: str, *, rate: float, seconds: int = 600, on_second: Callable[[Reading], None] | None = None
    ) -> None:
        """Begin to send ``rate`` requests per second to ``url``, for at most ``seconds``; see ``finish``."""
        if self._process is not None:
            raise HostError("starting the load: wanted none running, found one; finish it first")
        self._readings, self._summary = [], None
        limits = ("--rate", str(rate), "--seconds", str(seconds))
        self._process = self.host.spawn(
            ("env", "-C", image.FOLDER, "/usr/bin/python3", "-m", "demo.load", "--url", url, *limits),
            name="load",
            interactive=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process, on_second), daemon=True)
        self._reader.start()

    @property
    def running(self) -> bool:
        """Whether requests are being sent or answers waited for."""
        return self._process is not None and self._process.running

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The seconds so far."""
        return tuple(self._readings)

    def set_rate(self, rate: float) -> None:
        """Send ``rate`` requests per second from now on."""
        self._tell(f"rate {rate}\n")

    def ramp(self, rate: float, *, seconds: float) -> None:
        """Go steadily from the present rate to ``rate`` requests per second within ``seconds``, and stay there."""
        self._tell(f"ramp {rate} {seconds}\n")

    def volley(self, count: int) -> None:
        """Send ``count`` requests at once, beside the rate."""
        self._tell(f"volley {count}\n")

    def finish(self) -> Reading:
        """Send nothing more, wait for every answer, and return the counts of the whole run."""
        # A load whose time is up has ended by itself and hears nothing any more.
        with contextlib.suppress(BrokenPipeError):
            self._tell("stop\n")
        process, reader = self._process, self._reader
        if process is None or reader is None:
            raise HostError("finishing the load: wanted one running, found none")
        process.wait(_FINISH_S)
        reader.join()
        self._process = self._reader = None
        if self._summary is None:
            raise HostError(f"finishing the load: wanted its summary, found {process.tail() or 'nothing'}")
        return self._summary

    def stop(self) -> None:
        """Pull the client's plug."""
        self.host.stop()
        if self._reader is not None:
            self._reader.join()
        self._process = self._reader = None

    def _tell(self, command: str) -> None:
        if self._process is None:
            raise HostError("commanding the load: wanted one running, found none; start it first")
        os.write(self._process.stdin.fileno(), command.encode())

    def _read(self, process: Process, on_second: Callable[[Reading], None] | None) -> None:
        for line in process.stdout:
            document = json.loads(line)
            reading = Reading.parse(document)
            if document.get("summary"):
                self._summary = reading
                continue
            self._readings.append(reading)
            if on_second is not None:
                on_second(reading)
