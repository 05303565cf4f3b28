"""The two files of a core as the agent writes them, from what it wants to run."""

from __future__ import annotations

from pathlib import Path

from core_agent.contract.messages import Lifecycle, Phase
from core_agent.contract.names import InstanceId, Reason
from core_agent.desired import Desired
from core_agent.haproxy import config
from core_agent.roll import Burst, Node
from core_agent.wireguard import conf
from settings import load
from tests.agent.core_under_test import GROUP, key

SETTINGS = load(Path("drawbridge.toml"))
INTERFACE = "[Interface]\nPrivateKey = x\n\n[Peer]\nPublicKey = office\nAllowedIPs = 192.0.2.0/24\n"


def written(desired: Desired, *, endpoint: str | None = None, interface: str = INTERFACE) -> tuple[str, str]:
    """Return wg0.conf, below the operator's own ``interface``, and haproxy.cfg."""
    peers = sorted(desired.peers.values(), key=lambda peer: peer.instance)
    wg_conf = conf.head(interface, network=SETTINGS.tunnel.network)
    wg_conf += "".join(conf.section(peer, endpoint) for peer in peers)
    return wg_conf, config.render(SETTINGS, desired.burst, desired.core, desired.servers.values())


def two_nodes(*, interface: str = INTERFACE) -> tuple[str, str]:
    """Return the files of a core with i-1 and i-2 active."""
    nodes = [
        Node(
            instance=InstanceId(f"i-{number}"),
            group=GROUP,
            lifecycle=Lifecycle.SERVING,
            since=0,
            phase=Phase.ACTIVE,
            address=f"10.100.0.{number + 1}",
            public_key=key(number),
        )
        for number in (1, 2)
    ]
    desired = Desired(SETTINGS, nodes, Burst(level_percent=25, reason=Reason("calm")))
    return written(desired, interface=interface)
