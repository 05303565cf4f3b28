"""A core that systemd boots: the demo's machine of namespaces with systemd as PID 1 of one more, and nothing faked.

It starts Debian's own units from this machine's files, so what the installer does here is what it does on a core. Only
where the kernel has no WireGuard, wg-quick's own fallback is told to run as the agent's user (demo/hosts/core.py).
"""

from __future__ import annotations

import re
import subprocess
import uuid
from ipaddress import IPv4Address
from pathlib import Path

from core_agent.build import build
from core_agent.client import CoreClient
from core_agent.contract.messages import FactsReport, ReadFacts
from demo.hosts.host import ENVIRONMENT, Host
from demo.hosts.switch import Switch
from tests.integration.inside.real_bridge import until

_REPOSITORY = Path(__file__).resolve().parents[3]
_AGENT, _SETTINGS = "/root/agent.pyz", "/root/drawbridge.toml"
_HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"

# Own cgroups (it would rearrange the whole machine's), no way to the kernel's modules, clock or sysctls, and none of
# the units that this machine's owner has enabled.
_BOOT = """
set -eu
mkdir /run/tree
mount -t cgroup2 tree /run/tree
mkdir "/run/tree/$1"
echo $$ >"/run/tree/$1/cgroup.procs"
umount /run/tree
rm -rf /etc/systemd/system /etc/modules-load.d
exec unshare --cgroup --ipc --mount --pid --fork --kill-child=KILL --mount-proc sh -euc '
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mount --bind /proc/sys /proc/sys
    mount -o remount,bind,ro /proc/sys
    exec setpriv --bounding-set=-sys_module,-sys_time,-sys_rawio env -i container=drawbridge-test \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=basic.target --log-target=journal'
"""
_FORGET = """
set -eu
folder=$(mktemp -d)
mount -t cgroup2 tree "$folder"
[ ! -d "$folder/$1" ] || find "$folder/$1" -depth -type d -exec rmdir {} +
umount "$folder"
rmdir "$folder"
"""
_WIREGUARD_GO = """\
#!/bin/sh
install -d -o drawbridge-agent -g drawbridge-agent /run/wireguard
caps=-all,+net_admin
exec setpriv --reuid=drawbridge-agent --regid=drawbridge-agent --init-groups --no-new-privs \
    --inh-caps=$caps --ambient-caps=$caps --bounding-set=$caps wireguard-go "$@"
"""
_FALLBACK = "[Service]\nEnvironment=WG_QUICK_USERSPACE_IMPLEMENTATION=/root/wireguard-go\n"


class SystemdCore:
    """One core at 192.0.2.1, booted by systemd; ``install`` may be called again and again."""

    def __init__(self, switch: Switch, folder: Path) -> None:
        self._host = Host(name="core", address=IPv4Address("192.0.2.1"), switch=switch, log_folder=folder)
        self._cgroup = f"drawbridge-test-{uuid.uuid4().hex}"
        self._folder = folder
        self._systemd = 0
        self._client: CoreClient | None = None

    def boot(self) -> None:
        """Boot to a system that is running, with Debian's sshd."""
        self._host.start()
        boot = self._host.spawn(("sh", "-c", _BOOT, "boot", self._cgroup), name="systemd")
        until(lambda: self._find_systemd(boot.entry.pid), "systemd as PID 1", limit_s=60)
        # Degraded, when a unit of this machine's own has no place here, is as good: ours are looked at one by one.
        booted = {"running", "degraded"}
        until(
            lambda: self.run("systemctl", "is-system-running", check=False).strip() in booted,
            "a booted system",
            limit_s=90,
        )
        self.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", _HOST_KEY)
        # Until the first of these has run, PAM lets root alone in (pam_nologin(8)).
        self.run("systemctl", "start", "systemd-user-sessions.service")
        self.run("systemctl", "enable", "--now", "ssh.service")
        self.write("/root/wireguard-go", _WIREGUARD_GO, mode=0o755)
        self.write("/etc/systemd/system/wg-quick@.service.d/fallback.conf", _FALLBACK)
        identity, agent = self._folder / "identity", self._folder / "agent.pyz"
        subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", identity), check=True)
        build(agent)
        self._host.write(_AGENT, agent.read_bytes())
        self.public_key = identity.with_suffix(".pub").read_text().strip()
        host_key = " ".join(self.read(f"{_HOST_KEY}.pub").split()[:2])
        self._client = CoreClient("192.0.2.1", 22, "drawbridge", host_key, identity)
        text = (_REPOSITORY / "drawbridge.toml").read_text().replace("203.0.113.10", "192.0.2.1")
        self.settings = re.sub("ssh_host_key = .*", f'ssh_host_key = "{host_key}"', text)

    def stop(self) -> None:
        """Pull the plug, however far booting got, and leave no cgroup behind (a killed sandbox leaves empty ones)."""
        self._host.stop()
        if self._client is not None:
            self._client.close()
        subprocess.run(("sh", "-c", _FORGET, "forget", self._cgroup), check=True)

    def install(self, settings: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the installer as root does, with ``settings`` as drawbridge.toml, under a umask that hides everything."""
        self.write(_SETTINGS, settings)
        install = ("/usr/bin/python3", _AGENT, "install", "--config", _SETTINGS, "--authorized-key", self.public_key)
        done = self._run(("sh", "-c", 'umask 077; exec "$@"', "sh", *install))
        assert not check or done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done

    # --- what it says -----------------------------------------------------------------------------------------------

    @property
    def client(self) -> CoreClient:
        """The product's client, as the SSH user."""
        assert self._client is not None, "wanted a booted core"
        return self._client

    def facts(self) -> FactsReport:
        """Return the agent's facts, asked over SSH."""
        return self.client.request(ReadFacts())

    def property(self, name: str, unit: str = "drawbridge-agent.service") -> str:
        """Return a property of a unit, in systemd's words."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def run(self, *argv: str, check: bool = True) -> str:
        """Run ``argv`` as root on the booted system and return what it printed."""
        done = self._run(argv)
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def read(self, path: str) -> str:
        """Return the text of a file."""
        return self.run("cat", path)

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file, with its folders."""
        self._host.write(path, text.encode(), mode=mode)

    # --- getting in -------------------------------------------------------------------------------------------------

    def _run(self, argv: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        namespaces = ("--mount", "--uts", "--net", "--ipc", "--pid", "--cgroup", "--root", "--wd")
        enter = ("nsenter", f"--target={self._systemd}", *namespaces, "setpriv", "--pdeathsig", "KILL")
        return subprocess.run(
            (*enter, *argv), capture_output=True, text=True, env=dict(ENVIRONMENT), check=False, timeout=60
        )

    def _find_systemd(self, entry: int) -> bool:
        """Follow the only children of ``entry`` down to systemd."""
        pid = entry
        while (name := Path(f"/proc/{pid}/comm").read_text().strip()) != "systemd":
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            assert Path(f"/proc/{entry}").exists(), f"booting ended in {name}"
            if not children:
                return False
            pid = int(children[0])
        self._systemd = pid
        return True
