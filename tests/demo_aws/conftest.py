"""One local AWS for each module of tests, with a short minute; every test uses names of its own."""

import functools
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.aws.server import LocalAws
from tests.demo_aws.group import Group
from tests.demo_aws.probe import RecordedMachines, create_function, free_port


@pytest.fixture(scope="module")
def machines() -> RecordedMachines:
    """What the local AWS asks of machines."""
    return RecordedMachines()


@pytest.fixture(scope="module")
def ca_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the authority of the function URLs is written."""
    return tmp_path_factory.mktemp("ca") / "ca.pem"


@pytest.fixture(scope="module")
def aws(machines: RecordedMachines, ca_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """A running local AWS whose minute lasts a second."""
    local = LocalAws(
        port=free_port(),
        url_bind=("127.0.0.1", 0),
        ca_path=ca_path,
        log_path=tmp_path_factory.mktemp("log") / "aws.log",
        machines=machines,
        minute_s=1.0,
    )
    with local:
        yield local


@pytest.fixture
def name() -> str:
    """A name that no other test has."""
    return f"t-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def group(aws: LocalAws, name: str) -> Group:
    """An empty group without hooks."""
    return Group(aws, name)


@pytest.fixture
def deploy(aws: LocalAws, name: str) -> Callable[..., str]:
    """Create a function from source whose handler is ``main.handler``; returns its ARN."""
    return functools.partial(create_function, aws, name)
