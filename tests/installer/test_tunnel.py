"""wg0.conf: made once, kept for ever, compared with the settings."""

from __future__ import annotations

import pytest

from core_agent import paths
from core_agent.install import tunnel
from tests.installer.conftest import AGENT, Machine

SAME = "[Interface]\nAddress = 10.100.0.1/22\nListenPort = 51820\nMTU = 1360\nPrivateKey = x\n"


def test_the_file_is_made_once(machine: Machine) -> None:
    """A new one agrees with the settings; a second time key and text stay, and it is the agent's again."""
    paths.WG_CONF.parent.mkdir()
    tunnel.make(machine.settings().tunnel)
    first = paths.WG_CONF.read_text()
    assert tunnel.differences(first, machine.settings().tunnel) == ()
    paths.WG_CONF.chmod(0o644)
    tunnel.make(machine.settings().tunnel)
    found = paths.WG_CONF.stat()
    assert paths.WG_CONF.read_text() == first
    assert (found.st_uid, found.st_mode & 0o777) == (AGENT.pw_uid, 0o600)


def test_no_packet_for_a_node_takes_another_way(machine: Machine) -> None:
    """Before the tunnel is up, and after it has gone, its network cannot be reached; its own route comes first."""
    paths.WG_CONF.parent.mkdir()
    tunnel.make(machine.settings().tunnel)
    lines = paths.WG_CONF.read_text().splitlines()
    assert "PreUp = ip route replace unreachable 10.100.0.0/22 metric 4294967295" in lines
    assert not any(line.startswith("PostDown") for line in lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SAME, ()),
        (SAME.lower().replace("[interface]", "[Interface]"), ()),
        (SAME.replace("10.100.0.1/22", "192.0.2.9/32, 10.100.0.1/22  # two"), ()),
        (SAME.replace("Address", "Address = 192.0.2.9/32\nAddress"), ()),
        (SAME.replace("/22", "/24"), ("wanted Address = 10.100.0.1/22, found 10.100.0.1/24",)),
        (SAME.replace("51820", "51821"), ("wanted ListenPort = 51820, found 51821",)),
        (SAME.replace("MTU", "# MTU"), ("wanted MTU = 1360, found none",)),
        (SAME.replace("MTU = 1360\n", "") + "[Peer]\nMTU = 1360\n", ("wanted MTU = 1360, found none",)),
        (
            "[Interface]\n",
            (
                "wanted Address = 10.100.0.1/22, found none",
                "wanted ListenPort = 51820, found none",
                "wanted MTU = 1360, found none",
            ),
        ),
    ],
)
def test_each_difference_is_named(text: str, says: tuple[str, ...], machine: Machine) -> None:
    """Only the interface's own lines count, in any case and with any further address."""
    assert tunnel.differences(text, machine.settings().tunnel) == says
