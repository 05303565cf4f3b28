"""The telemetry function: a question a beat, every answer published, every failure counted and none made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from core_agent.contract.messages import ReadTelemetry
from core_agent.errors import AgentFailed, ContractError, CoreUnreachable, DrawbridgeError, HostKeyMismatch
from demo.aws import emf
from lambdas.beats import Beats
from lambdas.errors import CloudBusy
from lambdas.handlers import telemetry
from tests.handlers.conftest import Context
from tests.handlers.fake_core import FakeCore
from tests.handlers.payloads import payload

START_MS = 1_795_334_403_000
SCHEDULED = payload("scheduled")


class Minute:
    """Invocations of the deployed entry point over a fake core, by a clock that goes forward when somebody waits."""

    def __init__(self, core: FakeCore, context: Context, capsys: pytest.CaptureFixture[str]) -> None:
        self.core, self.context, self.capsys = core, context, capsys
        self.ms = START_MS
        self.remaining_ms = 60_000
        self.values: dict[str, list[float]] = {}
        self.resolutions: set[int] = set()

    def __call__(self, at_ms: int = START_MS) -> None:
        """Be invoked, and read what was printed whether it ended well or not."""
        self.ms = at_ms
        self.values, self.resolutions = {}, set()
        try:
            telemetry.handler(SCHEDULED, self.context)
        finally:
            for line in self.capsys.readouterr().out.splitlines():
                self._read(line)

    def wait_ms(self, duration_ms: int) -> None:
        """Go forward."""
        self.ms += max(0, duration_ms)

    def _read(self, line: str) -> None:
        for point in emf.parse(line):
            assert point.dimensions == {"service": "drawbridge-fleet"}
            self.values.setdefault(point.name, []).extend(point.values)
        definitions = json.loads(line)["_aws"]["CloudWatchMetrics"][0]["Metrics"]
        self.resolutions |= {one.get("StorageResolution", 60) for one in definitions}


@pytest.fixture
def minute(
    core: FakeCore, context: Context, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Minute]:
    """A function that has just been deployed and has a whole minute to run."""
    made = Minute(core, context, capsys)

    def warm_core(address: Any, private_key: Any, *, reply_timeout_s: float) -> FakeCore:  # noqa: ANN401  # a class
        assert address.host == "203.0.113.10"
        assert 1000 * reply_timeout_s < telemetry._PATIENCE_MS
        return core

    monkeypatch.setattr(telemetry, "WarmCore", warm_core)
    monkeypatch.setattr(telemetry, "now_ms", lambda: made.ms)
    monkeypatch.setattr(telemetry, "wait_ms", made.wait_ms)
    monkeypatch.setattr(Context, "get_remaining_time_in_millis", lambda _: made.remaining_ms)
    yield made
    assert isinstance(telemetry._warm().beats, Beats)


def test_the_core_is_asked_at_each_beat(minute: Minute) -> None:
    """Each ten seconds have their own question over the last ten and their own high-resolution values."""
    minute()
    assert minute.core.commands == 6 * [ReadTelemetry(window_s=10)]
    assert minute.values["CoreSaturation"] == 6 * [float(80 + at) for at in range(10)]
    assert minute.values["CoreUnreachable"] == 6 * [0.0]
    assert minute.resolutions == {1}
    minute(START_MS + 60_000)
    assert len(minute.core.commands) == 12


def test_a_period_of_a_minute_is_one_question(minute: Minute, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a period of 60 s there is one question over a minute, at once, and its values are standard ones."""
    monkeypatch.setenv("DRAWBRIDGE_PERIOD_S", "60")
    minute()
    assert minute.core.commands == [ReadTelemetry(window_s=60)]
    assert minute.ms == START_MS
    assert minute.resolutions == {60}


@pytest.mark.parametrize(
    "error",
    [
        CoreUnreachable("connecting to 203.0.113.10:22: timed out after 5 s"),
        AgentFailed("reading telemetry: HAProxy is away", retryable=True),
        CloudBusy("reading parameter /key: AWS answered ThrottlingException"),
    ],
)
def test_an_unreachable_core_is_counted_and_told_once(
    minute: Minute, error: DrawbridgeError, caplog: pytest.LogCaptureFixture
) -> None:
    """What passes by itself ends no invocation: each failure is a 1, the first one is told, and nothing is made up."""
    minute.core.failures = [error] * 5
    minute()
    assert minute.values["CoreUnreachable"] == [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    assert len(minute.values["CoreSaturation"]) == 10
    assert [vars(told)["reason"] for told in caplog.records] == [str(error)]
    minute.core.failures = [error]
    minute(START_MS + 60_000)
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    "error",
    [
        ContractError("reply.version: wanted 3, found 2"),
        AgentFailed("reading a request: unknown command ReadTelemetry", retryable=False),
        HostKeyMismatch("connecting: wanted the pinned host key"),
    ],
)
def test_what_no_retry_heals_is_loud(minute: Minute, error: DrawbridgeError) -> None:
    """An agent that is too old, or a stranger in its place, fails the function at once, and is counted."""
    minute.core.failures = [error]
    with pytest.raises(type(error), match=str(error)):
        minute()
    assert minute.values == {"CoreUnreachable": [1.0]}
    assert len(minute.core.commands) == 1


def test_a_report_of_another_kind_is_loud(minute: Minute, monkeypatch: pytest.MonkeyPatch) -> None:
    """A core that answers another question is not believed."""
    monkeypatch.setattr(FakeCore, "request", lambda _, command: "yes")
    with pytest.raises(ContractError, match="wanted TelemetryReport, found str"):
        minute()
    assert minute.values == {"CoreUnreachable": [1.0]}


def test_little_time_left_asks_less(minute: Minute) -> None:
    """No question is begun that the function's own timeout could cut short."""
    minute.remaining_ms = 20_000
    minute()
    assert len(minute.core.commands) == 2
    minute.remaining_ms = 1_000
    minute(START_MS + 60_000)
    assert len(minute.core.commands) == 2
    assert minute.values == {}


def test_a_slow_core_keeps_the_questions_in_their_minute(minute: Minute, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when each answer takes all the patience there is, the invocation ends before the next one begins."""

    def slowly(core: FakeCore, command: ReadTelemetry) -> object:
        minute.wait_ms(telemetry._PATIENCE_MS)
        core.commands.append(command)
        return core.telemetry

    monkeypatch.setattr(FakeCore, "request", slowly)
    for start in range(0, 10_000, 500):
        minute.core.commands.clear()
        minute(START_MS + 60_000 * start + start)
        assert len(minute.core.commands) >= 5
        assert minute.ms <= START_MS + 60_000 * start + start + 60_000
