"""What the tests of the local AWS share: recorded machines, functions for this machine, and patience."""

import io
import json
import platform
import socket
import sys
import textwrap
import threading
import time
import uuid
import zipfile
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from demo.aws.machines import Machine
from demo.aws.server import LocalAws

Json: TypeAlias = Any
"""Whatever an API or a handler takes or gives."""

Found = TypeVar("Found")

RUNTIME = f"python3.{sys.version_info.minor}"
PROCESSOR = "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"


class RecordedMachines:
    """Machines that only remember what was asked, in order."""

    def __init__(self) -> None:
        self.launched: dict[str, Machine] = {}
        self.asked: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def launch(self, machine: Machine) -> None:
        """Remember the machine."""
        with self._lock:
            self.launched[machine.instance_id] = machine
            self.asked.append(("launch", machine.instance_id))

    def terminate(self, instance_id: str) -> None:
        """Remember its end."""
        with self._lock:
            self.asked.append(("terminate", instance_id))


def create_function(aws: LocalAws, name: str, source: str, **more: Json) -> str:
    """Create a function from source whose handler is ``main.handler``; returns its ARN."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("main.py", textwrap.dedent(source))
    trust = {"Version": "2012-10-17", "Statement": []}
    role = aws.place.client("iam").create_role(
        RoleName=f"{name}-{uuid.uuid4().hex[:6]}", AssumeRolePolicyDocument=json.dumps(trust)
    )
    request = {
        "FunctionName": f"{name}-{uuid.uuid4().hex[:6]}",
        "Runtime": RUNTIME,
        "Architectures": [PROCESSOR],
        "Handler": "main.handler",
        "Role": role["Role"]["Arn"],
        "Code": {"ZipFile": packed.getvalue()},
        "MemorySize": 256,
        **more,
    }
    return str(aws.place.client("lambda").create_function(**request)["FunctionArn"])


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(condition: Callable[[], Found | None], *, within_s: float = 60.0) -> Found:
    """The first true answer of ``condition``; fails after ``within_s``."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.03)
    raise AssertionError(f"not within {within_s} s")
