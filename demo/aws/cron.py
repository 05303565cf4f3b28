"""Pure: knows when a weekly time comes next by the clock of a time zone; it must not know what happens then.

Both of AWS's dialects are read, and of both only a minute and an hour of every day or of some days of the week. In
spring a time that the clock skips is skipped, in autumn one that comes twice comes once; so EventBridge Scheduler
documents it, and Auto Scaling does not say.
https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-scheduled-scaling.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_NAMES: Final = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_EVENTS: Final = re.compile(r"cron\(([^()]*)\)")
_TWO_WEEKS: Final = 15
"""Days to look ahead: the next day of a weekly time may be one on which the clock skips it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weekly:
    """A time of day on some days of the week, by a time zone's clock; Monday is 0."""

    hour: int
    minute: int
    days: frozenset[int]
    zone: str

    def next_after(self, moment: datetime) -> datetime:
        """The first time after ``moment``, in UTC. Both are aware."""
        zone = ZoneInfo(self.zone)
        today = moment.astimezone(zone).date()
        for ahead in range(_TWO_WEEKS):
            day = today + timedelta(days=ahead)
            wanted = datetime.combine(day, time(self.hour, self.minute), zone)
            found = wanted.astimezone(UTC)
            there = found.astimezone(zone).replace(tzinfo=None) == wanted.replace(tzinfo=None)
            if day.weekday() in self.days and there and found > moment:
                return found
        raise ValueError(f"looking for the next {self}: found none in {_TWO_WEEKS} days")


def from_auto_scaling(recurrence: str, zone: str) -> Weekly:
    """Read Auto Scaling's form, Unix's five fields: ``30 7 * * 1,2``, Sunday 0 or 7. ``ValueError`` if another."""
    numbers = {str(number): (number - 1) % 7 for number in range(8)}
    return _read(recurrence, recurrence.split(), ("*", "*"), numbers, zone)


def from_scheduler(expression: str, zone: str) -> Weekly:
    """Read EventBridge Scheduler's form, six fields: ``cron(30 7 ? * MON,TUE *)``, Sunday 1. ``ValueError`` if not."""
    match = _EVENTS.fullmatch(expression)
    fields = match[1].split() if match else []
    if len(fields) != 6 or fields[5] != "*":
        raise _unknown(expression)
    if fields[4] == "?" and fields[2] == "*":
        fields[2], fields[4] = "?", "*"
    numbers = {str(number): (number - 2) % 7 for number in range(1, 8)}
    return _read(expression, fields[:5], ("?", "*"), numbers, zone)


def _read(text: str, fields: list[str], date: tuple[str, str], numbers: Mapping[str, int], zone: str) -> Weekly:
    if len(fields) != 5 or tuple(fields[2:4]) != date:
        raise _unknown(text)
    try:
        minute, hour = int(fields[0]), int(fields[1])
        time(hour, minute)
        days = _days(fields[4], {**numbers, **{name: number for number, name in enumerate(_NAMES)}})
    except (ValueError, KeyError):
        raise _unknown(text) from None
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"reading a schedule: wanted a time zone of the IANA database, found {zone}") from None
    return Weekly(hour=hour, minute=minute, days=days, zone=zone)


def _days(field: str, numbers: Mapping[str, int]) -> frozenset[int]:
    if field == "*":
        return frozenset(range(7))
    found: set[int] = set()
    for part in field.split(","):
        first, dash, last = part.partition("-")
        begin = numbers[first.upper()]
        length = (numbers[last.upper()] - begin) % 7 if dash else 0
        found |= {(begin + ahead) % 7 for ahead in range(length + 1)}
    return frozenset(found)


def _unknown(text: str) -> ValueError:
    return ValueError(
        f"reading a schedule: wanted a minute and an hour of every day or of days of the week, found {text}; "
        "this local AWS knows no other schedule"
    )
