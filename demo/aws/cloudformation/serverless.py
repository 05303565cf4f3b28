"""Knows the Lambda functions, and all that hangs on them, that a stack makes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

from demo.aws.cloudformation.kind import Kind, Made, Order, Properties, Resource, as_map, integers, takes

_CONFIGURATION = (
    "Runtime", "Role", "Handler", "Description", "Timeout", "MemorySize", "Environment", "TracingConfig",
    "LoggingConfig", "EphemeralStorage",
)  # fmt: skip


def _code(properties: Properties) -> Properties:
    code = properties["Code"]
    if "ZipFile" not in code:
        return {key: code[key] for key in ("S3Bucket", "S3Key", "S3ObjectVersion") if key in code}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("index.py", code["ZipFile"])
    return {"ZipFile": packed.getvalue()}


def _configuration(order: Order) -> Properties:
    return integers(order.pick(*_CONFIGURATION), "Timeout", "MemorySize")


def _function(order: Order) -> Made:
    functions = order.place.client("lambda")
    name = str(order.properties.get("FunctionName", order.name))[:64]
    tags = {"Tags": as_map(order.properties["Tags"])} if order.properties.get("Tags") else {}
    arn = functions.create_function(
        FunctionName=name,
        Code=_code(order.properties),
        **_configuration(order),
        **order.pick("Architectures"),
        **tags,
    )["FunctionArn"]
    _reserve(order, name)
    return Made(physical_id=name, attributes={"Arn": arn})


def _reserve(order: Order, name: str) -> None:
    if "ReservedConcurrentExecutions" in order.properties:
        order.place.client("lambda").put_function_concurrency(
            FunctionName=name, ReservedConcurrentExecutions=int(order.properties["ReservedConcurrentExecutions"])
        )


def _change_function(order: Order, old: Resource) -> Made:
    functions = order.place.client("lambda")
    name = old.made.physical_id
    if order.properties["Code"] != old.properties["Code"]:
        functions.update_function_code(FunctionName=name, **_code(order.properties))
    configuration = _configuration(order)
    configuration.setdefault("Environment", {"Variables": {}})
    functions.update_function_configuration(FunctionName=name, **configuration)
    if "ReservedConcurrentExecutions" in old.properties:
        functions.delete_function_concurrency(FunctionName=name)
    _reserve(order, name)
    return old.made


def _delete_function(order: Order, resource: Resource) -> None:
    order.place.client("lambda").delete_function(FunctionName=resource.made.physical_id)


def _permission(order: Order) -> Made:
    request = order.pick(
        "Action", "FunctionName", "Principal", "SourceArn", "SourceAccount", "PrincipalOrgID", "EventSourceToken",
        "FunctionUrlAuthType", "InvokedViaFunctionUrl",
    )  # fmt: skip
    order.place.client("lambda").add_permission(StatementId=order.name[:100], **request)
    return Made(physical_id=order.name[:100], attributes={"Id": order.name[:100]})


def _delete_permission(order: Order, resource: Resource) -> None:
    order.place.client("lambda").remove_permission(
        FunctionName=resource.properties["FunctionName"], StatementId=resource.made.physical_id
    )


def _url(order: Order) -> Made:
    made = order.place.client("lambda").create_function_url_config(
        FunctionName=order.properties["TargetFunctionArn"], **order.pick("AuthType", "Cors", "InvokeMode")
    )
    attributes = {"FunctionUrl": made["FunctionUrl"], "FunctionArn": made["FunctionArn"]}
    return Made(physical_id=made["FunctionArn"], attributes=attributes)


def _change_url(order: Order, old: Resource) -> Made:
    order.place.client("lambda").update_function_url_config(
        FunctionName=order.properties["TargetFunctionArn"], **order.pick("AuthType", "Cors", "InvokeMode")
    )
    return old.made


def _delete_url(order: Order, resource: Resource) -> None:
    order.place.client("lambda").delete_function_url_config(FunctionName=resource.made.physical_id)


_MAPPING = (
    "FunctionName", "BatchSize", "Enabled", "MaximumBatchingWindowInSeconds", "FunctionResponseTypes",
    "ScalingConfig",
)  # fmt: skip


def _mapping_request(order: Order) -> Properties:
    return integers(order.pick(*_MAPPING), "BatchSize", "MaximumBatchingWindowInSeconds")


def _mapping(order: Order) -> Made:
    made = order.place.client("lambda").create_event_source_mapping(
        EventSourceArn=order.properties["EventSourceArn"], **_mapping_request(order)
    )
    return Made(physical_id=made["UUID"], attributes={"Id": made["UUID"]})


def _change_mapping(order: Order, old: Resource) -> Made:
    order.place.client("lambda").update_event_source_mapping(UUID=old.made.physical_id, **_mapping_request(order))
    return old.made


def _delete_mapping(order: Order, resource: Resource) -> None:
    order.place.client("lambda").delete_event_source_mapping(UUID=resource.made.physical_id)


def _invoke_configuration(order: Order) -> Made:
    request = order.pick("FunctionName", "MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")
    order.place.client("lambda").put_function_event_invoke_config(
        **integers(request, "MaximumRetryAttempts", "MaximumEventAgeInSeconds")
    )
    return Made(physical_id=f"{order.properties['FunctionName']}|{order.properties['Qualifier']}")


def _delete_invoke_configuration(order: Order, resource: Resource) -> None:
    order.place.client("lambda").delete_function_event_invoke_config(FunctionName=resource.properties["FunctionName"])


def _version(order: Order) -> Made:
    made = order.place.client("lambda").publish_version(**order.pick("FunctionName", "Description"))
    return Made(physical_id=made["FunctionArn"], attributes={"Version": made["Version"]})


def _forget(_order: Order, _resource: Resource) -> None:
    """A version goes with its function."""


def _alias(order: Order) -> Made:
    made = order.place.client("lambda").create_alias(
        **order.pick("FunctionName", "FunctionVersion", "Name", "Description")
    )
    return Made(physical_id=made["AliasArn"], attributes={"AliasArn": made["AliasArn"]})


def _change_alias(order: Order, old: Resource) -> Made:
    order.place.client("lambda").update_alias(**order.pick("FunctionName", "FunctionVersion", "Name", "Description"))
    return old.made


def _delete_alias(order: Order, resource: Resource) -> None:
    properties = resource.properties
    order.place.client("lambda").delete_alias(FunctionName=properties["FunctionName"], Name=properties["Name"])


def _unchanged(make: Callable[[Order], Made]) -> Callable[[Order, Resource], Made]:
    """An update that is the same call again and keeps the resource."""

    def update(order: Order, old: Resource) -> Made:
        make(order)
        return old.made

    return update


KINDS = (
    Kind(
        type="AWS::Lambda::Function",
        takes=frozenset(_CONFIGURATION) | takes("Code FunctionName Architectures Tags ReservedConcurrentExecutions"),
        create=_function,
        update=_change_function,
        replaces=takes("FunctionName Architectures"),
        delete=_delete_function,
    ),
    Kind(
        type="AWS::Lambda::Permission",
        takes=takes(
            "Action FunctionName Principal SourceArn SourceAccount PrincipalOrgID EventSourceToken "
            "FunctionUrlAuthType InvokedViaFunctionUrl"
        ),
        create=_permission,
        delete=_delete_permission,
    ),
    Kind(
        type="AWS::Lambda::Url",
        takes=takes("TargetFunctionArn AuthType Cors InvokeMode"),
        create=_url,
        update=_change_url,
        replaces=takes("TargetFunctionArn"),
        delete=_delete_url,
    ),
    Kind(
        type="AWS::Lambda::EventSourceMapping",
        takes=frozenset(_MAPPING) | takes("EventSourceArn"),
        create=_mapping,
        update=_change_mapping,
        replaces=takes("EventSourceArn"),
        delete=_delete_mapping,
    ),
    Kind(
        type="AWS::Lambda::EventInvokeConfig",
        takes=takes("FunctionName Qualifier MaximumRetryAttempts MaximumEventAgeInSeconds DestinationConfig"),
        create=_invoke_configuration,
        update=_unchanged(_invoke_configuration),
        replaces=takes("FunctionName Qualifier"),
        delete=_delete_invoke_configuration,
    ),
    Kind(
        type="AWS::Lambda::Version", takes=takes("FunctionName Description CodeSha256"), create=_version, delete=_forget
    ),
    Kind(
        type="AWS::Lambda::Alias",
        takes=takes("FunctionName FunctionVersion Name Description"),
        create=_alias,
        update=_change_alias,
        replaces=takes("FunctionName Name"),
        delete=_delete_alias,
    ),
)
