"""What WireGuard has now, from the text of ``wg show IFACE dump``; pure, and blind to what it should have.

Source: wg(8), "dump": tab-separated; first the interface (private key, public key, port, fwmark), then one line a peer
(public key, preshared key, endpoint, allowed IPs, latest handshake in Unix seconds, received, sent, keepalive).
"""

from __future__ import annotations

from dataclasses import dataclass

from core_agent.errors import UnreadableFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFacts:
    """One peer; ``handshake_at`` is Unix seconds, 0 before the first; ``endpoint`` is ``HOST:PORT`` once known."""

    allowed_ips: tuple[str, ...]
    handshake_at: int
    endpoint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WireguardFacts:
    """The interface's own public key and its peers by public key. The private key is dropped on reading."""

    public_key: str
    peers: dict[str, PeerFacts]


def parse_dump(text: str) -> WireguardFacts:
    """Return the facts in ``text``; raises ``UnreadableFacts`` without showing it, because it holds the private key."""
    lines = text.splitlines()
    if not lines or len(interface := lines[0].split("\t")) != 4:
        raise UnreadableFacts("reading `wg show dump`: wanted an interface line of 4 fields, found another first line")
    peers = {}
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split("\t")
        if len(fields) != 8 or not fields[4].isdecimal():
            raise UnreadableFacts(f"reading `wg show dump`: wanted 8 fields in line {number}, found {len(fields)}")
        allowed = () if fields[3] == "(none)" else tuple(fields[3].split(","))
        endpoint = None if fields[2] == "(none)" else fields[2]
        peers[fields[0]] = PeerFacts(allowed_ips=allowed, handshake_at=int(fields[4]), endpoint=endpoint)
    return WireguardFacts(public_key=interface[1], peers=peers)
