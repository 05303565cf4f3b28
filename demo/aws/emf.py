"""Pure: knows CloudWatch's embedded metric format; it must not know who printed it or who keeps it.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricPoint:
    """One metric of one set of dimensions; ``values`` has one or more."""

    namespace: str
    name: str
    unit: str
    dimensions: dict[str, str]
    values: tuple[float, ...]
    time: datetime


def parse(line: str) -> Iterator[MetricPoint]:
    """The metrics that a log line carries: none, if it is any other line."""
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
    for keys in directive.get("Dimensions") or [[]]:
        for metric in directive.get("Metrics", ()):
            if metric["Name"] not in document:
                continue
            found = document[metric["Name"]]
            yield MetricPoint(
                namespace=directive["Namespace"],
                name=metric["Name"],
                unit=metric.get("Unit", "None"),
                dimensions={key: str(document[key]) for key in keys},
                values=tuple(float(value) for value in (found if isinstance(found, list) else [found])),
                time=time,
            )
