"""The demo's own ``drawbridge.toml``: the same keys as anybody's, for hosts in the documentation networks; pure."""

from __future__ import annotations

import platform
import sys

from demo.hosts.image import WEBAPP_PATH
from demo.hosts.switch import CORE_ADDRESS
from settings.tables import Functions
from settings.words import Architecture, Runtime

ACCOUNT = "123456789012"
REGION = "eu-north-1"
NAME = "drawbridge"
SLOTS, SERVICE_MS = 10, 100

# Requests per second that the core serves with every slot busy.
CORE_CAPACITY = SLOTS * 1000 / SERVICE_MS

_TEXT = """\
name = "{name}"

[core]
name = "oslo-1"
public_address = "{address}"
ssh_port = {ssh_port}
ssh_host_key = "{host_key}"
ssh_identity = "{identity}"

[[core.servers]]
name = "no-primary"
address = "127.0.0.1"
port = 8080
maxconn = {slots}

[tunnel]
network = "10.100.0.0/24"

[edge]
account = "{account}"
region = "{region}"
availability_zones = ["{region}a", "{region}b"]
vpc_network = "10.200.0.0/20"
instance_type = "t3.small"
image_parameter = "/aws/service/debian/release/13/latest/amd64"
min_capacity = 1  # takes what finds the core full while others boot
max_capacity = 3
launch_timeout_s = 120
terminate_timeout_s = 60
drain_deadline_s = 20

[application]
port = 8080
command = [
  "/usr/bin/python3", "-I", "{webapp}", "--port", "8080", "--slots", "{slots}", "--service-ms", "{service_ms}",
]

[burst]
weight = {slots}
maxconn = {slots}
calm_percent = 50
alarm_percent = 100
ramp_s = 4
saturation_high_percent = 84
saturation_low_percent = 55
period_s = 10
alarm_periods = 1
calm_periods = 2
warmup_s = 2  # a node that serves while a queue stands gets its full weight at once

[functions]
architecture = "{architecture}"
runtime = "{runtime}"
"""


def toml(*, host_key: str, identity: str, address: str = str(CORE_ADDRESS), ssh_port: int = 22) -> str:
    """Return the file's text; ``address`` and ``ssh_port`` are where the core's sshd is reached from."""
    return _TEXT.format(
        name=NAME,
        address=address,
        ssh_port=ssh_port,
        host_key=host_key,
        identity=identity,
        slots=SLOTS,
        service_ms=SERVICE_MS,
        account=ACCOUNT,
        region=REGION,
        webapp=WEBAPP_PATH,
        architecture=functions().architecture,
        runtime=functions().runtime,
    )


def functions() -> Functions:
    """Return the functions' processor and Python: this machine's own, because this machine runs them."""
    machine = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return Functions(
        architecture=Architecture(machine), runtime=Runtime(f"python{sys.version_info.major}.{sys.version_info.minor}")
    )
