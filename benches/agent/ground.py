"""One core to measure on: laid out by the product's installer, its nodes answered for by one responder on it.

It must not know what is measured. Thousands of nodes have no machines here, so their addresses are local to the core
and a second HAProxy answers on all of them: health checks run as they would, and never enter the tunnel. WireGuard's
peers are real, and nobody is behind them.
"""

from __future__ import annotations

import csv
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import settings
from benches.agent.errors import BenchError
from benches.agent.nodes import Node
from demo.hosts.core import Core
from demo.hosts.switch import Switch

NETWORK = IPv4Network("10.100.0.0/16")
BACKEND = "web_nodes"
_ADMIN_SOCKET = "/run/haproxy/admin.sock"
_REPOSITORY = Path(__file__).resolve().parents[2]
_CHECK_LIMIT_S = 60

# What differs from the drawbridge.toml that everybody starts with. At level 100 %, and without a ramp to it, both sides
# name the same weight.
_SETTINGS = (
    (r"^public_address = .*", 'public_address = "{address}"'),
    (r"^ssh_host_key = .*", 'ssh_host_key = "{host_key}"'),
    (r"^network = .*", f'network = "{NETWORK}"\nquarantine_s = 0'),
    (r"^max_capacity = .*", "max_capacity = 4000"),
    (r"^calm_percent = .*", "calm_percent = 100\nramp_s = 0"),
)

_RESPONDER = """\
global
    maxconn 6000
    nbthread 1
    user haproxy
    group haproxy
defaults
    mode http
    timeout client 5s
    timeout connect 5s
    timeout server 5s
frontend every_node
    bind 0.0.0.0:8080 backlog 4096
    http-request return status 200
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a core runs for one node; addresses may differ between two cores, so what hangs on them is compared."""

    instance: str
    public_key: str
    open: bool
    check: str
    weight: int
    maxconn: int
    id_above_address: int


class Ground:
    """A running core called ``name``, which lets ``authorized_key`` in twice: by the product's door, and as root."""

    def __init__(self, *, name: str, address: IPv4Address, switch: Switch, folder: Path) -> None:
        self.core = Core(switch=switch, log_folder=folder, address=address, name=name)
        self.host_key = ""
        self.settings: settings.Settings

    @property
    def address(self) -> str:
        """Where its sshd listens."""
        return str(self.core.host.address)

    def start(self, *, agent: Path, authorized_key: str) -> None:
        """Install the zipapp ``agent`` and start everything."""
        self.host_key = self.core.boot()
        text = self._configuration()
        self.settings = settings.parse(text, source="bench")
        self.core.install(agent=agent, config=text, authorized_key=authorized_key)
        host = self.core.host
        # As frugal as the product's own SSH user: a login shell that starts in a millisecond.
        host.run(("usermod", "--shell", "/bin/sh", "root"))
        host.write("/root/.ssh/authorized_keys", f"{authorized_key}\n".encode(), mode=0o600)
        host.write("/etc/haproxy/responder.cfg", _RESPONDER.encode())
        host.run(("ip", "route", "add", "local", str(NETWORK), "dev", "lo"))
        host.spawn(("haproxy", "-f", "/etc/haproxy/responder.cfg"), name="responder")
        self.core.start((), service_ms=0)

    def stop(self) -> None:
        """Pull its plug."""
        self.core.stop()

    def await_checks(self, nodes: Sequence[Node]) -> None:
        """Return once the health check of each of ``nodes`` is good; raises ``BenchError`` when time is up."""
        wanted = {node.instance for node in nodes}
        deadline = time.monotonic() + _CHECK_LIMIT_S
        while poor := [row for row in self._statistics() if row["svname"] in wanted and row["check_status"] != "L7OK"]:
            if time.monotonic() > deadline:
                seen = Counter(row["check_status"] for row in poor)
                raise BenchError(f"waiting for health checks: wanted {len(wanted)} times L7OK, found {dict(seen)}")
            time.sleep(0.2)

    def effects(self, nodes: Sequence[Node]) -> tuple[Effect, ...]:
        """Return what runs for ``nodes``; raises ``BenchError`` when a server or the peer behind it is missing."""
        rows = {row["svname"]: row for row in self._statistics()}
        dump = self.core.host.run(("wg", "show", "wg0", "allowed-ips")).stdout.decode()
        keys = {allowed: key for key, allowed in (line.split("\t") for line in dump.splitlines())}
        found = []
        for node in nodes:
            row = rows.get(node.instance)
            if row is None:
                raise BenchError(f"comparing effects: wanted a server {node.instance}, found none")
            address = IPv4Address(row["addr"].partition(":")[0])
            found.append(
                Effect(
                    instance=node.instance,
                    public_key=keys.get(f"{address}/32", "none"),
                    open=row["status"].startswith("UP"),
                    check=row["check_status"],
                    weight=int(row["weight"]),
                    maxconn=int(row["slim"]),
                    id_above_address=int(row["sid"]) - int(address),
                )
            )
        return tuple(found)

    def count(self) -> str:
        """Return how many peers and how many burst servers run, in words."""
        peers = len(self.core.host.run(("wg", "show", "wg0", "peers")).stdout.splitlines())
        servers = sum(row["svname"].startswith("i-") for row in self._statistics())
        return f"{peers} peers and {servers} servers"

    def _statistics(self) -> list[dict[str, str]]:
        with self.core.host.connect_to(_ADMIN_SOCKET, timeout_s=10) as connection:
            connection.sendall(f"show stat {BACKEND} 4 -1\n".encode())
            text = b"".join(iter(lambda: connection.recv(1 << 18), b"")).decode()
        rows = list(csv.DictReader(text.removeprefix("# ").splitlines()))
        for row in rows:
            row["check_status"] = row["check_status"].removeprefix("* ")  # while the next check is under way
        return rows

    def _configuration(self) -> str:
        text = (_REPOSITORY / "drawbridge.toml").read_text()
        for pattern, replacement in _SETTINGS:
            line = replacement.format(address=self.address, host_key=self.host_key)
            text, found = re.subn(pattern, line, text, count=1, flags=re.MULTILINE)
            if not found:
                raise BenchError(f"writing the bench's drawbridge.toml: wanted a line {pattern}, found none")
        return text
