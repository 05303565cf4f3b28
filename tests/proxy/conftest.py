"""A proxy and applications that end with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.proxy.application import Application
from tests.proxy.proxy_under_test import Proxy, free_port, settings_with

Site = tuple[Proxy, dict[str, Application]]
MakeSite = Callable[..., Site]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[MakeSite]:
    """Return what makes a proxy, not started yet, core servers with these slots, and these many nodes.

    ``site(3, 2, nodes=1, frontend="queue_s = 1")`` has core servers ``c1`` with 3 slots and ``c2`` with 2, and ``i-2``.
    """
    ends: list[Callable[[], object]] = []

    def make(*slots: int, nodes: int = 0, frontend: str = "", expects_proxy: bool = False) -> Site:
        port = free_port()
        core = [(f"c{number}", free_port(), most) for number, most in enumerate(slots, start=1)]
        applications = {
            name: Application(name, "127.0.0.1", at, expects_proxy=expects_proxy) for name, at, _ in core
        } | {
            f"i-{number}": Application(f"i-{number}", f"127.0.0.{number}", port, expects_proxy=expects_proxy)
            for number in range(2, 2 + nodes)
        }
        proxy = Proxy(settings_with(core, port=port, frontend=frontend), tmp_path)
        ends.append(proxy.stop)
        ends.extend(application.stop for application in applications.values())
        return proxy, applications

    yield make
    for end in reversed(ends):
        end()
