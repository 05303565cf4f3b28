"""HAProxy as the agent meets it: the runtime API's lines and the file; it knows nothing of nodes or tunnels.

Source: HAProxy Management Guide 9.1 and 9.3, and what its runs on 2.6 to 3.2 showed: a new server is in maintenance,
unchecked; maintenance pauses the check; only one in maintenance without connections can be deleted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_STATE_HEADER = (
    "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state "
    "bk_f_forced_id srv_f_forced_id srv_fqdn srv_port"
)
_STAT_HEADER = "# pxname,svname,qcur,scur,slim,status,weight,check_status,hrsp_5xx,req_tot"
_ADMIN = {"ready": 0x00, "maint": 0x01, "drain": 0x08}
_VARIABLE_LINE = re.compile(r"^    set-var proc\.(\w+) int\((\d+)\)$", re.MULTILINE)
_SERVER_LINE = re.compile(r"^    server (\S+) (\S+?):(\d+) (.*)$", re.MULTILINE)


@dataclass(slots=True, kw_only=True)
class RunningServer:
    """One server. ``mode``: ready, drain or maint. ``lingers``: connections that keep it from being deleted.

    ``good_at`` is when its health check was good last, in Unix seconds.
    """

    name: str
    id: int
    address: str
    port: int
    weight: int
    maxconn: int
    mode: str = "maint"
    checking: bool = False
    check: str = ""
    busy: int = 0
    lingers: bool = False
    good_at: float = 0.0

    @property
    def healthy(self) -> bool:
        """Whether its last check was good."""
        return self.check == "L7OK"

    def checked(self, *, good: bool, now: float) -> None:
        """Let its health check come to this result."""
        self.check, self.good_at = ("L7OK", now) if good else ("L4TOUT", self.good_at)


class Proxy:
    """The process with its one backend; ``servers`` by name. ``before`` is called ahead of every change.

    ``variables`` are its process-wide ones; ``queue`` requests wait for a slot.
    """

    def __init__(self, before: Callable[[str], None]) -> None:
        self.up = False
        self.servers: dict[str, RunningServer] = {}
        self.variables: dict[str, int] = {}
        self.queue = 0
        self._experimental = False
        self._before = before

    def start(self, cfg: str) -> None:
        """Start from ``cfg``: all that was said at run time is forgotten; without a backend it ends."""
        self.servers, self.variables = servers_in(cfg), variables_in(cfg)
        self.up = bool(self.servers)

    def stop(self) -> None:
        """End."""
        self.servers, self.variables, self.up = {}, {}, False

    def answer_all(self, lines: Sequence[str]) -> list[str]:
        """Return the answers to the lines of one session."""
        self._experimental = False
        return [self.answer(line) for line in lines]

    def answer(self, line: str) -> str:
        """Return the answer to one line of the runtime API; a line that it does not know is a broken test."""
        words = line.split()
        match words:
            case ["show", "servers", "state", _]:
                return self._state()
            case ["show", "stat", _, kind, number]:
                return self._stat(int(kind), int(number))
            case ["experimental-mode", "on"] | [_, "var", *_]:
                return self._steer(words, line)
            case ["add", "server", where, address, *options]:
                self._before(line)
                return self._add(where, address, options)
            case ["enable", "health", where] | ["del", "server", where] | ["shutdown", "sessions", "server", where]:
                rest: list[str] = []
            case ["set", "server", where, *rest] | ["set", "maxconn", "server", where, *rest]:
                pass
            case _:
                raise AssertionError(f"no such runtime command here: {line}")
        server = self.servers.get(where.split("/")[1])
        if server is None:
            return "No such server."
        self._before(line)
        return self._change(server, words[0], rest)

    def _steer(self, words: list[str], line: str) -> str:
        name = words[2].removeprefix("proc.") if len(words) > 2 else ""
        match words:
            case ["get", _, _] if name in self.variables:
                return f"proc.{name}: type=sint value=<{self.variables[name]}>"
            case ["get", *_]:
                return "Variable not found."
            case ["set", _, _, value] if self._experimental:
                self._before(line)
                self.variables[name] = int(value.removeprefix("int(").removesuffix(")"))
                return ""
            case ["set", *_]:
                return "This command is restricted to experimental mode only."
        self._experimental = True
        return ""

    def _add(self, where: str, address: str, options: list[str]) -> str:
        server = _declared(where.split("/")[1], address, " ".join(options))
        if server.name in self.servers:
            return "Already exists a server with the same name in backend."
        server.id = server.id or max((other.id for other in self.servers.values()), default=0) + 1
        taken = next((other for other in self.servers.values() if other.id == server.id), None)
        if taken is not None:
            return f"custom id {server.id} already used at web_nodes:0 ('server {taken.name}')"
        self.servers[server.name] = server
        return "New server registered."

    def _change(self, server: RunningServer, verb: str, rest: list[str]) -> str:
        match [verb, *rest]:
            case ["enable"]:
                server.checking = True
            case ["shutdown"]:
                server.busy = 0
            case ["set", "weight", weight]:
                server.weight = int(weight)
            case ["set", "state", mode]:
                server.mode, server.checking = mode, mode != "maint"
            case ["set", maxconn]:
                server.maxconn = int(maxconn)
            case ["del"]:
                if server.mode != "maint":
                    return "Only servers in maintenance mode can be deleted."
                if server.lingers or server.busy:
                    return "Server still has connections attached to it, cannot remove it."
                del self.servers[server.name]
                return "Server deleted."
            case other:
                raise AssertionError(f"no such runtime command here: {other}")
        return ""

    def _state(self) -> str:
        rows = [
            f"3 web_nodes {s.id} {s.name} {s.address} 2 {_ADMIN[s.mode]} {s.weight} {s.weight} 1 15 3 4 "
            f"{0x06 if s.checking else 0x0A if s.check else 0x02} 0 0 0 - {s.port}"
            for s in self.servers.values()
        ]
        return "\n".join(["1", _STATE_HEADER, *rows])

    def _stat(self, kind: int, number: int) -> str:
        """Rows of the kinds that ``kind`` asks for: 1 frontends, 2 backends, 4 servers, these with the id or -1."""
        rows = ["fe_web,FRONTEND,0,0,8000,OPEN,,,0,7"] if kind & 1 else []
        if kind & 4:
            rows += [
                f"web_nodes,{s.name},0,{s.busy},{s.maxconn},{_status(s)},{s.weight},{s.check},0,0"
                for s in self.servers.values()
                if number in (-1, s.id)
            ]
        rows += [f"web_nodes,BACKEND,{self.queue},0,800,UP,1,,0,7"] if kind & 2 else []
        return "\n".join([_STAT_HEADER, *rows])


def _status(server: RunningServer) -> str:
    return "MAINT" if server.mode == "maint" else "UP" if server.check in ("", "L7OK") else "DOWN"


def _declared(name: str, address: str, options: str) -> RunningServer:
    host, port = address.split(":")
    number = re.search(r"\bid (\d+)", options)
    weight, maxconn = re.search(r"\bweight (\d+)", options), re.search(r"\bmaxconn (\d+)", options)
    assert weight is not None
    assert maxconn is not None
    return RunningServer(
        name=name,
        id=int(number[1]) if number else 0,
        address=host,
        port=int(port),
        weight=int(weight[1]),
        maxconn=int(maxconn[1]),
    )


def variables_in(cfg: str) -> dict[str, int]:
    """Return the variables that ``cfg`` starts with."""
    return {name: int(value) for name, value in _VARIABLE_LINE.findall(cfg)}


def servers_in(cfg: str) -> dict[str, RunningServer]:
    """Return the servers that ``cfg`` starts with: those not disabled are open before their first check."""
    servers = {}
    for position, (name, host, port, options) in enumerate(_SERVER_LINE.findall(cfg), start=1):
        server = _declared(name, f"{host}:{port}", options)
        server.id = server.id or position
        if not options.endswith(" disabled"):
            server.mode, server.checking = "ready", True
        servers[name] = server
    return servers
