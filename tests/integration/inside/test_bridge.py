"""The core and its nodes with real WireGuard, HAProxy and sshd: what the agent promises, seen from outside of it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core_agent.contract.messages import FleetReport, Seats, SyncFleet
from core_agent.contract.names import InstanceId
from demo.hosts.switch import Switch
from tests.integration.inside.real_bridge import GROUP, SERVICE_MS, SLOTS, Bridge, until

CAPACITY = SLOTS * 1000 / SERVICE_MS


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """One core for the module; nodes come and go."""
    switch = Switch()
    switch.start()
    built = Bridge(switch, tmp_path_factory.mktemp("bridge"))
    built.build()
    yield built
    built.tear_down()


@pytest.fixture
def two_nodes(bridge: Bridge) -> Iterator[Bridge]:
    """The bridge with i-1 and i-2 active, which leave afterwards."""
    for number in (1, 2):
        if f"i-{number}" not in bridge.phases():
            bridge.join(number)
    yield bridge
    assert bridge.phases() == {"i-1": "active", "i-2": "active"}


def test_overflow_crosses_the_tunnel_and_nothing_is_lost(two_nodes: Bridge) -> None:
    """At one and a half times the core's capacity both nodes serve, the core stays the busiest, no request fails."""
    two_nodes.users.start("http://192.0.2.1/", rate=CAPACITY * 1.5, seconds=60)
    until(lambda: len(two_nodes.users.readings) >= 5, "five seconds of load")
    total = two_nodes.users.finish()
    assert (total.failed, total.ok) == (0, total.sent)
    assert set(total.servers) == {"no-primary", "i-1", "i-2"}
    assert total.servers["no-primary"] > 0.5 * total.ok


def test_below_capacity_the_edge_gets_nothing(two_nodes: Bridge) -> None:
    """At half of what the core can do, at most one request in two hundred leaves home.

    A machine that stalls for half a second fills the core's slots, and then some rightly leave; a busy one does so for
    a while: eight tries. A router that shared by weight would fail all of them.
    """
    shares: list[float] = []
    while len(shares) < 8 and max(shares, default=0) < 0.995:
        two_nodes.users.start("http://192.0.2.1/", rate=CAPACITY * 0.5, seconds=60)
        until(lambda: len(two_nodes.users.readings) >= 4, "four seconds of load")
        total = two_nodes.users.finish()
        assert total.failed == 0
        shares.append(total.servers["no-primary"] / total.sent)
    assert max(shares) >= 0.995, shares


def test_files_say_what_runs(two_nodes: Bridge) -> None:
    """wg0.conf and haproxy.cfg name exactly the running peers and servers, and HAProxy accepts the file."""
    assert two_nodes.filed_peers() == two_nodes.running_peers() == {"10.100.0.2/32", "10.100.0.3/32"}
    assert two_nodes.filed_servers() == {"i-1": True, "i-2": True}
    assert {name: status for name, (status, _) in two_nodes.running_servers().items()} == {"i-1": "UP", "i-2": "UP"}
    two_nodes.core.host.run(("haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"))


def test_a_peer_taken_away_by_hand_comes_back(two_nodes: Bridge) -> None:
    """Within seconds, without anybody asking, and without touching the other peer."""
    keys = two_nodes.core.host.run(("wg", "show", "wg0", "allowed-ips")).stdout.decode().splitlines()
    key = next(line.split("\t")[0] for line in keys if line.endswith("10.100.0.2/32"))
    two_nodes.core.host.run(("wg", "set", "wg0", "peer", key, "remove"))
    until(lambda: two_nodes.running_peers() == two_nodes.filed_peers(), "the peer back")
    endpoints = two_nodes.core.host.run(("wg", "show", "wg0", "endpoints")).stdout.decode()
    assert f"{key}\t198.51.100.11:" in endpoints, "the core knows where to find it, so the tunnel opens at once"


