"""Knows how a template becomes resources, how a change is made, and how both are taken back; nothing of the API.

Invariant: whatever happens, a stack's resources are those that exist; a failed deployment leaves what was there before.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.exceptions import ClientError

from demo.aws.cloudformation import kinds
from demo.aws.cloudformation.custom import CustomResources
from demo.aws.cloudformation.kind import Made, Order, Properties, Resource
from demo.aws.cloudformation.template import Scope, TemplateError, creation_order, evaluate_conditions
from demo.aws.functions import Outcome
from demo.aws.journal import Journal
from demo.aws.place import Place

_GONE = ("NotFound", "NoSuch", "NonExistent", "DoesNotExist", "UnknownKey")
_ALPHABET = string.ascii_letters + string.digits


class DeploymentFailed(Exception):
    """A change that was taken back; the message names the resource and the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output of a stack, with the name it is exported under."""

    key: str
    value: str
    description: str | None
    export_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """What exists of a stack: resources in the order they were made, and outputs."""

    stack_id: str
    name: str
    resources: Mapping[str, Resource] = field(default_factory=dict)
    outputs: tuple[Output, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of a stack's event log."""

    logical_id: str
    physical_id: str
    type: str
    status: str
    reason: str | None = None


Report = Callable[[Event], None]


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """What one deployment has done so far, and so what it must take back."""

    resources: dict[str, Resource] = field(default_factory=dict)
    made: list[Resource] = field(default_factory=list)
    changed: list[tuple[Resource, Resource]] = field(default_factory=list)
    replaced: list[Resource] = field(default_factory=list)


