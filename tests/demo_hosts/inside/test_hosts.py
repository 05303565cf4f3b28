"""Machines made of namespaces: apart from each other, this machine and the world, and gone without a trace."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from core_agent.errors import CommandFailed
from demo.hosts.errors import HostError
from demo.hosts.host import Host
from demo.hosts.switch import Switch

NewHost = Callable[[str, str], Host]

WG_CONF = """\
[Interface]
PrivateKey = {private}
Address = {address}
ListenPort = 51820
MTU = 1360
[Peer]
PublicKey = {peer}
Endpoint = {endpoint}:51820
AllowedIPs = {allowed}
"""


def _interfaces() -> set[str]:
    links = subprocess.run(("ip", "-json", "link"), capture_output=True, check=True).stdout
    return {link["ifname"] for link in json.loads(links)}


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=30).close()
    except OSError:
        return False
    return True


def test_change_of_files_stays_inside(new_host: NewHost) -> None:
    """A user added on one host exists neither on another nor on this machine."""
    left, right = new_host("left", "192.0.2.20"), new_host("right", "192.0.2.21")
    left.run(("useradd", "--system", "visitor"))
    assert b"visitor" in left.read("/etc/passwd")
    assert b"visitor" not in right.read("/etc/passwd")
    assert "visitor" not in Path("/etc/passwd").read_text()


def test_no_host_shares_what_is_volatile(new_host: NewHost) -> None:
    """A file in /run, /tmp, /dev, /root or /dev/shm of one host is on that host alone, device nodes included."""
    left, right = new_host("left", "192.0.2.20"), new_host("right", "192.0.2.21")
    for folder in ("/run", "/tmp", "/dev", "/root", "/dev/shm"):
        left.write(f"{folder}/mark", b"left")
        assert right.run(("test", "-e", f"{folder}/mark"), check=False).returncode == 1
        assert not Path(f"{folder}/mark").exists()


def test_host_starts_without_this_machines_secrets(new_host: NewHost) -> None:
    """A new host has its own name and no SSH host keys, no WireGuard keys and no home folders of this machine."""
    host = new_host("fresh", "192.0.2.20")
    assert host.run(("hostname",)).stdout == b"fresh\n"
    keys = ("find", "/etc/ssh", "/etc/wireguard", "/root", "/home", "-name", "ssh_host_*", "-o", "-path", "/root/*")
    assert host.run(keys).stdout == b""


@pytest.mark.parametrize("destination", ["1.1.1.1", "10.0.0.1", "203.0.113.1", "2001:db8::1"])
def test_no_route_leads_out(new_host: NewHost, destination: str) -> None:
    """Neither a host nor the sandbox has any way to an address that is not the demo's."""
    host = new_host("lonely", "198.51.100.20")
    asked = host.run(("ip", "route", "get", destination), check=False)
    assert asked.returncode == 2
    assert b"unreachable" in asked.stderr
    base = subprocess.run(("ip", "route", "get", destination), capture_output=True, check=False)
    assert b"unreachable" in base.stderr


def test_hosts_reach_each_other_across_both_networks(new_host: NewHost) -> None:
    """A host in Norway, one at AWS and the sandbox itself reach each other by the addresses they were given."""
    norway, aws = new_host("norway", "192.0.2.20"), new_host("aws", "198.51.100.20")
    for host in (norway, aws):
        host.spawn(("/usr/bin/python3", "-m", "http.server", "8000"), name="web")
    for asker, address in ((norway, "198.51.100.20"), (aws, "192.0.2.20")):
        curl = ("curl", "--silent", "--fail", "--retry", "20", "--retry-connrefused", "--retry-delay", "0")
        asker.run((*curl, "--max-time", "30", f"http://{address}:8000/"))
    assert _answers("192.0.2.20", 8000)
    assert _answers("198.51.100.20", 8000)


def test_switch_refuses_a_network_that_leads_somewhere(switch: Switch) -> None:
    """A switch is built only where nothing is routed yet, so never in this machine's own network."""
    with pytest.raises(HostError, match="wanted a network namespace without routes"):
        switch.start()


def test_stop_kills_everything_and_leaves_nothing(switch: Switch, tmp_path: Path) -> None:
    """After stop no process, device, mount or file of the host is left, daemons that had detached included."""
    links, machines = _interfaces(), Path("/run/machines")
    host = Host(name="brief", address=IPv4Address("192.0.2.20"), switch=switch, log_folder=tmp_path)
    host.start()
    host.run(("setsid", "--fork", "sh", "-c", "exec sleep 54321 >/dev/null 2>&1"))
    spawned = host.spawn(("sleep", "54321"), name="sleep")
    while _processes("54321") < 3:  # the daemon, the program, and nsenter, which waits for it
        time.sleep(0.02)
    host.stop()
    assert _processes("54321") == 0
    assert not spawned.running
    assert _interfaces() == links
    assert not (machines / "brief").exists()
    assert "brief" not in Path("/proc/self/mounts").read_text()
    with pytest.raises(HostError, match="wanted it running, found it stopped"):
        host.run(("true",))
    host.stop()


