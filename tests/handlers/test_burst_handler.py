"""The burst function: the level follows what alarms and peaks are now, whatever events say and if none comes."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from aws_lambda_powertools import Logger, Metrics
from hypothesis import given
from hypothesis import strategies as st

from core_agent.contract.messages import ReadTelemetry, Report, SetBurst
from core_agent.contract.names import Reason
from core_agent.errors import CoreUnreachable
from lambdas import environment
from lambdas.batch import consume
from lambdas.environment import Place
from lambdas.errors import AlarmMissing, CloudBusy, CloudRefused
from lambdas.handlers import burst
from lambdas.handlers.burst import Visit
from tests.handlers.conftest import ENVIRONMENT, Context
from tests.handlers.fake_cloud import FakeCloud
from tests.handlers.fake_core import FakeCore
from tests.handlers.payloads import ALARMS, batch, payload, returned, text

ON, OFF, LONG = text("alarm-on"), text("alarm-off"), text("alarm-queue-long")
BEGINS, ENDS, SWEEP = text("peak-begins"), text("peak-ends"), text("scheduled")
SATURATED, CALM, QUEUE_LONG, QUEUE_SHORT = ALARMS
QUEUES = environment.queues(ENVIRONMENT)
IN_THE_PEAK, AFTER_THE_PEAK = "2026-11-23T09:00:00", "2026-11-23T11:00:00"


class Function:
    """The burst function over fakes; each call is an invocation."""

    def __init__(self, place: Place, cloud: FakeCloud, core: FakeCore) -> None:
        self.cloud, self.core, self.place = cloud, core, place
        self.at = AFTER_THE_PEAK

    def __call__(self, *bodies: str) -> list[str]:
        """Take one batch; return the ids of the messages that go back."""
        visit = Visit(
            self.place,
            environment.levels(ENVIRONMENT),
            environment.peaks(ENVIRONMENT),
            cloud=self.cloud,
            core=self.core,
            now_ms=lambda: round(1000 * datetime.fromisoformat(self.at).replace(tzinfo=UTC).timestamp()),
        )
        answer = consume(
            batch(*bodies),
            visit.handle,
            queues=QUEUES,
            messenger=self.cloud,
            logger=Logger(),
            metrics=Metrics(),
        )
        return returned(answer)

    def has(self, level_percent: int, core_percent: int = 100, *, by_hand: bool = False) -> None:
        """Let the core have this level and share, and forget who told it."""
        self.core.request(
            SetBurst(level_percent=level_percent, core_percent=core_percent, by_hand=by_hand, reason=Reason("before"))
        )
        self.core.bursts.clear()
        self.core.commands.clear()

    @property
    def present(self) -> tuple[int, int]:
        """The level and the share that the core has."""
        return self.core.telemetry.burst.level_percent, self.core.telemetry.burst.core_percent

    @property
    def levels(self) -> list[int]:
        """The levels that the core was told."""
        return [command.level_percent for command in self.core.bursts]

    @property
    def shares(self) -> list[int]:
        """The shares of the core that it was told."""
        return [command.core_percent for command in self.core.bursts]

    @property
    def dead_letters(self) -> list[str]:
        """The errors of the dead letters."""
        assert all(message.queue_url == QUEUES.dead_letter for message in self.cloud.sent)
        return [message.attributes["Error"] for message in self.cloud.sent]


@pytest.fixture
def function(place: Place, cloud: FakeCloud, core: FakeCore) -> Function:
    """A function that has just been deployed."""
    return Function(place, cloud, core)


@pytest.mark.parametrize(
    ("ringing", "levels", "reason"),
    [
        ({SATURATED}, [100], f"{SATURATED} is on: Threshold Crossed: 1 datapoint"),
        ({QUEUE_LONG, CALM}, [100], f"{QUEUE_LONG} is on: Threshold Crossed: 1 datapoint"),
        ({CALM, QUEUE_SHORT}, [25], f"{CALM} and {QUEUE_SHORT} are on"),
        ({CALM}, [], None),
        ({QUEUE_SHORT}, [], None),
        (set(), [], None),
    ],
)
def test_any_event_has_all_alarms_looked_at(
    function: Function, ringing: set[str], levels: list[int], reason: str | None
) -> None:
    """Whichever alarm's event it is and whatever it says, what all four are now decides."""
    function.cloud.ringing = ringing
    for event in (ON, OFF, LONG):
        assert function(event) == []
    assert function.levels == 3 * levels
    assert [command.reason for command in function.core.bursts] == 3 * [reason][: len(levels)]
    assert function.cloud.count("alarms") == (6 if levels else 3)


