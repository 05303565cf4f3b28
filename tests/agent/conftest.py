"""The agent's fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from settings import Settings, load
from tests.agent.core_under_test import Core


def at_once(settings: Settings) -> Settings:
    """Return ``settings`` without a ramp: nodes have their full weight when they open."""
    return replace(settings, burst=replace(settings.burst, ramp_s=0))


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    """A core whose records are new and whose host has nothing but its own server."""
    core = Core(at_once(load(Path("drawbridge.toml"))), tmp_path / "state.db")
    yield core
    core.state.close()


@pytest.fixture
def ramping_core(tmp_path: Path) -> Iterator[Core]:
    """The same, with the ramp of ten seconds that people have."""
    core = Core(load(Path("drawbridge.toml")), tmp_path / "state.db")
    yield core
    core.state.close()
