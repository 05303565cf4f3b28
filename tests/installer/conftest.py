"""A machine whose files lie in a folder; its programs that would leave that folder are recorded instead of run."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import settings
from core_agent import paths
from core_agent.build import build
from core_agent.errors import CommandFailed
from core_agent.haproxy import config
from core_agent.install import door, install, services
from settings import Settings

AGENT = pwd.getpwnam("nobody")
KEY = f"ssh-ed25519 {'A' * 68} someone@example"
_PLACES = (
    "ZIPAPP",
    "RELAY",
    "SETTINGS",
    "STATE",
    "SOCKET",
    "WG_CONF",
    "HAPROXY_CFG",
    "HAPROXY_DROP_IN",
    "HAPROXY_EXTRA",
    "OPERATOR_CFG",
    "AUTHORIZED_KEYS",
    "SSHD_DROP_IN",
    "SSHD_RUN",
    "UNITS",
)


@dataclass
class Machine:
    """The folder, the argvs that were run, and what some of them do: fail, or look at the files of that moment."""

    root: Path
    zipapp: Path
    ran: list[str] = field(default_factory=list)
    fails: dict[str, str] = field(default_factory=dict)
    watches: dict[str, Callable[[], object]] = field(default_factory=dict)

    def run(self, argv: tuple[str, ...], *, doing: str) -> str:
        """Stand in for ``core_agent.process.run``."""
        line = " ".join(argv)
        self.ran.append(line)
        for start, watch in self.watches.items():
            if line.startswith(start):
                watch()
        for start, output in self.fails.items():
            if line.startswith(start):
                raise CommandFailed(doing, argv[0], 255, output)
        return "the journal's last words\n" if argv[0] == "journalctl" else ""

    def settings(self, **replaced: str) -> Settings:
        """Return the repository's own settings, with lines that start with a key replaced: ``port="port = 1"``."""
        return settings.parse(self.text(**replaced), source="test")

    def text(self, **replaced: str) -> str:
        """Return the text of these settings; every line that starts with a key is replaced."""
        lines = Path("drawbridge.toml").read_text().splitlines()
        for key, new in replaced.items():
            assert any(line.startswith(f"{key} =") for line in lines)
            lines = [new if line.startswith(f"{key} =") else line for line in lines]
        return "\n".join(lines)

    def install(self, text: str | None = None, *, start: bool = True, dry_run: bool = False) -> None:
        """Install with ``text`` as drawbridge.toml, or with the repository's own."""
        config = self.root / "drawbridge.toml"
        config.write_text(self.text() if text is None else text)
        install(config=config, authorized_key=KEY, zipapp=self.zipapp, start=start, dry_run=dry_run)

    def files(self) -> dict[str, bytes]:
        """Return every file of the machine: path → content."""
        found = sorted(path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in found}


@pytest.fixture(scope="session")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A freshly built agent."""
    path = tmp_path_factory.mktemp("zipapp") / "agent.pyz"
    build(path)
    return path


@pytest.fixture
def machine(tmp_path: Path, zipapp: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A bare machine: Debian's folders, nothing of ours."""
    machine = Machine(root=tmp_path, zipapp=zipapp)
    monkeypatch.setenv("PATH", os.environ["PATH"])  # the installer lengthens its own
    for name in _PLACES:
        monkeypatch.setattr(paths, name, tmp_path / getattr(paths, name).relative_to("/"))
    monkeypatch.setattr(paths, "AGENT_USER", AGENT.pw_name)
    monkeypatch.setattr(config, "AGENT_USER", grp.getgrgid(AGENT.pw_gid).gr_name)
    monkeypatch.setattr(door, "run", machine.run)
    monkeypatch.setattr(services, "run", machine.run)
    for folder in ("etc/ssh/sshd_config.d", "etc/systemd/system", "var/lib", "run", "usr/lib"):
        (tmp_path / folder).mkdir(parents=True)
    return machine
