"""HAProxy with its own Data Plane API on a machine of its own, set as fast as it lets itself be set; it knows no load.

The same timeouts, health checks and slots as the product's, core first as well. Its service discovery reads a Consul,
and every change becomes a new configuration file and a reload. Its fastest settings: ``retry_timeout`` 1 s (the least
that its API accepts) and ``reload_delay`` 1 s (whole seconds; 0 means its default of 5).
"""

from __future__ import annotations

import json
import secrets
import time
from ipaddress import IPv4Address
from pathlib import Path

from benches.fleet_changes.consul import SERVICE, Consul
from benches.fleet_changes.trouble import BenchError
from demo.hosts.host import Host
from demo.hosts.image import WEBAPP_PATH, with_webapp
from demo.hosts.switch import Switch

SOCKET = "/run/haproxy/admin.sock"
POLL_S = RELOAD_DELAY_S = 1
_CONSUL = (IPv4Address("127.0.0.2"), 8500)
BACKEND = f"consul-backend-{_CONSUL[0]}-{_CONSUL[1]}-{SERVICE}"
_CFG, _YAML, _PID_FILE = "/etc/haproxy/haproxy.cfg", "/etc/haproxy/dataplaneapi.yaml", "/run/haproxy.pid"
_BINARY = "/usr/local/bin/dataplaneapi"
_API = "127.0.0.1:5555"
_RELOAD = f"pkill -USR2 -F {_PID_FILE}"
_UP_S = 30

_HAPROXY = f"""\
global
    user haproxy
    group haproxy
    maxconn 8000
    nbthread 2
    stats socket {SOCKET} mode 660 level admin expose-fd listeners
    stats timeout 1m
    hard-stop-after 30s

defaults house
    mode http
    timeout client 50s
    timeout server 50s
    timeout connect 1s
    timeout queue 5s
    timeout check 1s
    timeout http-request 10s
    timeout http-keep-alive 10s
    balance leastconn
    option httpchk
    http-check send meth HEAD uri /health ver HTTP/1.1 hdr Host localhost
    http-check expect status 200-399
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response
    default-server inter 1s fastinter 200ms downinter 500ms fall 2 rise 2 maxconn {{slots}}

frontend fe_web from house
    bind :80
    use_backend {BACKEND} if {{{{ nbsrv({BACKEND}) gt 0 }}}} !{{{{ srv_conn_free(core/no-primary) gt 0 }}}}
    default_backend core

backend core from house
    server no-primary 127.0.0.1:8080 check

backend {BACKEND} from house
"""


class PeerHost:
    """The machine at ``address``; ``consul`` is the one its discovery reads."""

    def __init__(self, *, address: IPv4Address, switch: Switch, log_folder: Path) -> None:
        self.host = Host(name="peer", address=address, switch=switch, log_folder=log_folder)
        self.consul: Consul

    def build(self, binary: Path, *, slots: int, service_ms: int) -> None:
        """Start the machine with the Data Plane API in ``binary``; raises ``BenchError`` if it does not come up."""
        self.host.start()
        for path, content in with_webapp().items():
            self.host.write(path, content)
        capacity = ("--slots", str(slots), "--service-ms", str(service_ms))
        self.host.spawn(("/usr/bin/python3", "-I", WEBAPP_PATH, "--name", "no-primary", *capacity), name="webapp")
        self.host.run(("install", "-d", "-m", "2775", "-o", "haproxy", "-g", "haproxy", str(Path(SOCKET).parent)))
        self.host.write(_CFG, _HAPROXY.format(slots=slots).encode())
        self.host.spawn(("haproxy", "-W", "-p", _PID_FILE, "-f", _CFG), name="haproxy")
        self.consul = Consul(self.host.listen(*_CONSUL, hop_limit=1))
        self.consul.start()
        password = secrets.token_hex()
        self.host.write(_YAML, json.dumps(_settings(password)).encode(), mode=0o600)
        self.host.write(_BINARY, binary.read_bytes(), mode=0o755)
        api = self.host.spawn((_BINARY, "-f", _YAML), name="dataplaneapi")
        deadline = time.monotonic() + _UP_S
        while not self._discovers(password):
            if not api.running or time.monotonic() > deadline:
                raise BenchError(f"starting the Data Plane API: wanted it within {_UP_S} s, found {api.tail()}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Pull the plug."""
        self.consul.stop()
        self.host.stop()

    def _discovers(self, password: str) -> bool:
        """Tell it of the Consul; whether it took that."""
        discovery = {
            "address": str(_CONSUL[0]),
            "port": _CONSUL[1],
            "enabled": True,
            "retry_timeout": POLL_S,
            "health_check_policy": "all",
            "defaults": "house",
        }
        curl = ("curl", "--silent", "--fail-with-body", "--json", "@-", "--user", f"bench:{password}")
        done = self.host.run(
            (*curl, f"http://{_API}/v2/service_discovery/consul"), stdin=json.dumps(discovery).encode(), check=False
        )
        return done.returncode == 0


def _settings(password: str) -> dict[str, object]:
    """The Data Plane API's own file; JSON is YAML."""
    host, _, port = _API.partition(":")
    return {
        "config_version": 2,
        "name": "peer",
        "dataplaneapi": {
            "host": host,
            "port": int(port),
            "user": [{"name": "bench", "password": password, "insecure": True}],
        },
        "haproxy": {
            "config_file": _CFG,
            "haproxy_bin": "/usr/sbin/haproxy",
            "reload": {
                "reload_strategy": "custom",
                "reload_delay": RELOAD_DELAY_S,
                "reload_cmd": _RELOAD,
                "restart_cmd": _RELOAD,
            },
        },
    }
