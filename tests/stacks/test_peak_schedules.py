"""The schedules that tell the burst function of a peak: when, what, and what their role may do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lambdas import environment
from lambdas.events.parse import parse
from lambdas.events.peak import Change, PeakChange
from settings import Settings
from settings.checks import problems
from settings.tables import Peak
from settings.words import Clock, Label, TimeZone
from tests.stacks.conftest import House, Synthesise


def schedules(house: House) -> list[Mapping[str, Any]]:
    """The properties of every schedule."""
    return [schedule["Properties"] for schedule in house.resources("control", "AWS::Scheduler::Schedule")]


def burst_variables(house: House) -> Mapping[str, Any]:
    """The environment of the burst function."""
    (variables,) = (
        function["Properties"]["Environment"]["Variables"]
        for function in house.resources("control", "AWS::Lambda::Function")
        if function["Properties"]["FunctionName"] == "drawbridge-burst"
    )
    found: Mapping[str, Any] = variables
    return found


def struck(schedule: Mapping[str, Any]) -> PeakChange:
    """What the burst function reads when the schedule strikes: Scheduler has put its own values in place."""
    body = schedule["Target"]["Input"]
    body = body.replace("<aws.scheduler.execution-id>", "d32c5kddcf5bb8c3")
    body = body.replace("<aws.scheduler.scheduled-time>", "2026-11-22T21:00:00Z")
    event = parse(body, account="123456789012", region="eu-north-1")
    assert isinstance(event, PeakChange)
    return event


def test_each_peak_strikes_twice(busy_house: House) -> None:
    """At its beginning and at its end, by its own clock, in a message that the function's own parser reads."""
    found = {
        (event.name, event.change): (one["ScheduleExpression"], one["ScheduleExpressionTimezone"])
        for one in schedules(busy_house)
        for event in [struck(one)]
    }
    assert found == {
        ("night", Change.BEGINS): ("cron(0 22 ? * SAT,SUN *)", "Europe/Oslo"),
        ("night", Change.ENDS): ("cron(30 2 ? * MON,SUN *)", "Europe/Oslo"),
        ("office", Change.BEGINS): ("cron(0 8 ? * MON,TUE *)", "Europe/Oslo"),
        ("office", Change.ENDS): ("cron(0 16 ? * MON,TUE *)", "Europe/Oslo"),
        ("lunch", Change.BEGINS): ("cron(0 11 ? * MON *)", "Europe/Oslo"),
        ("lunch", Change.ENDS): ("cron(0 13 ? * MON *)", "Europe/Oslo"),
    }
    assert len(schedules(busy_house)) == 6


def test_a_strike_comes_at_once_and_to_the_burst_queue(busy_house: House) -> None:
    """No window in which Scheduler may choose, and the queue is the one that feeds the burst function."""
    resources = busy_house.templates["control"]["Resources"]
    for one in schedules(busy_house):
        assert one["FlexibleTimeWindow"] == {"Mode": "OFF"}
        (fed,) = (
            resources[mapping["Properties"]["FunctionName"]["Ref"]]["Properties"]["FunctionName"]
            for mapping in busy_house.resources("control", "AWS::Lambda::EventSourceMapping")
            if mapping["Properties"]["EventSourceArn"] == one["Target"]["Arn"]
        )
        assert fed == "drawbridge-burst"


def test_the_schedules_may_send_to_that_queue_and_nothing_else(busy_house: House) -> None:
    """One role for all, taken by Scheduler for this account alone."""
    resources = busy_house.templates["control"]["Resources"]
    (role_id,) = {one["Target"]["RoleArn"]["Fn::GetAtt"][0] for one in schedules(busy_house)}
    (trust,) = resources[role_id]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert trust["Condition"]["StringEquals"]["aws:SourceAccount"] == "123456789012"
    assert not {"ManagedPolicyArns", "Policies"} & resources[role_id]["Properties"].keys()
    (statement,) = (
        statement
        for policy in busy_house.resources("control", "AWS::IAM::Policy")
        if {"Ref": role_id} in policy["Properties"]["Roles"]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    )
    queues = [one["Target"]["Arn"] for one in schedules(busy_house)]
    assert (statement["Action"], statement["Resource"]) == ("sqs:SendMessage", queues[0])
    assert all(queue == queues[0] for queue in queues)


def test_the_function_knows_the_peaks(busy_house: House) -> None:
    """Its own reader finds in its environment what the settings say, whole."""
    variables = burst_variables(busy_house)
    found = environment.peaks(variables)
    for read, written in zip(found, busy_house.settings.peaks, strict=True):
        for field in dataclasses.fields(written):
            assert getattr(read, field.name) == getattr(written, field.name), field.name


def test_the_most_peaks_fit_into_the_functions_environment(
    default_settings: Settings, synthesise: Synthesise, tmp_path: Path
) -> None:
    """Lambda takes 4 KB of variables in all: ten peaks with the longest words there are leave some room."""
    long = [
        Peak(
            name=Label(f"{'x' * 30}-{number}"),
            start=Clock("22:00"),
            end=Clock("02:30"),
            min_capacity=default_settings.edge.max_capacity,
            timezone=TimeZone("America/Argentina/ComodRivadavia"),
        )
        for number in range(10)
    ]
    house = synthesise(dataclasses.replace(default_settings, peaks=tuple(long)), tmp_path)
    variables = burst_variables(house)
    url = "https://sqs.eu-central-1.amazonaws.com/123456789012/" + 80 * "x"
    size = sum(len(name) + len(value if isinstance(value, str) else url) for name, value in variables.items())
    assert size < 4096 - 256
    assert not list(problems(house.settings))


def test_every_check_passes_with_peaks(busy_house: House) -> None:
    """AwsSolutions and the residency check know what peaks bring along."""
    assert all(report["violations"] == [] for report in busy_house.report["pluginReports"])
