"""The one file for the core: built reproducibly, run by Debian's python3 with nothing installed."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from core_agent import __version__
from core_agent.build import build

PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="module")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A freshly built agent."""
    path = tmp_path_factory.mktemp("zipapp") / "agent.pyz"
    build(path)
    return path


def _run(zipapp: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [PYTHON, "-I", "-S", str(zipapp), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)


def test_it_runs_on_debians_python_alone(zipapp: Path) -> None:
    """No site-packages, no environment: the version comes out, and --help names every sub-command."""
    assert _run(zipapp, "version").stdout == f"{__version__}\n"
    usage = _run(zipapp, "--help").stdout
    assert all(word in usage for word in ("install", "serve", "relay", "version"))


def test_the_same_sources_give_the_same_bytes(zipapp: Path, tmp_path: Path) -> None:
    """So a digest tells whether a core runs what was reviewed."""
    build(tmp_path / "again.pyz")
    assert (tmp_path / "again.pyz").read_bytes() == zipapp.read_bytes()


def test_it_carries_nothing_of_the_callers_side(zipapp: Path) -> None:
    """No client, no Fabric, no AWS; the units and the relay are in."""
    names = zipfile.ZipFile(zipapp).namelist()
    assert not [name for name in names if name.startswith("core_agent/client")]
    system = {"core_agent/system/drawbridge-agent.service", "core_agent/system/relay"}
    assert {"settings/__init__.py", *system} <= set(names)
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("install", "--config", "drawbridge.toml", "--authorized-key", "nonsense", "--dry-run"),
            "wanted one public key",
        ),
        (("install", "--config", "missing.toml", "--authorized-key", "x"), "reading missing.toml: no such file"),
        (("serve", "--config", "missing.toml"), "reading missing.toml: no such file"),
        (("fly",), "invalid choice: 'fly'"),
        ((), "required"),
    ],
)
def test_what_a_person_mistypes_is_one_clear_line(zipapp: Path, arguments: tuple[str, ...], says: str) -> None:
    """Exit status not 0, no traceback, and the sentence says what was wanted."""
    done = _run(zipapp, *arguments)
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_says_everything_and_does_nothing(zipapp: Path) -> None:
    """Each action announced with 'would'; nothing laid out."""
    key = f"ssh-ed25519 {'A' * 68} someone@example"
    done = _run(zipapp, "install", "--config", "drawbridge.toml", "--authorized-key", key, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("would ") for line in done.stdout.splitlines())
    assert "would let one key in as drawbridge, to the relay alone" in done.stdout
    assert not Path("/etc/drawbridge").exists()
