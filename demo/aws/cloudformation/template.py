"""Pure: knows how a template's functions resolve and which resource must come first; nothing of resource types.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

NO_VALUE = object()
"""``AWS::NoValue``: whatever holds it loses it."""

_SUBSTITUTION = re.compile(r"\$\{([^}]*)\}")


class TemplateError(Exception):
    """A template that cannot be deployed here; the message names what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where names resolve: parameters and pseudo parameters in ``values``, resources through the two look-ups."""

    values: Mapping[str, Any]
    reference: Callable[[str], Any]
    attribute: Callable[[str, str], Any]
    exports: Callable[[str], str]
    mappings: Mapping[str, Any]
    conditions: Mapping[str, bool]
    region: str

    def resolve(self, node: Any) -> Any:  # noqa: ANN401 - JSON in, JSON out
        """``node`` with every function carried out. Raises ``TemplateError``."""
        if isinstance(node, list):
            return [value for value in map(self.resolve, node) if value is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            name, argument = next(iter(node.items()))
            if name == "Ref":
                return self._ref(argument)
            if name.startswith("Fn::"):
                return self._call(name.removeprefix("Fn::"), argument)
        resolved = {key: self.resolve(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value is not NO_VALUE}

    def _ref(self, name: str) -> Any:  # noqa: ANN401 - JSON
        if name == "AWS::NoValue":
            return NO_VALUE
        return self.values[name] if name in self.values else self.reference(name)

    def _call(self, function: str, argument: Any) -> Any:  # noqa: ANN401 - JSON
        functions: dict[str, Callable[[Any], Any]] = {
            "GetAtt": self._get_attribute,
            "Join": lambda a: a[0].join(str(part) for part in self.resolve(a[1])),
            "Sub": self._substitute,
            "Select": lambda a: self.resolve(a[1])[int(self.resolve(a[0]))],
            "Split": lambda a: self.resolve(a[1]).split(a[0]),
            "If": lambda a: self.resolve(a[1] if self.conditions[a[0]] else a[2]),
            "Base64": lambda a: base64.b64encode(self.resolve(a).encode()).decode(),
            "FindInMap": lambda a: self.mappings[self.resolve(a[0])][self.resolve(a[1])][self.resolve(a[2])],
            "GetAZs": lambda a: [f"{self.resolve(a) or self.region}{letter}" for letter in "abc"],
            "ImportValue": lambda a: self.exports(self.resolve(a)),
        }
        if function not in functions:
            raise TemplateError(f"resolving a template: the function Fn::{function} is not supported by this local AWS")
        return functions[function](argument)

    def _get_attribute(self, argument: str | list[str]) -> Any:  # noqa: ANN401 - JSON
        resource, _, attribute = (
            argument.partition(".") if isinstance(argument, str) else (argument[0], "", argument[1])
        )
        return self.attribute(resource, attribute)

    def _substitute(self, argument: str | list[Any]) -> str:
        text, own = (argument, {}) if isinstance(argument, str) else (argument[0], self.resolve(argument[1]))

        def replace(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            if name in own:
                return str(own[name])
            return str(self._get_attribute(name) if "." in name else self._ref(name))

        return _SUBSTITUTION.sub(replace, text)


def evaluate_conditions(template: Mapping[str, Any], values: Mapping[str, Any], region: str) -> dict[str, bool]:
    """The template's conditions by name; they may use parameters and one another, never resources."""
    declared = template.get("Conditions", {})
    known: dict[str, bool] = {}

    def no_resource(*names: str) -> Any:  # noqa: ANN401 - never returns
        raise TemplateError(f"evaluating a condition: wanted parameters only, found {'.'.join(names)}")

    def truth(node: Any) -> bool:  # noqa: ANN401 - JSON
        ((function, argument),) = node.items()
        if function == "Condition":
            return named(argument)
        if function == "Fn::Equals":
            scope = Scope(
                values=values,
                reference=no_resource,
                attribute=no_resource,
                exports=no_resource,
                mappings=template.get("Mappings", {}),
                conditions=known,
                region=region,
            )
            left, right = scope.resolve(argument)
            return bool(left == right)
        if function == "Fn::Not":
            return not truth(argument[0])
        if function == "Fn::And":
            return all(map(truth, argument))
        if function == "Fn::Or":
            return any(map(truth, argument))
        raise TemplateError(f"evaluating a condition: the function {function} is not supported by this local AWS")

    def named(name: str) -> bool:
        if name not in known:
            known[name] = truth(declared[name])
        return known[name]

    return {name: named(name) for name in declared}


def references(node: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Every name that ``node`` refers to, be it a resource, a parameter or a pseudo parameter."""
    if isinstance(node, list):
        for child in node:
            yield from references(child)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "Ref":
                yield value
            elif key == "Fn::GetAtt":
                yield value.partition(".")[0] if isinstance(value, str) else value[0]
            elif key == "Fn::Sub":
                text = value if isinstance(value, str) else value[0]
                yield from (match.partition(".")[0] for match in _SUBSTITUTION.findall(text))
                yield from references(value)
            else:
                yield from references(value)


def creation_order(resources: Mapping[str, Any]) -> list[str]:
    """Logical ids, each after all that it refers to or depends on. Raises ``TemplateError`` on a circle."""
    graph: dict[str, set[str]] = {}
    for name, resource in resources.items():
        depends = resource.get("DependsOn", [])
        wanted = {depends} if isinstance(depends, str) else set(depends)
        wanted.update(references(resource.get("Properties", {})))
        graph[name] = {other for other in wanted if other in resources and other != name}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise TemplateError(f"ordering resources: found a circle: {' → '.join(error.args[1])}") from None
