"""Knows every resource type that can be deployed here; an unknown type or property is refused by name."""

from __future__ import annotations

from demo.aws.cloudformation import (
    identity,
    messaging,
    network,
    scaling,
    scheduling,
    serverless,
    storage,
    watching,
)
from demo.aws.cloudformation.custom import CustomResources
from demo.aws.cloudformation.kind import Kind, Made, Order, Properties, Resource
from demo.aws.cloudformation.template import TemplateError

_KNOWN: dict[str, Kind] = {
    kind.type: kind
    for module in (network, identity, scaling, scheduling, serverless, messaging, storage, watching)
    for kind in module.KINDS
}

_NO_EFFECT = {
    # Which versions of CDK's libraries made the template; AWS itself only counts them.
    "AWS::CDK::Metadata",
}


def _make_nothing(order: Order) -> Made:
    return Made(physical_id=order.name)


def _delete_nothing(_order: Order, _resource: Resource) -> None:
    """There is nothing."""


def find(resource_type: str, properties: Properties, custom: CustomResources) -> Kind:
    """The kind for ``resource_type``. ``TemplateError`` if the type, or a property of it, is not supported."""
    if resource_type in _NO_EFFECT:
        return Kind(type=resource_type, takes=frozenset(properties), create=_make_nothing, delete=_delete_nothing)
    if resource_type == "AWS::CloudFormation::CustomResource" or resource_type.startswith("Custom::"):
        return custom.kind(resource_type, properties)
    if resource_type not in _KNOWN:
        raise TemplateError(f"the resource type {resource_type} is not supported by this local AWS")
    kind = _KNOWN[resource_type]
    unknown = properties.keys() - kind.takes
    if unknown:
        raise TemplateError(
            f"{resource_type}: the property {', '.join(sorted(unknown))} is not supported by this local AWS"
        )
    return kind
