"""When alarms are looked at, what they see, and what they set off: on a clock of the test's own."""

import itertools
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from demo.aws import alarm_events, datapoints, watch
from demo.aws.alarms import AlarmState, Missing, Rule
from demo.aws.datapoints import Datapoint
from demo.aws.server import LocalAws
from tests.demo_aws.probe import Json, eventually

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Clock:
    """A wall clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = NOON

    def now(self, _zone: object = UTC) -> datetime:
        """What ``datetime.now`` answers."""
        return self.at

    def monotonic(self) -> float:
        """The same clock in seconds."""
        return self.at.timestamp()


@pytest.fixture
def clock(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """A local AWS whose minute lasts a minute, and whose alarms are looked at by this clock and by ``tick`` alone."""
    clock = Clock()
    monkeypatch.setattr(aws.place, "minute_s", 60.0)
    monkeypatch.setattr(watch, "datetime", clock)
    monkeypatch.setattr(aws.alarms, "_clock", clock.monotonic)
    monkeypatch.setattr(aws.alarms._ticker, "_action", lambda: None)
    yield clock
    cloudwatch = aws.place.backend("cloudwatch")
    cloudwatch.alarms.clear()


@pytest.fixture
def invoked(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float | None]]:
    """The scaling policies that alarms invoked, each with the newest data point."""
    calls: list[tuple[str, float | None]] = []
    monkeypatch.setattr(
        aws.alarms._policies,
        "carry_out",
        lambda arn, *, alarm, newest: calls.append((arn, newest)),
    )
    return calls


@pytest.fixture
def alarm(aws: LocalAws, name: str) -> Callable[..., None]:
    """Make an alarm on the metric Load of a namespace of the test's own."""

    def make(**more: Json) -> None:
        request = {
            "AlarmName": name,
            "Namespace": name,
            "MetricName": "Load",
            "Statistic": "Average",
            "Period": 10,
            "EvaluationPeriods": 2,
            "Threshold": 80,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "TreatMissingData": "notBreaching",
            **more,
        }
        aws.place.client("cloudwatch").put_metric_alarm(**request)

    return make


def publish(aws: LocalAws, name: str, at: datetime, *values: float, resolution_s: int = 1) -> None:
    """Publish values of the metric with one time stamp."""
    datum = {"MetricName": "Load", "Timestamp": at, "Values": list(values), "StorageResolution": resolution_s}
    aws.place.client("cloudwatch").put_metric_data(Namespace=name, MetricData=[datum])


def state_of(aws: LocalAws, name: str) -> str:
    """The alarm's state."""
    (found,) = aws.place.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return str(found["StateValue"])


def test_ten_second_alarm_follows_every_ten_seconds(
    aws: LocalAws, name: str, clock: Clock, alarm: Callable[..., None]
) -> None:
    """It wants as many breaching periods as it says, the average of all values in each, and is looked at every 10 s."""
    alarm()
    publish(aws, name, NOON - timedelta(seconds=15), 70, 92)
    publish(aws, name, NOON - timedelta(seconds=5), 60, 90)
    aws.alarms._tick()
    assert state_of(aws, name) == "OK"
    publish(aws, name, NOON + timedelta(seconds=5), 100)
    publish(aws, name, NOON + timedelta(seconds=15), 79, 82)
    for second, wanted in ((9, "OK"), (10, "OK"), (19, "OK"), (20, "ALARM")):
        clock.at = NOON + timedelta(seconds=second)
        aws.alarms._tick()
        assert state_of(aws, name) == wanted, second


def test_minute_alarm_follows_once_a_minute(aws: LocalAws, name: str, clock: Clock, alarm: Callable[..., None]) -> None:
    """An alarm of a minute or longer is looked at on the minute."""
    alarm(Period=60, EvaluationPeriods=1)
    aws.alarms._tick()
    publish(aws, name, NOON + timedelta(seconds=1), 95)
    clock.at = NOON + timedelta(seconds=59)
    aws.alarms._tick()
    assert state_of(aws, name) == "OK"
    clock.at = NOON + timedelta(seconds=60)
    aws.alarms._tick()
    assert state_of(aws, name) == "ALARM"


