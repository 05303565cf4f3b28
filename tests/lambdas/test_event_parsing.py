"""The events: AWS's own payloads in, typed events out, and nothing guessed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from moto.events.models import EventPattern

from core_agent.errors import ContractError
from lambdas.errors import ForeignEvent
from lambdas.events import again, peak
from lambdas.events.alarm import AlarmChange
from lambdas.events.envelope import Ignored, Metadata
from lambdas.events.interruption import SpotInterruption
from lambdas.events.lifecycle import LifecycleAction
from lambdas.events.parse import Event, parse
from lambdas.events.peak import Change, PeakChange
from lambdas.events.rebalance import RebalanceRecommendation
from lambdas.events.rules import RulePattern, burst_rules, fleet_rules
from lambdas.events.sweep import Sweep
from tests.handlers.payloads import ACCOUNT, ALARM, ALARMS, FOLDER, GROUP, REGION, payload, text

INSTANCE = "i-0abc1234def567890"


def read(name: str, **changes: object) -> Event | Ignored:
    """Parse one payload as ours."""
    return parse(text(name, **changes), account=ACCOUNT, region=REGION)


@pytest.mark.parametrize(
    ("name", "origin", "destination"),
    [
        ("lifecycle-launch", "EC2", "AutoScalingGroup"),
        ("lifecycle-launch-bare", None, None),
        ("lifecycle-launch-into-warm-pool", "EC2", "WarmPool"),
        ("lifecycle-terminate", "AutoScalingGroup", "EC2"),
        ("lifecycle-terminate-into-warm-pool", "AutoScalingGroup", "WarmPool"),
    ],
)
def test_lifecycle_actions(name: str, origin: str | None, destination: str | None) -> None:
    """A lifecycle action names group, hook and instance; where from and where to only when AWS says so."""
    event = read(name)
    assert isinstance(event, LifecycleAction)
    assert (event.group, event.instance) == (GROUP, INSTANCE)
    assert event.hook == f"drawbridge-{name.split('-')[1]}"
    assert (event.origin, event.destination) == (origin, destination)
    assert event.metadata.time == "2026-11-22T08:00:00Z"


def test_other_kinds() -> None:
    """Every other kind that is understood becomes its own type with the fields that matter."""
    interruption, rebalance = read("spot-interruption"), read("rebalance")
    alarm, peak_change, sweep = read("alarm-on"), read("peak-begins"), read("scheduled")
    assert isinstance(interruption, SpotInterruption)
    assert (interruption.instance, interruption.action) == (INSTANCE, "terminate")
    assert isinstance(rebalance, RebalanceRecommendation)
    assert rebalance.instance == INSTANCE
    assert isinstance(alarm, AlarmChange)
    assert (alarm.name, alarm.state, alarm.metrics) == (ALARM, "ALARM", ("Drawbridge/CoreSaturation",))
    assert isinstance(peak_change, PeakChange)
    assert (peak_change.name, peak_change.change) == ("mornings", Change.BEGINS)
    assert isinstance(sweep, Sweep)


def test_unknown_kind_keeps_its_metadata() -> None:
    """A kind without a parser is ignored, with the reason and where it came from."""
    event = read("launch-successful")
    assert isinstance(event, Ignored)
    assert "EC2 Instance Launch Successful" in event.reason
    assert event.metadata.source == "aws.autoscaling"
    assert event.metadata.id.endswith("6")


def test_test_notification_is_ignored() -> None:
    """Auto Scaling's test notification comes without an envelope and asks for nothing."""
    event = read("test-notification")
    assert isinstance(event, Ignored)
    assert event.metadata.region == REGION


@pytest.mark.parametrize("name", ["lifecycle-launch", "scheduled", "launch-successful", "alarm-on", "peak-begins"])
@pytest.mark.parametrize("change", [{"account": "210987654321"}, {"region": "eu-west-1"}])
def test_foreign_events_are_refused(name: str, change: dict[str, str]) -> None:
    """An event of another account or region is refused, whatever its kind, and says whose it is."""
    with pytest.raises(ForeignEvent, match=next(iter(change.values()))):
        read(name, **change)


def test_foreign_test_notification_is_refused() -> None:
    """Also a notification without an envelope must be of our account."""
    with pytest.raises(ForeignEvent):
        read("test-notification", AccountId="210987654321")


@pytest.mark.parametrize(
    ("name", "field", "value", "wanted"),
    [
        ("lifecycle-launch", "detail__EC2InstanceId", "i-0 abc", r"detail\.EC2InstanceId: wanted an instance id"),
        ("lifecycle-launch", "detail__EC2InstanceId", 7, r"detail\.EC2InstanceId: wanted a string, found 7"),
        ("lifecycle-launch", "detail__AutoScalingGroupName", "", r"detail\.AutoScalingGroupName: wanted a string"),
        ("lifecycle-terminate", "detail__Origin", [], r"detail\.Origin: wanted a string"),
        ("spot-interruption", "detail__instance-id", None, r"detail\.instance-id: wanted a string, found None"),
        ("rebalance", "detail", [], r"event\.detail: wanted an object"),
        ("alarm-on", "detail__state", "ALARM", r"detail\.state: wanted an object"),
        (
            "alarm-on",
            "detail__configuration__metrics",
            {},
            r"configuration\.metrics: wanted a list of objects, found {}",
        ),
        ("alarm-on", "detail__configuration__metrics", [7], r"configuration\.metrics: wanted a list of objects"),
        ("alarm-on", "detail__configuration__metrics", [{"metricStat": 7}], r"metrics\.metricStat: wanted an object"),
        ("peak-begins", "detail__change", "pauses", r"detail\.change: wanted begins or ends, found 'pauses'"),
        ("peak-ends", "detail__peak", "", r"detail\.peak: wanted a string"),
        ("scheduled", "account", 123456789012, r"event\.account: wanted a string"),
    ],
)
def test_malformed_fields_are_named(name: str, field: str, value: object, wanted: str) -> None:
    """A known kind with a broken field is refused with the field's name, what was wanted and what was found."""
    with pytest.raises(ContractError, match=wanted):
        read(name, **{field: value})


