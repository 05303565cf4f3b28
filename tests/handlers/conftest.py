"""What every handler's tests start from: one place, one group, one core, and a clock that only goes forward."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from core_agent.contract.plain import plain
from lambdas import environment
from lambdas.environment import Place
from lambdas.handlers import burst, enroll, fleet, telemetry
from settings.tables import Peak
from settings.words import Clock, Day, Label
from tests.handlers.fake_cloud import FakeCloud
from tests.handlers.fake_core import FakeCore
from tests.handlers.payloads import ACCOUNT, ALARMS, GROUP, REGION, ROLE

# As the stacks write it: the settings' own table.
MORNINGS = Peak(
    name=Label("mornings"),
    start=Clock("08:00"),
    end=Clock("12:00"),
    min_capacity=2,
    days=(Day.MONDAY, Day.TUESDAY),
    level_percent=60,
    core_percent=70,
)
ENVIRONMENT = {
    "AWS_REGION": REGION,
    "DRAWBRIDGE_ACCOUNT": ACCOUNT,
    "DRAWBRIDGE_GROUP": GROUP,
    "DRAWBRIDGE_NODE_ROLE": ROLE,
    "DRAWBRIDGE_LAUNCH_HOOK": "drawbridge-launch",
    "DRAWBRIDGE_TERMINATE_HOOK": "drawbridge-terminate",
    "DRAWBRIDGE_CORE_HOST": "203.0.113.10",
    "DRAWBRIDGE_CORE_PORT": "22",
    "DRAWBRIDGE_CORE_USER": "drawbridge",
    "DRAWBRIDGE_CORE_HOST_KEY": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmN4XKnXrqZ7VnGg1fW0B1kKQbLkqzD6k0Xo3m1b2cV",
    "DRAWBRIDGE_SSH_KEY_PARAMETER": "/drawbridge/ssh-key",
    "DRAWBRIDGE_QUEUE_URL": "https://queue.example/own",
    "DRAWBRIDGE_DEAD_LETTER_URL": "https://queue.example/dead",
    "DRAWBRIDGE_CALM_PERCENT": "25",
    "DRAWBRIDGE_ALARM_PERCENT": "100",
    "DRAWBRIDGE_ALARM_SATURATED": ALARMS[0],
    "DRAWBRIDGE_ALARM_CALM": ALARMS[1],
    "DRAWBRIDGE_ALARM_QUEUE_LONG": ALARMS[2],
    "DRAWBRIDGE_ALARM_QUEUE_SHORT": ALARMS[3],
    "DRAWBRIDGE_PEAKS": json.dumps([plain(MORNINGS)]),
    "DRAWBRIDGE_PERIOD_S": "10",
    "POWERTOOLS_SERVICE_NAME": "drawbridge-fleet",
    "POWERTOOLS_METRICS_NAMESPACE": "Drawbridge",
}


class Context(LambdaContext):
    """What Lambda passes beside the event."""

    _function_name = "drawbridge-fleet"
    _memory_limit_in_mb = 256
    _invoked_function_arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:drawbridge-fleet"
    _aws_request_id = "0f0e0d0c-00ff-4000-8000-0000000000ff"


@pytest.fixture
def context() -> Context:
    """The invocation's context."""
    return Context()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the functions' environment, and let no container stay warm between two tests."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for module in (fleet, burst, telemetry):  # Powertools read these when the module was imported
        monkeypatch.setattr(module.metrics.provider, "namespace", ENVIRONMENT["POWERTOOLS_METRICS_NAMESPACE"])
        monkeypatch.setattr(module.metrics.provider, "service", ENVIRONMENT["POWERTOOLS_SERVICE_NAME"])
    yield
    for module in (fleet, burst, enroll, telemetry):
        module._warm.cache_clear()
    for module in (fleet, burst, telemetry):
        module.metrics.clear_metrics()


@pytest.fixture
def place() -> Place:
    """The functions' own place."""
    return environment.place(ENVIRONMENT)


@pytest.fixture
def cloud() -> FakeCloud:
    """An empty group."""
    return FakeCloud()


@pytest.fixture
def core() -> FakeCore:
    """A core without nodes."""
    return FakeCore()


@pytest.fixture
def now_ms() -> Callable[[], int]:
    """A clock that goes one millisecond forward each time it is read."""
    ticks = itertools.count(1_795_334_400_000)
    return lambda: next(ticks)
