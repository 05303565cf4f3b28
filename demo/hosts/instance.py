"""The demo's EC2 instances: knows how to boot the launch template's own user data on a new host, and how to end it.

It must not know what the user data does, nor who decides that an instance is wanted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from types import MappingProxyType

from demo.aws.machines import Machine
from demo.hosts import imds
from demo.hosts.errors import HostError
from demo.hosts.host import Host
from demo.hosts.process import Process
from demo.hosts.switch import AWS, FIRST_INSTANCE_ADDRESS, Switch

_TRUSTED = "/etc/ssl/certs/ca-certificates.crt"
_SCRIPT = "/var/lib/cloud/instance/scripts/part-001"
# cloud-init's own way on Debian: `output: {all: '| tee -a /var/log/cloud-init-output.log'}`, no HOME.
_BOOT = ("bash", "-o", "pipefail", "-c", '"$0" 2>&1 | tee -a /var/log/cloud-init-output.log', _SCRIPT)
_BOOT_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One running instance: its host, its metadata service and its user data's run."""

    machine: Machine
    host: Host
    metadata: imds.MetadataServer
    boot: Process


class Instances:
    """All instances; implements ``demo.aws.machines.Machines``. Safe to call from several threads.

    ``authority`` is the certificate (PEM) that instances trust beside Debian's; ``names`` says which host names lead
    where, and is asked at every launch; ``mint`` makes an instance's credentials; ``image`` holds the files that
    the machine image has beyond Debian's own, by their path (see ``demo.hosts.image``).
    """

    def __init__(
        self,
        *,
        switch: Switch,
        log_folder: Path,
        authority: Path,
        names: Callable[[], Mapping[str, IPv4Address]],
        mint: imds.Mint,
        image: Mapping[str, bytes],
    ) -> None:
        self._switch = switch
        self._log_folder = log_folder
        self._authority = authority
        self._names = names
        self._mint = mint
        self._image = dict(image)
        self._lock = threading.Lock()
        self._running: dict[str, Instance] = {}
        self._addresses: dict[str, IPv4Address] = {}
        self._next = FIRST_INSTANCE_ADDRESS

    @property
    def running(self) -> Mapping[str, Instance]:
        """The instances by id, as of now."""
        with self._lock:
            return dict(self._running)

    def launch(self, machine: Machine) -> None:
        """Boot ``machine`` and return while its user data runs; raises ``HostError`` or ``CommandFailed``."""
        if not machine.user_data.startswith(b"#!"):
            raise HostError(f"booting {machine.instance_id}: wanted user data that begins with #!, found another kind")
        address = self._reserve(machine.instance_id)
        host = Host(name=machine.instance_id, address=address, switch=self._switch, log_folder=self._log_folder)
        try:
            host.start()
            instance = self._boot(machine, host)
        except BaseException:
            host.stop()
            self._release(machine.instance_id)
            raise
        with self._lock:
            self._running[machine.instance_id] = instance

    def terminate(self, instance_id: str) -> None:
        """End an instance at once, as EC2 does; one that is not here is gone already."""
        with self._lock:
            instance = self._running.pop(instance_id, None)
        if instance is None:
            return
        instance.host.stop()
        instance.metadata.stop()
        self._release(instance_id)

    def stop(self) -> None:
        """Terminate every instance."""
        for instance_id in self.running:
            self.terminate(instance_id)

    def _boot(self, machine: Machine, host: Host) -> Instance:
        for path, content in self._image.items():
            host.write(path, content, mode=0o755)
        host.append(_TRUSTED, self._authority.read_bytes())
        host.append("/etc/hosts", "".join(f"{address} {name}\n" for name, address in self._names().items()).encode())
        listener = host.listen(imds.ADDRESS, imds.PORT, hop_limit=machine.metadata_options.hop_limit)
        metadata = imds.MetadataServer(imds.Metadata(machine, self._mint), listener)
        metadata.start()
        try:
            host.write(_SCRIPT, machine.user_data, mode=0o700)
            boot = host.spawn(_BOOT, name="user-data", environment=_BOOT_ENVIRONMENT)
        except BaseException:
            metadata.stop()
            raise
        return Instance(machine=machine, host=host, metadata=metadata, boot=boot)

    def _reserve(self, instance_id: str) -> IPv4Address:
        """An address that nobody has, the one free for longest first."""
        with self._lock:
            if instance_id in self._addresses:
                raise HostError(f"booting {instance_id}: wanted a new instance, found it running")
            taken = set(self._addresses.values())
            for _ in range(AWS.num_addresses):
                address = self._next
                self._next = address + 1 if address + 1 < AWS.broadcast_address else FIRST_INSTANCE_ADDRESS
                if address not in taken:
                    self._addresses[instance_id] = address
                    return address
        raise HostError(f"booting {instance_id}: wanted a free address in {AWS}, found all {len(taken)} taken")

    def _release(self, instance_id: str) -> None:
        with self._lock:
            del self._addresses[instance_id]
