"""A core and nodes with real parts, driven through the product's own client over real SSH; AWS is not in it."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import settings
from core_agent.build import build
from core_agent.client import CoreClient
from core_agent.contract.messages import (
    ActivateNode,
    EnrollNode,
    FactsReport,
    FleetReport,
    Lifecycle,
    NodeReport,
    ReadFacts,
    Seats,
    SyncFleet,
    TunnelReport,
)
from core_agent.contract.names import GroupName, InstanceId, PublicKey
from demo.hosts.client import LoadClient
from demo.hosts.core import Core
from demo.hosts.host import Host
from demo.hosts.image import WEBAPP_PATH, with_webapp
from demo.hosts.switch import Switch

GROUP = GroupName("eu-north-1/drawbridge-edge")
SLOTS, SERVICE_MS = 10, 50
_REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass
class Bridge:
    """The core, its users and as many nodes as a test joins."""

    switch: Switch
    folder: Path

    def build(self) -> None:
        """Lay out and start the core; connect the product's client to it."""
        identity, agent = self.folder / "identity", self.folder / "agent.pyz"
        subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", identity), check=True)
        build(agent)
        self.identity = identity
        self.core = Core(switch=self.switch, log_folder=self.folder)
        self.users = LoadClient(switch=self.switch, log_folder=self.folder)
        self.nodes: dict[str, Host] = {}
        host_key = self.core.boot()
        text = (_REPOSITORY / "drawbridge.toml").read_text().replace("203.0.113.10", "192.0.2.1")
        text = re.sub("ssh_host_key = .*", f'ssh_host_key = "{host_key}"', text)
        text = text.replace("maxconn = 50 ", f"maxconn = {SLOTS} ").replace("maxconn = 28 ", f"maxconn = {SLOTS} ")
        public_key = identity.with_suffix(".pub").read_text().strip()
        self.core.install(agent=agent, config=text, authorized_key=public_key)
        self.core.start(settings.parse(text, source="test").core.servers, service_ms=SERVICE_MS)
        self.users.boot()
        self.client = CoreClient("192.0.2.1", 22, "drawbridge", host_key, identity)

    def tear_down(self) -> None:
        """Pull every plug."""
        self.client.close()
        for node in self.nodes.values():
            node.stop()
        self.users.stop()
        self.core.stop()

    # --- speaking to the core ---------------------------------------------------------------------------------------

    def sync(self, **seats: str) -> FleetReport:
        """Sync the group to ``seats`` (``i_1="serving"``)."""
        return self.client.request(
            SyncFleet(
                group=GROUP,
                generation=time.time_ns() // 1_000_000,
                seats=Seats.of((InstanceId(name.replace("_", "-")), Lifecycle(word)) for name, word in seats.items()),
            )
        )

    def facts(self) -> FactsReport:
        """Return everything the agent knows."""
        return self.client.request(ReadFacts())

    def phases(self) -> dict[str, str]:
        """Return instance → phase."""
        return {node.instance: node.phase.value for node in self.facts().nodes}

    # --- nodes ------------------------------------------------------------------------------------------------------

    def join(self, number: int) -> TunnelReport:
        """Start node ``i-NUMBER``, enroll it, bring its tunnel and application up, and see it become active."""
        name = f"i-{number}"
        self.sync(**{**self.serving(), f"i_{number}": "joining"})
        node = Host(
            name=name, address=IPv4Address(f"198.51.100.{10 + number}"), switch=self.switch, log_folder=self.folder
        )
        self.nodes[name] = node
        node.start()
        for path, content in with_webapp().items():
            node.write(path, content)
        private_key = node.run(("wg", "genkey")).stdout.decode().strip()
        public_key = node.run(("wg", "pubkey"), stdin=private_key.encode()).stdout.decode().strip()
        tunnel = self.client.request(EnrollNode(instance=InstanceId(name), public_key=PublicKey(public_key)))
        conf = (
            f"[Interface]\nPrivateKey = {private_key}\nAddress = {tunnel.address}\nMTU = {tunnel.mtu}\n"
            f"[Peer]\nPublicKey = {tunnel.core_public_key}\nEndpoint = {tunnel.endpoint}\n"
            f"AllowedIPs = {tunnel.core_address}/32\nPersistentKeepalive = {tunnel.keepalive_s}\n"
        )
        node.write("/etc/wireguard/wg0.conf", conf.encode(), mode=0o600)
        node.run(("wg-quick", "up", "wg0"))
        capacity = ("--slots", str(SLOTS), "--service-ms", str(SERVICE_MS))
        node.spawn(("/usr/bin/python3", "-I", WEBAPP_PATH, "--name", name, *capacity), name="webapp")
        until(lambda: self.ready(name).phase.value == "active", f"{name} active")
        self.sync(**self.serving())
        return tunnel

    def ready(self, name: str) -> NodeReport:
        """Say that the node is ready."""
        return self.client.request(ActivateNode(instance=InstanceId(name)))

    def serving(self) -> dict[str, str]:
        """Return every node on the core as a serving seat."""
        return {name.replace("-", "_"): "serving" for name in self.phases()}

    def leave(self, *numbers: int) -> None:
        """Declare these nodes leaving, wait until they are gone, then end their machines, as AWS would."""
        seats = {**self.serving(), **{f"i_{number}": "leaving" for number in numbers}}
        self.sync(**seats)
        until(lambda: not self.phases().keys() & {f"i-{number}" for number in numbers}, f"{numbers} gone")
        for number in numbers:
            self.nodes.pop(f"i-{number}").stop()

    # --- what runs, by other means than the agent's ------------------------------------------------------------------

    def running_servers(self) -> dict[str, tuple[str, int]]:
        """Return the burst servers of the running HAProxy: name → (status, weight), asked with curl-plain text."""
        text = self.runtime("show stat web_nodes 4 -1")
        header, *rows = [line.split(",") for line in text.removeprefix("# ").splitlines() if line]
        name, status, weight = (header.index(column) for column in ("svname", "status", "weight"))
        return {row[name]: (row[status], int(row[weight])) for row in rows if row[name].startswith("i-")}

    def runtime(self, command: str) -> str:
        """Send one command to HAProxy's own socket, as an operator would, and return the answer."""
        with self.core.host.connect_to("/run/haproxy/admin.sock", timeout_s=5) as connection:
            connection.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: connection.recv(65_536), b"")).decode()

    def running_peers(self) -> set[str]:
        """Return the allowed IPs of the running WireGuard's peers."""
        lines = self.core.host.run(("wg", "show", "wg0", "allowed-ips")).stdout.decode().splitlines()
        return {line.split("\t")[1] for line in lines}

    def filed_peers(self) -> set[str]:
        """Return the allowed IPs in wg0.conf."""
        return set(
            re.findall(r"^AllowedIPs = (.+)$", self.core.host.read("/etc/wireguard/wg0.conf").decode(), re.MULTILINE)
        )

    def filed_servers(self) -> dict[str, bool]:
        """Return the burst servers in haproxy.cfg: name → whether a restart would open it."""
        text = self.core.host.read("/etc/haproxy/haproxy.cfg").decode()
        return {
            name: not options.endswith(" disabled")
            for name, options in re.findall(r"^    server (i-\S+) (.*)$", text, re.MULTILINE)
        }


def until(done: Callable[[], bool], wanted: str, limit_s: float = 20) -> None:
    """Return once ``done``; fail saying what was ``wanted``."""
    deadline = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < deadline, f"wanted {wanted} within {limit_s} s"
        time.sleep(0.05)
