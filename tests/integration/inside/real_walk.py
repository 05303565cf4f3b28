"""A walk at random over a core with real WireGuard and HAProxy: what happens to it, and how that is told.

It changes the core as operators, crashes and careless hands do, and judges it by ``wg``, HAProxy's socket and the files
alone, never by the agent's own word.
"""

from __future__ import annotations

import random
import re
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import settings
from core_agent.build import build
from core_agent.contract.codec import decode_reply, encode_request
from core_agent.contract.messages import (
    ActivateNode,
    Command,
    EnrollNode,
    Hold,
    HoldNode,
    Lifecycle,
    NodeReport,
    Seats,
    SetBurst,
    SyncFleet,
    TunnelReport,
)
from core_agent.contract.names import GroupName, InstanceId, PublicKey, Reason
from core_agent.errors import DrawbridgeError
from demo.hosts.core import Core
from demo.hosts.host import Host
from demo.hosts.image import WEBAPP_PATH, with_webapp
from demo.hosts.switch import Switch
from tests.agent.walk.invariants import Violation
from tests.agent.walk.tally import Tally

GROUP = GroupName("eu-north-1/drawbridge-edge")
MACHINES = 3
SETTLES_S = 20.0
_REASON = Reason("the walk")
_REPOSITORY = Path(__file__).resolve().parents[3]
_SOCKET = "/run/drawbridge/agent.sock"


@dataclass(slots=True)
class Node:
    """One machine of the edge and the instance that it is now; ``instance`` None while AWS does not have it."""

    host: Host
    instance: InstanceId | None = None
    lifecycle: Lifecycle = Lifecycle.JOINING
    public_key: str = ""
    address: str = ""
    hold: Hold = Hold.NONE


