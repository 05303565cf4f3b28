"""Root in folders that another user owns: no planted name leads it anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from core_agent.install import InstallError, ownership
from tests.installer.conftest import AGENT, Machine


@pytest.fixture
def secret(machine: Machine) -> Path:
    """A file of root's that nobody else may read."""
    path = machine.root / "shadow"
    path.write_text("root's own\n")
    path.chmod(0o600)
    return path


def test_a_file_changes_hands(secret: Path) -> None:
    """The agent's user has it, with the mode that was asked for."""
    ownership.give(secret, 0o640)
    found = secret.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (AGENT.pw_uid, AGENT.pw_gid, 0o640)


PLANTED: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "link": (lambda secret, name: name.symlink_to(secret), "wanted a regular file, found a symbolic link"),
    "second name": (lambda secret, name: name.hardlink_to(secret), "wanted a file with one name, found 2"),
    "pipe": (lambda _, name: os.mkfifo(name), "wanted a regular file, found p"),
    "folder": (lambda _, name: name.mkdir(), "wanted a regular file, found d"),
}


@pytest.mark.parametrize("act", [lambda name: ownership.give(name, 0o644), ownership.read, ownership.keep])
@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_no_plain_file_is_refused(
    secret: Path, planted: str, act: Callable[[Path], object], machine: Machine
) -> None:
    """Giving, reading and keeping say what they found; what a link leads to keeps owner and mode, nothing is copied."""
    plant, says = PLANTED[planted]
    plant(secret, machine.root / "wg0.conf")
    before = sorted(machine.root.iterdir())
    with pytest.raises(InstallError, match=says):
        act(machine.root / "wg0.conf")
    found = secret.stat()
    assert (found.st_uid, found.st_mode & 0o777) == (os.geteuid(), 0o600)
    assert sorted(machine.root.iterdir()) == before


def test_every_kept_copy_has_a_name_of_its_own(machine: Machine) -> None:
    """A second copy does not replace the first, and a link that waits under the next name is not written through."""
    cfg, elsewhere = machine.root / "haproxy.cfg", machine.root / "elsewhere"
    cfg.write_text("first\n")
    (machine.root / "haproxy.cfg.before-drawbridge.1").symlink_to(elsewhere)
    first = ownership.keep(cfg)
    cfg.write_text("second\n")
    second = ownership.keep(cfg)
    assert (first.name, first.read_text()) == ("haproxy.cfg.before-drawbridge", "first\n")
    assert (second.name, second.read_text()) == ("haproxy.cfg.before-drawbridge.2", "second\n")
    assert not elsewhere.exists()


def test_a_copy_is_no_more_readable_than_its_original(secret: Path) -> None:
    """A file for root alone stays for root alone."""
    assert ownership.keep(secret).stat().st_mode & 0o777 == 0o600