def test_host_can_start_again_under_the_same_name(switch: Switch, tmp_path: Path) -> None:
    """A stopped host starts anew, without what it had written before."""
    host = Host(name="again", address=IPv4Address("192.0.2.20"), switch=switch, log_folder=tmp_path)
    for _ in range(3):
        host.start()
        assert host.run(("test", "-e", "/etc/mark"), check=False).returncode == 1
        host.write("/etc/mark", b"")
        host.stop()


def test_start_that_fails_leaves_nothing(new_host: NewHost, switch: Switch, tmp_path: Path) -> None:
    """A host that cannot get its address is not left running half made."""
    new_host("first", "192.0.2.20")
    links = _interfaces()
    second = Host(name="second", address=IPv4Address("192.0.2.20"), switch=switch, log_folder=tmp_path)
    with pytest.raises(CommandFailed, match=r"attaching 192\.0\.2\.20"):
        second.start()
    assert _interfaces() == links, "the cable of the host that has the address was touched"
    assert not second.running
    assert not Path("/run/machines/second").exists()


def test_address_outside_the_demo_is_refused(switch: Switch, tmp_path: Path) -> None:
    """No host can be given an address that is not in a documentation network."""
    host = Host(name="stray", address=IPv4Address("10.1.2.3"), switch=switch, log_folder=tmp_path)
    with pytest.raises(HostError, match="wanted an address in"):
        host.start()
    assert not host.running


def test_failed_program_is_an_error_with_its_words(new_host: NewHost) -> None:
    """A program that fails raises with host, exit status and what it said; one that hangs is ended."""
    host = new_host("errs", "192.0.2.20")
    with pytest.raises(CommandFailed, match=r"running ls on errs: ls exited 2: .*/nowhere"):
        host.run(("ls", "/nowhere"))
    with pytest.raises(HostError, match=r"within 1 s"):
        host.run(("sleep", "45678"), timeout_s=1)
    deadline = time.monotonic() + 60
    while _processes("45678") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _processes("45678") == 0


def test_signal_reaches_the_program_itself(new_host: NewHost) -> None:
    """A program inside can end gracefully: it gets the very signal that was sent, and its log is kept."""
    host = new_host("polite", "192.0.2.20")
    script = "trap 'echo farewell; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    process = host.spawn(("sh", "-c", script), name="polite")
    while "ready" not in process.tail():
        time.sleep(0.02)
    process.signal(signal.SIGTERM)
    assert process.wait(60) == 7
    assert process.tail() == "ready\nfarewell"


def test_wireguard_carries_traffic_between_hosts(new_host: NewHost) -> None:
    """wg-quick brings the same interface name up on two hosts and the tunnel's addresses answer through it."""
    hosts = {"10.100.0.1": new_host("hub", "192.0.2.20"), "10.100.0.2": new_host("node", "198.51.100.20")}
    private = {address: host.run(("wg", "genkey")).stdout for address, host in hosts.items()}
    public = {address: hosts[address].run(("wg", "pubkey"), stdin=key).stdout for address, key in private.items()}
    for address, host in hosts.items():
        (peer,) = set(hosts) - {address}
        conf = WG_CONF.format(
            private=private[address].decode().strip(),
            address=f"{address}/24",
            peer=public[peer].decode().strip(),
            endpoint=hosts[peer].address,
            allowed=f"{peer}/32",
        )
        host.write("/etc/wireguard/wg0.conf", conf.encode(), mode=0o600)
        host.run(("wg-quick", "up", "wg0"))
    hosts["10.100.0.2"].spawn(("/usr/bin/python3", "-m", "http.server", "8000"), name="web")
    curl = ("curl", "--silent", "--fail", "--retry", "20", "--retry-connrefused", "--retry-delay", "0")
    hosts["10.100.0.1"].run((*curl, "http://10.100.0.2:8000/"))
    assert b"latest handshake" in hosts["10.100.0.1"].run(("wg", "show", "wg0")).stdout


def _processes(argument: str) -> int:
    """How many processes of this sandbox have ``argument`` among their own."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            count += argument.encode() in (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
    return count