class RealWalk:
    """One core, a few machines, and steps chosen by ``seed``; ``story`` tells them, ``tally`` counts them."""

    def __init__(self, switch: Switch, folder: Path, *, seed: int) -> None:
        self.story: list[str] = []
        self.tally = Tally(walks=1)
        self.level = 100
        self._switch, self._folder = switch, folder
        self._random = random.Random(seed)  # noqa: S311 - steps to repeat, no secret
        self._names = 0
        self._looks: list[SyncFleet] = []

    def build(self) -> None:
        """Lay out and start the core and boot the machines, none of which is an instance yet."""
        agent, identity = self._folder / "agent.pyz", self._folder / "identity"
        build(agent)
        subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", identity), check=True)
        self.core = Core(switch=self._switch, log_folder=self._folder)
        host_key = self.core.boot()
        text = (_REPOSITORY / "drawbridge.toml").read_text().replace("203.0.113.10", "192.0.2.1")
        text = re.sub("ssh_host_key = .*", f'ssh_host_key = "{host_key}"', text)
        text = text.replace("[burst]\n", "[burst]\nramp_s = 1\n")  # every step waits for the full weight
        self.settings = settings.parse(text, source="the walk's")
        self.core.install(agent=agent, config=text, authorized_key=identity.with_suffix(".pub").read_text().strip())
        self.core.start(self.settings.core.servers, service_ms=5)
        self.nodes = [self._machine(number) for number in range(1, MACHINES + 1)]

    def _machine(self, number: int) -> Node:
        address = IPv4Address(f"198.51.100.{10 + number}")
        host = Host(name=f"m-{number}", address=address, switch=self._switch, log_folder=self._folder)
        host.start()
        for path, content in with_webapp().items():
            host.write(path, content)
        host.spawn(("/usr/bin/python3", "-I", WEBAPP_PATH, "--name", host.name), name="webapp")
        return Node(host=host)

    def tear_down(self) -> None:
        """Pull every plug."""
        for node in getattr(self, "nodes", ()):
            node.host.stop()
        if hasattr(self, "core"):
            self.core.stop()

    def run(self, seconds: float) -> None:
        """Take steps for about ``seconds``, then end quietly. Raises ``Violation``."""
        begin = time.monotonic()
        self.tell(SetBurst(level_percent=self.level, reason=_REASON))
        for node in self.nodes[:2]:
            self._join(node)
        steps = self._steps()
        while time.monotonic() - begin < seconds:
            name = self._random.choice(sorted(steps))
            self.tally.steps += 1
            steps[name]()
            self._settle(name)
        self.end_quietly()

    def _steps(self) -> Mapping[str, Callable[[], None]]:
        return {
            "a node joins": lambda: self._for_one(self._away(), self._join),
            "a node leaves": lambda: self._for_one(self._there(), self._leave),
            "a node vanishes": lambda: self._for_one(self._there(), self._vanish),
            "an operator drains or undoes": lambda: self._for_one(self._there(), self._hold),
            "an alarm sets the level": self._set_level,
            "an old look arrives": self._old_look,
            "an empty answer arrives": self._empty_look,
            "the agent is killed": self._kill_agent,
            "the agent is killed in the middle": self._kill_agent_in_the_middle,
            "the agent is told to stop": self._restart_agent,
            "HAProxy is reloaded": self._reload_haproxy,
            "HAProxy is killed": self._kill_haproxy,
            "WireGuard is restarted": self._restart_wireguard,
            "a peer is removed by hand": self._remove_peer,
            "a stranger gets a peer by hand": self._add_stranger,
            "a server is changed by hand": self._change_server,
            "a server is deleted by hand": self._delete_server,
            "a file is edited by hand": self._edit_file,
        }

    def _there(self) -> list[Node]:
        return [node for node in self.nodes if node.instance is not None]

    def _away(self) -> list[Node]:
        return [node for node in self.nodes if node.instance is None]

    def _for_one(self, nodes: list[Node], act: Callable[[Node], None]) -> None:
        if nodes:
            act(self._random.choice(nodes))

    # --- speaking to the agent --------------------------------------------------------------------------------------

    def tell(self, command: Command) -> object:
        """Return the agent's answer, asked on its socket; raises when it was cut off."""
        self.tally.commands += 1
        with self.core.host.connect_to(_SOCKET, timeout_s=15) as connection:
            connection.sendall(encode_request(command, request_id="walk"))
            connection.shutdown(socket.SHUT_WR)
            reply = b"".join(iter(lambda: connection.recv(65_536), b""))
        return decode_reply(reply)[1]

    def _look(self, *, gone: tuple[InstanceId, ...] = ()) -> SyncFleet:
        seats = [(node.instance, node.lifecycle) for node in self.nodes if node.instance is not None]
        look = SyncFleet(group=GROUP, generation=time.time_ns() // 1_000_000, seats=Seats.of(seats), gone=gone)
        self._looks.append(look)
        return look

    # --- AWS, nodes, the operator -----------------------------------------------------------------------------------

    def _join(self, node: Node) -> None:
        self._names += 1
        node.instance, node.lifecycle, node.hold = InstanceId(f"i-{self._names}"), Lifecycle.JOINING, Hold.NONE
        self._note(f"{node.host.name} joins as {node.instance}")
        self.tell(self._look())
        private = node.host.run(("wg", "genkey")).stdout.decode().strip()
        node.public_key = node.host.run(("wg", "pubkey"), stdin=private.encode()).stdout.decode().strip()
        tunnel = self.tell(EnrollNode(instance=node.instance, public_key=PublicKey(node.public_key)))
        if not isinstance(tunnel, TunnelReport):
            raise Violation(f"{node.instance} could not enroll: {tunnel}")
        node.address = tunnel.address
        conf = (
            f"[Interface]\nPrivateKey = {private}\nAddress = {tunnel.address}\nMTU = {tunnel.mtu}\n"
            f"[Peer]\nPublicKey = {tunnel.core_public_key}\nEndpoint = {tunnel.endpoint}\n"
            f"AllowedIPs = {tunnel.core_address}/32\nPersistentKeepalive = {tunnel.keepalive_s}\n"
        )
        node.host.write("/etc/wireguard/wg0.conf", conf.encode(), mode=0o600)
        node.host.run(("wg-quick", "down", "wg0"), check=False)
        node.host.run(("wg-quick", "up", "wg0"))
        instance = node.instance
        _until(lambda: self._is_active(instance), f"{instance} active")
        # A peer that is taken away before a look has seen its endpoint stays deaf until its node speaks (0007).
        filed = f"PublicKey = {node.public_key}\nAllowedIPs = {node.address}\nEndpoint = "
        _until(lambda: filed in self.core.host.read("/etc/wireguard/wg0.conf").decode(), f"{instance}'s endpoint filed")
        node.lifecycle = Lifecycle.SERVING
        self.tell(self._look())

    def _is_active(self, instance: InstanceId) -> bool:
        answer = self.tell(ActivateNode(instance=instance))
        return isinstance(answer, NodeReport) and answer.phase.value == "active"

    def _leave(self, node: Node) -> None:
        self._note(f"{node.instance} leaves")
        node.lifecycle = Lifecycle.LEAVING
        self.tell(self._look())
        node.instance = None

    def _vanish(self, node: Node) -> None:
        self._note(f"{node.instance} vanishes, and AWS disowns it")
        gone, node.instance = node.instance, None
        self.tell(self._look())
        self.tell(self._look(gone=() if gone is None else (gone,)))

    def _hold(self, node: Node) -> None:
        node.hold = Hold.DRAIN if node.hold is Hold.NONE else Hold.NONE
        self._note(f"an operator holds {node.instance}: {node.hold}")
        if node.instance is not None:
            self.tell(HoldNode(instance=node.instance, hold=node.hold, reason=_REASON))

    def _set_level(self) -> None:
        self.level = self._random.choice([0, 1, 25, 100])
        self._note(f"the level is set to {self.level} %")
        self.tell(SetBurst(level_percent=self.level, reason=_REASON))

    def _old_look(self) -> None:
        look = self._random.choice(self._looks[:-1])
        self._note(f"the look of generation {look.generation} arrives again")
        self.tell(look)

    def _empty_look(self) -> None:
        self._note("AWS answers with nobody")
        self.tell(SyncFleet(group=GROUP, generation=time.time_ns() // 1_000_000, seats=Seats()))

    # --- death ------------------------------------------------------------------------------------------------------

    def _kill_agent(self) -> None:
        self._note("the agent is killed")
        self._crash()

    def _crash(self) -> None:
        self.tally.crashes += 1
        self.core.kill_agent()
        self.core.start_agent()

    def _kill_agent_in_the_middle(self) -> None:
        """Kill it at some moment of a turn that changes every server and the file; the message may come again."""
        self.level = self._random.choice([0, 1, 25, 100])
        command = SetBurst(level_percent=self.level, reason=_REASON)
        delay = self._random.uniform(0, 0.03)
        self._note(f"the level is set to {self.level} %, and the agent is killed {delay * 1000:.0f} ms later")
        teller = threading.Thread(target=self._tell_the_dying, args=(command,))
        teller.start()
        time.sleep(delay)
        self._crash()
        teller.join()
        self.tell(command)

    def _tell_the_dying(self, command: Command) -> None:
        try:
            self.tell(command)
        except (OSError, DrawbridgeError):
            self._note("  its answer was cut off")

    def _restart_agent(self) -> None:
        self._note("the agent is told to stop, and starts again")
        self.tally.restarts += 1
        self.core.restart_agent()

    def _reload_haproxy(self) -> None:
        self._note("HAProxy is reloaded")
        self.tally.restarts += 1
        self.core._services["haproxy"].signal(signal.SIGUSR2)
        time.sleep(1)

    def _kill_haproxy(self) -> None:
        self._note("HAProxy is killed and comes back from its file")
        self.tally.restarts += 1
        self.core.host.run(("pkill", "-KILL", "haproxy"))
        self.core._services["haproxy"].wait(5)
        self.core._start_haproxy()

    def _restart_wireguard(self) -> None:
        self._note("WireGuard is restarted and comes back from its file")
        self.tally.restarts += 1
        self.core.host.run(("wg-quick", "down", "wg0"))
        self.core._start_tunnel()

    # --- a careless hand --------------------------------------------------------------------------------------------

    def _drifted(self, sentence: str) -> None:
        self.tally.drifts += 1
        self._note(f"by hand: {sentence}")

    def _remove_peer(self) -> None:
        for key in sorted(self.running_peers())[:1]:
            self._drifted(f"peer {key} is removed")
            self.core.host.run(("wg", "set", "wg0", "peer", key, "remove"))

    def _add_stranger(self) -> None:
        private = self.core.host.run(("wg", "genkey")).stdout
        key = self.core.host.run(("wg", "pubkey"), stdin=private).stdout.decode().strip()
        self._drifted("a stranger gets the address of a node")
        address = self._random.choice([node.address or "10.100.0.9/32" for node in self.nodes])
        self.core.host.run(("wg", "set", "wg0", "peer", key, "allowed-ips", address))

    def _change_server(self) -> None:
        for name in sorted(self.running_servers())[:1]:
            change = self._random.choice(
                [
                    f"set server web_nodes/{name} weight 77",
                    f"set maxconn server web_nodes/{name} 3",
                    f"set server web_nodes/{name} state maint",
                    f"set server web_nodes/{name} state drain",
                    f"set server web_nodes/{name} state ready",
                    f"disable health web_nodes/{name}",
                    f"set server web_nodes/{name} addr 10.100.0.200",
                ]
            )
            self._drifted(change)
            self.runtime(change)

    def _delete_server(self) -> None:
        for name in sorted(self.running_servers())[:1]:
            self._drifted(f"server {name} is deleted")
            for command in (f"set server web_nodes/{name} state maint", f"del server web_nodes/{name}"):
                self.runtime(command)

    def _edit_file(self) -> None:
        path, edit = self._random.choice(
            [
                ("/etc/wireguard/wg0.conf", "sed -i '/drawbridge agent/,$d'"),
                ("/etc/haproxy/haproxy.cfg", "sed -i 's/ disabled$//'"),
                ("/etc/haproxy/haproxy.cfg", "sed -i '/server i-/d'"),
                ("/etc/haproxy/haproxy.cfg", "truncate -s 20"),
            ]
        )
        self._drifted(f"{edit} {path}")
        self.core.host.run(("sh", "-c", f"{edit} {path}"))

    # --- judging, by other means than the agent's -------------------------------------------------------------------

    def _settle(self, step: str) -> None:
        """Demand that within seconds the core is as AWS, the operator and the alarms want it."""
        deadline = time.monotonic() + SETTLES_S
        while found := list(self.differences()):
            if time.monotonic() > deadline:
                raise Violation(f"{SETTLES_S:.0f} s after {step}: " + "\n".join(found))
            time.sleep(0.1)
        self.tally.invariants += 1
        self.tally.repairs = self.tally.drifts

    def differences(self) -> Iterator[str]:
        """Yield each way in which the running core and its files differ from what was asked for."""
        nodes = {node.instance: node for node in self.nodes if node.instance is not None}
        peers = {node.public_key: node.address for node in nodes.values()}
        if (running := self.running_peers()) != peers:
            yield f"wg: wanted {peers}, found {running}"
        if (filed := self.filed_peers()) != peers:
            yield f"wg0.conf: wanted {peers}, found {filed}"
        wanted = {str(name): self._wanted_server(node) for name, node in nodes.items()}
        if (servers := self.running_servers()) != wanted:
            yield f"HAProxy: wanted {wanted}, found {servers}"
        opens = {name: server[0] == "UP" for name, server in wanted.items()}
        if (files := self.filed_servers()) != opens:
            yield f"haproxy.cfg: wanted {opens}, found {files}"

    def _wanted_server(self, node: Node) -> tuple[str, int, str]:
        burst = self.settings.burst
        weight = max(1, round(burst.weight * (self.level or 100) / 100))
        return "UP" if node.hold is Hold.NONE else "DRAIN", weight, node.address.removesuffix("/32")

    def runtime(self, command: str) -> str:
        """Say one command at HAProxy's own socket, as an operator would, and return the answer."""
        with self.core.host.connect_to("/run/haproxy/admin.sock", timeout_s=5) as connection:
            connection.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: connection.recv(65_536), b"")).decode()

    def running_servers(self) -> dict[str, tuple[str, int, str]]:
        """Return the burst servers of the running HAProxy: name → (status, weight, address)."""
        header, *rows = [line.split(",") for line in self.runtime("show stat web_nodes 4 -1")[2:].splitlines() if line]
        name, status, weight = (header.index(column) for column in ("svname", "status", "weight"))
        state = [line.split() for line in self.runtime("show servers state web_nodes").splitlines()[2:]]
        addresses = {words[3]: words[4] for words in state if words}
        return {
            row[name]: (row[status].split(" ")[0], int(row[weight]), addresses.get(row[name], ""))
            for row in rows
            if row[name].startswith("i-")
        }

    def running_peers(self) -> dict[str, str]:
        """Return the running WireGuard's peers: key → allowed IPs."""
        lines = self.core.host.run(("wg", "show", "wg0", "allowed-ips")).stdout.decode().splitlines()
        return dict(line.split("\t", 1) for line in lines)

    def filed_peers(self) -> dict[str, str]:
        """Return the peers in wg0.conf: key → allowed IPs."""
        text = self.core.host.read("/etc/wireguard/wg0.conf").decode()
        return dict(re.findall(r"^PublicKey = (\S+)\nAllowedIPs = (.+)$", text, re.MULTILINE))

    def filed_servers(self) -> dict[str, bool]:
        """Return the burst servers in haproxy.cfg: name → whether a restart would open it."""
        text = self.core.host.read("/etc/haproxy/haproxy.cfg").decode()
        lines = re.findall(r"^    server (i-\S+) (.*)$", text, re.MULTILINE)
        return {name: not options.endswith(" disabled") for name, options in lines}

    # --- the end ----------------------------------------------------------------------------------------------------

    def end_quietly(self) -> None:
        """Look once more, kill the agent, start everything from its file: the same peers, servers and records."""
        self._note("the quiet end: one look, then everything is started anew without an agent")
        self.level = 100
        self.tell(SetBurst(level_percent=100, reason=_REASON))
        self.tell(self._look())
        self._settle("the last look")
        nodes = {str(node.instance) for node in self.nodes if node.instance is not None}
        self.core.kill_agent()
        if (recorded := self._recorded()) != nodes:
            raise Violation(f"the records: wanted {nodes}, found {recorded}")
        self._kill_haproxy()
        self._restart_wireguard()
        self._settle_alone()
        self.core.start_agent()
        self._settle("the last start")
        self.tally.quiet_ends += 1

    def _settle_alone(self) -> None:
        """Without an agent, who is held comes back closed in another word; peers and names must be the same."""
        nodes = {str(node.instance): node for node in self.nodes if node.instance is not None}
        if self.running_peers() != {node.public_key: node.address for node in nodes.values()}:
            raise Violation(f"after a restart without an agent: peers {self.running_peers()}")
        wanted = {name for name, node in nodes.items() if node.hold is Hold.NONE}
        _until(
            lambda: {name for name, server in self.running_servers().items() if server[0] == "UP"} == wanted,
            "the same servers up after a restart without an agent",
            limit_s=60,
        )

    def _recorded(self) -> set[str]:
        copy = self._folder / "records.db"
        for suffix in ("", "-wal"):
            text = self.core.host.run(("cat", f"/var/lib/drawbridge/state.db{suffix}"), check=False).stdout
            copy.with_name(copy.name + suffix).write_bytes(text)
        connection = sqlite3.connect(copy)
        try:
            return {row[0] for row in connection.execute("SELECT instance FROM nodes WHERE phase <> 'gone'")}
        finally:
            connection.close()

    def _note(self, sentence: str) -> None:
        self.story.append(sentence)


def _until(done: Callable[[], bool], wanted: str, limit_s: float = SETTLES_S) -> None:
    """Return once ``done``; raises ``Violation`` saying what was ``wanted``."""
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > deadline:
            raise Violation(f"wanted {wanted} within {limit_s:.0f} s")
        time.sleep(0.05)