def test_who_sets_last_looks_after_it(function: Function, monkeypatch: pytest.MonkeyPatch) -> None:
    """A level that was overtaken on its way to the core, by another invocation's, does not stay."""
    function.cloud.ringing = {CALM, QUEUE_SHORT}
    honest = FakeCore.request

    def slow(core: FakeCore, command: SetBurst) -> Report:
        report = honest(core, command)
        if len(core.bursts) == 1:  # meanwhile the load has come, and the other one has opened the edge before us
            function.cloud.ringing = {SATURATED}
            core.bursts.insert(0, replace(command, level_percent=100))
        return report

    monkeypatch.setattr(FakeCore, "request", slow)
    assert function(OFF) == []
    assert function.levels == [100, 25, 100]


WORLDS = st.tuples(st.sets(st.sampled_from(ALARMS)), st.sampled_from([IN_THE_PEAK, AFTER_THE_PEAK]))
MESSAGES = st.sampled_from([ON, OFF, LONG, BEGINS, ENDS])


@given(before=st.lists(st.tuples(WORLDS, st.lists(MESSAGES, max_size=3))), world=WORLDS, last=MESSAGES)
def test_no_order_of_events_is_remembered(
    before: list[tuple[tuple[set[str], str], list[str]]], world: tuple[set[str], str], last: str
) -> None:
    """Lost, late and doubled messages of whatever worlds there were: the last true look alone makes level and share."""
    place = environment.place(ENVIRONMENT)
    old, new = (Function(place, FakeCloud(), FakeCore()) for _ in range(2))
    for (ringing, at), messages in before:
        old.cloud.ringing, old.at = ringing, at
        assert [old(message) for message in messages] == [[]] * len(messages)
    told = len(old.levels)
    for function in (old, new):
        function.cloud.ringing, function.at = world
        assert function(last) == []
    assert (old.levels[told:], old.shares[told:]) == (new.levels, new.shares)


def test_a_late_event_opens_nothing(function: Function) -> None:
    """An ALARM event that comes after the load has gone finds it gone."""
    function.cloud.ringing = {CALM, QUEUE_SHORT}
    assert function(OFF) == []
    assert function(ON, ON) == []
    assert function.levels == [25, 25, 25]


def test_a_peak_begins_and_ends(function: Function) -> None:
    """Between the thresholds the peak's own level and share hold while it is in force, and the calm level after it."""
    function.at = IN_THE_PEAK
    assert function(BEGINS) == []
    function.at = AFTER_THE_PEAK
    assert function(ENDS) == []
    assert (function.levels, function.shares) == ([60, 25], [70, 100])


def test_the_clock_and_not_the_message_says_what_is_in_force(function: Function) -> None:
    """A late beginning begins nothing, an early end ends nothing, and alarms need no message to know of the peak."""
    function.at = AFTER_THE_PEAK
    assert function(BEGINS) == []
    function.at = IN_THE_PEAK
    assert function(ENDS) == []
    function.cloud.ringing = {CALM, QUEUE_SHORT}
    assert function(OFF) == []
    assert (function.levels, function.shares) == ([25, 60, 60], [100, 70, 70])


def test_a_saturated_core_outlasts_its_peak(function: Function) -> None:
    """When a peak ends while a high alarm is on, the level stays the alarm's and only the core's share returns."""
    function.cloud.ringing = {SATURATED}
    function.at = AFTER_THE_PEAK
    assert function(ENDS) == []
    assert (function.levels, function.shares) == ([100], [100])


@pytest.mark.parametrize(("at", "levels"), [("2026-11-23T06:59:59", [60]), ("2026-11-23T10:59:59", [25])])
def test_a_clock_that_is_late_misses_no_peak(function: Function, at: str, levels: list[int]) -> None:
    """The schedule strikes once: a clock a second behind it sees the peak begun, or ended, all the same."""
    function.at = at
    assert function(BEGINS) == []
    assert function.levels == levels


