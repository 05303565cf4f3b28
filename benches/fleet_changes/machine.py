"""One machine of the edge that plays many instances, one after the other; it knows no load balancer.

Its application runs all the time. An instance begins with a new key and a new address, and ends when both are taken
away at once, as a machine that is terminated would: what was still on its way is lost.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

from benches.fleet_changes.keys import KeyPair
from core_agent.contract.messages import TunnelReport
from demo.hosts.host import Host
from demo.hosts.image import WEBAPP_PATH, with_webapp
from demo.hosts.switch import Switch

PORT = 8080


class Machine:
    """The machine at ``address`` on ``switch``, with ``slots`` requests of ``service_ms`` each at a time."""

    def __init__(self, *, name: str, address: IPv4Address, switch: Switch, log_folder: Path) -> None:
        self.host = Host(name=name, address=address, switch=switch, log_folder=log_folder)

    def boot(self, *, slots: int, service_ms: int) -> None:
        """Start the machine, its tunnel device without any peer, and the application."""
        self.host.start()
        for path, content in with_webapp().items():
            self.host.write(path, content)
        self.host.run(("wireguard-go", "wg0"))
        capacity = ("--slots", str(slots), "--service-ms", str(service_ms))
        argv = ("/usr/bin/python3", "-I", WEBAPP_PATH, "--port", str(PORT), "--name", self.host.name, *capacity)
        self.host.spawn(argv, name="webapp")

    def raise_tunnel(self, tunnel: TunnelReport, pair: KeyPair) -> None:
        """Become the instance that holds ``pair``: its tunnel, and nothing of the one before."""
        conf = (
            f"[Interface]\nPrivateKey = {pair.private}\n"
            f"[Peer]\nPublicKey = {tunnel.core_public_key}\nEndpoint = {tunnel.endpoint}\n"
            f"AllowedIPs = {tunnel.core_address}/32\nPersistentKeepalive = {tunnel.keepalive_s}\n"
        )
        self._ip(
            f"address replace {tunnel.address} dev wg0",
            f"link set dev wg0 mtu {tunnel.mtu} up",
            f"route replace {tunnel.core_address}/32 dev wg0",
        )
        self.host.run(("wg", "setconf", "wg0", "/dev/stdin"), stdin=conf.encode())

    def cut_tunnel(self) -> None:
        """End the instance: nothing passes any more."""
        self._ip("link set dev wg0 down", "address flush dev wg0")

    def take(self, address: IPv4Address) -> None:
        """Become the instance at ``address``, without a tunnel."""
        self._ip(f"address add {address}/32 dev eth0")

    def drop(self, address: IPv4Address) -> None:
        """End the instance at ``address``."""
        self._ip(f"address delete {address}/32 dev eth0")

    def stop(self) -> None:
        """Pull the plug."""
        self.host.stop()

    def _ip(self, *batch: str) -> None:
        self.host.run(("ip", "-batch", "-"), stdin="\n".join(batch).encode())
