"""A core made of models: the real ``Host`` runs on it unchanged, and what it does is noted or cut off.

It knows programs, files and the runtime API, and must not know what the agent wants of them. The seams are the three
places where the agent leaves its process: ``process.run``, ``RuntimeSession`` and ``files.replace``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from unittest.mock import patch

from core_agent import files
from core_agent.errors import CommandFailed, RuntimeApiError
from core_agent.haproxy import apply as haproxy_apply
from core_agent.wireguard import apply as wireguard_apply
from tests.agent.walk.proxy import Proxy, servers_in
from tests.agent.walk.tunnel import OPERATORS_PART, Tunnel, changes_in, peers_in

_replace = files.replace


class CutError(Exception):
    """The agent's process ended here, as by kill -9."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One thing that the agent did, and how the core stood right before it.

    ``what`` is ``commit``, ``file``, ``put peer``, ``take peer``, ``steer`` for a variable, or the verb of a runtime
    command; ``name`` the file, the key, the variable or the server; ``detail`` the rest of the words.
    """

    what: str
    name: str
    detail: str
    tunnel_up: bool
    mode: str
    busy: int
    healthy: bool
    good_at: float
    peers: dict[str, tuple[str, ...]]
    servers: dict[str, str]
    filed_peers: frozenset[str]
    filed_servers: frozenset[str]

    def __str__(self) -> str:
        return f"{self.what} {self.name} {self.detail}".strip()


class Machine:
    """WireGuard, HAProxy and both files in ``folder``. ``cut_after`` counts the effects until the agent dies.

    ``done`` counts all effects that there were; ``effects`` are those of the step.
    """

    def __init__(self, folder: Path) -> None:
        self.wg_conf, self.haproxy_cfg = folder / "wg0.conf", folder / "haproxy.cfg"
        self.wg_conf.write_text(OPERATORS_PART)
        self.effects: list[Effect] = []
        self.done = 0
        self.cut_after: int | None = None
        self.disk_full = self.wg_is_slow = False
        self.tunnel = Tunnel()
        self.proxy = Proxy(self._before_line)
        self.tunnel.start(self.conf)

    @property
    def conf(self) -> str:
        """The text of wg0.conf."""
        return self.wg_conf.read_text()

    @property
    def cfg(self) -> str:
        """The text of haproxy.cfg; nothing when the file is missing."""
        return self.haproxy_cfg.read_text() if self.haproxy_cfg.exists() else ""

    def text(self) -> str:
        """Return what runs and what both files say, as a person would compare it; nothing that counts or ages."""
        peers = [f"peer {key} {' '.join(peer.addresses)}" for key, peer in sorted(self.tunnel.peers.items())]
        servers = [
            f"server {s.name} {s.address} {s.mode} weight {s.weight} maxconn {s.maxconn} checked {s.checking}"
            for _, s in sorted(self.proxy.servers.items())
        ]
        variables = [f"{name} {value}" for name, value in sorted(self.proxy.variables.items())]
        return "\n".join([*peers, *servers, *variables, self.conf, self.cfg])

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let the agent's ways out of its process lead here."""
        machine = self

        class Session:
            """One conversation with the modelled HAProxy."""

            def __init__(self, path: Path) -> None:
                if not machine.proxy.up:
                    raise RuntimeApiError(f"opening {path}", "connect", "No such file or directory")

            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_: object) -> None:
                pass

            def close(self) -> None:
                pass

            def run(self, lines: Sequence[str]) -> list[str]:
                if not machine.proxy.up:
                    raise RuntimeApiError("talking to HAProxy", lines[0], "Broken pipe")
                return machine.proxy.answer_all(lines)

        with (
            patch.object(wireguard_apply, "run", self._run),
            patch.object(wireguard_apply, "start", self._start),
            patch("core_agent.host.run", self._run),
            patch.object(haproxy_apply, "RuntimeSession", Session),
            patch.object(files, "replace", self._replace),
        ):
            yield

    def commit(self) -> None:
        """Take note that records are about to become durable."""
        self._note("commit", "records")

    # --- what the agent's calls come to -----------------------------------------------------------------------------

    def _start(self, argv: tuple[str, ...], *, doing: str) -> Callable[[], str]:
        """Carry it out at once, or only when somebody waits for it: beside the agent both may happen."""
        if self.wg_is_slow:
            return lambda: self._run(argv, doing=doing)
        printed = self._run(argv, doing=doing)
        return lambda: printed

    def _run(self, argv: tuple[str, ...], *, doing: str, environment: Mapping[str, str] | None = None) -> str:
        if argv[:2] == ("haproxy", "-c"):
            assert environment is not None, "the agent cannot read the certificate: it leaves that to others"
            servers_in(Path(argv[3]).read_text())
            return ""
        if not self.tunnel.up:
            raise CommandFailed(doing, "wg", 1, "Unable to access interface: No such device")
        if argv[:2] == ("wg", "show"):
            return self.tunnel.dump()
        for key, address, endpoint in changes_in(argv):
            if address is None:
                self._note("take peer", key)
                self.tunnel.peers.pop(key, None)
            else:
                self._note("put peer", key, address)
                self.tunnel.put(key, address, endpoint)
        return ""

    def _replace(
        self, path: Path, text: str | bytes, *, mode: int, check: Callable[[Path], None] | None = None
    ) -> None:
        if self.disk_full:
            _replace(path, text, mode=mode, check=_no_space)
        try:
            self._note("file", path.name)
        except CutError:  # it died with the draft half written
            content = text if isinstance(text, bytes) else files.encoded(text)
            path.with_name(f".{path.name}.new").write_bytes(content[: len(content) // 2])
            raise
        _replace(path, text, mode=mode, check=check)

    def _before_line(self, line: str) -> None:
        words = line.split()
        if words[1] == "var":
            self._note("steer", words[2].removeprefix("proc."), words[3])
            return
        where = next(word for word in words if "/" in word)
        verb = words[0] if words[0] != "set" else "state" if "state" in words else "measure"
        self._note(verb, where.split("/")[1], line.partition(where)[2].strip())

    def _note(self, what: str, name: str, detail: str = "") -> None:
        if self.cut_after is not None:
            if self.cut_after == 0:
                raise CutError
            self.cut_after -= 1
        self.done += 1
        server = self.proxy.servers.get(name)
        self.effects.append(
            Effect(
                what=what,
                name=name,
                detail=detail,
                tunnel_up=self.tunnel.up,
                mode=server.mode if server else "absent",
                busy=server.busy if server else 0,
                healthy=server is not None and server.healthy,
                good_at=server.good_at if server else 0.0,
                peers={key: peer.addresses for key, peer in self.tunnel.peers.items()},
                servers={name: server.address for name, server in self.proxy.servers.items()},
                filed_peers=frozenset(peers_in(self.conf)),
                filed_servers=frozenset(servers_in(self.cfg)),
            )
        )


def _no_space(_: Path) -> None:
    raise OSError(28, "No space left on device")
