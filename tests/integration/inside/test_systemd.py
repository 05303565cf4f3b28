"""The unmodified installer on a core that systemd boots: sandbox, socket, restarts, upgrades and refusals for real."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from core_agent.contract.messages import EnrollNode, Seats, SetBurst, SyncFleet
from core_agent.contract.names import InstanceId, PublicKey, Reason
from demo.hosts.switch import Switch
from tests.integration.inside.real_bridge import GROUP, until
from tests.integration.inside.real_systemd import SystemdCore

NODE_KEY = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
KILLS = 7  # systemd's own limit is five starts within ten seconds


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdCore]:
    """One installed core for the module."""
    switch = Switch()
    switch.start()
    core = SystemdCore(switch, tmp_path_factory.mktemp("systemd"))
    try:
        core.boot()
        core.install(core.settings)
        yield core
    finally:
        core.stop()


def running_slots(core: SystemdCore, server: str) -> str:
    """Return the maxconn of ``server`` in the running HAProxy, asked on its own socket."""
    script = (
        "import socket\n"
        "s = socket.socket(socket.AF_UNIX); s.connect('/run/haproxy/admin.sock')\n"
        "s.sendall(b'show stat web_nodes 4 -1\\n')\n"
        "print(b''.join(iter(lambda: s.recv(65536), b'')).decode())"
    )
    rows = [line.split(",") for line in core.run("/usr/bin/python3", "-c", script).splitlines() if "," in line]
    return next(row[rows[0].index("slim")] for row in rows if row[1] == server)


def filed_slots(core: SystemdCore, server: str) -> str:
    """Return the maxconn of ``server`` in haproxy.cfg."""
    found = re.search(rf"^    server {server} .* maxconn (\d+)", core.read("/etc/haproxy/haproxy.cfg"), re.MULTILINE)
    return found[1] if found else "none"


def test_the_agent_runs_in_its_sandbox_and_answers_the_ssh_key(core: SystemdCore) -> None:
    """Its own user, one capability, no new privileges, a read-only file system; the relay brings its facts."""
    assert core.facts().core == "oslo-1"
    assert core.property("ActiveState") == "active"
    status = core.read(f"/proc/{core.property('MainPID')}/status")
    user = core.run("id", "-u", "drawbridge-agent").strip()
    assert re.search(rf"^Uid:\t{user}\t{user}\t", status, re.MULTILINE)
    assert re.search(r"^CapEff:\t0+1000$", status, re.MULTILINE)  # CAP_NET_ADMIN, capability 12, alone
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)
    mounts = core.read(f"/proc/{core.property('MainPID')}/mountinfo")
    assert re.search(r" / / ro", mounts)


def test_a_node_is_let_in_under_the_sandbox(core: SystemdCore) -> None:
    """Both files are written although the rest is read-only, HAProxy checks its own, and both sides run the node."""
    seats = Seats(joining=(InstanceId("i-1"),))
    core.client.request(SyncFleet(group=GROUP, generation=time.time_ns() // 1_000_000, seats=seats))
    tunnel = core.client.request(EnrollNode(instance=InstanceId("i-1"), public_key=PublicKey(NODE_KEY)))
    assert tunnel.address == "10.100.0.2/32"
    assert f"PublicKey = {NODE_KEY}" in core.read("/etc/wireguard/wg0.conf")
    assert NODE_KEY in core.run("wg", "show", "wg0", "peers")
    # A quarter of its slots at the calm level; all of them while no core server is up, and none runs here.
    assert (filed_slots(core, "i-1"), running_slots(core, "i-1")) == ("7", "28")


def test_metrics_are_told_under_the_sandbox(core: SystemdCore) -> None:
    """The unit's rules let the tunnel's network in and nobody else, be it the same machine by its public address."""
    metrics = ("curl", "--silent", "--max-time", "3", "http://10.100.0.1:9469/metrics")
    until(
        lambda: 'drawbridge_side_up{side="haproxy"} 1\n' in core.run(*metrics, check=False), "a look among the metrics"
    )
    assert core.property("IPAddressAllow") == "10.100.0.0/22"
    assert core.run(*metrics, "--interface", "192.0.2.1", check=False) == ""
    listening = re.findall(r"(\S+):9469\b", core.run("ss", "--listening", "--tcp", "--numeric", "--no-header"))
    assert listening == ["10.100.0.1"]


def test_a_restart_keeps_the_socket(core: SystemdCore) -> None:
    """The socket that was there before is there afterwards, a request that meets the restart is answered."""
    before = core.run("stat", "--format=%i", "/run/drawbridge/agent.sock")
    process = core.property("MainPID")
    core.run("systemctl", "restart", "--no-block", "drawbridge-agent.service")
    assert core.facts().core == "oslo-1"
    until(lambda: core.property("MainPID") not in ("0", process), "another process")
    assert core.facts().core == "oslo-1"
    assert core.run("stat", "--format=%i", "/run/drawbridge/agent.sock") == before


def test_no_number_of_crashes_ends_it(core: SystemdCore) -> None:
    """Killed as soon as it is back, more often than systemd's own limit allows, it is started again and answers."""
    process = core.property("MainPID")
    for _ in range(KILLS):
        core.run("kill", "-KILL", process)
        until(lambda dead=process: core.property("MainPID") not in ("0", dead), "another process")  # type: ignore[misc]
        process = core.property("MainPID")
    assert core.facts().core == "oslo-1"
    assert core.property("ActiveState", "drawbridge-agent.socket") == "active"


