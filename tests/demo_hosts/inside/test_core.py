"""The demo's core: laid out by the product's installer, run as systemd would, and its agent may come and go."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import settings
from core_agent.build import build
from demo.hosts.client import LoadClient, Reading
from demo.hosts.core import Core
from demo.hosts.switch import Switch

REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A core that runs, its users' machine, and what it was built from."""

    core: Core
    client: LoadClient
    host_key: str
    identity: Path


@pytest.fixture(scope="module")
def built(switch: Switch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """One core for all tests of this module."""
    folder = tmp_path_factory.mktemp("core")
    identity, agent = folder / "identity", folder / "agent.pyz"
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", identity), check=True)
    build(agent)
    core, client = Core(switch=switch, log_folder=folder), LoadClient(switch=switch, log_folder=folder)
    try:
        host_key = core.boot()
        text = (REPOSITORY / "drawbridge.toml").read_text().replace("203.0.113.10", "192.0.2.1")
        config = re.sub("ssh_host_key = .*", f'ssh_host_key = "{host_key}"', text)
        core.install(agent=agent, config=config, authorized_key=identity.with_suffix(".pub").read_text().strip())
        core.start(settings.parse(config, source="test").core.servers, service_ms=20)
        client.boot()
        yield Built(core=core, client=client, host_key=host_key, identity=identity)
    finally:
        client.stop()
        core.stop()


def test_agent_answers_as_a_converged_core(built: Built) -> None:
    """After start the agent reports the core's own server up, and nothing left to do."""
    facts = built.core.ask_facts()
    assert facts.core == "oslo-1"
    assert [server.name for server in facts.load.servers if server.up] == ["no-primary"]
    assert facts.pending_steps == 0


def test_agent_runs_with_one_capability_as_its_own_user(built: Built) -> None:
    """The agent's process has CAP_NET_ADMIN and no other capability, cannot gain any, and is nobody's root."""
    host = built.core.host
    (pid,) = host.run(("pgrep", "-f", "^/usr/bin/python3 -I /usr/lib/drawbridge/agent.pyz serve")).stdout.split()
    status = host.read(f"/proc/{pid.decode()}/status").decode()
    net_admin = f"{1 << 12:016x}"
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert f"{name}:\t{net_admin}\n" in status
    assert "NoNewPrivs:\t1\n" in status
    assert host.run(("ps", "-o", "user:32=", "-p", pid.decode())).stdout.strip() == b"drawbridge-agent"


def test_agent_restarts_and_crashes_cost_no_request(built: Built) -> None:
    """While the agent is killed, started and restarted, every request is answered by the core's server."""
    seconds: list[Reading] = []
    built.client.start("http://192.0.2.1/", rate=50, on_second=seconds.append)
    _await(lambda: bool(seconds))
    before = len(seconds)
    built.core.kill_agent()
    built.core.start_agent()
    built.core.restart_agent()
    _await(lambda: len(seconds) >= before + 2)
    summary = built.client.finish()
    assert (summary.ok, summary.failed) == (summary.sent, 0)
    assert dict(summary.servers) == {"no-primary": summary.sent}


def test_load_follows_the_rate_it_is_told(built: Built) -> None:
    """A rate told while the load runs takes effect, and 0 sends nothing."""
    seconds: list[Reading] = []
    built.client.start("http://192.0.2.1/health", rate=0, on_second=seconds.append)
    _await(lambda: bool(seconds))
    built.client.set_rate(100)
    _await(lambda: seconds[-1].sent > 0)
    built.client.set_rate(0)
    _await(lambda: seconds[-1].rate == 0 and seconds[-1].sent == 0)
    summary = built.client.finish()
    assert {second.rate for second in seconds} == {0, 100}
    assert seconds[0].sent == 0
    assert summary.ok == summary.sent > 0


def test_load_whose_time_is_up_is_finished_too(built: Built) -> None:
    """A load that ended by itself gives its whole count when asked, and another one can begin."""
    for _ in range(2):
        built.client.start("http://192.0.2.1/health", rate=20, seconds=1)
        _await(lambda: not built.client.running)
        assert built.client.finish().ok == 20


def test_ssh_presents_the_host_key_that_boot_returned(built: Built) -> None:
    """The core's sshd shows exactly the key that drawbridge.toml was given to pin."""
    scanned = subprocess.run(
        ("ssh-keyscan", "-t", "ed25519", "192.0.2.1"), capture_output=True, text=True, check=True
    ).stdout
    assert f"192.0.2.1 {built.host_key}" in scanned


def _await(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