def test_standard_resolution_is_kept_by_the_minute(
    aws: LocalAws, name: str, clock: Clock, alarm: Callable[..., None]
) -> None:
    """Without StorageResolution 1 a value counts at its minute's first second, so a 10 s alarm mostly sees nothing."""
    alarm(EvaluationPeriods=1)
    publish(aws, name, NOON + timedelta(seconds=25), 95, resolution_s=60)
    clock.at = NOON + timedelta(seconds=60)
    aws.alarms._tick()
    assert state_of(aws, name) == "OK"
    found = aws.place.backend("cloudwatch").alarms[name]
    points = datapoints.recent(aws.place, found, until=NOON + timedelta(seconds=10))
    assert points[0] == Datapoint(start=NOON, value=95.0, samples=1)


def test_silence_is_counted(aws: LocalAws, name: str, clock: Clock, alarm: Callable[..., None]) -> None:
    """SampleCount counts values, and missing data that breaches raises the alarm when the older points have passed."""
    alarm(
        Statistic="SampleCount",
        Period=60,
        EvaluationPeriods=3,
        Threshold=1,
        ComparisonOperator="LessThanThreshold",
        TreatMissingData="breaching",
    )
    for minute in range(3):
        publish(aws, name, NOON - timedelta(minutes=minute, seconds=30), 0, 0)
    found = []
    for minute in range(6):
        clock.at = NOON + timedelta(minutes=minute)
        aws.alarms._tick()
        found.append(state_of(aws, name))
    assert found == ["OK", "OK", "OK", "OK", "OK", "ALARM"]


def test_scaling_actions_repeat_once_a_minute(
    aws: LocalAws, name: str, clock: Clock, alarm: Callable[..., None], invoked: list[tuple[str, float | None]]
) -> None:
    """A scaling action comes with the change of state and then each minute, whatever the period, until it changes."""
    arn = "arn:aws:autoscaling:eu-north-1:123456789012:scalingPolicy:1:autoScalingGroupName/g:policyName/p"
    alarm(EvaluationPeriods=1, AlarmActions=[arn])
    at = []
    for second in range(-5, 200, 5):
        publish(aws, name, NOON + timedelta(seconds=second), 95 if second < 130 else 10)
        clock.at = NOON + timedelta(seconds=second)
        before = len(invoked)
        aws.alarms._tick()
        at += [second] * (len(invoked) - before)
    assert at == [0, 60, 120]
    assert set(invoked) == {(arn, 95.0)}


def test_disabled_actions_stay_off(
    aws: LocalAws, name: str, clock: Clock, alarm: Callable[..., None], invoked: list[tuple[str, float | None]]
) -> None:
    """With ActionsEnabled off the state still changes, and nothing follows."""
    arn = "arn:aws:autoscaling:eu-north-1:123456789012:scalingPolicy:1:autoScalingGroupName/g:policyName/p"
    alarm(EvaluationPeriods=1, AlarmActions=[arn], ActionsEnabled=False)
    publish(aws, name, NOON - timedelta(seconds=5), 95)
    for second in (0, 60):
        clock.at = NOON + timedelta(seconds=second)
        aws.alarms._tick()
    assert invoked == []


def test_deleted_alarm_scales_no_more(
    aws: LocalAws, name: str, clock: Clock, alarm: Callable[..., None], invoked: list[tuple[str, float | None]]
) -> None:
    """An alarm that is deleted in ALARM invokes nothing afterwards, and one of the same name begins anew."""
    arn = "arn:aws:autoscaling:eu-north-1:123456789012:scalingPolicy:1:autoScalingGroupName/g:policyName/p"
    alarm(EvaluationPeriods=1, AlarmActions=[arn])
    publish(aws, name, NOON - timedelta(seconds=5), 95)
    aws.alarms._tick()
    assert len(invoked) == 1
    aws.place.client("cloudwatch").delete_alarms(AlarmNames=[name])
    clock.at = NOON + timedelta(minutes=2)
    aws.alarms._tick()
    alarm(EvaluationPeriods=1, AlarmActions=[arn])
    clock.at = NOON + timedelta(minutes=4)
    aws.alarms._tick()
    assert len(invoked) == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"Period": 15}, "wanted a period of 10, 20, 30 or a multiple of 60"),
        ({"Period": 90}, "wanted a period of 10, 20, 30 or a multiple of 60"),
        ({"Period": 3600, "EvaluationPeriods": 25}, "wanted a day at most"),
        ({"DatapointsToAlarm": 3}, "wanted 1 to 2 datapoints"),
        ({"ComparisonOperator": "LessThanLowerThreshold"}, "wanted a comparison with a threshold"),
    ],
)
def test_alarms_that_cannot_be_are_refused(
    aws: LocalAws, name: str, alarm: Callable[..., None], more: dict[str, Json], words: str
) -> None:
    """What AWS or this local AWS cannot evaluate is refused when the alarm is made, and the one before stays."""
    alarm(Threshold=1)
    with pytest.raises(ClientError, match=words):
        alarm(**more)
    (kept,) = aws.place.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert kept["Threshold"] == 1