# --- what was lost --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("present", "ringing", "at", "wanted"),
    [
        ((25, 100), {SATURATED}, AFTER_THE_PEAK, (100, 100)),
        ((25, 100), {QUEUE_LONG, CALM}, AFTER_THE_PEAK, (100, 100)),
        ((100, 100), {CALM, QUEUE_SHORT}, AFTER_THE_PEAK, (25, 100)),
        ((100, 100), {CALM, QUEUE_SHORT}, IN_THE_PEAK, (60, 70)),
        ((25, 100), set(), IN_THE_PEAK, (60, 70)),
        ((100, 100), {CALM}, IN_THE_PEAK, (100, 70)),
        ((60, 70), set(), AFTER_THE_PEAK, (60, 100)),
    ],
)
def test_a_sweep_says_again_what_was_lost(
    function: Function, present: tuple[int, int], ringing: set[str], at: str, wanted: tuple[int, int]
) -> None:
    """An alarm's word that the core has not, or has forgotten, and a peak's: once, and then it is silent."""
    function.has(*present)
    function.cloud.ringing, function.at = ringing, at
    assert function(SWEEP) == []
    assert function(SWEEP) == []
    assert list(zip(function.levels, function.shares, strict=True)) == [wanted]
    assert not function.core.telemetry.burst.by_hand


@pytest.mark.parametrize(
    ("present", "ringing", "at"),
    [
        ((100, 100), {SATURATED}, AFTER_THE_PEAK),
        ((25, 100), {CALM, QUEUE_SHORT}, AFTER_THE_PEAK),
        ((40, 100), set(), AFTER_THE_PEAK),
        ((60, 70), {QUEUE_SHORT}, IN_THE_PEAK),
        ((80, 70), set(), IN_THE_PEAK),
    ],
)
def test_a_sweep_that_finds_all_well_tells_nobody(
    function: Function, present: tuple[int, int], ringing: set[str], at: str
) -> None:
    """The core is asked and not told; between the thresholds whatever it has is well, silence or not."""
    function.has(*present)
    function.cloud.ringing, function.at = ringing, at
    assert function(SWEEP) == []
    assert function.core.commands == [ReadTelemetry(window_s=1)]


def test_a_persons_word_stands_until_an_alarm_says_otherwise(function: Function) -> None:
    """A sweep does not even look at the alarms then; an alarm's event ends it, and sweeps go on as before."""
    function.has(0, by_hand=True)
    function.cloud.ringing = {SATURATED}
    assert function(SWEEP) == []
    assert (function.core.commands, function.cloud.calls) == ([ReadTelemetry(window_s=1)], [])
    assert function(ON) == []
    function.cloud.ringing = {CALM, QUEUE_SHORT}
    assert function(SWEEP) == []
    assert function.levels == [100, 25]


