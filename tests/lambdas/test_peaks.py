"""The known peaks: in force from the wall's beginning to its end, in their own zone, whatever the clocks do."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.peaks import Clock, Day, Peak, in_force

EVERY_DAY = tuple(Day)


def peak(start: str, end: str, *, days: tuple[Day, ...] = EVERY_DAY, timezone: str = "Europe/Oslo") -> Peak:
    """A peak of that time."""
    return Peak(
        name="p",
        start=Clock(start),
        end=Clock(end),
        min_capacity=0,
        days=days,
        timezone=timezone,
        level_percent=100,
        core_percent=100,
    )


def holds(one: Peak, utc: str) -> bool:
    """Whether ``one`` is in force at that moment."""
    return in_force([one], datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp()) == (one,)


@pytest.mark.parametrize(
    ("utc", "wanted"),
    [
        ("2026-11-23T06:59:59", False),
        ("2026-11-23T07:00:00", True),
        ("2026-11-23T10:59:59", True),
        ("2026-11-23T11:00:00", False),
        ("2026-07-20T05:59:59", False),
        ("2026-07-20T06:00:00", True),
    ],
)
def test_the_wall_clock_of_the_zone_counts(utc: str, wanted: bool) -> None:  # noqa: FBT001
    """The beginning belongs to it and the end does not, an hour earlier by UTC in summer."""
    assert holds(peak("08:00", "12:00"), utc) is wanted


@pytest.mark.parametrize(
    ("utc", "wanted"),
    [
        ("2026-11-23T09:00:00", True),  # a Monday
        ("2026-11-24T09:00:00", False),
        ("2026-11-29T09:00:00", False),
        ("2026-11-30T09:00:00", True),
    ],
)
def test_other_days_have_none(utc: str, wanted: bool) -> None:  # noqa: FBT001
    """Only on its own days of the week."""
    assert holds(peak("08:00", "12:00", days=(Day.MONDAY,)), utc) is wanted


@pytest.mark.parametrize(
    ("utc", "wanted"),
    [
        ("2026-11-23T20:59:00", False),
        ("2026-11-23T21:00:00", True),
        ("2026-11-24T00:59:00", True),  # Tuesday, by Monday's beginning
        ("2026-11-24T01:00:00", False),
        ("2026-11-24T22:00:00", False),
        ("2026-11-23T00:30:00", False),  # Monday, by a beginning that Sunday did not have
    ],
)
def test_an_end_before_the_start_is_the_next_days(utc: str, wanted: bool) -> None:  # noqa: FBT001
    """A peak over midnight belongs to the day of its beginning."""
    assert holds(peak("22:00", "02:00", days=(Day.MONDAY,)), utc) is wanted


def test_a_day_long_peak() -> None:
    """An end at the start's own time is a day later."""
    assert all(holds(peak("06:00", "06:00"), f"2026-11-23T{hour:02}:00:00") for hour in range(24))


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        ("02:30", "05:00", "2026-03-29T00:30:00", "2026-03-29T03:00:00"),  # no 02:30 that day: 02:00 is 03:00
        ("01:00", "02:30", "2026-03-29T00:00:00", "2026-03-29T01:30:00"),
        ("02:10", "02:50", "2026-03-29T00:10:00", "2026-03-29T01:50:00"),
        ("02:30", "03:15", "2026-03-29T00:30:00", "2026-03-29T01:15:00"),
        ("02:30", "05:00", "2026-10-25T00:30:00", "2026-10-25T04:00:00"),  # two 02:30: 03:00 is 02:00 again
        ("01:00", "02:30", "2026-10-24T23:00:00", "2026-10-25T00:30:00"),
    ],
)
def test_days_on_which_the_clocks_change(start: str, end: str, first: str, last: str) -> None:
    """A beginning that is not there, or twice, is the earlier moment; an end counts by the offset of before."""
    one = peak(start, end)
    begins, ends = (datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() for text in (first, last))
    assert not in_force([one], begins - 1)
    assert in_force([one], begins)
    assert in_force([one], ends - 1)
    assert not in_force([one], ends)


def test_clocks_that_change_at_midnight() -> None:
    """Where midnight itself does not exist, a peak from midnight on does not begin late."""
    one = peak("00:30", "04:00", timezone="America/Santiago", days=(Day.SUNDAY,))
    assert holds(one, "2026-09-06T03:45:00")  # 23:45 on Saturday, 15 minutes before 00:00 becomes 01:00
    assert not holds(one, "2026-09-06T03:15:00")
    assert not holds(one, "2026-09-06T07:00:00")


def test_the_bundles_own_zone_database_is_enough() -> None:
    """A runtime without a zone database knows every zone all the same, from what the bundle carries."""
    assert "tzdata==" in (Path(__file__).parents[2] / "lambdas/requirements.txt").read_text()
    zoneinfo.reset_tzpath(to=())
    try:
        assert ZoneInfo.no_cache("Europe/Oslo").utcoffset(datetime(2026, 7, 1)) == timedelta(hours=2)  # noqa: DTZ001
    finally:
        zoneinfo.reset_tzpath()


@given(
    at=st.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2027, 12, 31)),  # noqa: DTZ001  # UTC, as below
    start=st.times(),
    end=st.times(),
)
def test_on_ordinary_days_a_peak_and_its_complement_share_the_day(at: datetime, start: object, end: object) -> None:
    """Of ``start``-``end`` and ``end``-``start`` exactly one is in force where the clocks never change."""
    one, other = (f"{clock:%H:%M}" for clock in (start, end))
    if one == other:
        return
    moment = at.replace(tzinfo=UTC).timestamp()
    both = (peak(one, other, timezone="UTC"), peak(other, one, timezone="UTC"))
    assert len(in_force(both, moment)) == 1
