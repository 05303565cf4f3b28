"""WireGuard's facts, plan and file: text in, text out."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from core_agent.contract.messages import Hold
from core_agent.desired import Peer
from core_agent.errors import StateError, UnreadableFacts
from core_agent.wireguard.conf import MARK, endpoints_in, head, section
from core_agent.wireguard.facts import PeerFacts, parse_dump
from core_agent.wireguard.plan import RemovePeer, SetPeer, plan

NETWORK = IPv4Network("10.100.0.0/24")
INTERFACE = "[Interface]\nAddress = 10.100.0.1/24\nListenPort = 51820\nPrivateKey = cHJpdmF0ZQ==\n"
OWN_PEER = "\n[Peer]\n# the office\nPublicKey = b2ZmaWNl\nAllowedIPs = 192.0.2.0/24\n"


def _peer(number: int) -> Peer:
    return Peer(
        public_key=f"key{number}",
        address=f"10.100.0.{number}",
        instance=f"i-{number}",
        group="eu-north-1/web-edge",
        hold=Hold.DRAIN if number == 3 else Hold.NONE,
    )


def test_a_dump_is_read() -> None:
    """Real output of `wg show wg0 dump`, with and without a handshake, and the private key left behind."""
    facts = parse_dump(
        "SECRET\tPUBLIC\t51820\toff\n"
        "key1\t(none)\t198.51.100.10:40001\t10.100.0.2/32\t1795335955\t148\t92\toff\n"
        "key2\t(none)\t(none)\t(none)\t0\t0\t0\toff\n"
    )
    assert facts.public_key == "PUBLIC"
    assert facts.peers == {
        "key1": PeerFacts(allowed_ips=("10.100.0.2/32",), handshake_at=1795335955, endpoint="198.51.100.10:40001"),
        "key2": PeerFacts(allowed_ips=(), handshake_at=0),
    }
    assert "SECRET" not in repr(facts)


@pytest.mark.parametrize("text", ["", "SECRET\tPUBLIC\n", "SECRET\tPUBLIC\t1\toff\nkey1\tbroken\n"])
def test_an_unreadable_dump_is_an_error_that_shows_no_key(text: str) -> None:
    """Whatever `wg` printed, the private key does not reach the error."""
    with pytest.raises(UnreadableFacts) as caught:
        parse_dump(text)
    assert "SECRET" not in str(caught.value)


def test_the_plan_adds_mends_and_removes() -> None:
    """A missing peer and one with another address are set, an unknown one of the tunnel removed, a stranger left."""
    facts = {
        "key1": PeerFacts(allowed_ips=("10.100.0.1/32",), handshake_at=5),
        "key3": PeerFacts(allowed_ips=("10.100.0.3/32",), handshake_at=5),
        "key4": PeerFacts(allowed_ips=("10.100.0.4/32",), handshake_at=5),
        "office": PeerFacts(allowed_ips=("192.0.2.0/24",), handshake_at=5),
    }
    desired = {f"key{n}": _peer(n) for n in (1, 2, 3)}
    desired["key1"] = replace(_peer(1), address="10.100.0.9")
    assert plan(desired, facts, network=NETWORK) == (
        SetPeer(public_key="key1", address="10.100.0.9"),
        SetPeer(public_key="key2", address="10.100.0.2"),
        RemovePeer(public_key="key4"),
    )
    assert plan({}, {"office": facts["office"]}, network=NETWORK) == ()


def test_the_file_keeps_the_operators_part_to_the_letter() -> None:
    """Interface and foreign peers stay as they were written; peers of the tunnel above the mark are taken over."""
    known = {"key3": "198.51.100.13:40001"}
    stray = "\n[Peer]\nPublicKey = stray\nAllowedIPs = 10.100.0.77/32\n"
    own = head(INTERFACE + OWN_PEER + stray, network=NETWORK)
    text = own + section(_peer(2), None) + section(_peer(3), known["key3"])
    assert text.startswith(INTERFACE + OWN_PEER)
    assert "stray" not in text
    assert text.endswith(
        f"{MARK}\n\n# node i-2 of eu-north-1/web-edge\n[Peer]\nPublicKey = key2\nAllowedIPs = 10.100.0.2/32\n"
        "\n# node i-3 of eu-north-1/web-edge, held drain\n[Peer]\nPublicKey = key3\nAllowedIPs = 10.100.0.3/32\n"
        "Endpoint = 198.51.100.13:40001\n"
    )
    assert endpoints_in(text) == known
    assert head(text, network=NETWORK) == own


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("", r"wanted an \[Interface\]"), (INTERFACE + "SaveConfig = true\n", "SaveConfig")],
)
def test_a_file_that_is_none_is_refused(text: str, wanted: str) -> None:
    """Nothing is rendered over a file whose interface could not be kept."""
    with pytest.raises(StateError, match=wanted):
        head(text, network=NETWORK)
