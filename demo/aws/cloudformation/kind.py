"""Knows what a resource type must be able to do for a stack; it must not know any type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from demo.aws.functions import Outcome
from demo.aws.place import Place

Properties = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A resource that exists: what ``Ref`` and ``Fn::GetAtt`` answer."""

    physical_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource as a stack keeps it, with the resolved properties that it was made from."""

    logical_id: str
    type: str
    properties: Properties
    made: Made
    retained: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a type needs to make or change one resource.

    ``name`` is the physical name to use where the template gives none; ``invoke`` runs a deployed function.
    """

    place: Place
    stack_id: str
    logical_id: str
    type: str
    name: str
    properties: Properties
    invoke: Callable[[str, bytes], Outcome]

    def pick(self, *names: str) -> Properties:
        """Those of the properties that the template gives."""
        return {name: self.properties[name] for name in names if name in self.properties}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A resource type.

    ``takes`` lists the properties that are carried out; a template with another one fails. Without ``update``, or when
    one of ``replaces`` changes, a change makes a new resource and deletes the old one after the deployment.
    """

    type: str
    takes: frozenset[str]
    create: Callable[[Order], Made]
    delete: Callable[[Order, Resource], None]
    update: Callable[[Order, Resource], Made] | None = None
    replaces: frozenset[str] = frozenset()


def takes(names: str) -> frozenset[str]:
    """The property names in one string, separated by blanks."""
    return frozenset(names.split())


def as_map(tags: list[dict[str, str]]) -> dict[str, str]:
    """CloudFormation's list of tags as the map that many services want."""
    return {tag["Key"]: tag["Value"] for tag in tags}


def integers(properties: Properties, *names: str) -> Properties:
    """``properties`` with these as integers: templates may write numbers as strings, API calls may not."""
    return {name: int(value) if name in names else value for name, value in properties.items()}
