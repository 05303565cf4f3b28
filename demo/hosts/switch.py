"""The demo's internet: knows one bridge, two documentation networks (RFC 5737) and the cables to the hosts.

It must not know what a host is or runs. There is no default route: the two networks are all the world.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from core_agent.errors import CommandFailed
from demo.hosts.errors import HostError

NORWAY = IPv4Network("192.0.2.0/24")
AWS = IPv4Network("198.51.100.0/24")
CORE_ADDRESS = IPv4Address("192.0.2.1")
CLIENT_ADDRESS = IPv4Address("192.0.2.10")
API_ADDRESS = IPv4Address("198.51.100.1")
FIRST_INSTANCE_ADDRESS = IPv4Address("198.51.100.10")
BRIDGE = "internet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """The bridge in this process's own network namespace, which has ``address`` on it: that is where AWS's API answers.

    Call ``start`` once. Ports carry the name of their address, so `ip link` reads as a map.
    """

    address: IPv4Address = API_ADDRESS

    def start(self) -> None:
        """Build the bridge; raises ``HostError`` in a namespace that already leads somewhere."""
        routes = _ip("looking for routes", ("ip", "route", "show", "table", "all", "type", "unicast")).strip()
        if routes:
            raise HostError(f"building the switch: wanted a network namespace without routes, found {routes!r}")
        _ip(
            "building the switch",
            ("ip", "-batch", "-"),
            f"link add name {BRIDGE} type bridge",
            f"link set dev {BRIDGE} up",
            *_settle(self.address, BRIDGE),
        )

    def attach(self, pid: int, address: IPv4Address) -> None:
        """Give the network namespace of process ``pid`` the device ``eth0`` with ``address`` on this switch."""
        doing = f"attaching {address}"
        _ip(
            doing,
            ("ip", "-batch", "-"),
            f"link add name {address} type veth peer name eth0 netns {pid}",
            f"link set dev {address} master {BRIDGE} up",
        )
        _ip(
            doing,
            ("nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-batch", "-"),
            "link set dev lo up",
            "link set dev eth0 up",
            *_settle(address, "eth0"),
        )

    def detach(self, address: IPv4Address) -> None:
        """Pull the cable: nothing from or to ``address`` passes any more."""
        _ip(f"detaching {address}", ("ip", "link", "delete", "dev", str(address)))


def network_of(address: IPv4Address) -> IPv4Network:
    """Return the underlay network that ``address`` lies in, or raise ``HostError``."""
    for network in (NORWAY, AWS):
        if address in network:
            return network
    raise HostError(f"placing a host: wanted an address in {NORWAY} or {AWS}, found {address}")


def _settle(address: IPv4Address, device: str) -> tuple[str, ...]:
    """The commands that put ``address`` on ``device`` and make the other network reachable on the same wire."""
    own = network_of(address)
    other = AWS if own == NORWAY else NORWAY
    return (f"address add {address}/{own.prefixlen} dev {device}", f"route add {other} dev {device}")


def _ip(doing: str, argv: tuple[str, ...], *batch: str) -> str:
    result = subprocess.run(argv, input="\n".join(batch), capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise CommandFailed(doing, argv[0], result.returncode, result.stdout + result.stderr)
    return result.stdout
