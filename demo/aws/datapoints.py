"""Knows which data points CloudWatch makes of a metric's values for an alarm; it must not know what an alarm decides.

Data of standard resolution is kept by the minute, whatever its time stamp; only data published with StorageResolution 1
has seconds. https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/publishingMetrics.html
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.cloudwatch import models

from demo.aws.alarms import EXTRA_PERIODS, STATISTICS
from demo.aws.gaps import Gaps, Moto
from demo.aws.place import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Datapoint:
    """One period's statistic; ``start`` is the period's, ``samples`` how many values it is of."""

    start: datetime
    value: float
    samples: int


def install(gaps: Gaps, place: Place) -> None:
    """Fill moto's gap until ``gaps`` are undone."""

    def put_metric_data(self: Moto, namespace: str, metric_data: list[dict[str, Any]]) -> None:
        for datum in metric_data:
            at = _aware(datum.get("Timestamp") or datetime.now(UTC))
            fine = int(datum.get("StorageResolution") or 60) == 1
            datum["Timestamp"] = (at if fine else _floor(at, place.minute_s)).replace(tzinfo=None)
        original(self, namespace, metric_data)

    original = gaps.fill(models.CloudWatchBackend, "put_metric_data", put_metric_data, gap="knows no resolution")


def recent(place: Place, alarm: Moto, *, until: datetime) -> list[Datapoint | None]:
    """The alarm's statistic in each of the periods that end at ``until``, the newest first; None without a value."""
    period = timedelta(seconds=place.seconds(float(alarm.period)))
    wanted = {dimension.name: dimension.value for dimension in alarm.dimensions}
    buckets: list[list[float]] = [[] for _ in range(int(alarm.evaluation_periods) + EXTRA_PERIODS)]
    for datum in list(place.backend("cloudwatch").metric_data):
        if (datum.namespace, datum.name) != (alarm.namespace, alarm.metric_name):
            continue
        if {dimension.name: dimension.value for dimension in datum.dimensions} != wanted:
            continue
        age = math.ceil((until - _aware(datum.timestamp)) / period) - 1
        if 0 <= age < len(buckets):
            buckets[age].append(datum.value)
    statistic = STATISTICS[alarm.statistic]
    return [
        Datapoint(start=until - period * (age + 1), value=statistic(values), samples=len(values)) if values else None
        for age, values in enumerate(buckets)
    ]


def boundary(now: datetime, every_s: float) -> datetime:
    """The last whole multiple of ``every_s`` real seconds before ``now``."""
    return _floor(now, every_s)


def _floor(at: datetime, step_s: float) -> datetime:
    return datetime.fromtimestamp(math.floor(at.timestamp() / step_s) * step_s, UTC)


def _aware(time: datetime) -> datetime:
    """A time of moto's, which is UTC and does not say so."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