def test_weights_turned_by_hand_are_turned_back(two_nodes: Bridge) -> None:
    """Drift of a server's weight and state is repaired within seconds."""
    until(lambda: {status for status, _ in two_nodes.running_servers().values()} == {"UP"}, "both servers up")
    wanted = two_nodes.running_servers()
    two_nodes.runtime("set server web_nodes/i-1 weight 1")
    two_nodes.runtime("set server web_nodes/i-2 state maint")
    assert two_nodes.running_servers() != wanted
    until(lambda: two_nodes.running_servers() == wanted, "weight and state back")


def test_a_restart_of_everything_without_the_agent_restores_service(two_nodes: Bridge) -> None:
    """Agent dead, tunnel and HAProxy started anew from their files: the same peers and servers, traffic on both."""
    core = two_nodes.core
    core.kill_agent()
    try:
        core.host.run(("pkill", "-KILL", "haproxy"))
        core.host.run(("wg-quick", "down", "wg0"))
        core._start_tunnel()
        core._start_haproxy()
        assert two_nodes.running_peers() == two_nodes.filed_peers() == {"10.100.0.2/32", "10.100.0.3/32"}
        assert set(two_nodes.running_servers()) == {"i-1", "i-2"}
        until(lambda: {s for s, _ in two_nodes.running_servers().values()} == {"UP"}, "both servers up", limit_s=60)
        two_nodes.users.start("http://192.0.2.1/", rate=CAPACITY * 1.5, seconds=30)
        until(lambda: len(two_nodes.users.readings) >= 3, "three seconds of load")
        total = two_nodes.users.finish()
        assert total.failed == 0
        assert set(total.servers) == {"no-primary", "i-1", "i-2"}
    finally:
        core.start_agent()
    until(lambda: two_nodes.facts().pending_steps == 0, "nothing left to do")


def test_an_agent_killed_in_the_middle_is_whole_again(two_nodes: Bridge) -> None:
    """Kill -9 and a new start: same nodes, still active, nothing to do, and the warm client finds its way back."""
    two_nodes.core.host.run(("pkill", "-KILL", "-f", "agent.pyz serve"))
    two_nodes.core.start_agent()
    assert two_nodes.phases() == {"i-1": "active", "i-2": "active"}
    assert two_nodes.facts().pending_steps == 0


def test_records_lost_under_load_are_rebuilt_and_nothing_notices(two_nodes: Bridge) -> None:
    """state.db gone, the agent killed: it starts on what its files say, touches nothing, and goes on in order."""
    core, state = two_nodes.core, "/var/lib/drawbridge/state.db"
    files = ("/etc/wireguard/wg0.conf", "/etc/haproxy/haproxy.cfg")
    two_nodes.users.start("http://192.0.2.1/", rate=CAPACITY * 1.2, seconds=60)
    until(lambda: {"i-1", "i-2"} <= {n for r in two_nodes.users.readings for n in r.servers}, "both nodes serving")
    written, before = [core.host.read(path) for path in files], _counted(two_nodes)
    core.kill_agent()
    core.host.run(("rm", state, f"{state}-wal", f"{state}-shm"))
    core.start_agent()
    facts = two_nodes.facts()
    assert {node.instance: node.phase.value for node in facts.nodes} == {"i-1": "active", "i-2": "active"}
    assert (facts.pending_steps, facts.burst.level_percent) == (0, 25)
    late = two_nodes.client.request(
        SyncFleet(
            group=GROUP,
            generation=facts.groups[0].generation - 1,
            seats=Seats(leaving=(InstanceId("i-1"), InstanceId("i-2"))),
        )
    )
    assert isinstance(late, FleetReport)
    assert not late.applied, "nobody knows what was seen after that look"
    assert two_nodes.sync(i_1="serving", i_2="serving").applied
    seen = len(two_nodes.users.readings)
    until(lambda: len(two_nodes.users.readings) >= seen + 3, "three more seconds of load")
    total = two_nodes.users.finish()
    assert (dict(total.failed_by_kind), total.ok) == ({}, total.sent)
    assert [core.host.read(path) for path in files] == written
    after = _counted(two_nodes)
    assert after.keys() == before.keys()
    assert all(after[name] >= count > 0 for name, count in before.items()), (before, after)


