"""The burst function: the level follows what the alarm says now, whatever the events say and in whatever order."""

from __future__ import annotations

from typing import Any

import pytest
from aws_lambda_powertools import Logger, Metrics

from core_agent.errors import CoreUnreachable
from lambdas import environment
from lambdas.batch import consume
from lambdas.cloud import Alarm
from lambdas.environment import Place
from lambdas.errors import CloudBusy, CloudRefused
from lambdas.handlers import burst
from lambdas.handlers.burst import Visit
from tests.handlers.conftest import ENVIRONMENT, Context
from tests.handlers.fake_cloud import FakeCloud
from tests.handlers.fake_core import FakeCore
from tests.handlers.payloads import ALARM, batch, returned, text

ON, OFF = text("alarm-on"), text("alarm-off")
QUEUES = environment.queues(ENVIRONMENT)


class Function:
    """The burst function over fakes; each call is an invocation."""

    def __init__(self, place: Place, cloud: FakeCloud, core: FakeCore) -> None:
        self.cloud, self.core, self.place = cloud, core, place

    def __call__(self, *bodies: str) -> list[str]:
        """Take one batch; return the ids of the messages that go back."""
        visit = Visit(self.place, environment.burst_levels(ENVIRONMENT), cloud=self.cloud, core=self.core)
        answer = consume(
            batch(*bodies),
            visit.handle,
            queues=QUEUES,
            messenger=self.cloud,
            logger=Logger(),
            metrics=Metrics(),
        )
        return returned(answer)

    @property
    def levels(self) -> list[int]:
        """The levels that the core was told."""
        return [command.level_percent for command in self.core.bursts]

    @property
    def dead_letters(self) -> list[str]:
        """The errors of the dead letters."""
        assert all(message.queue_url == QUEUES.dead_letter for message in self.cloud.sent)
        return [message.attributes["Error"] for message in self.cloud.sent]


@pytest.fixture
def function(place: Place, cloud: FakeCloud, core: FakeCore) -> Function:
    """A function that has just been deployed."""
    return Function(place, cloud, core)


@pytest.mark.parametrize(("state", "level"), [("ALARM", 100), ("OK", 25)])
def test_the_level_follows_the_alarm(function: Function, state: str, level: int) -> None:
    """ALARM opens the edge, OK closes it to the calm level, with the alarm's own reason."""
    function.cloud.alarm_state = state
    assert function(ON) == []
    assert function.levels == [level]
    assert function.core.bursts[0].reason == f"alarm {ALARM} is {state}: Threshold Crossed: 1 datapoint"


def test_events_out_of_order(function: Function) -> None:
    """A late ALARM event after the alarm has ended does not open the edge again."""
    function.cloud.alarm_state = "OK"
    assert function(OFF) == []
    assert function(ON) == []
    assert function.levels == [25, 25]


def test_insufficient_data_says_nothing(function: Function) -> None:
    """An alarm without data leaves the level as it is."""
    function.cloud.alarm_state = "INSUFFICIENT_DATA"
    assert function(ON) == []
    assert function.core.commands == []


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (text("alarm-on", detail__alarmName="another"), "ForeignEvent"),
        (text("alarm-on", account="210987654321"), "ForeignEvent"),
        (text("alarm-on", region="eu-west-1"), "ForeignEvent"),
        (text("alarm-on", detail__state={}), "ContractError"),
        (text("lifecycle-launch"), "ContractError"),
        ("not JSON", "ContractError"),
    ],
)
def test_what_is_not_our_alarm_is_a_dead_letter(function: Function, body: str, error: str) -> None:
    """Other alarms, other accounts and other kinds are kept with a reason; the core hears nothing."""
    assert function(body, OFF) == []
    assert function.dead_letters == [error]
    assert function.levels == [25]


def test_an_unknown_kind_is_ignored(function: Function) -> None:
    """A kind that nobody here knows asks for nothing."""
    assert function(text("launch-successful")) == []
    assert (function.core.commands, function.cloud.sent) == ([], [])


def test_retryable_errors_come_again(function: Function) -> None:
    """A throttled CloudWatch or a core that is away gives back that message only."""
    function.cloud.failures["alarm"] = [CloudBusy("asking: Throttling")]
    assert function(ON, OFF) == ["m0"]
    function.core.failures = [CoreUnreachable("connecting: timed out")]
    assert function(ON, OFF) == ["m0"]
    assert function.dead_letters == []
    assert function.levels == [25, 25]


def test_a_missing_permission_is_a_dead_letter(function: Function) -> None:
    """AccessDenied is for a person to see."""
    function.cloud.failures["alarm"] = [CloudRefused("asking: AWS answered AccessDenied")]
    assert function(ON) == []
    assert function.dead_letters == ["CloudRefused"]


def test_reasons_are_cut_and_made_printable() -> None:
    """AWS's sentence may be long and of several lines: the contract takes 200 printable characters."""
    alarm = Alarm(name=ALARM, state="ALARM", reason="Threshold\nCrossed:\t\x00\u2028" + "9" * 500)
    reason = burst.reason(alarm)
    assert len(reason) == 200
    assert reason.startswith(f"alarm {ALARM} is ALARM: Threshold Crossed:")


def test_the_handler(
    monkeypatch: pytest.MonkeyPatch,
    cloud: FakeCloud,
    core: FakeCore,
    context: Context,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The deployed entry point takes a batch, answers SQS and writes the level that the core reports."""

    def warm_core(address: Any, private_key: Any) -> FakeCore:  # noqa: ANN401  # stands for a class
        assert (address.host, private_key("/key")) == ("203.0.113.10", "/key")
        return core

    monkeypatch.setattr(burst, "Cloud", lambda *, region: cloud)
    monkeypatch.setattr(burst, "WarmCore", warm_core)
    monkeypatch.setattr(FakeCloud, "private_key", lambda _, parameter: parameter, raising=False)
    cloud.alarm_state = "ALARM"
    assert returned(burst.handler(batch(ON), context)) == []
    assert '"BurstLevel":[100.0]' in capsys.readouterr().out.replace(" ", "")


def test_a_report_of_another_kind_is_a_dead_letter(function: Function, monkeypatch: pytest.MonkeyPatch) -> None:
    """A core that answers another question is not believed."""
    monkeypatch.setattr(FakeCore, "request", lambda _, command: "yes")
    assert function(ON) == []
    assert function.dead_letters == ["ContractError"]
