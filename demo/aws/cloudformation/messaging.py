"""Knows the queues and the event rules that a stack makes."""

from __future__ import annotations

import json

from demo.aws.cloudformation.kind import Kind, Made, Order, Properties, Resource, as_map, takes

_ATTRIBUTES = (
    "VisibilityTimeout", "MessageRetentionPeriod", "DelaySeconds", "ReceiveMessageWaitTimeSeconds",
    "MaximumMessageSize", "RedrivePolicy", "SqsManagedSseEnabled", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds",
)  # fmt: skip


def _text(value: object) -> str:
    if isinstance(value, dict):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _attributes(order: Order) -> dict[str, str]:
    return {name: _text(value) for name, value in order.pick(*_ATTRIBUTES).items()}


def _queue(order: Order) -> Made:
    name = str(order.properties.get("QueueName", order.name))[:80]
    tags = {"tags": as_map(order.properties["Tags"])} if order.properties.get("Tags") else {}
    order.place.client("sqs").create_queue(QueueName=name, Attributes=_attributes(order), **tags)
    url = f"https://sqs.{order.place.region}.amazonaws.com/{order.place.account}/{name}"
    attributes = {"Arn": order.place.arn("sqs", name), "QueueName": name, "QueueUrl": url}
    return Made(physical_id=url, attributes=attributes)


def _change_queue(order: Order, old: Resource) -> Made:
    sqs = order.place.client("sqs")
    sqs.set_queue_attributes(QueueUrl=old.made.physical_id, Attributes=_attributes(order))
    if order.properties.get("Tags"):
        sqs.tag_queue(QueueUrl=old.made.physical_id, Tags=as_map(order.properties["Tags"]))
    return old.made


def _delete_queue(order: Order, resource: Resource) -> None:
    order.place.client("sqs").delete_queue(QueueUrl=resource.made.physical_id)


def _queue_policy(order: Order) -> Made:
    policy = json.dumps(order.properties["PolicyDocument"])
    for url in order.properties["Queues"]:
        order.place.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return Made(physical_id=order.name, attributes={"Id": order.name})


def _change_queue_policy(order: Order, old: Resource) -> Made:
    _queue_policy(order)
    return old.made


def _delete_queue_policy(order: Order, resource: Resource) -> None:
    for url in resource.properties["Queues"]:
        order.place.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})


def _rule(order: Order) -> Made:
    return _put_rule(order, str(order.properties.get("Name", order.name))[:64])


def _put_rule(order: Order, name: str) -> Made:
    events = order.place.client("events")
    request = order.pick("ScheduleExpression", "State", "Description", "RoleArn")
    if "EventPattern" in order.properties:
        request["EventPattern"] = json.dumps(order.properties["EventPattern"])
    arn = events.put_rule(Name=name, **request)["RuleArn"]
    if order.properties.get("Targets"):
        targets = [_target(target) for target in order.properties["Targets"]]
        events.put_targets(Rule=name, Targets=targets)
    return Made(physical_id=name, attributes={"Arn": arn})


def _target(target: Properties) -> Properties:
    unknown = target.keys() - {"Id", "Arn", "Input", "RetryPolicy", "DeadLetterConfig"}
    if unknown:
        raise ValueError(f"making a rule: its target's {', '.join(sorted(unknown))} is not supported by this local AWS")
    return target


def _target_ids(properties: Properties) -> set[str]:
    return {target["Id"] for target in properties.get("Targets", [])}


def _change_rule(order: Order, old: Resource) -> Made:
    made = _put_rule(order, old.made.physical_id)
    gone = _target_ids(old.properties) - _target_ids(order.properties)
    if gone:
        order.place.client("events").remove_targets(Rule=old.made.physical_id, Ids=sorted(gone))
    return made


def _delete_rule(order: Order, resource: Resource) -> None:
    events = order.place.client("events")
    if _target_ids(resource.properties):
        events.remove_targets(Rule=resource.made.physical_id, Ids=sorted(_target_ids(resource.properties)))
    events.delete_rule(Name=resource.made.physical_id)


KINDS = (
    Kind(
        type="AWS::SQS::Queue",
        takes=frozenset(_ATTRIBUTES) | takes("QueueName Tags"),
        create=_queue,
        update=_change_queue,
        replaces=takes("QueueName"),
        delete=_delete_queue,
    ),
    Kind(
        type="AWS::SQS::QueuePolicy",
        takes=takes("PolicyDocument Queues"),
        create=_queue_policy,
        update=_change_queue_policy,
        replaces=takes("Queues"),
        delete=_delete_queue_policy,
    ),
    Kind(
        type="AWS::Events::Rule",
        takes=takes("Name EventPattern ScheduleExpression State Description RoleArn Targets"),
        create=_rule,
        update=_change_rule,
        replaces=takes("Name"),
        delete=_delete_rule,
    ),
)
