"""Takes the tests of the real WireGuard, HAProxy and sshd into a sandbox, because they need networks of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from demo import configuration, sandbox
from stacks import bundle

ROOT = Path(__file__).resolve().parents[2]
INSIDE = sorted(Path(__file__).with_name("inside").glob("test_*.py"))


@pytest.mark.integration
@pytest.mark.parametrize("module", INSIDE, ids=lambda module: module.stem)
def test_real_parts(module: Path) -> None:
    """Every test of the module passes inside a sandbox of its own."""
    bundle.build(ROOT, configuration.functions())  # inside there is no network to fetch wheels by
    assert not sandbox.inside(), "run this test outside; inside, run the modules in inside/ themselves"
    pytest_argv = (sys.executable, "-m", "pytest", "-q", "--timeout=240", str(module))
    done = subprocess.run(
        (sys.executable, "-m", "demo.sandbox", "--", *pytest_argv), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
