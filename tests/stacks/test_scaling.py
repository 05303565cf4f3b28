"""What the load and the clock set off: alarms, policies and scheduled actions, as the templates have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lambdas.events import metric_names
from stacks import steps
from tests.stacks.conftest import House

HIGH, LOW = "GreaterThanOrEqualToThreshold", "LessThanOrEqualToThreshold"
SATURATED, CALM = "drawbridge-core-saturated", "drawbridge-core-calm"
QUEUE_LONG, QUEUE_SHORT = "drawbridge-queue-long", "drawbridge-queue-short"
SLOTS_SHORT, SLOTS_SPARE = "drawbridge-slots-short", "drawbridge-slots-spare"


def alarms(house: House) -> dict[str, Mapping[str, Any]]:
    """The properties of the fleet stack's alarms by name."""
    found = [alarm["Properties"] for alarm in house.resources("fleet", "AWS::CloudWatch::Alarm")]
    return {alarm["AlarmName"]: alarm for alarm in found}


def policy(house: House, alarm: str) -> Mapping[str, Any]:
    """The properties of the one policy that an alarm drives."""
    (action,) = alarms(house)[alarm]["AlarmActions"]
    resource = house.templates["fleet"]["Resources"][action["Ref"]]
    assert resource["Type"] == "AWS::AutoScaling::ScalingPolicy"
    properties: Mapping[str, Any] = resource["Properties"]
    return properties


# --- alarms ---------------------------------------------------------------------------------------------------------


def test_six_alarms_watch_the_load(house: House) -> None:
    """Each with its metric, its side of its threshold and how long it has to be there."""
    assert {
        name: (alarm["MetricName"], alarm["ComparisonOperator"], alarm["Threshold"], alarm["EvaluationPeriods"])
        for name, alarm in alarms(house).items()
    } == {
        SATURATED: (metric_names.CORE_SATURATION, HIGH, 80, 1),
        CALM: (metric_names.CORE_SATURATION, LOW, 30, 5),
        QUEUE_LONG: (metric_names.QUEUE_TIME, HIGH, 100, 1),
        QUEUE_SHORT: (metric_names.QUEUE_TIME, LOW, 10, 5),
        SLOTS_SHORT: (metric_names.TOTAL_SATURATION, HIGH, 80, 1),
        SLOTS_SPARE: (metric_names.TOTAL_SATURATION, LOW, 30, 5),
    }


def test_silence_moves_nothing(house: House) -> None:
    """No alarm on the load goes on for want of data, and none acts on insufficient data or on its own end."""
    for alarm in alarms(house).values():
        assert alarm["TreatMissingData"] == "notBreaching"
    for alarm in (one["Properties"] for one in house.all_resources() if one["Type"] == "AWS::CloudWatch::Alarm"):
        assert not {"InsufficientDataActions", "OKActions"} & alarm.keys()


@pytest.mark.parametrize(("fixture", "period"), [("house", 60), ("busy_house", 10)])
def test_an_alarm_looks_at_the_average_of_each_period(
    fixture: str, period: int, request: pytest.FixtureRequest
) -> None:
    """One busy moment is no saturation; the period is the one in which telemetry asks once."""
    for alarm in alarms(request.getfixturevalue(fixture)).values():
        assert (alarm["Statistic"], alarm["Period"]) == ("Average", period)


def test_the_burst_rule_hears_the_alarms_that_stand(house: House) -> None:
    """The names that control lets through are those of alarms that the fleet stack makes."""
    (heard,) = (
        rule["Properties"]["EventPattern"]["detail"]["alarmName"]
        for rule in house.resources("control", "AWS::Events::Rule")
        if rule["Properties"]["Name"] == "drawbridge-alarm"
    )
    assert heard == [SATURATED, CALM, QUEUE_LONG, QUEUE_SHORT]
    assert set(heard) < set(alarms(house))


def test_the_four_alarms_come_together(house: House) -> None:
    """Three wait for the one that waits for the group: whoever hears of the first and asks for all finds them."""
    resources = house.templates["fleet"]["Resources"]
    ids = {
        resource["Properties"]["AlarmName"]: logical_id
        for logical_id, resource in resources.items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }
    for name in (SATURATED, CALM, QUEUE_SHORT):
        assert resources[ids[name]]["DependsOn"] == [ids[QUEUE_LONG]]


