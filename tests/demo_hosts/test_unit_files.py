"""Reading systemd's units: the demo starts what they say, or says why it can't."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.hosts.errors import HostError
from demo.hosts.unit import Socket, parse_service, parse_socket

UNITS = Path(__file__).resolve().parents[2] / "core_agent/system"
SERVICE = """\
[Unit]
Wants=other.service
[Service]
ExecStart=/usr/bin/python3 -I "/usr/lib/a b.pyz" serve
User=agent
Group=agents
AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW
NoNewPrivileges=yes
UMask=0077
ProtectSystem=strict
"""


def test_service_becomes_the_argv_that_confines_it() -> None:
    """User, groups, capabilities and no-new-privileges come before the program's own words."""
    service = parse_service(SERVICE, source="test.service")
    assert service.umask == "0077"
    capabilities = "-all,+net_admin,+net_raw"
    assert service.confined() == (
        *("setpriv", "--reuid=agent", "--regid=agents", "--init-groups", "--no-new-privs"),
        *(f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}", f"--bounding-set={capabilities}"),
        *("/usr/bin/python3", "-I", "/usr/lib/a b.pyz", "serve"),
    )


@pytest.mark.parametrize(
    ("found", "instead", "says"),
    [
        ("User=agent\n", "", "wanted User, found none"),
        ("NoNewPrivileges=yes\n", "", "wanted equal ambient and bounding capabilities and NoNewPrivileges=yes"),
        ("BoundingSet=CAP_NET_ADMIN CAP_NET_RAW", "BoundingSet=CAP_NET_ADMIN", "wanted equal ambient and bounding"),
        ("UMask=0077", "Environment=A=b", "wanted directives that the demo can follow, found Environment"),
    ],
)
def test_service_that_cannot_be_followed_is_refused(found: str, instead: str, says: str) -> None:
    """A directive that is missing, or that the demo does not know how to follow, is an error that names it."""
    assert found in SERVICE
    with pytest.raises(HostError, match=f"reading test.service: {says}"):
        parse_service(SERVICE.replace(found, instead), source="test.service")


def test_the_products_own_units_can_be_followed() -> None:
    """The units that ship with the agent are understood whole."""
    service = parse_service((UNITS / "drawbridge-agent.service").read_text(), source="drawbridge-agent.service")
    assert service.capabilities == "-all,+net_admin"
    unit = (UNITS / "drawbridge-agent.socket").read_text().replace("@SSH_USER@", "drawbridge")
    assert parse_socket(unit, source="drawbridge-agent.socket") == Socket(
        path="/run/drawbridge/agent.sock",
        user=service.user,
        group="drawbridge",
        mode="0660",
        directory_mode="0755",
    )
