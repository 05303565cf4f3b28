"""The week of the peaks, compared minute by minute with what each peak says of itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_agent.errors import SettingsError
from settings.tables import Peak
from settings.words import Clock, Day, Label, TimeZone
from stacks import week

DAYS = tuple(Day)
WEEK = 7 * 24 * 60


def peak(start: str, end: str, *days: Day, nodes: int = 3, timezone: str = "Europe/Oslo") -> Peak:
    """A peak of these days, of all when none is said."""
    return Peak(
        name=Label("rush"),
        start=Clock(start),
        end=Clock(end),
        min_capacity=nodes,
        days=days or DAYS,
        timezone=TimeZone(timezone),
    )


def clock(minutes: int) -> Clock:
    """Minutes since midnight, as the settings write them."""
    return Clock(f"{minutes // 60:02}:{minutes % 60:02}")


@st.composite
def peaks(draw: st.DrawFn) -> Peak:
    """Any peak that the settings let through; hours alone, so that several meet."""
    start, length = draw(st.integers(0, 23)), draw(st.integers(1, 23))
    return peak(
        clock(60 * start),
        clock(60 * ((start + length) % 24)),
        *draw(st.sets(st.sampled_from(DAYS), min_size=1)),
        nodes=draw(st.integers(0, 5)),
    )


def in_force(one: Peak, minute: int) -> bool:
    """Whether the peak is on at a minute of the week, day by day and without arithmetic on weeks."""
    start, end = (60 * int(text[:2]) + int(text[3:]) for text in (one.start, one.end))
    day, of_day = divmod(minute, 24 * 60)
    today, yesterday = DAYS[day] in one.days, DAYS[day - 1] in one.days
    if start < end:
        return today and start <= of_day < end
    return (today and of_day >= start) or (yesterday and of_day < end)


def moments(moment: week.Moment) -> list[int]:
    """The minutes of the week at which cron strikes."""
    return [DAYS.index(day) * 24 * 60 + moment.hour * 60 + moment.minute for day in moment.days]


@given(one=peaks())
def test_a_peak_begins_and_ends_where_it_is_on(one: Peak) -> None:
    """On from each beginning, off from each end, as often the one as the other."""
    begin, end = moments(week.begins(one)), moments(week.ends(one))
    assert len(begin) == len(end) == len(one.days)
    assert all(in_force(one, minute) for minute in begin)
    assert all(in_force(one, (minute - 1) % WEEK) for minute in end)


@given(several=st.lists(peaks(), max_size=4), least=st.integers(0, 5))
def test_the_floor_is_the_highest_of_all_in_force(several: list[Peak], least: int) -> None:
    """Struck through a week, the floors are at each hour what the peaks then in force ask for, and never less."""
    strikes = {minute: floor.nodes for floor in week.floors(several, least=least) for minute in moments(floor.moment)}
    wanted = {
        minute: max([least, *(one.min_capacity for one in several if in_force(one, minute))])
        for minute in range(0, WEEK, 60)
    }
    if not strikes:
        assert len(set(wanted.values())) == 1
        return
    floor = strikes[max(strikes)]
    for minute, nodes in wanted.items():
        floor = strikes.get(minute, floor)
        assert floor == nodes


@given(several=st.lists(peaks(), max_size=4))
def test_no_two_floors_change_at_one_moment(several: list[Peak]) -> None:
    """Auto Scaling refuses two actions of one time."""
    struck = [minute for floor in week.floors(several, least=1) for minute in moments(floor.moment)]
    assert len(struck) == len(set(struck))


def test_an_end_on_the_next_day_shifts_the_days() -> None:
    """Sunday's night ends on Monday, and each cron counts its days its own way."""
    night = peak("22:00", "02:30", Day.SATURDAY, Day.SUNDAY)
    assert (week.begins(night).day_names, week.begins(night).day_numbers) == ("SAT,SUN", "0,6")
    end = week.ends(night)
    assert (end.hour, end.minute, end.day_names, end.day_numbers) == (2, 30, "MON,SUN", "0,1")


def test_a_peak_within_another_takes_nothing_away() -> None:
    """Lunch asks for more within the office hours; its end gives back what the office hours ask for."""
    office, lunch = peak("08:00", "16:00", Day.MONDAY, nodes=2), peak("11:00", "13:00", Day.MONDAY, nodes=5)
    found = [(floor.moment.hour, floor.nodes) for floor in week.floors([office, lunch], least=0)]
    assert found == [(8, 2), (11, 5), (13, 2), (16, 0)]


def test_peaks_that_meet_change_the_floor_once() -> None:
    """Where one ends and the next begins there is one moment, and none when both ask for the same."""
    early, late = peak("08:00", "12:00", nodes=2), peak("12:00", "16:00", nodes=4)
    assert [floor.nodes for floor in week.floors([early, late], least=0)] == [2, 4, 0]
    assert [floor.moment.hour for floor in week.floors([early, peak("12:00", "16:00", nodes=2)], least=0)] == [8, 16]


def test_a_peak_that_asks_for_no_more_changes_no_floor() -> None:
    """One that is about the level alone leaves the group to its alarms."""
    assert week.floors([peak("08:00", "12:00", nodes=1)], least=1) == ()


def test_an_unknown_time_zone_is_refused() -> None:
    """A typo is told with the peak's name before AWS hears of it."""
    week.check_time_zones([peak("08:00", "12:00")])
    with pytest.raises(
        SettingsError, match=r"peaks: rush: wanted a timezone .*, found Europe/Olso, which is not among"
    ):
        week.check_time_zones([peak("08:00", "12:00", timezone="Europe/Olso")])
