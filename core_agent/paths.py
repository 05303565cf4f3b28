"""Where things lie on a core: the one list that the agent, its installer and the units agree on."""

from __future__ import annotations

from pathlib import Path

AGENT_USER = "drawbridge-agent"
INTERFACE = "wg0"

ZIPAPP = Path("/usr/lib/drawbridge/agent.pyz")
RELAY = Path("/usr/lib/drawbridge/relay")
SETTINGS = Path("/etc/drawbridge/drawbridge.toml")
STATE = Path("/var/lib/drawbridge/state.db")
SOCKET = Path("/run/drawbridge/agent.sock")
WG_CONF = Path("/etc/wireguard/wg0.conf")
HAPROXY_CFG = Path("/etc/haproxy/haproxy.cfg")
OPERATOR_CFG = Path("/etc/drawbridge/operator.cfg")
# What HAProxy is started with beside its own file: nothing, or a link to the operator's.
HAPROXY_EXTRA = Path("/run/drawbridge-haproxy")
HAPROXY_DROP_IN = Path("/etc/systemd/system/haproxy.service.d/drawbridge.conf")
HAPROXY_SOCKET = Path("/run/haproxy/admin.sock")
AUTHORIZED_KEYS = Path("/etc/ssh/drawbridge_authorized_keys")
SSHD_DROP_IN = Path("/etc/ssh/sshd_config.d/50-drawbridge.conf")
SSHD_RUN = Path("/run/sshd")
UNITS = Path("/etc/systemd/system")
