"""The agent's fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from settings import load
from tests.agent.core_under_test import Core


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    """A core whose records are new and whose host has nothing but its own server."""
    core = Core(load(Path("drawbridge.toml")), tmp_path / "state.db")
    yield core
    core.state.close()
