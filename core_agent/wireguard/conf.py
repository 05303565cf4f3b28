"""The text of ``wg0.conf``: the operator's interface section kept to the letter, the peers rendered; pure.

Source: wg-quick(8). ``SaveConfig`` is refused because it would overwrite the file when the tunnel is taken down.
"""

from __future__ import annotations

import itertools
import re
from ipaddress import IPv4Network

from core_agent.contract.messages import Hold
from core_agent.desired import Peer
from core_agent.errors import StateError
from core_agent.wireguard.facts import PeerFacts
from core_agent.wireguard.plan import owned

MARK = "# --- peers below are written by the drawbridge agent; edits are overwritten ---"
_HEADER = re.compile(r"^\[(\w+)\]\s*$", re.MULTILINE)
_SAVE_CONFIG = re.compile(r"^\s*SaveConfig\s*=\s*true", re.MULTILINE | re.IGNORECASE)
_ENDPOINT = re.compile(r"^PublicKey = (\S+)\nAllowedIPs = \S+\nEndpoint = (\S+)$", re.MULTILINE)


def head(current: str, *, network: IPv4Network) -> str:
    """Return the operator's part of ``current`` as it is, and the mark below which the agent writes.

    A peer of an operator's that lies inside the tunnel's ``network`` is the agent's, and is left out. Raises
    ``StateError`` when this is no configuration that can be kept.
    """
    own = current.split(MARK, maxsplit=1)[0]
    if not re.search(r"^\[Interface\]\s*$", own, re.MULTILINE):
        raise StateError("reading wg0.conf: wanted an [Interface] section, found none; the file was left as it is")
    if _SAVE_CONFIG.search(own):
        raise StateError("reading wg0.conf: found SaveConfig = true, which would undo the agent's work; take it out")
    starts = [match.start() for match in _HEADER.finditer(own)] + [len(own)]
    kept = own[: starts[0]] + "".join(
        section
        for start, end in itertools.pairwise(starts)
        if not (section := own[start:end]).startswith("[Peer]") or not _owned_section(section, network)
    )
    return f"{kept.rstrip()}\n\n{MARK}\n"


def section(peer: Peer, endpoint: str | None) -> str:
    """Return what the file says of ``peer``, with all that its record could be rebuilt from.

    The endpoint, where one is known, is written too: after a restart the core then opens the tunnel itself with its
    first health check; a node would notice only when its session is two minutes old.
    """
    held = "" if peer.hold is Hold.NONE else f", held {peer.hold}"
    lines = [
        "",
        f"# node {peer.instance} of {peer.group}{held}",
        "[Peer]",
        f"PublicKey = {peer.public_key}",
        f"AllowedIPs = {peer.address}/32",
    ]
    if endpoint is not None:
        lines.append(f"Endpoint = {endpoint}")
    return "\n".join([*lines, ""])


def endpoints_in(text: str) -> dict[str, str]:
    """Return the endpoints that the agent wrote into ``text``, by public key."""
    return dict(_ENDPOINT.findall(text.partition(MARK)[2]))


def _owned_section(section: str, network: IPv4Network) -> bool:
    found = re.search(r"^AllowedIPs\s*=\s*(.+)$", section, re.MULTILINE | re.IGNORECASE)
    allowed = tuple(part.strip() for part in found[1].split(",")) if found else ()
    return bool(allowed) and owned(PeerFacts(allowed_ips=allowed, handshake_at=0), network)
