"""When weekly times come: both of AWS's dialects, time zones, the two nights of the year, and what was missed."""

from datetime import UTC, datetime, timedelta

import pytest

from demo.aws.agenda import Agenda
from demo.aws.cron import Weekly, from_auto_scaling, from_scheduler

OSLO = "Europe/Oslo"
SUNDAY = datetime(2026, 11, 22, 12, tzinfo=UTC)
EVERY_DAY = frozenset(range(7))


def at(text: str) -> datetime:
    """A time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("recurrence", "days"),
    [
        ("30 7 * * *", EVERY_DAY),
        ("30 7 * * 1", {0}),
        ("30 7 * * 0", {6}),
        ("30 7 * * 7", {6}),
        ("30 7 * * 1,2,6", {0, 1, 5}),
        ("30 7 * * 1-5", {0, 1, 2, 3, 4}),
        ("30 7 * * MON,Sun", {0, 6}),
    ],
)
def test_auto_scalings_dialect(recurrence: str, days: set[int]) -> None:
    """Unix's cron: Sunday is 0 or 7."""
    assert from_auto_scaling(recurrence, OSLO) == Weekly(hour=7, minute=30, days=frozenset(days), zone=OSLO)


@pytest.mark.parametrize(
    ("expression", "days"),
    [
        ("cron(30 7 ? * * *)", EVERY_DAY),
        ("cron(30 7 * * ? *)", EVERY_DAY),
        ("cron(30 7 ? * 1 *)", {6}),
        ("cron(30 7 ? * MON,TUE *)", {0, 1}),
        ("cron(30 7 ? * FRI-MON *)", {4, 5, 6, 0}),
    ],
)
def test_schedulers_dialect(expression: str, days: set[int]) -> None:
    """EventBridge's cron: Sunday is 1, the year comes last, and one of the two kinds of day is a question mark."""
    assert from_scheduler(expression, OSLO) == Weekly(hour=7, minute=30, days=frozenset(days), zone=OSLO)


@pytest.mark.parametrize(
    "text",
    ["", "30 7 * *", "30 7 1 * *", "30 7 * 5 *", "*/5 7 * * *", "30 24 * * *", "60 7 * * *", "30 7 * * 8", "@daily"],
)
def test_other_recurrences_are_refused(text: str) -> None:
    """What the demo would not carry out is refused with the text in question."""
    with pytest.raises(ValueError, match="this local AWS knows no other schedule"):
        from_auto_scaling(text, OSLO)


@pytest.mark.parametrize(
    "text",
    [
        "30 7 ? * MON *",
        "cron(30 7 ? * MON)",
        "cron(30 7 ? * MON 2026)",
        "cron(30 7 * * MON *)",
        "cron(30 7 1 * ? *)",
        "cron(30 7 ? * 0 *)",
        "rate(5 minutes)",
    ],
)
def test_other_expressions_are_refused(text: str) -> None:
    """So are other expressions of EventBridge Scheduler."""
    with pytest.raises(ValueError, match="this local AWS knows no other schedule"):
        from_scheduler(text, OSLO)


def test_unknown_zone_is_refused() -> None:
    """A time zone that nobody knows is refused by name."""
    with pytest.raises(ValueError, match="IANA database, found Europe/Olso"):
        from_auto_scaling("30 7 * * *", "Europe/Olso")


@pytest.mark.parametrize(
    ("recurrence", "after", "wanted"),
    [
        ("30 7 * * *", "2026-11-22T06:29", "2026-11-22T06:30"),
        ("30 7 * * *", "2026-11-22T06:30", "2026-11-23T06:30"),
        ("30 7 * * 1", "2026-11-22T12:00", "2026-11-23T06:30"),
        ("30 0 * * 1", "2026-11-22T12:00", "2026-11-22T23:30"),
        ("30 7 * * 1", "2026-07-01T12:00", "2026-07-06T05:30"),
        pytest.param("30 2 * * *", "2026-03-28T12:00", "2026-03-30T00:30", id="skipped in spring"),
        pytest.param("30 2 * * 0", "2026-03-28T12:00", "2026-04-05T00:30", id="skipped in spring, weekly"),
        pytest.param("30 2 * * *", "2026-10-24T12:00", "2026-10-25T00:30", id="the first in autumn"),
        pytest.param("30 2 * * *", "2026-10-25T00:30", "2026-10-26T01:30", id="not again in autumn"),
    ],
)
def test_next_time_by_the_zones_clock(recurrence: str, after: str, wanted: str) -> None:
    """The next time is found by the zone's clock, also over the nights when it jumps."""
    assert from_auto_scaling(recurrence, OSLO).next_after(at(after)) == at(wanted)


def test_agenda_tells_each_time_once() -> None:
    """A time that has come is told once; those that were missed come late, in order; what is new counts from then."""
    agenda = Agenda()
    morning, noon = from_auto_scaling("0 8 * * *", "UTC"), from_auto_scaling("0 12 * * *", "UTC")
    assert agenda.due({"a": morning}, SUNDAY) == []
    assert agenda.due({"a": morning, "b": noon}, SUNDAY + timedelta(hours=20)) == [("a", at("2026-11-23T08:00"))]
    late = SUNDAY + timedelta(hours=49)
    assert agenda.due({"a": morning, "b": noon}, late) == [
        ("b", at("2026-11-23T12:00")),
        ("a", at("2026-11-24T08:00")),
        ("b", at("2026-11-24T12:00")),
    ]
    assert agenda.due({"a": noon, "b": noon}, late) == []
    assert agenda.due({}, late + timedelta(days=1)) == []
    assert agenda.due({"a": noon}, late + timedelta(days=1)) == []
