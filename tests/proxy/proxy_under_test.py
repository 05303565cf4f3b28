"""One HAProxy with the agent's own file, on loopback; it knows how to ask it, and how to ask as a user."""

from __future__ import annotations

import http.client
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import settings
from core_agent.contract.names import Reason
from core_agent.desired import CoreSlots, Mode, Server
from core_agent.haproxy import apply, config
from core_agent.haproxy.plan import Step
from core_agent.haproxy.runtime import RuntimeSession
from core_agent.roll import Burst
from settings import Settings

LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a user got: the status, the server that answered, headers in lower case, and after how many seconds."""

    status: int
    server: str | None
    headers: Mapping[str, str]
    seconds: float


def until(holds: Callable[[], object], what: str) -> None:
    """Return once ``holds``; fail with ``what`` when it does not within ``LIMIT_S``."""
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline, f"wanted {what} within {LIMIT_S:g} s"
        time.sleep(0.01)


def free_port() -> int:
    """Return a port that nobody has on any of the loopback addresses used here."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return int(probe.getsockname()[1])


def settings_with(core: Sequence[tuple[str, int, int]], *, port: int, frontend: str = "") -> Settings:
    """Return the repository's settings with ``core`` servers (name, port, slots) and more lines for ``[frontend]``."""
    text = Path("drawbridge.toml").read_text()
    before, _, rest = text.partition("[[core.servers]]")
    servers = "".join(
        f'[[core.servers]]\nname = "{name}"\naddress = "127.0.0.1"\nport = {at}\nmaxconn = {slots}\n'
        for name, at, slots in core
    )
    text = f"{before}{servers}{rest[rest.index('[tunnel]') :]}"
    text = text.replace('bind = ":80"', f'bind = "127.0.0.1:{free_port()}"\n{frontend}')
    # A node of one slot, so that no threshold of an alarm is in the way of a core of few.
    text = text.replace("maxconn = 28 ", "maxconn = 1 ")
    head, _, application = text.partition("[application]")
    return settings.parse(f"{head}[application]{application.replace('port = 8080', f'port = {port}')}", source="test")


def node(number: int, *, slots: int = 28, mode: Mode = Mode.READY) -> Server:
    """Return the burst server ``i-NUMBER``, at a loopback address of its own."""
    return Server(
        name=f"i-{number}", id=1000 + number, address=f"127.0.0.{number}", mode=mode, weight=28, maxconn=slots
    )


def text_of(loaded: Settings, servers: Iterable[Server] = (), *, level: int = 100, folder: Path) -> str:
    """Return the agent's file, but for what only root on a core has: users, the log, the place of the socket."""
    core = {str(one.name): CoreSlots(slots=one.maxconn, reserve=0) for one in loaded.core.servers}
    text = config.render(loaded, Burst(level_percent=level, reason=Reason("test")), core, servers)
    for line in ("    log /dev/log local0\n", "    user haproxy\n", "    group haproxy\n"):
        assert line in text
        text = text.replace(line, "")
    return text.replace("/run/haproxy/admin.sock mode 660 group drawbridge-agent", f"{folder}/admin.sock mode 600")


@dataclass
class Proxy:
    """A running HAProxy; ``folder`` has its file, its socket and its log."""

    settings: Settings
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    waiting: list[threading.Thread] = field(default_factory=list)

    @property
    def cfg(self) -> Path:
        """The agent's file."""
        return self.folder / "haproxy.cfg"

    @property
    def socket(self) -> Path:
        """The runtime API."""
        return self.folder / "admin.sock"

    @property
    def port(self) -> int:
        """Where users come."""
        return int(self.settings.frontend.bind.rpartition(":")[2])

    def start(self, servers: Iterable[Server] = (), *, level: int = 100, beside: Path | None = None) -> None:
        """Write the file, start HAProxy with it, and return once every server that is open has been checked."""
        self.cfg.write_text(text_of(self.settings, servers, level=level, folder=self.folder))
        files = ("-f", str(self.cfg)) if beside is None else ("-f", str(self.cfg), "-f", str(beside))
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(("haproxy", "-W", *files), stdout=log, stderr=log)
        until(self.answers, f"HAProxy's socket; its log: {(self.folder / 'log').read_text()}")
        until(lambda: all(self.status(name) not in ("", "no check") for name in self.names()), "first health checks")

    def answers(self) -> bool:
        """Whether the runtime API does."""
        try:
            RuntimeSession(self.socket).__exit__(None, None, None)
        except Exception as error:
            if self.process is None or self.process.poll() is not None:
                raise AssertionError((self.folder / "log").read_text()) from error
            return False
        return True

    def stop(self) -> None:
        """End HAProxy and wait for the users."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(LIMIT_S)
        for thread in self.waiting:
            thread.join(LIMIT_S)

    def ask(self, *lines: str) -> list[str]:
        """Return the runtime API's answers."""
        with RuntimeSession(self.socket) as session:
            return session.run(lines)

    def steer(self, name: str, value: int) -> None:
        """Set a process variable as the agent does."""
        assert self.ask("experimental-mode on", f"set var proc.{name} int({value})") == ["", ""]

    def carry_out(self, *steps: Step) -> None:
        """Apply ``steps`` as the agent does."""
        answers = apply.carry_out(
            self.socket,
            steps,
            watch=(),
            backend=config.BACKEND,
            frontend=config.FRONTEND,
            port=self.settings.application.port,
            users=self.settings.frontend,
        )
        assert answers.done == steps

    def row(self, name: str) -> dict[str, str]:
        """Return one row of the backend's statistics."""
        header, *rows = self.ask(f"show stat {config.BACKEND} 6 -1")[0].removeprefix("# ").splitlines()
        found = {row.split(",")[1]: dict(zip(header.split(","), row.split(","), strict=False)) for row in rows}
        return found[name]

    def names(self) -> list[str]:
        """Return the servers that the file opens."""
        lines = [line.split() for line in self.cfg.read_text().splitlines() if line.startswith("    server ")]
        return [words[1] for words in lines if words[-1] != "disabled"]

    def status(self, name: str) -> str:
        """Return the last health check's result, nothing before the first."""
        return self.row(name)["check_status"].removeprefix("* ")

    def queue(self) -> int:
        """Return how many requests wait, for the backend or for one of its servers."""
        header, *rows = self.ask(f"show stat {config.BACKEND} 6 -1")[0].removeprefix("# ").splitlines()
        place = header.split(",").index("qcur")
        return sum(int(row.split(",")[place] or 0) for row in rows)

    def get(
        self,
        path: str = "/",
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Ask as a user, on a connection of its own."""
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            response.read()
        finally:
            connection.close()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found.get("x-server"), found, time.monotonic() - began)

    def begin(self, answers: list[Answer], *, headers: Mapping[str, str] | None = None) -> None:
        """Ask as a user who waits, on a thread; the answer comes into ``answers``."""
        thread = threading.Thread(target=lambda: answers.append(self.get(headers=headers)), daemon=True)
        thread.start()
        self.waiting.append(thread)