@pytest.mark.parametrize("field", ["id", "source", "detail-type", "account", "region", "time", "detail"])
def test_missing_fields_are_named(field: str) -> None:
    """An envelope without one of its fields is refused with that field's name."""
    document = payload("lifecycle-launch")
    del document[field]
    with pytest.raises(ContractError, match=rf"event\.{field}: missing"):
        parse(json.dumps(document), account=ACCOUNT, region=REGION)


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '"text"', "[" * 100_000, "\x00", "\ud800"])
def test_other_text_is_refused(body: str) -> None:
    """Whatever is no JSON object is refused as that, not by a bug."""
    with pytest.raises(ContractError, match="wanted one JSON object"):
        parse(body, account=ACCOUNT, region=REGION)


def test_look_again_round_trip() -> None:
    """Our own message is read by the same table and says which group it means."""
    metadata = Metadata(
        id="look-again-1",
        source=again.SOURCE,
        detail_type=again.DETAIL_TYPE,
        account=ACCOUNT,
        region=REGION,
        time="now",
    )
    event = parse(again.render(metadata, group=GROUP), account=ACCOUNT, region=REGION)
    assert event == again.LookAgain(metadata=metadata, group=GROUP)


EXPRESSION = {"id": "e1", "expression": "m1 * 2", "label": "twice", "returnData": True}


@pytest.mark.parametrize(
    ("configuration", "metrics"),
    [
        ({"alarmRule": "ALARM(a) AND ALARM(b)"}, ()),
        ({"metrics": [EXPRESSION]}, ()),
        (
            {
                "metrics": [
                    EXPRESSION,
                    {"id": "m1", "metricStat": {"metric": {"namespace": "Drawbridge", "name": "QueueTime"}}},
                ]
            },
            ("Drawbridge/QueueTime",),
        ),
    ],
)
def test_alarms_of_other_kinds(configuration: dict[str, Any], metrics: tuple[str, ...]) -> None:
    """A composite alarm watches no metric, and one over an expression the metrics of its terms."""
    event = read("alarm-on", detail__configuration=configuration)
    assert isinstance(event, AlarmChange)
    assert event.metrics == metrics


@pytest.mark.parametrize("change", tuple(Change))
def test_what_a_schedule_sends_is_read(change: Change) -> None:
    """The input that the stacks give a schedule is, with Scheduler's words put in, the payload that is parsed."""
    sent = peak.scheduled(account=ACCOUNT, region=REGION, peak="mornings", change=change)
    document = payload(f"peak-{change.value}")
    for keyword, field in (("execution-id", "id"), ("scheduled-time", "time")):
        assert sent.count(f"<aws.scheduler.{keyword}>") == 1
        sent = sent.replace(f"<aws.scheduler.{keyword}>", document[field])
    assert json.loads(sent) == document


# --- rules ----------------------------------------------------------------------------------------------------------


def matches(rule: RulePattern, document: dict[str, Any]) -> bool:
    """Ask moto's EventBridge whether ``rule``, as the stacks write it, lets ``document`` through."""
    pattern: dict[str, Any] = {"source": [rule.source], "detail-type": list(rule.detail_types)}
    if rule.detail:
        pattern["detail"] = dict(rule.detail)
    return EventPattern.load(json.dumps(pattern)).matches_event(document) is True


PATTERNS = {rule.name: rule for rule in (*fleet_rules(GROUP), *burst_rules(ALARMS))}


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("lifecycle", "lifecycle-launch"),
        ("lifecycle", "lifecycle-launch-bare"),
        ("lifecycle", "lifecycle-launch-into-warm-pool"),
        ("lifecycle", "lifecycle-terminate"),
        ("lifecycle", "lifecycle-terminate-into-warm-pool"),
        ("interruption", "spot-interruption"),
        ("rebalance", "rebalance"),
        ("alarm", "alarm-on"),
        ("alarm", "alarm-off"),
        ("alarm", "alarm-queue-long"),
    ],
)
def test_each_payload_passes_its_rule_only(rule: str, name: str) -> None:
    """Each payload is let through by exactly the rule that is meant for it."""
    assert [pattern.name for pattern in PATTERNS.values() if matches(pattern, payload(name))] == [rule]


@pytest.mark.parametrize(
    ("rule", "name", "field"),
    [("lifecycle", "lifecycle-launch", "AutoScalingGroupName"), ("alarm", "alarm-on", "alarmName")],
)
def test_rules_leave_out_what_is_not_ours(rule: str, name: str, field: str) -> None:
    """Another group's hook and another alarm do not even reach the queue."""
    assert not matches(PATTERNS[rule], payload(name, **{f"detail__{field}": "somebody-elses"}))


def test_what_rules_let_through_is_parsed() -> None:
    """No payload that a rule lets through is ignored by the parsers."""
    for file in sorted(FOLDER.glob("*.json")):
        document = json.loads(file.read_text())
        if any(matches(rule, document) for rule in PATTERNS.values()):
            assert not isinstance(parse(file.read_text(), account=ACCOUNT, region=REGION), Ignored), file.name


def test_rule_names_are_unique() -> None:
    """Rules become constructs: two of one name would collide."""
    names = [rule.name for rule in (*fleet_rules(GROUP), *burst_rules(ALARMS))]
    assert len(set(names)) == len(names)
