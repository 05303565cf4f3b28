"""Pure: knows CloudWatch's embedded metric format; it must not know who printed it or who keeps it.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

_MOST: Final = 100
"""Metrics in a directive, and values of a metric, by the specification."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricPoint:
    """One metric of one set of dimensions; ``values`` has one or more, ``resolution_s`` is 1 or 60."""

    namespace: str
    name: str
    unit: str
    dimensions: dict[str, str]
    values: tuple[float, ...]
    time: datetime
    resolution_s: int = 60


def parse(line: str) -> Iterator[MetricPoint]:
    """The metrics that a log line carries: none, if it is any other line.

    ``ValueError`` for what CloudWatch would drop in silence: too many values or metrics, or an odd resolution.
    """
    if '"_aws"' not in line:
        return
    try:
        document = json.loads(line)
    except ValueError:
        return
    header = document.get("_aws") if isinstance(document, dict) else None
    if not isinstance(header, dict) or "Timestamp" not in header:
        return
    time = datetime.fromtimestamp(header["Timestamp"] / 1000, UTC)
    for directive in header.get("CloudWatchMetrics", ()):
        yield from _points(document, directive, time)


def _points(document: dict[str, Any], directive: dict[str, Any], time: datetime) -> Iterator[MetricPoint]:
    metrics = directive.get("Metrics", ())
    if len(metrics) > _MOST:
        raise ValueError(f"reading metrics of {directive['Namespace']}: wanted {_MOST} at most, found {len(metrics)}")
    for keys in directive.get("Dimensions") or [[]]:
        for metric in metrics:
            if metric["Name"] not in document:
                continue
            found = document[metric["Name"]]
            yield MetricPoint(
                namespace=directive["Namespace"],
                name=metric["Name"],
                unit=metric.get("Unit", "None"),
                dimensions={key: str(document[key]) for key in keys},
                values=_values(metric["Name"], found if isinstance(found, list) else [found]),
                time=time,
                resolution_s=_resolution_s(metric),
            )


def _values(name: str, found: list[float]) -> tuple[float, ...]:
    if not 1 <= len(found) <= _MOST:
        raise ValueError(f"reading the metric {name}: wanted 1 to {_MOST} values, found {len(found)}")
    return tuple(float(value) for value in found)


def _resolution_s(metric: dict[str, Any]) -> int:
    resolution_s = metric.get("StorageResolution", 60)
    if resolution_s not in {1, 60}:
        raise ValueError(f"reading the metric {metric['Name']}: wanted StorageResolution 1 or 60, found {resolution_s}")
    return int(resolution_s)