def _counted(bridge: Bridge) -> dict[str, int]:
    """Return what begins at 0 again with a new worker, server or peer, each under a name that has what would change."""
    counted = {f"worker {bridge.runtime('show info').split('Pid: ')[1].split()[0]}": 1}
    header, *rows = [line.split(",") for line in bridge.runtime("show stat web_nodes 4 -1").splitlines() if line]
    name, sessions = header.index("svname"), header.index("stot")
    counted |= {f"server {row[name]}": int(row[sessions]) for row in rows}
    for peer in bridge.core.host.run(("wg", "show", "wg0", "dump")).stdout.decode().splitlines()[1:]:
        key, _, endpoint, allowed, _, received, *_ = peer.split("\t")
        counted[f"peer {key} {allowed} at {endpoint}"] = int(received)
    return counted


def test_metrics_are_inside_the_tunnel_alone(two_nodes: Bridge) -> None:
    """A node reads them through its tunnel, whether or not that was down meanwhile; from outside nobody is answered."""
    node, stranger = two_nodes.nodes["i-1"], two_nodes.users.host
    curl = ("curl", "--silent", "--max-time", "5")

    def told() -> str:
        return node.run((*curl, "http://10.100.0.1:9469/metrics"), check=False).stdout.decode()

    until(lambda: 'drawbridge_peers{handshake="fresh"} 2\n' in told(), "both tunnels among the metrics")
    assert 'drawbridge_nodes{phase="active",hold="none"} 2\n' in told()
    two_nodes.core.host.run(("wg-quick", "down", "wg0"))
    two_nodes.core._start_tunnel()
    until(lambda: "drawbridge_" in told(), "the metrics back with the tunnel", limit_s=60)
    refused = stranger.run((*curl, "http://192.0.2.1:9469/metrics"), check=False)
    assert (refused.returncode, refused.stdout) == (7, b"")
    # Linux takes packets for any of its addresses on any interface: a neighbour on the wire can try that.
    stranger.run(("ip", "route", "add", "10.100.0.1", "via", "192.0.2.1"))
    unanswered = stranger.run((*curl, "http://10.100.0.1:9469/metrics"), check=False)
    stranger.run(("ip", "route", "delete", "10.100.0.1"))
    assert (unanswered.returncode, unanswered.stdout) in {(52, b""), (56, b"")}  # closed without a byte


def test_nodes_come_and_go_under_load_without_a_lost_request(two_nodes: Bridge) -> None:
    """Two join and leave again while the core is overloaded: no failure, no reload, no second HAProxy worker."""
    worker = two_nodes.runtime("show info").split("Pid: ")[1].split()[0]
    two_nodes.users.start("http://192.0.2.1/", rate=CAPACITY * 1.5, seconds=90)
    two_nodes.join(3)
    two_nodes.join(4)
    until(lambda: {"i-3", "i-4"} <= {n for r in two_nodes.users.readings for n in r.servers}, "both new nodes serving")
    two_nodes.leave(3, 4)
    total = two_nodes.users.finish()
    assert (dict(total.failed_by_kind), total.ok) == ({}, total.sent)
    assert two_nodes.runtime("show info").split("Pid: ")[1].split()[0] == worker
    assert two_nodes.filed_servers() == {"i-1": True, "i-2": True}


