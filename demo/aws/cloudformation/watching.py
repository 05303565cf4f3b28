"""Knows the CloudWatch alarms that a stack makes."""

from __future__ import annotations

from demo.aws.cloudformation.kind import Kind, Made, Order, Resource, integers, takes

_COUNTS = ("Period", "EvaluationPeriods", "DatapointsToAlarm")
_REST = (
    "Namespace", "MetricName", "Dimensions", "Statistic", "Unit", "ComparisonOperator", "TreatMissingData",
    "AlarmActions", "OKActions", "InsufficientDataActions", "AlarmDescription", "ActionsEnabled",
)  # fmt: skip


def _alarm(order: Order) -> Made:
    return _put(order, str(order.properties.get("AlarmName", order.name)))


def _put(order: Order, name: str) -> Made:
    order.place.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Threshold=float(order.properties["Threshold"]),
        **integers(order.pick(*_COUNTS, *_REST), *_COUNTS),
    )
    return Made(physical_id=name, attributes={"Arn": order.place.arn("cloudwatch", f"alarm:{name}")})


def _change(order: Order, old: Resource) -> Made:
    return _put(order, old.made.physical_id)


def _delete(order: Order, resource: Resource) -> None:
    order.place.client("cloudwatch").delete_alarms(AlarmNames=[resource.made.physical_id])


KINDS = (
    Kind(
        type="AWS::CloudWatch::Alarm",
        takes=frozenset(_COUNTS) | frozenset(_REST) | takes("AlarmName Threshold"),
        create=_alarm,
        update=_change,
        replaces=takes("AlarmName"),
        delete=_delete,
    ),
)
