"""The demo's core in Norway: knows how the product's own installer lays it out, and starts what systemd would start.

It must not know AWS or the demo's story. Order of calls: ``boot``, ``install``, ``start``; what systemd starts after a
reboot is read from the units that the installer put there.
"""

from __future__ import annotations

import shlex
import signal
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

from core_agent import paths
from core_agent.contract.codec import decode_reply, encode_request
from core_agent.contract.messages import FactsReport, ReadFacts
from core_agent.errors import DrawbridgeError
from demo.hosts import image
from demo.hosts.errors import HostError
from demo.hosts.host import ENVIRONMENT, Host
from demo.hosts.process import Process
from demo.hosts.switch import CORE_ADDRESS, Switch
from demo.hosts.syslog import Syslog
from demo.hosts.unit import Service, parse_service, parse_socket
from settings.tables import CoreServer

READY_TIMEOUT_S = 30
_WIREGUARD_GO = f"{image.FOLDER}/wireguard-go"
_AGENT_PATH = "/root/agent.pyz"
_CONFIG_PATH = "/root/drawbridge.toml"
_HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
_UNITS = "/etc/systemd/system"
# Hands a listening socket over as systemd does: number 3, named by LISTEN_PID (sd_listen_fds(3)).
_ACTIVATE = ("bash", "-c", 'exec 3<&"$1"; shift; umask "$1"; shift; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', "activate")


