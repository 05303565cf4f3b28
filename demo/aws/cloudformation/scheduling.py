"""Knows the schedules that a stack makes, a group's own and EventBridge Scheduler's; not when one comes."""

from __future__ import annotations

from demo.aws.cloudformation.kind import Kind, Made, Order, Resource, integers, takes

_SIZES = ("MinSize", "MaxSize", "DesiredCapacity")
_SCHEDULE = (
    "GroupName", "Description", "ScheduleExpression", "ScheduleExpressionTimezone", "FlexibleTimeWindow", "State",
)  # fmt: skip


def _action(order: Order) -> Made:
    return _put_action(order, order.name)


def _put_action(order: Order, name: str) -> Made:
    order.place.client("autoscaling").put_scheduled_update_group_action(
        ScheduledActionName=name,
        **integers(order.pick("AutoScalingGroupName", "Recurrence", "TimeZone", *_SIZES), *_SIZES),
    )
    return Made(physical_id=name, attributes={"ScheduledActionName": name})


def _change_action(order: Order, old: Resource) -> Made:
    return _put_action(order, old.made.physical_id)


def _delete_action(order: Order, resource: Resource) -> None:
    order.place.client("autoscaling").delete_scheduled_action(
        ScheduledActionName=resource.made.physical_id,
        AutoScalingGroupName=resource.properties["AutoScalingGroupName"],
    )


def _schedule(order: Order) -> Made:
    name = str(order.properties.get("Name", order.name))[:64]
    arn = order.place.client("scheduler").create_schedule(Name=name, Target=_target(order), **order.pick(*_SCHEDULE))
    return Made(physical_id=name, attributes={"Arn": arn["ScheduleArn"]})


def _change_schedule(order: Order, old: Resource) -> Made:
    order.place.client("scheduler").update_schedule(
        Name=old.made.physical_id, Target=_target(order), **order.pick(*_SCHEDULE)
    )
    return old.made


def _target(order: Order) -> dict[str, object]:
    """Templates may write numbers as strings, API calls may not."""
    target = dict(order.properties["Target"])
    if "RetryPolicy" in target:
        target["RetryPolicy"] = {name: int(value) for name, value in target["RetryPolicy"].items()}
    return target


def _delete_schedule(order: Order, resource: Resource) -> None:
    group = {"GroupName": resource.properties["GroupName"]} if "GroupName" in resource.properties else {}
    order.place.client("scheduler").delete_schedule(Name=resource.made.physical_id, **group)


KINDS = (
    Kind(
        type="AWS::AutoScaling::ScheduledAction",
        takes=frozenset(_SIZES) | takes("AutoScalingGroupName Recurrence TimeZone"),
        create=_action,
        update=_change_action,
        replaces=takes("AutoScalingGroupName"),
        delete=_delete_action,
    ),
    Kind(
        type="AWS::Scheduler::Schedule",
        takes=frozenset(_SCHEDULE) | takes("Name Target"),
        create=_schedule,
        update=_change_schedule,
        replaces=takes("Name GroupName"),
        delete=_delete_schedule,
    ),
)
