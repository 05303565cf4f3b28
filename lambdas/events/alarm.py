"""A CloudWatch alarm changed its state; it must not know what level that means.

Source: Amazon CloudWatch User Guide, "Alarm events and EventBridge".
"""

from __future__ import annotations

from dataclasses import dataclass

from lambdas.events import fields
from lambdas.events.envelope import Metadata
from lambdas.events.fields import Fields

SOURCE = "aws.cloudwatch"
DETAIL_TYPE = "CloudWatch Alarm State Change"
NAME_FIELD = "alarmName"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmChange:
    """The alarm ``name`` entered ``state`` (``OK``, ``ALARM``, ``INSUFFICIENT_DATA``); it may have left it since.

    ``metrics`` are what it watches, each as ``NAMESPACE/NAME``; of an expression over metrics, those of its terms.
    """

    metadata: Metadata
    name: str
    state: str
    metrics: tuple[str, ...]


def parse(metadata: Metadata, detail: Fields) -> AlarmChange:
    """Return the event, or raise ``ContractError`` naming the field."""
    return AlarmChange(
        metadata=metadata,
        name=fields.string(detail, NAME_FIELD, "detail"),
        state=fields.string(fields.member(detail, "state", "detail"), "value", "detail.state"),
        metrics=_metrics(fields.member(detail, "configuration", "detail")),
    )


def _metrics(configuration: Fields) -> tuple[str, ...]:
    """A composite alarm has no metrics, and an expression among them no ``metricStat``."""
    if "metrics" not in configuration:
        return ()
    where = "detail.configuration.metrics"
    stats = [
        fields.member(one, "metricStat", where)
        for one in fields.objects(configuration, "metrics", "detail.configuration")
        if "metricStat" in one
    ]
    return tuple(_full_name(fields.member(stat, "metric", f"{where}.metricStat")) for stat in stats)


def _full_name(metric: Fields) -> str:
    where = "detail.configuration.metrics.metricStat.metric"
    return f"{fields.string(metric, 'namespace', where)}/{fields.string(metric, 'name', where)}"
