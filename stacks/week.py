"""The week of the known peaks: when each begins and ends, and the group's least size in between; pure.

It must not know CDK. Everything is by the one clock of the peaks' time zone, whatever that does in March and October.
"""

from __future__ import annotations

import zoneinfo
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from core_agent.errors import SettingsError
from settings.tables import Peak
from settings.words import Clock, Day

_DAYS = tuple(Day)
_DAY_MINUTES = 24 * 60
_WEEK_MINUTES = 7 * _DAY_MINUTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A time of day on some days of the week."""

    hour: int
    minute: int
    days: tuple[Day, ...]

    @property
    def day_names(self) -> str:
        """The days as EventBridge Scheduler's cron has them: ``MON,TUE``."""
        return ",".join(day.upper() for day in self.days)

    @property
    def day_numbers(self) -> str:
        """The days as Unix's cron, and Auto Scaling's, has them: ``1,2``; Sunday is 0."""
        return ",".join(str(number) for number in sorted((_DAYS.index(day) + 1) % 7 for day in self.days))


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """From ``moment`` on, the group has ``nodes`` at least."""

    moment: Moment
    nodes: int


def begins(peak: Peak) -> Moment:
    """Return when ``peak`` begins."""
    return _moment(_minutes(peak.start), peak.days)


def ends(peak: Peak) -> Moment:
    """Return when ``peak`` ends: on the next day when its end comes before its start."""
    if _minutes(peak.end) > _minutes(peak.start):
        return _moment(_minutes(peak.end), peak.days)
    return _moment(_minutes(peak.end), {_DAYS[(_DAYS.index(day) + 1) % 7] for day in peak.days})


def floors(peaks: Iterable[Peak], *, least: int) -> tuple[Floor, ...]:
    """Return each change of the group's least size in a week, where it is ``least`` outside ``peaks``.

    Of peaks that overlap the one that asks for most counts, so that no end of one takes away what another asks for.
    No two changes come at one moment, which Auto Scaling would refuse.
    """
    spans = [
        (_DAYS.index(day) * _DAY_MINUTES + _minutes(peak.start), length, peak.min_capacity)
        for peak in peaks
        for length in [(_minutes(peak.end) - _minutes(peak.start)) % _DAY_MINUTES]
        for day in peak.days
    ]

    def at(minute: int) -> int:
        return max((nodes for start, length, nodes in spans if (minute - start) % _WEEK_MINUTES < length), default=0)

    days: dict[tuple[int, int], list[Day]] = defaultdict(list)
    edges = {start for start, _, _ in spans} | {(start + length) % _WEEK_MINUTES for start, length, _ in spans}
    for minute in sorted(edges):
        before, after = (max(least, at(moment)) for moment in (minute - 1, minute))
        if before != after:
            days[minute % _DAY_MINUTES, after].append(_DAYS[minute // _DAY_MINUTES])
    return tuple(Floor(moment=_moment(minute, on), nodes=nodes) for (minute, nodes), on in days.items())


def check_time_zones(peaks: Iterable[Peak]) -> None:
    """Raise ``SettingsError`` for a time zone that this machine's database does not have.

    Asked here and not where the settings are read, for the core may have no such database and needs none.
    """
    known = zoneinfo.available_timezones()
    for peak in peaks:
        if peak.timezone not in known:
            raise SettingsError(
                f"peaks: {peak.name}: wanted a timezone of the IANA database, such as Europe/Oslo, found "
                f"{peak.timezone}, which is not among the {len(known)} that this machine knows"
            )


def _moment(minutes: int, days: Iterable[Day]) -> Moment:
    chosen = set(days)
    hour, minute = divmod(minutes, 60)
    return Moment(hour=hour, minute=minute, days=tuple(day for day in _DAYS if day in chosen))


def _minutes(clock: Clock) -> int:
    """Return the minutes since midnight."""
    hour, minute = clock.split(":")
    return 60 * int(hour) + int(minute)
