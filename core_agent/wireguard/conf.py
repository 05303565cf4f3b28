"""The text of ``wg0.conf``: the operator's interface section kept to the letter, the peers rendered; pure.

Source: wg-quick(8). ``SaveConfig`` is refused because it would overwrite the file when the tunnel is taken down.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network

from core_agent.desired import Peer
from core_agent.errors import StateError
from core_agent.wireguard.facts import PeerFacts
from core_agent.wireguard.plan import owned

MARK = "# --- peers below are written by the drawbridge agent; edits are overwritten ---"
_HEADER = re.compile(r"^\[(\w+)\]\s*$", re.MULTILINE)
_SAVE_CONFIG = re.compile(r"^\s*SaveConfig\s*=\s*true", re.MULTILINE | re.IGNORECASE)
_ENDPOINT = re.compile(r"^PublicKey = (\S+)\nAllowedIPs = \S+\nEndpoint = (\S+)$", re.MULTILINE)
_NODE = re.compile(r"^# node (\S+)$", re.MULTILINE)


def render(current: str, peers: Iterable[Peer], endpoints: Mapping[str, str], *, network: IPv4Network) -> str:
    """Return ``current`` with its own part untouched and exactly ``peers`` below the mark. Raises ``StateError``.

    A peer's endpoint, where ``endpoints`` has one by its key, is written too: after a restart the core then opens the
    tunnel itself with its first health check; a node would notice only when its session is two minutes old.
    """
    head = current.split(MARK, maxsplit=1)[0]
    if not re.search(r"^\[Interface\]\s*$", head, re.MULTILINE):
        raise StateError("reading wg0.conf: wanted an [Interface] section, found none; the file was left as it is")
    if _SAVE_CONFIG.search(head):
        raise StateError("reading wg0.conf: found SaveConfig = true, which would undo the agent's work; take it out")
    starts = [match.start() for match in _HEADER.finditer(head)] + [len(head)]
    kept = head[: starts[0]] + "".join(
        section
        for start, end in itertools.pairwise(starts)
        if not (section := head[start:end]).startswith("[Peer]") or not _owned_section(section, network)
    )
    rendered = "".join(_section(peer, endpoints.get(peer.public_key)) for peer in sorted(peers, key=_by_instance))
    return f"{kept.rstrip()}\n\n{MARK}\n{rendered}"


def _by_instance(peer: Peer) -> str:
    return peer.instance


def _section(peer: Peer, endpoint: str | None) -> str:
    lines = [
        "",
        f"# node {peer.instance}",
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


def nodes_in(text: str) -> tuple[str, ...]:
    """Return the instance ids of the peers that the agent wrote into ``text``."""
    return tuple(_NODE.findall(text.partition(MARK)[2]))


def _owned_section(section: str, network: IPv4Network) -> bool:
    found = re.search(r"^AllowedIPs\s*=\s*(.+)$", section, re.MULTILINE | re.IGNORECASE)
    allowed = tuple(part.strip() for part in found[1].split(",")) if found else ()
    return bool(allowed) and owned(PeerFacts(allowed_ips=allowed, handshake_at=0), network)
