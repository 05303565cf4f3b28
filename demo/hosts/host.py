"""One machine made of namespaces: knows how to start it, run programs in it and pull its plug.

It must not know what the machine is for. Its root is this machine's root under an overlay in memory, so `useradd` or
`apt` inside change nothing outside; its processes are in a pid namespace, so killing its init kills all of them.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path
from types import MappingProxyType

from core_agent.errors import CommandFailed
from demo.hosts.errors import HostError
from demo.hosts.process import Process
from demo.hosts.switch import Switch

START_TIMEOUT_S = 30
ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}
)
_UNSHARE = ("unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child=KILL")
_INIT = Path(__file__).with_name("host_init.sh")
_LISTEN = Path(__file__).with_name("listen.py")
_MACHINES = Path("/run/machines")


class Host:
    """A machine called ``name`` at ``address`` on ``switch``; what its programs print goes to ``log_folder``.

    Not thread-safe for ``start`` and ``stop``; ``run`` and ``spawn`` may be called from any thread in between.
    """

    def __init__(self, *, name: str, address: IPv4Address, switch: Switch, log_folder: Path) -> None:
        self.name = name
        self.address = address
        self.log_folder = log_folder
        self._switch = switch
        self._unshare: subprocess.Popen[bytes] | None = None
        self._init_pid = 0
        self._attached = False
        self._spawned: list[Process] = []

    def start(self) -> None:
        """Start the machine and connect it; raises ``HostError`` or ``CommandFailed``, leaving nothing running."""
        if self._unshare is not None:
            raise HostError(f"starting {self.name}: wanted it stopped, found it running")
        self.log_folder.mkdir(parents=True, exist_ok=True)
        directory = _MACHINES / self.name
        directory.mkdir(parents=True, exist_ok=True)
        self._unshare = subprocess.Popen(
            (*_UNSHARE, "sh", str(_INIT), self.name, str(directory)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(ENVIRONMENT),
            start_new_session=True,
        )
        try:
            self._init_pid = _ready(self._unshare, self.name)
            self._switch.attach(self._init_pid, self.address)
            self._attached = True
        except BaseException:
            self.stop()
            raise

    @property
    def running(self) -> bool:
        """Whether the machine's init runs."""
        return self._unshare is not None and self._unshare.poll() is None

    def run(
        self,
        argv: tuple[str, ...],
        *,
        stdin: bytes = b"",
        check: bool = True,
        timeout_s: float = 60,
        environment: Mapping[str, str] = ENVIRONMENT,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ``argv`` to its end as root; with ``check``, a non-zero exit status raises ``CommandFailed``."""
        doing = f"running {argv[0]} on {self.name}"
        try:
            result = subprocess.run(
                self._inside(argv),
                input=stdin,
                capture_output=True,
                timeout=timeout_s,
                env=dict(environment),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise HostError(f"{doing}: wanted its end within {timeout_s} s, found it running") from None
        if check and result.returncode != 0:
            raise CommandFailed(
                doing, argv[0], result.returncode, (result.stdout + result.stderr).decode(errors="replace")
            )
        return result

    def spawn(
        self,
        argv: tuple[str, ...],
        *,
        name: str,
        interactive: bool = False,
        descriptors: tuple[int, ...] = (),
        environment: Mapping[str, str] = ENVIRONMENT,
    ) -> Process:
        """Start ``argv`` as root and return at once; it prints to ``HOST-name.log``, or, if ``interactive``, to a pipe.

        It inherits the file ``descriptors`` under their own numbers.
        """
        log = self.log_folder / f"{self.name}-{name}.log"
        with log.open("ab") as output:
            entry = subprocess.Popen(
                self._inside(argv),
                stdin=subprocess.PIPE if interactive else subprocess.DEVNULL,
                stdout=subprocess.PIPE if interactive else output,
                stderr=output,
                env=dict(environment),
                pass_fds=descriptors,
                start_new_session=True,
            )
        process = Process(name=f"{name} on {self.name}", log=log, entry=entry)
        self._spawned.append(process)
        return process

    def write(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write a file inside, with its folders; links are followed inside."""
        self.run(("install", "-D", f"--mode={mode:o}", "/dev/stdin", path), stdin=content)

    def read(self, path: str) -> bytes:
        """Return the bytes of a file inside."""
        return self.run(("cat", "--", path)).stdout

    def append(self, path: str, content: bytes) -> None:
        """Append to a file inside."""
        self.write(path, self.read(path) + content)

    def listen(self, address: IPv4Address, port: int, *, hop_limit: int) -> socket.socket:
        """Return a TCP socket that listens inside the machine's network and is served by this process, outside it.

        ``address`` is put on the machine's loopback device. That is how a cloud's metadata service stands: within reach
        of the machine, out of its hands. What it answers crosses at most ``hop_limit`` hops.
        """
        network = f"--net=/proc/{self._pid()}/ns/net"
        ours, theirs = socket.socketpair()
        with ours, theirs:
            result = subprocess.run(
                ("nsenter", network, sys.executable, "-I", str(_LISTEN), str(theirs.fileno()), str(address), str(port)),
                pass_fds=(theirs.fileno(),),
                capture_output=True,
                text=True,
                check=False,
            )
            if result.returncode != 0:
                doing = f"listening on {address}:{port} in {self.name}"
                raise CommandFailed(doing, "nsenter", result.returncode, result.stderr)
            _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        listener = socket.socket(fileno=descriptors[0])
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hop_limit)
        return listener

    def listen_at(self, path: str) -> socket.socket:
        """Return a Unix stream socket that listens at ``path`` inside; its folder must exist, no link on the way."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self._seen_from_here(path))
        listener.listen(64)
        return listener

    def receive_at(self, path: str) -> socket.socket:
        """Return a Unix datagram socket bound at ``path`` inside, under the same condition."""
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.bind(self._seen_from_here(path))
        return receiver

    def connect_to(self, path: str, *, timeout_s: float) -> socket.socket:
        """Return a connection to the Unix stream socket at ``path`` inside, under the same condition."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout_s)
        try:
            connection.connect(self._seen_from_here(path))
        except BaseException:
            connection.close()
            raise
        return connection

    def stop(self) -> None:
        """Pull the plug: cut the cable, kill everything inside, and wait until it is gone; stopped already is fine."""
        if self._unshare is None:
            return
        unshare, self._unshare = self._unshare, None
        if self._attached:
            # The cable first: a machine whose plug is pulled sends no farewell.
            self._switch.detach(self.address)
            self._attached = False
        if self._init_pid and unshare.poll() is None:
            # unshare ends when its init is reaped, and the kernel lets that happen only after all others are gone.
            os.kill(self._init_pid, signal.SIGKILL)
        else:
            unshare.kill()
        unshare.wait()
        for stream in (unshare.stdout, unshare.stderr):
            if stream is not None:
                stream.close()
        for process in self._spawned:
            process.entry.wait()
            for stream in (process.entry.stdin, process.entry.stdout):
                if stream is not None:
                    stream.close()
        self._spawned.clear()
        self._init_pid = 0
        shutil.rmtree(_MACHINES / self.name, ignore_errors=True)

    def _inside(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """``argv`` as this process can run it: it enters the machine, and dies when whoever waits for it does."""
        enter = ("nsenter", f"--target={self._pid()}", "--mount", "--uts", "--net", "--pid", "--root", "--wd")
        return (*enter, "setpriv", "--pdeathsig", "KILL", *argv)

    def _seen_from_here(self, path: str) -> str:
        """``path`` of the machine, as this process reaches it; an absolute link on the way would lead back out."""
        return f"/proc/{self._pid()}/root{path}"

    def _pid(self) -> int:
        if not self.running:
            raise HostError(f"entering {self.name}: wanted it running, found it stopped")
        return self._init_pid


def _ready(unshare: subprocess.Popen[bytes], name: str) -> int:
    """Wait until the machine's init says so, and return its pid; raises ``HostError`` with what it said instead."""
    if unshare.stdout is None or unshare.stderr is None:
        raise HostError(f"starting {name}: wanted pipes from its init, found none")
    readable, _, _ = select.select([unshare.stdout], [], [], START_TIMEOUT_S)
    line = os.read(unshare.stdout.fileno(), 100) if readable else b""
    if line != b"ready\n":
        unshare.kill()
        said = unshare.stderr.read().decode(errors="replace").strip()
        raise HostError(f"starting {name}: wanted 'ready' from its init, found {said or line!r}")
    return int(Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text().split()[0])