def _ssh(bridge: Bridge, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    known = bridge.folder / "known_hosts"
    options = ("-i", str(bridge.identity), "-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=no")
    argv = ("ssh", "-F", "none", *options, "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", *words)
    return subprocess.run(argv, input=given, capture_output=True, check=False, timeout=20)


@pytest.mark.parametrize("asked", [(), ("sh",), ("cat", "/etc/passwd"), ("-tt", "sh"), ("drawbridge; id",)])
def test_the_key_gets_no_shell_and_no_terminal(bridge: Bridge, asked: tuple[str, ...]) -> None:
    """Whatever is asked for, one line says that there is nothing of the kind; nothing is run."""
    flags, command = [w for w in asked if w.startswith("-")], [w for w in asked if not w.startswith("-")]
    done = _ssh(bridge, *flags, "drawbridge@192.0.2.1", *command, given=b"id\n")
    assert done.returncode != 0
    assert done.stdout == b""
    says = b"PTY allocation request failed" if flags else b"this key opens one door"
    assert says in done.stderr


def test_the_key_forwards_no_port(bridge: Bridge) -> None:
    """Neither a local forward nor stdio forwarding reaches what listens on the core."""
    done = _ssh(bridge, "-W", "127.0.0.1:8080", "drawbridge@192.0.2.1", given=b"GET / HTTP/1.0\r\n\r\n")
    assert done.returncode != 0
    assert b"forwarding failed" in done.stderr
    assert b"HTTP" not in done.stdout
    done = _ssh(bridge, "-o", "ExitOnForwardFailure=yes", "-R", "9999:127.0.0.1:22", "-N", "drawbridge@192.0.2.1")
    assert done.returncode != 0
    assert b"remote port forwarding failed" in done.stderr


def test_the_key_carries_no_file(bridge: Bridge, tmp_path: Path) -> None:
    """Sftp and scp, in both protocols, neither read nor write."""
    known = ("-o", f"UserKnownHostsFile={bridge.folder / 'known_hosts'}", "-o", "StrictHostKeyChecking=no")
    remote = "drawbridge@192.0.2.1:"
    for mode in ("-s", "-O"):
        scp = ("scp", "-q", mode, "-F", "none", "-i", str(bridge.identity), *known, "-o", "BatchMode=yes")
        for paths in ((f"{remote}/etc/passwd", str(tmp_path / "took")), (__file__, f"{remote}/tmp/gave")):
            done = subprocess.run((*scp, *paths), capture_output=True, check=False, timeout=20)
            assert done.returncode != 0
    assert not (tmp_path / "took").exists()
    assert bridge.core.host.run(("test", "-e", "/tmp/gave"), check=False).returncode != 0


def test_the_ssh_user_can_reach_nothing_but_the_socket(bridge: Bridge) -> None:
    """As that user on the core itself: no HAProxy socket, no keys, no records, no sudo; only the agent's socket."""
    host = bridge.core.host
    become = ("setpriv", "--reuid=drawbridge", "--regid=drawbridge", "--init-groups")
    for path in ("/etc/wireguard/wg0.conf", "/var/lib/drawbridge/state.db", "/run/haproxy/admin.sock"):
        assert host.run((*become, "test", "-r", path), check=False).returncode != 0, path
        assert host.run((*become, "test", "-w", path), check=False).returncode != 0, path
    assert host.run((*become, "test", "-w", "/run/drawbridge/agent.sock"), check=False).returncode == 0
    for path in ("/etc/haproxy/haproxy.cfg", "/usr/lib/drawbridge/agent.pyz", "/etc/ssh/drawbridge_authorized_keys"):
        assert host.run((*become, "test", "-w", path), check=False).returncode != 0, path


def test_the_agent_stops_when_told(bridge: Bridge) -> None:
    """SIGTERM ends it cleanly and at once; it starts again as if nothing had been."""
    agent = bridge.core._services["agent"]
    agent.signal(signal.SIGTERM)
    assert agent.wait(5) == 0
    bridge.core.start_agent()
    assert bridge.facts().pending_steps == 0


def test_without_the_tunnel_a_nodes_address_cannot_be_reached(two_nodes: Bridge) -> None:
    """Its packets would otherwise follow the default route, and a stranger there could answer the health check."""
    host = two_nodes.core.host
    way = ("ip", "route", "get", "10.100.0.2")
    assert b"dev wg0" in host.run(way).stdout
    host.run(("wg-quick", "down", "wg0"))
    try:
        assert b"unreachable" in host.run(("ip", "route", "show", "10.100.0.0/22")).stdout
        assert host.run(way, check=False).returncode != 0
    finally:
        two_nodes.core._start_tunnel()
    assert b"dev wg0" in host.run(way).stdout
    until(lambda: all(state == "UP" for state, _ in two_nodes.running_servers().values()), "both nodes up again")