def test_after_an_upgrade_the_file_says_what_runs(core: SystemdCore) -> None:
    """Installed again with another maxconn: the core's server has it in the file and in HAProxy, the node is still in.

    A reload alone changes the core's own servers, and the former agent must not write its own settings back before it.
    """
    core.client.request(SetBurst(level_percent=50, reason=Reason("to be kept")))
    core.install(core.settings.replace("maxconn = 50 ", "maxconn = 37 ").replace("maxconn = 28 ", "maxconn = 12 "))
    until(lambda: running_slots(core, "no-primary") == "37", "the reloaded HAProxy")
    assert filed_slots(core, "no-primary") == "37"
    both = ("6", "12")
    until(lambda: (filed_slots(core, "i-1"), running_slots(core, "i-1")) == both, "half of its slots and all of them")
    assert [node.instance for node in core.facts().nodes] == ["i-1"]


def test_what_others_must_read_is_readable_whatever_roots_umask_is(core: SystemdCore) -> None:
    """The installer ran with umask 077: zipapp, settings, units and keys can be read by those who need them."""
    paths = (
        "/usr/lib/drawbridge",
        "/etc/drawbridge",
        "/usr/lib/drawbridge/agent.pyz",
        "/etc/drawbridge/drawbridge.toml",
    )
    modes = core.run("stat", "--format=%a", *paths, "/etc/ssh/drawbridge_authorized_keys").split()
    assert modes == ["755", "755", "755", "644", "644"]


def test_a_tunnel_that_moved_is_refused_before_anything_is_done(core: SystemdCore) -> None:
    """Each difference is named, the former settings stay, the agent goes on."""
    before = core.read("/etc/drawbridge/drawbridge.toml")
    moved = core.settings.replace("port = 51820", "port = 51821\nmtu = 1400").replace("10.100.0.0/22", "10.101.0.0/22")
    done = core.install(moved, check=False)
    assert done.returncode == 1
    for words in (
        "wanted Address = 10.101.0.1/22, found 10.100.0.1/22",
        "wanted ListenPort = 51821, found 51820",
        "wanted MTU = 1400, found 1360",
    ):
        assert words in done.stderr
    assert (done.stdout, core.read("/etc/drawbridge/drawbridge.toml")) == ("", before)
    assert core.facts().core == "oslo-1"


def test_rules_that_sshd_refuses_are_taken_back(core: SystemdCore) -> None:
    """With another file of sshd's broken, the installer says so in sshd's words and leaves the drop-in as it was."""
    drop_in, broken = "/etc/ssh/sshd_config.d/50-drawbridge.conf", "/etc/ssh/sshd_config.d/60-broken.conf"
    before = core.read(drop_in) + "# by hand\n"
    core.write(drop_in, before)
    core.write(broken, "NoSuchWord yes\n")
    done = core.install(core.settings, check=False)
    core.run("rm", broken)
    assert done.returncode == 1
    assert "Bad configuration option: NoSuchWord" in done.stderr
    assert core.read(drop_in) == before
    core.install(core.settings)
    assert "by hand" not in core.read(drop_in)


def test_an_agent_that_does_not_answer_fails_the_installation(core: SystemdCore) -> None:
    """An agent that cannot start is no installed agent: exit status 1 and the end of its journal."""
    core.write(
        "/etc/systemd/system/drawbridge-agent.service.d/broken.conf",
        "[Service]\nProtectSystem=strict\nReadWritePaths=\nReadWritePaths=/tmp\n",
    )
    done = core.install(core.settings, check=False)
    core.run("rm", "-r", "/etc/systemd/system/drawbridge-agent.service.d")
    assert done.returncode == 1
    assert "wanted its answer within 15 s" in done.stderr
    assert "unable to open database file" in done.stderr
    core.install(core.settings)
