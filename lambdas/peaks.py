"""Pure: which of the known peaks are in force at a moment; it must not know what the time is now.

When the clocks change, a wall time may not exist or come twice. A beginning is then the earlier of the two moments that
it could mean, so that no peak starts late; an end is counted with the offset of before the change. EventBridge
Scheduler skips the first kind and invokes once for the second (User Guide, "Schedule types", daylight saving time): in
that one night a year the sweep makes the change, within the minute that it looks at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo

from core_agent.contract.names import Name, shown
from core_agent.contract.shapes import Range, build
from core_agent.errors import ContractError


class Day(StrEnum):
    """A day of the week, in the order of ``date.weekday()``."""

    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


class Clock(Name):
    """A time of day, ``HH:MM``."""

    __slots__ = ()
    shape = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
    wanted = "a time of day as HH:MM, from 00:00 to 23:59"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """A table of ``[[peaks]]`` as ``drawbridge.toml`` has it; an ``end`` that is not after ``start`` is the next day's.

    While it is in force the edge is used at ``level_percent`` at least, and requests overflow from ``core_percent`` of
    the core's slots on. ``min_capacity`` is the group's affair. ``timezone`` is one that this machine knows.
    """

    name: str
    start: Clock
    end: Clock
    min_capacity: Annotated[int, Range(0, 4000)]
    days: tuple[Day, ...]
    timezone: str
    level_percent: Annotated[int, Range(0, 100)]
    core_percent: Annotated[int, Range(1, 100)]

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.timezone)
        except (OSError, ValueError, LookupError):  # ZoneInfoNotFoundError is a KeyError
            raise ContractError(f"wanted a time zone of the IANA database, found {shown(self.timezone)}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    peaks: tuple[Peak, ...]


def read(text: str, where: str) -> tuple[Peak, ...]:
    """Return the peaks in ``text``, a JSON list of ``Peak``'s fields; raises ``ContractError`` naming the field."""
    try:
        tables = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ContractError(f"{where}: wanted a JSON list, found text that is not JSON ({error})") from None
    return build(_Document, {"peaks": tables}, where).peaks


def in_force(peaks: Iterable[Peak], at_s: float) -> tuple[Peak, ...]:
    """Return those of ``peaks`` that are in force at ``at_s``, a Unix time, in their order."""
    moment = datetime.fromtimestamp(at_s, UTC)
    return tuple(peak for peak in peaks if _holds(peak, moment))


def _holds(peak: Peak, moment: datetime) -> bool:
    timezone = ZoneInfo(peak.timezone)
    today = moment.astimezone(timezone).date()
    # Tomorrow's too: where the clocks change at midnight, a beginning may mean a moment of the day before.
    return any(_holds_on(today + timedelta(days=shift), peak, timezone, moment) for shift in (-1, 0, 1))


def _holds_on(day: date, peak: Peak, timezone: ZoneInfo, moment: datetime) -> bool:
    if tuple(Day)[day.weekday()] not in peak.days:
        return False
    last_day = day if peak.end > peak.start else day + timedelta(days=1)
    begins = min(_instant(day, peak.start, timezone, fold=fold) for fold in (0, 1))
    return begins <= moment < _instant(last_day, peak.end, timezone, fold=0)


def _instant(day: date, clock: Clock, timezone: ZoneInfo, *, fold: int) -> datetime:
    return datetime.combine(day, time.fromisoformat(clock).replace(fold=fold), timezone).astimezone(UTC)
