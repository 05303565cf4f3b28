"""What every test inside a sandbox stands on: one switch, and a folder for logs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from demo.hosts.host import Host
from demo.hosts.switch import Switch


@pytest.fixture(scope="session")
def switch() -> Switch:
    """The sandbox's switch, built once."""
    built = Switch()
    built.start()
    return built


@pytest.fixture
def new_host(switch: Switch, tmp_path: Path) -> Iterator[Callable[[str, str], Host]]:
    """Returns a started host called NAME at ADDRESS; its plug is pulled after the test."""
    hosts: list[Host] = []

    def start(name: str, address: str) -> Host:
        host = Host(name=name, address=IPv4Address(address), switch=switch, log_folder=tmp_path)
        hosts.append(host)
        host.start()
        return host

    yield start
    for host in hosts:
        host.stop()