class Engine:
    """Deploys and deletes stacks in one place."""

    def __init__(
        self,
        place: Place,
        *,
        custom: CustomResources,
        invoke: Callable[[str, bytes], Outcome],
        journal: Journal,
    ) -> None:
        self._place = place
        self._custom = custom
        self._invoke = invoke
        self._journal = journal

    def deploy(
        self,
        before: Stack,
        template: Mapping[str, Any],
        parameters: Mapping[str, str],
        *,
        exports: Callable[[str], str],
        report: Report,
    ) -> Stack:
        """Make ``before`` what ``template`` says. Raises ``DeploymentFailed`` when everything was taken back."""
        attempt = _Attempt()
        try:
            scope = self._scope(before, template, parameters, attempt, exports)
            for logical_id in creation_order(template["Resources"]):
                declared = template["Resources"][logical_id]
                if "Condition" not in declared or scope.conditions[declared["Condition"]]:
                    self._settle(logical_id, declared, scope, before, attempt, report)
            outputs = _outputs(template, scope)
        except Exception as error:
            self._journal.failed("cloudformation", f"a deployment of {before.name}")
            self._take_back(before, attempt, report)
            raise DeploymentFailed(_message(error)) from error
        removed = [resource for logical_id, resource in before.resources.items() if logical_id not in attempt.resources]
        for resource in reversed([*removed, *attempt.replaced]):
            self._delete(before, resource, report)
        return replace(before, resources=attempt.resources, outputs=outputs)

    def delete(self, stack: Stack, *, report: Report) -> None:
        """Delete every resource, the last made first. Raises ``DeploymentFailed`` naming the one that would not go."""
        for resource in reversed(list(stack.resources.values())):
            try:
                self._delete(stack, resource, report)
            except Exception as error:
                self._journal.failed("cloudformation", f"deleting {resource.logical_id} of {stack.name}")
                report(_event(resource, "DELETE_FAILED", _message(error)))
                raise DeploymentFailed(f"deleting {resource.logical_id}: {_message(error)}") from error

    def _settle(
        self,
        logical_id: str,
        declared: Mapping[str, Any],
        scope: Scope,
        before: Stack,
        attempt: _Attempt,
        report: Report,
    ) -> None:
        old = before.resources.get(logical_id)
        try:
            properties = scope.resolve(declared.get("Properties", {}))
            resource = self._bring_about(logical_id, declared["Type"], properties, old, before, attempt, report)
        except Exception as error:
            verb = "CREATE" if old is None else "UPDATE"
            at = old.made.physical_id if old else ""
            failed = Event(
                logical_id=logical_id,
                physical_id=at,
                type=declared["Type"],
                status=f"{verb}_FAILED",
                reason=_message(error),
            )
            report(failed)
            raise
        attempt.resources[logical_id] = replace(resource, retained=declared.get("DeletionPolicy") == "Retain")

    def _bring_about(
        self,
        logical_id: str,
        resource_type: str,
        properties: Properties,
        old: Resource | None,
        before: Stack,
        attempt: _Attempt,
        report: Report,
    ) -> Resource:
        """The resource as ``properties`` want it: kept, changed in place, or made anew."""
        kind = kinds.find(resource_type, properties, self._custom)
        order = self._order(before, logical_id, resource_type, properties)
        if old is not None and old.type == resource_type:
            if old.properties == properties:
                return old
            changed = {name for name in old.properties | properties if old.properties.get(name) != properties.get(name)}
            if kind.update is not None and not changed & kind.replaces:
                resource = replace(old, properties=properties, made=kind.update(order, old))
                attempt.changed.append((old, resource))
                report(_event(resource, "UPDATE_COMPLETE"))
                return resource
        resource = Resource(logical_id=logical_id, type=resource_type, properties=properties, made=kind.create(order))
        attempt.made.append(resource)
        if old is not None:
            attempt.replaced.append(old)
        report(_event(resource, "CREATE_COMPLETE"))
        return resource

    def _take_back(self, before: Stack, attempt: _Attempt, report: Report) -> None:
        for old, new in reversed(attempt.changed):
            kind = kinds.find(old.type, old.properties, self._custom)
            if kind.update is not None:
                kind.update(self._order(before, old.logical_id, old.type, old.properties), new)
                report(_event(old, "UPDATE_COMPLETE", "rolled back"))
        for resource in reversed(attempt.made):
            self._delete(before, resource, report)

    def _delete(self, stack: Stack, resource: Resource, report: Report) -> None:
        if resource.retained:
            report(_event(resource, "DELETE_SKIPPED"))
            return
        order = self._order(stack, resource.logical_id, resource.type, resource.properties)
        try:
            kinds.find(resource.type, resource.properties, self._custom).delete(order, resource)
        except ClientError as error:
            if not any(word in error.response["Error"]["Code"].replace(".", "") for word in _GONE):
                raise
            self._journal.say("cloudformation", f"{resource.type} {resource.made.physical_id} had gone before")
        report(_event(resource, "DELETE_COMPLETE"))

    def _order(self, stack: Stack, logical_id: str, resource_type: str, properties: Properties) -> Order:
        suffix = "".join(secrets.choice(_ALPHABET) for _ in range(12))
        return Order(
            place=self._place,
            stack_id=stack.stack_id,
            logical_id=logical_id,
            type=resource_type,
            name=f"{stack.name[:20]}-{logical_id[:24]}-{suffix}",
            properties=properties,
            invoke=self._invoke,
        )

    def _scope(
        self,
        stack: Stack,
        template: Mapping[str, Any],
        parameters: Mapping[str, str],
        attempt: _Attempt,
        exports: Callable[[str], str],
    ) -> Scope:
        values = {
            "AWS::AccountId": self._place.account,
            "AWS::Region": self._place.region,
            "AWS::Partition": "aws",
            "AWS::StackId": stack.stack_id,
            "AWS::StackName": stack.name,
            "AWS::URLSuffix": "amazonaws.com",
            **self._parameters(template, parameters),
        }

        def reference(name: str) -> str:
            if name not in attempt.resources:
                raise TemplateError(f"resolving Ref: found no resource and no parameter {name}")
            return attempt.resources[name].made.physical_id

        def attribute(name: str, wanted: str) -> object:
            if name not in attempt.resources:
                raise TemplateError(f"resolving Fn::GetAtt: found no resource {name}")
            made: Made = attempt.resources[name].made
            if wanted not in made.attributes:
                kind = attempt.resources[name].type
                raise TemplateError(f"resolving Fn::GetAtt: {kind} has no attribute {wanted} in this local AWS")
            return made.attributes[wanted]

        return Scope(
            values=values,
            reference=reference,
            attribute=attribute,
            exports=exports,
            mappings=template.get("Mappings", {}),
            conditions=evaluate_conditions(template, values, self._place.region),
            region=self._place.region,
        )

    def _parameters(self, template: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, declared in template.get("Parameters", {}).items():
            value = given.get(name, declared.get("Default"))
            if value is None:
                raise TemplateError(f"reading parameters: wanted a value for {name}, found none")
            if declared["Type"].startswith("AWS::SSM::Parameter::Value<"):
                value = self._place.client("ssm").get_parameter(Name=value)["Parameter"]["Value"]
            listed = declared["Type"] == "CommaDelimitedList" or "List<" in declared["Type"]
            values[name] = value.split(",") if listed else value
        return values


def _outputs(template: Mapping[str, Any], scope: Scope) -> tuple[Output, ...]:
    return tuple(
        Output(
            key=key,
            value=str(scope.resolve(declared["Value"])),
            description=declared.get("Description"),
            export_name=scope.resolve(declared["Export"]["Name"]) if "Export" in declared else None,
        )
        for key, declared in template.get("Outputs", {}).items()
        if "Condition" not in declared or scope.conditions[declared["Condition"]]
    )


def _event(resource: Resource, status: str, reason: str | None = None) -> Event:
    return Event(
        logical_id=resource.logical_id,
        physical_id=resource.made.physical_id,
        type=resource.type,
        status=status,
        reason=reason,
    )


def _message(error: Exception) -> str:
    return f"{error}" if isinstance(error, (TemplateError, ClientError)) else f"{type(error).__name__}: {error}"
