"""The core that the client's and the fabfile's tests reach; it must not know what they ask of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.loopback_core import LoopbackCore


@pytest.fixture
def core(tmp_path: Path) -> Iterator[LoopbackCore]:
    """A core behind a real sshd on loopback."""
    folder = tmp_path / "core"
    folder.mkdir()
    core = LoopbackCore(folder)
    core.start()
    yield core
    core.stop()
