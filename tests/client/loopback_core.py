"""A real sshd on loopback whose only door is the stub agent; it knows OpenSSH and nothing of the client under test."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STUB = ROOT / "tests" / "client" / "stub_agent.py"


class LoopbackCore:
    """sshd on a port of its own, with its own host key and its own list of one authorised key, all in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user = getpass.getuser()
        self.identity = folder / "identity"
        self.log = folder / "sshd.log"
        self.port = _free_port()
        self.host_keys = [folder / "host_key"]
        self._sshd: subprocess.Popen[bytes] | None = None
        make_key(folder / "host_key")
        make_key(self.identity)
        self.behave("answer")
        self.authorise(self.identity)

    @property
    def host_key(self) -> str:
        """The host key as drawbridge.toml has it: type and base64."""
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    @property
    def requests(self) -> list[bytes]:
        """Every document that reached the stub agent."""
        log = self.folder / "requests.log"
        return log.read_bytes().splitlines() if log.exists() else []

    @property
    def connections(self) -> int:
        """How many TCP connections sshd has seen."""
        return self.log.read_text().count("Connection from ")

    @property
    def logins(self) -> int:
        """How many of them came past authentication."""
        return self.log.read_text().count("Accepted publickey ")

    @property
    def sessions(self) -> int:
        """How many times a login asked for the one door; sshd says so before it answers that it is open."""
        return self.log.read_text().count("Starting session: forced-command ")

    def authorise(self, identity: Path, *door: str) -> None:
        """Let the holder of ``identity``, and nobody else, through the one door: the stub agent unless given."""
        stub = ("env", f"PYTHONPATH={ROOT}", sys.executable, str(STUB), str(self.folder))
        public = identity.with_name(f"{identity.name}.pub").read_text()
        (self.folder / "authorized_keys").write_text(f'restrict,command="{shlex.join(door or stub)}" {public}')

    def behave(self, mode: str) -> None:
        """Let the stub agent answer the next requests in this way."""
        (self.folder / "mode").write_text(mode)

    def start(self) -> None:
        """Start sshd and return once it accepts connections."""
        program = shutil.which("sshd") or "/usr/sbin/sshd"
        if not Path(program).exists():
            raise FileNotFoundError("these tests need a real sshd: apt-get install openssh-server")
        if os.geteuid() == 0:
            # Debian's sshd, run as root outside of its unit, wants its empty directory.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        configuration = self.folder / "sshd_config"
        # Debian's bash reads ~/.bashrc when sshd runs it: with another HOME, nobody's own has a say here.
        configuration.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\n"
            + "".join(f"HostKey {key}\n" for key in self.host_keys)
            + f"AuthorizedKeysFile {self.folder / 'authorized_keys'}\n"
            "PidFile none\nLogLevel VERBOSE\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
            f"PasswordAuthentication no\nKbdInteractiveAuthentication no\nSetEnv HOME={self.folder}\n"
        )
        self.log.touch()
        before = len(self.log.read_text())
        self._sshd = subprocess.Popen((program, "-D", "-f", str(configuration), "-E", str(self.log)))
        deadline = time.monotonic() + 60
        while "Server listening" not in (said := self.log.read_text()[before:]):
            if self._sshd.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"starting sshd: wanted it to listen on port {self.port}, found: {said or 'no word'}"
                )
            time.sleep(0.02)

    def stop(self) -> None:
        """Kill sshd and every session of it, as a crash or a reboot would."""
        if self._sshd is None:
            return
        sessions = _descendants(self._sshd.pid)
        self._sshd.kill()
        self._sshd.wait()
        for pid in sessions:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._sshd = None

    def freeze(self) -> None:
        """Stop every session, but not the listener: what a cut cable looks like to a connection that is open."""
        assert self._sshd is not None
        for pid in _descendants(self._sshd.pid):
            os.kill(pid, signal.SIGSTOP)


def make_key(path: Path, *options: str) -> None:
    """Make a key pair without a passphrase at ``path``, Ed25519 unless ``options`` say otherwise."""
    chosen = options or ("-t", "ed25519")
    subprocess.run(("ssh-keygen", "-q", "-N", "", "-C", "test", "-f", str(path), *chosen), check=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _descendants(root: int) -> list[int]:
    """Return the ids of all processes below ``root``: sshd gives each session a session of its own (setsid)."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]