def test_a_sweep_that_sets_looks_after_it(function: Function, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom a sweep overtakes with what it saw before has the last word all the same."""
    function.has(100)
    function.cloud.ringing = {CALM, QUEUE_SHORT}
    honest = FakeCore.request

    def slow(core: FakeCore, command: SetBurst) -> Report:
        report = honest(core, command)
        if len(core.bursts) == 1:
            function.cloud.ringing = {SATURATED}
        return report

    monkeypatch.setattr(FakeCore, "request", slow)
    assert function(SWEEP) == []
    assert function.levels == [25, 100]


def test_the_sweeps_of_one_batch_are_one(function: Function) -> None:
    """After an outage of the function many wait, and the core may be slow: an invocation has time for one."""
    function.core.failures = [CoreUnreachable("connecting: timed out")]
    assert function(*[SWEEP] * 10) == []
    assert function.core.commands == [ReadTelemetry(window_s=1)]


@pytest.mark.parametrize("asked", [0, 1])
def test_a_sweep_that_fails_for_now_is_dropped(function: Function, asked: int) -> None:
    """Whether the core is away at the question or at the command, or CloudWatch busy: the next minute asks again."""
    function.cloud.ringing = {SATURATED}
    honest = FakeCore.request
    with pytest.MonkeyPatch.context() as patch:

        def away(core: FakeCore, command: SetBurst) -> Report:
            if len(core.commands) == asked:
                core.failures = [CoreUnreachable("connecting: timed out")]
            return honest(core, command)

        patch.setattr(FakeCore, "request", away)
        assert function(SWEEP) == []
    assert len(function.core.commands) == asked + 1
    function.cloud.failures["alarms"] = [CloudBusy("asking: Throttling")]
    assert function(SWEEP) == []
    assert (function.levels, function.cloud.sent) == ([], [])
    assert burst.metrics.metric_set["MessagesDropped"]["Value"] == [1.0, 1.0]
    assert function(SWEEP) == []
    assert function.levels == [100]


def test_alarms_that_are_not_there_yet_are_no_dead_letter_a_minute(function: Function) -> None:
    """They are made with the group, after the function: until then sweeps find nothing, and say so in the log alone."""
    function.cloud.failures["alarms"] = [AlarmMissing("asking: none named drawbridge-core-calm")] * 2
    assert function(SWEEP) == []
    assert (function.levels, function.dead_letters) == ([], [])
    assert function(ON) == []
    assert function.dead_letters == ["AlarmMissing"]


def test_a_sweep_that_no_retry_can_heal_is_a_dead_letter(function: Function) -> None:
    """A missing permission does not pass by itself: somebody has to see it."""
    function.cloud.failures["alarms"] = [CloudRefused("asking: AWS answered AccessDenied")]
    assert function(SWEEP) == []
    assert function.dead_letters == ["CloudRefused"]


PERSONS = st.builds(
    SetBurst,
    level_percent=st.integers(0, 100),
    core_percent=st.integers(1, 100),
    by_hand=st.just(True),
    reason=st.just(Reason("a person")),
)


def right(ringing: set[str], at: str, present: tuple[int, int]) -> tuple[int, int]:
    """What the core should have in this world, if nobody spoke and it has ``present``."""
    least, share = (60, 70) if at == IN_THE_PEAK else (0, 100)
    if ringing & {SATURATED, QUEUE_LONG}:
        return 100, share
    return max(25 if ringing >= {CALM, QUEUE_SHORT} else present[0], least), share


@given(
    before=st.lists(st.tuples(WORLDS, st.lists(MESSAGES | st.just(SWEEP) | PERSONS, max_size=3)), max_size=6),
    world=WORLDS,
)
def test_whatever_was_lost_one_sweep_makes_it_right(
    before: list[tuple[tuple[set[str], str], list[str | SetBurst]]], world: tuple[set[str], str]
) -> None:
    """Whichever events of whichever worlds came at all: after one sweep all is well, unless a person spoke last."""
    function = Function(environment.place(ENVIRONMENT), FakeCloud(), FakeCore())
    for (ringing, at), messages in before:
        function.cloud.ringing, function.at = ringing, at
        for message in messages:
            if isinstance(message, SetBurst):
                function.core.request(message)
            else:
                assert function(message) == []
    present, told = function.present, function.core.bursts[-1:]
    persons = any(command.by_hand for command in told)
    function.cloud.ringing, function.at = world
    for _ in range(2):
        assert function(SWEEP) == []
        assert function.present == (present if persons else right(*world, present))


# --- what is refused ------------------------------------------------------------------------------------------------


RENAMED = payload("alarm-on")["detail"]["configuration"]["metrics"]
RENAMED[0]["metricStat"]["metric"]["name"] = "Saturation"
MOVED = payload("alarm-on")["detail"]["configuration"]["metrics"]
MOVED[0]["metricStat"]["metric"]["namespace"] = "AWS/EC2"
QUEUE = payload("alarm-queue-long")["detail"]["configuration"]["metrics"]


@pytest.mark.parametrize(
    ("body", "error", "reason"),
    [
        (text("alarm-on", detail__alarmName="another"), "ForeignEvent", f"wanted one of {SATURATED}, .*'another'"),
        (
            text("alarm-on", detail__configuration__metrics=RENAMED),
            "ForeignEvent",
            f"{SATURATED}: wanted one that watches Drawbridge/CoreSaturation, found 'Drawbridge/Saturation'",
        ),
        (text("alarm-on", detail__configuration__metrics=MOVED), "ForeignEvent", "found 'AWS/EC2/CoreSaturation'"),
        (text("alarm-on", detail__configuration__metrics=QUEUE), "ForeignEvent", "found 'Drawbridge/QueueTime'"),
        (text("alarm-on", detail__configuration__metrics=[]), "ForeignEvent", "found 'none'"),
        (
            text("alarm-on", detail__configuration__metrics=QUEUE + RENAMED),
            "ForeignEvent",
            "found 'Drawbridge/QueueTime, Drawbridge/Saturation'",
        ),
        (text("peak-begins", detail__peak="evenings"), "ForeignEvent", "wanted mornings, found 'evenings'"),
        (text("alarm-on", account="210987654321"), "ForeignEvent", "'210987654321'"),
        (text("peak-ends", account="210987654321"), "ForeignEvent", "'210987654321'"),
        (text("alarm-on", region="eu-west-1"), "ForeignEvent", "'eu-west-1'"),
        (text("alarm-on", detail__state={}), "ContractError", "detail.state.value: missing"),
        (text("alarm-on", detail__configuration=None), "ContractError", "detail.configuration: wanted an object"),
        (text("lifecycle-launch"), "ContractError", "found LifecycleAction"),
        ("not JSON", "ContractError", "wanted one JSON object"),
    ],
)
def test_what_is_not_ours_is_a_dead_letter(function: Function, body: str, error: str, reason: str) -> None:
    """Other alarms, metrics, peaks, accounts and kinds are kept with a reason; the core hears nothing of them."""
    function.cloud.ringing = {CALM, QUEUE_SHORT}
    assert function(body, OFF) == []
    assert function.dead_letters == [error]
    assert re.search(reason, function.cloud.sent[0].attributes["Reason"])
    assert function.levels == [25]


def test_an_unknown_kind_is_ignored(function: Function) -> None:
    """A kind that nobody here knows asks for nothing."""
    assert function(text("launch-successful")) == []
    assert (function.core.commands, function.cloud.sent) == ([], [])


def test_retryable_errors_come_again(function: Function) -> None:
    """A throttled CloudWatch or a core that is away gives back that message only."""
    function.cloud.ringing = {CALM, QUEUE_SHORT}
    function.cloud.failures["alarms"] = [CloudBusy("asking: Throttling")]
    assert function(ON, OFF) == ["m0"]
    function.core.failures = [CoreUnreachable("connecting: timed out")]
    assert function(BEGINS, OFF) == ["m0"]
    assert function.dead_letters == []
    assert function.levels == [25, 25]


def test_a_missing_permission_is_a_dead_letter(function: Function) -> None:
    """AccessDenied is for a person to see."""
    function.cloud.failures["alarms"] = [CloudRefused("asking: AWS answered AccessDenied")]
    assert function(ON) == []
    assert function.dead_letters == ["CloudRefused"]


def test_the_handler(monkeypatch: pytest.MonkeyPatch, cloud: FakeCloud, core: FakeCore, context: Context) -> None:
    """The deployed entry point takes a batch, answers SQS and has the core set the level."""

    def warm_core(address: Any, private_key: Any) -> FakeCore:  # noqa: ANN401  # stands for a class
        assert (address.host, private_key("/key")) == ("203.0.113.10", "/key")
        return core

    monkeypatch.setattr(burst, "Cloud", lambda *, region: cloud)
    monkeypatch.setattr(burst, "WarmCore", warm_core)
    monkeypatch.setattr(FakeCloud, "private_key", lambda _, parameter: parameter, raising=False)
    cloud.ringing = {SATURATED}
    assert returned(burst.handler(batch(ON), context)) == []
    assert [command.level_percent for command in core.bursts] == [100]


def test_a_report_of_another_kind_is_a_dead_letter(function: Function, monkeypatch: pytest.MonkeyPatch) -> None:
    """A core that answers another question is not believed."""
    monkeypatch.setattr(FakeCore, "request", lambda _, command: "yes")
    function.cloud.ringing = {SATURATED}
    assert function(ON) == []
    assert function.dead_letters == ["ContractError"]