class Core:
    """One core at ``address``; its services' logs are ``NAME-*.log`` in ``log_folder``."""

    def __init__(
        self, *, switch: Switch, log_folder: Path, address: IPv4Address = CORE_ADDRESS, name: str = "core"
    ) -> None:
        self.host = Host(name=name, address=address, switch=switch, log_folder=log_folder)
        self._services: dict[str, Process] = {}
        self._agent_socket: socket.socket | None = None
        self._syslog: Syslog | None = None

    def boot(self) -> str:
        """Start the bare machine and return its new SSH host key, `ssh-ed25519 AAAA…`, for drawbridge.toml to pin."""
        self.host.start()
        self.host.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", _HOST_KEY))
        words = self.host.read(f"{_HOST_KEY}.pub").decode().split()
        return " ".join(words[:2])

    def install(self, *, agent: Path, config: str, authorized_key: str) -> str:
        """Run the product's installer with the text of a drawbridge.toml and a public key; return what it printed."""
        self.host.write(_AGENT_PATH, agent.read_bytes(), mode=0o755)
        self.host.write(_CONFIG_PATH, config.encode())
        for path, content in image.with_webapp().items():
            self.host.write(path, content)
        install = ("/usr/bin/python3", "-I", _AGENT_PATH, "install", "--config", _CONFIG_PATH)
        return self.host.run((*install, "--authorized-key", authorized_key, "--no-start")).stdout.decode()

    def start(self, servers: Iterable[CoreServer], *, service_ms: int) -> None:
        """Start the application's ``servers``, the tunnel, HAProxy, sshd and the agent; return when all answer."""
        self._start_syslog()
        for server in servers:
            self._start_webapp(server, service_ms)
        self._start_tunnel()
        self._start_haproxy()
        self._start_sshd()
        self._open_agent_socket()
        self.start_agent()

    def start_agent(self) -> None:
        """Start the agent as its unit says, on the socket that stays open between its lives; return when it answers."""
        agent_socket = _present(self._agent_socket, "the agent's socket open")
        service = self._agent_unit()
        descriptor = agent_socket.fileno()
        argv = (*_ACTIVATE, str(descriptor), service.umask, *service.confined())
        agent = self.host.spawn(argv, name="agent", descriptors=(descriptor,))
        self._services["agent"] = agent
        self._await("the agent's answer", agent, self._agent_answers)

    def kill_agent(self) -> None:
        """Kill the agent as a crash would; traffic must not notice."""
        agent = self._services["agent"]
        agent.signal(signal.SIGKILL)
        agent.wait(5)

    def restart_agent(self) -> None:
        """Stop the agent as `systemctl restart` would, and start it again."""
        agent = self._services["agent"]
        agent.signal(signal.SIGTERM)
        agent.wait(10)
        self.start_agent()

    def ask_facts(self) -> FactsReport:
        """Return the agent's own report, asked on its socket; raises ``DrawbridgeError`` or ``OSError``."""
        path = parse_socket(self._read_socket_unit(), source="drawbridge-agent.socket").path
        with self.host.connect_to(path, timeout_s=5) as connection:
            connection.sendall(encode_request(ReadFacts(), request_id="demo"))
            connection.shutdown(socket.SHUT_WR)
            reply = b"".join(iter(lambda: connection.recv(65_536), b""))
        _, outcome = decode_reply(reply)
        if not isinstance(outcome, FactsReport):
            raise HostError(f"asking the agent: wanted its facts, found {outcome}")
        return outcome

    def stop(self) -> None:
        """Pull the core's plug."""
        self.host.stop()
        if self._agent_socket is not None:
            self._agent_socket.close()
        if self._syslog is not None:
            self._syslog.stop()
        self._services.clear()
        self._agent_socket = self._syslog = None

    def _start_syslog(self) -> None:
        receiver = self.host.receive_at("/dev/log")
        self.host.run(("chmod", "0666", "/dev/log"))
        self._syslog = Syslog(receiver, self.host.log_folder / f"{self.host.name}-syslog.log")
        self._syslog.start()

    def _start_webapp(self, server: CoreServer, service_ms: int) -> None:
        place = ("--bind", str(server.address), "--port", str(server.port))
        capacity = ("--slots", str(server.maxconn), "--service-ms", str(service_ms))
        argv = ("/usr/bin/python3", "-I", image.WEBAPP_PATH, *place, "--name", server.name, *capacity)
        webapp = self.host.spawn(argv, name=server.name)
        self._services[server.name] = webapp
        url = f"http://{server.address}:{server.port}/health"
        self._await(
            url, webapp, lambda: self.host.run(("curl", "--silent", "--fail", url), check=False).returncode == 0
        )

    def _start_tunnel(self) -> None:
        """Bring wg0 up; without WireGuard in the kernel, wg-quick falls back to wireguard-go, run as the agent's user.

        With the kernel's, CAP_NET_ADMIN is all the agent needs. wireguard-go listens on a socket for its own user alone
        and ends when that socket's owner is changed, so its user is the agent's from the start.
        """
        service = self._agent_unit()
        self.host.run(("install", "-d", "-m", "0755", "-o", service.user, "-g", service.group, "/run/wireguard"))
        confined = replace(service, argv=("wireguard-go",)).confined()
        self.host.write(_WIREGUARD_GO, f'#!/bin/sh\nexec {shlex.join(confined)} "$@"\n'.encode(), mode=0o755)
        environment = {**ENVIRONMENT, "WG_QUICK_USERSPACE_IMPLEMENTATION": _WIREGUARD_GO}
        self.host.run(("wg-quick", "up", "wg0"), environment=environment)

    def _start_haproxy(self) -> None:
        self.host.run(("install", "-d", "-m", "2775", "-o", "haproxy", "-g", "haproxy", "/run/haproxy"))
        # As the installer's drop-in has systemd do it: what the operator added is read too, unless it is broken.
        self.host.run(("install", "-d", "-m", "0755", str(paths.HAPROXY_EXTRA)))
        self.host.run(("/usr/bin/python3", "-I", str(paths.ZIPAPP), "admit-operator-file"))
        files = ("-f", str(paths.HAPROXY_CFG), "-f", str(paths.HAPROXY_EXTRA))
        haproxy = self.host.spawn(("haproxy", "-W", *files), name="haproxy")
        self._services["haproxy"] = haproxy
        self._await("HAProxy's port 80", haproxy, lambda: self._connects(80))

    def _start_sshd(self) -> None:
        self.host.run(("install", "-d", "-m", "0755", "/run/sshd"))
        sshd = self.host.spawn(("/usr/sbin/sshd", "-D", "-e"), name="sshd")
        self._services["sshd"] = sshd
        self._await("sshd's port 22", sshd, lambda: self._connects(22))

    def _open_agent_socket(self) -> None:
        unit = parse_socket(self._read_socket_unit(), source="drawbridge-agent.socket")
        self.host.run(("install", "-d", "-m", unit.directory_mode, str(Path(unit.path).parent)))
        self._agent_socket = self.host.listen_at(unit.path)
        self.host.run(("chown", f"{unit.user}:{unit.group}", unit.path))
        self.host.run(("chmod", unit.mode, unit.path))

    def _read_socket_unit(self) -> str:
        return self.host.read(f"{_UNITS}/drawbridge-agent.socket").decode()

    def _agent_unit(self) -> Service:
        unit = f"{_UNITS}/drawbridge-agent.service"
        return parse_service(self.host.read(unit).decode(), source=unit)

    def _connects(self, port: int) -> bool:
        try:
            socket.create_connection((str(self.host.address), port), timeout=1).close()
        except OSError:
            return False
        return True

    def _agent_answers(self) -> bool:
        try:
            self.ask_facts()
        except (DrawbridgeError, OSError):
            return False
        return True

    def _await(self, what: str, process: Process, check: Callable[[], bool]) -> None:
        """Return once ``check`` holds; raises ``HostError`` with the log's end when the process ends or time is up."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not check():
            if not process.running or time.monotonic() > deadline:
                state = "running" if process.running else "ended"
                raise HostError(
                    f"starting {process.name}: wanted {what} within {READY_TIMEOUT_S} s, found it {state}: "
                    f"{process.tail() or 'no output'}"
                )
            time.sleep(0.05)


def _present(value: socket.socket | None, wanted: str) -> socket.socket:
    if value is None:
        raise HostError(f"starting the agent: wanted {wanted}, found it closed; call start() first")
    return value