def test_event_is_as_the_documentation_shows_it(
    aws: LocalAws, name: str, clock: Clock, alarm: Callable[..., None]
) -> None:
    """The detail has the sample's keys, and the reason is worded as there."""
    queue = aws.place.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    events = aws.place.client("events")
    events.put_rule(Name=name, EventPattern=json.dumps({"source": ["aws.cloudwatch"], "detail": {"alarmName": [name]}}))
    events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": aws.place.arn("sqs", name)}])
    alarm(AlarmDescription="high", Dimensions=[], EvaluationPeriods=1)
    aws.alarms._tick()
    publish(aws, name, NOON + timedelta(seconds=5), 99.5)
    clock.at = NOON + timedelta(seconds=10)
    aws.alarms._tick()
    found: dict[str, Json] = {}

    def both() -> bool:
        for message in aws.place.client("sqs").receive_message(QueueUrl=queue).get("Messages", []):
            detail = json.loads(message["Body"])["detail"]
            found[detail["state"]["value"]] = detail
        return len(found) == 2

    eventually(both)
    detail = found["ALARM"]
    assert detail.keys() == {"alarmName", "configuration", "previousState", "state"}
    assert detail["configuration"].keys() == {"description", "metrics"}
    (metric,) = detail["configuration"]["metrics"]
    assert metric.keys() == {"id", "metricStat", "returnData"}
    assert metric["metricStat"] == {
        "metric": {"dimensions": {}, "name": "Load", "namespace": name},
        "period": 10,
        "stat": "Average",
    }
    assert detail["previousState"].keys() == detail["state"].keys() == {"reason", "reasonData", "timestamp", "value"}
    assert detail["state"]["reason"] == (
        "Threshold Crossed: 1 out of the last 1 datapoints [99.5 (22/11/26 12:00:00)] was greater than or equal to "
        "the threshold (80.0) (minimum 1 datapoint for OK -> ALARM transition)."
    )
    data = json.loads(detail["state"]["reasonData"])
    assert (data["startDate"], data["recentDatapoints"]) == ("2026-11-22T12:00:00.000+0000", [99.5])
    assert "no datapoints were received" in found["OK"]["state"]["reason"]


@pytest.mark.parametrize(
    ("found", "values", "words"),
    [
        (AlarmState.OK, (10.0, 90.0, 20.0), "2 out of the last 3 datapoints"),
        (AlarmState.ALARM, (90.0, 95.0, 20.0), "2 out of the last 3 datapoints"),
        (AlarmState.INSUFFICIENT_DATA, (), "Insufficient Data"),
    ],
)
def test_reasons_count_what_led_to_the_state(
    aws: LocalAws, name: str, alarm: Callable[..., None], found: AlarmState, values: tuple[float, ...], words: str
) -> None:
    """The sentence counts the points on the state's own side of the threshold."""
    alarm()
    rule = Rule(comparison="GreaterThanThreshold", threshold=80, periods=3, datapoints=2, missing=Missing.NOT_BREACHING)
    counting = itertools.count()
    points = [Datapoint(start=NOON - timedelta(seconds=10 * next(counting)), value=v, samples=1) for v in values]
    made = aws.place.backend("cloudwatch").alarms[name]
    sentence, _ = alarm_events.reason(made, rule, points, found, now=NOON)
    assert words in sentence
