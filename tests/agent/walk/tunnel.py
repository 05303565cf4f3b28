"""WireGuard as the agent meets it: ``wg`` by its argv, ``wg-quick`` by its file; it knows nothing of nodes or servers.

Source: wg(8), wg-quick(8). An address belongs to one peer: giving it to another takes it away from the first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CORE_KEY = "Y29yZS1rZXktY29yZS1rZXktY29yZS1rZXktY29yZWU="
OPERATORS_KEY = "b3BlcmF0b3JzLWxhcHRvcC1vcGVyYXRvcnMtbGFwdG8="
OPERATORS_PART = f"""\
[Interface]
PrivateKey = cHJpdmF0ZS1rZXktcHJpdmF0ZS1rZXktcHJpdmF0ZTA=
Address = 10.100.0.1/22
ListenPort = 51820

# the operator's laptop
[Peer]
PublicKey = {OPERATORS_KEY}
AllowedIPs = 192.168.77.2/32
"""
_SECTION = re.compile(r"^\[Peer\]\n(.*?)(?=^\[|^#|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(slots=True, kw_only=True)
class RunningPeer:
    """One peer: its addresses with their prefix lengths, where it was last seen and when it spoke, in Unix seconds."""

    addresses: tuple[str, ...]
    endpoint: str | None = None
    spoke_at: int = 0


class Tunnel:
    """The interface ``wg0``, up or down; ``peers`` by public key."""

    def __init__(self) -> None:
        self.up = False
        self.peers: dict[str, RunningPeer] = {}

    def start(self, conf: str) -> None:
        """Come up as ``conf`` says, as `wg-quick up` does; a running interface goes down first."""
        self.peers = peers_in(conf)
        self.up = True

    def stop(self) -> None:
        """Go down and forget everything."""
        self.peers, self.up = {}, False

    def dump(self) -> str:
        """Return what `wg show wg0 dump` prints."""
        lines = [f"(hidden)\t{CORE_KEY}\t51820\toff"]
        for key, peer in self.peers.items():
            addresses = ",".join(peer.addresses) or "(none)"
            lines.append(f"{key}\t(none)\t{peer.endpoint or '(none)'}\t{addresses}\t{peer.spoke_at}\t0\t0\toff")
        return "\n".join(lines) + "\n"

    def put(self, key: str, address: str, endpoint: str | None = None) -> None:
        """Make the peer exist with exactly this address."""
        for other in self.peers.values():
            other.addresses = tuple(one for one in other.addresses if one != address)
        peer = self.peers.setdefault(key, RunningPeer(addresses=()))
        peer.addresses = (address,)
        peer.endpoint = endpoint or peer.endpoint

    def holder(self, address: str) -> str | None:
        """Return the key of the peer that packets for ``address`` go to."""
        return next((key for key, peer in self.peers.items() if address in peer.addresses), None)


def peers_in(conf: str) -> dict[str, RunningPeer]:
    """Return the peers that ``conf`` brings up."""
    tunnel = Tunnel()
    for section in _SECTION.findall(conf):
        words = dict(line.split(" = ", 1) for line in section.splitlines() if " = " in line)
        tunnel.put(words["PublicKey"], words["AllowedIPs"], words.get("Endpoint"))
    return tunnel.peers


def changes_in(argv: tuple[str, ...]) -> list[tuple[str, str | None, str | None]]:
    """Return what ``wg set wg0 …`` asks for, in order: key, address (None: remove the peer), endpoint."""
    assert argv[:2] == ("wg", "set"), f"no such program here: {argv}"
    changes: list[tuple[str, str | None, str | None]] = []
    for words in " ".join(argv[3:]).split("peer ")[1:]:
        key, *rest = words.split()
        if rest == ["remove"]:
            changes.append((key, None, None))
            continue
        options = dict(zip(rest[::2], rest[1::2], strict=True))
        assert set(options) <= {"allowed-ips", "endpoint"}, f"no such option here: {options}"
        changes.append((key, options["allowed-ips"], options.get("endpoint")))
    return changes
