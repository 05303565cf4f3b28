"""The telemetry function over a real SSH server: one warm connection, through the core's absence and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core_agent.contract.codec import decode_request
from core_agent.contract.messages import ReadTelemetry
from demo.aws import emf
from lambdas.handlers import telemetry
from tests.client.loopback_core import LoopbackCore
from tests.handlers.conftest import ENVIRONMENT, Context
from tests.handlers.payloads import payload

SCHEDULED = payload("scheduled")


class KeyOnly:
    """Stands for AWS, which this function asks for the SSH key alone."""

    identity: Path

    def __init__(self, *, region: str) -> None:
        assert region == "eu-north-1"

    def private_key(self, parameter: str) -> str:
        """Return the key that the core accepts."""
        assert parameter == "/drawbridge/ssh-key"
        return self.identity.read_text()


class Minutes:
    """Invocations a minute apart, by a clock that waiting moves; the connection's own time is the real one."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.ms = 1_795_334_400_000
        self._begun = self.ms - 60_000
        self._capsys = capsys

    def unreachable(self) -> list[float]:
        """Run the next minute and return what it said of each beat."""
        self._begun += 60_000
        self.ms = max(self.ms, self._begun)
        telemetry.handler(SCHEDULED, Context())
        points = [point for line in self._capsys.readouterr().out.splitlines() for point in emf.parse(line)]
        return [value for point in points if point.name == "CoreUnreachable" for value in point.values]

    def wait_ms(self, duration_ms: int) -> None:
        """Go forward."""
        self.ms += max(0, duration_ms)


@pytest.fixture
def core(tmp_path: Path) -> Iterator[LoopbackCore]:
    """A core that listens on this machine alone."""
    core = LoopbackCore(tmp_path)
    core.start()
    yield core
    core.stop()


@pytest.fixture
def minutes(
    core: LoopbackCore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Minutes]:
    """The deployed function, told the truth about the core."""
    made = Minutes(capsys)
    found = {
        "DRAWBRIDGE_CORE_HOST": "127.0.0.1",
        "DRAWBRIDGE_CORE_PORT": str(core.port),
        "DRAWBRIDGE_CORE_USER": core.user,
        "DRAWBRIDGE_CORE_HOST_KEY": core.host_key,
    }
    for name, value in (ENVIRONMENT | found).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(telemetry.metrics.provider, "namespace", "Drawbridge")
    monkeypatch.setattr(telemetry.metrics.provider, "service", "drawbridge-telemetry")
    monkeypatch.setattr(KeyOnly, "identity", core.identity, raising=False)
    monkeypatch.setattr(Context, "get_remaining_time_in_millis", lambda _: 60_000)
    monkeypatch.setattr(telemetry, "Cloud", KeyOnly)
    monkeypatch.setattr(telemetry, "now_ms", lambda: made.ms)
    monkeypatch.setattr(telemetry, "wait_ms", made.wait_ms)
    yield made
    telemetry._warm.cache_clear()
    telemetry.metrics.clear_metrics()


def test_minutes_share_one_connection(core: LoopbackCore, minutes: Minutes) -> None:
    """Two minutes' questions travel over one login and one session."""
    assert minutes.unreachable() == [0.0] * 6
    assert minutes.unreachable() == [0.0] * 6
    assert [decode_request(document)[1] for document in core.requests] == [ReadTelemetry(window_s=10)] * 12
    assert (core.logins, core.sessions) == (1, 1)


def test_a_core_goes_and_comes_back(core: LoopbackCore, minutes: Minutes) -> None:
    """A minute without a core is six failures and no exception; the next one connects again by itself."""
    assert minutes.unreachable() == [0.0] * 6
    core.stop()
    assert minutes.unreachable() == [1.0] * 6
    core.start()
    assert minutes.unreachable() == [0.0] * 6
