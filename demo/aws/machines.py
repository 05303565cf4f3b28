"""Knows what an EC2 instance is to whoever makes it real, and tells them in order; nothing of how a machine is made."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from demo.aws.journal import Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataOptions:
    """What the launch template says of the instance metadata service."""

    http_tokens: str
    hop_limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One instance as its launch template describes it; ``user_data`` is decoded from base64.

    ``role_name`` and ``role_arn`` come from the instance profile and are None without one.
    """

    instance_id: str
    account: str
    region: str
    availability_zone: str
    group_name: str
    image_id: str
    instance_type: str
    user_data: bytes
    role_name: str | None
    role_arn: str | None
    private_ip: str
    metadata_options: MetadataOptions


class Machines(Protocol):
    """Whoever makes instances real. Called in the background, in order per instance; an error goes to the journal."""

    def launch(self, machine: Machine) -> None:
        """Start the machine."""
        ...

    def terminate(self, instance_id: str) -> None:
        """End the machine, which may have ended, or never have started."""
        ...


class NoMachines:
    """For when only the API is wanted: instances exist as records."""

    def launch(self, machine: Machine) -> None:
        """Start nothing."""

    def terminate(self, instance_id: str) -> None:
        """End nothing."""


class MachineRoom:
    """Passes launches and terminations on, in order per instance and several instances at a time."""

    def __init__(self, machines: Machines, *, journal: Journal, at_a_time: int = 8) -> None:
        self._machines = machines
        self._journal = journal
        self._workers = ThreadPoolExecutor(at_a_time, thread_name_prefix="machines")
        self._queues: dict[str, list[Callable[[], None]]] = {}
        self._lock = threading.Lock()

    def launch(self, machine: Machine) -> None:
        """Have ``machine`` started, soon."""
        self._enqueue(machine.instance_id, lambda: self._machines.launch(machine))

    def terminate(self, instance_id: str) -> None:
        """Have the machine ended, after whatever was asked for it before."""
        self._enqueue(instance_id, lambda: self._machines.terminate(instance_id))

    def close(self) -> None:
        """Return when everything that was asked has been done."""
        self._workers.shutdown(wait=True)

    def _enqueue(self, instance_id: str, job: Callable[[], None]) -> None:
        with self._lock:
            waiting = self._queues.setdefault(instance_id, [])
            waiting.append(job)
            if len(waiting) == 1:
                self._workers.submit(self._work_off, instance_id)

    def _work_off(self, instance_id: str) -> None:
        while True:
            with self._lock:
                job = self._queues[instance_id][0]
            try:
                job()
            except Exception:  # noqa: BLE001 - a machine that fails to start is the journal's news, not the API's
                self._journal.failed("machines", f"a change of {instance_id}")
            with self._lock:
                waiting = self._queues[instance_id]
                waiting.pop(0)
                if not waiting:
                    del self._queues[instance_id]
                    return