# --- policies -------------------------------------------------------------------------------------------------------


def test_three_alarms_drive_the_group_and_the_others_only_tell(house: House) -> None:
    """Of the level's alarms the long queue alone wants a node as well; each policy has its own alarm."""
    driving = {name for name, alarm in alarms(house).items() if "AlarmActions" in alarm}
    assert driving == {SLOTS_SHORT, SLOTS_SPARE, QUEUE_LONG}
    assert len(house.resources("fleet", "AWS::AutoScaling::ScalingPolicy")) == 3
    group = house.only("fleet", "AWS::AutoScaling::AutoScalingGroup")
    for name in driving:
        found = policy(house, name)
        assert found["PolicyType"] == "StepScaling"
        named = house.templates["fleet"]["Resources"][found["AutoScalingGroupName"]["Ref"]]["Properties"]
        assert named == group


def test_short_slots_order_nodes_by_the_breach(house: House) -> None:
    """The steps of the settings, each up to where the next begins, the last without end; new nodes count as coming."""
    found = policy(house, SLOTS_SHORT)
    assert (found["AdjustmentType"], found["EstimatedInstanceWarmup"]) == ("ChangeInCapacity", 180)
    assert found["MetricAggregationType"] == "Average"
    adjustments = found["StepAdjustments"]
    assert [(step["MetricIntervalLowerBound"], step["ScalingAdjustment"]) for step in adjustments] == [
        (step.lower, step.nodes) for step in steps.scale_out(house.settings)
    ]
    uppers = [step.get("MetricIntervalUpperBound") for step in adjustments]
    assert uppers == [*(step["MetricIntervalLowerBound"] for step in adjustments[1:]), None]


def test_a_long_queue_orders_one_node(house: House) -> None:
    """However long: how many are short is for the saturation to say."""
    found = policy(house, QUEUE_LONG)
    assert (found["AdjustmentType"], found["EstimatedInstanceWarmup"]) == ("ChangeInCapacity", 180)
    assert found["StepAdjustments"] == [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}]


def test_spare_slots_send_a_quarter_home(house: House) -> None:
    """At least one, so that the last goes too, and only below the threshold."""
    found = policy(house, SLOTS_SPARE)
    assert (found["AdjustmentType"], found["MinAdjustmentMagnitude"]) == ("PercentChangeInCapacity", 1)
    assert found["StepAdjustments"] == [{"MetricIntervalUpperBound": 0, "ScalingAdjustment": -25}]


# --- the clock ------------------------------------------------------------------------------------------------------


def test_peaks_raise_the_least_size_and_give_it_back(busy_house: House) -> None:
    """By Oslo's clock: the night's end is on the next day, and lunch's end gives back what the office hours ask for."""
    actions = [action["Properties"] for action in busy_house.resources("fleet", "AWS::AutoScaling::ScheduledAction")]
    assert {(action["Recurrence"], action["MinSize"]) for action in actions} == {
        ("0 22 * * 0,6", 4),
        ("30 2 * * 0,1", 0),
        ("0 8 * * 1,2", 2),
        ("0 11 * * 1", 3),
        ("0 13 * * 1", 2),
        ("0 16 * * 1,2", 0),
    }
    for action in actions:
        assert action["TimeZone"] == "Europe/Oslo"
        assert not {"MaxSize", "DesiredCapacity"} & action.keys()


def test_a_deployment_leaves_a_peaks_size_alone(busy_house: House) -> None:
    """CloudFormation keeps the least size that the clock has set unless the settings' own has changed."""
    (group,) = busy_house.resources("fleet", "AWS::AutoScaling::AutoScalingGroup")
    assert group["UpdatePolicy"]["AutoScalingScheduledAction"] == {"IgnoreUnmodifiedGroupSizeProperties": True}


def test_without_peaks_nothing_is_scheduled(house: House) -> None:
    """The default settings know of none."""
    kinds = {resource["Type"] for resource in house.all_resources()}
    assert not {"AWS::AutoScaling::ScheduledAction", "AWS::Scheduler::Schedule"} & kinds
