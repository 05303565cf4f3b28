"""Plain data → frozen dataclass, strictly, by its annotations; it must not know where the data came from.

Shared by the contract's codec (JSON) and by ``settings`` (TOML), so both refuse in the same words. Understood: nested
dataclasses, ``tuple[T, ...]``, ``T | None``, enums, ``Name`` types, IPv4 addresses and networks, ``str``, ``int``,
``bool``, and ``Annotated[int, Range(…)]``. A field without a default is required; an unknown one is refused.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import sys
import types
import typing
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network
from typing import TypeVar

from core_agent.contract.names import Name, shown
from core_agent.errors import ContractError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Range:
    """The closed interval that an integer must lie in."""

    low: int
    high: int


def build(kind: type[T], value: object, where: str) -> T:
    """Return ``value``, a mapping, as the dataclass ``kind``; raises ``ContractError`` naming the field."""
    if not isinstance(value, dict):
        raise ContractError(f"{where}: wanted named fields, found {shown(value)}")
    schema = _schema(typing.cast("type", kind))
    refuse_unknown(value, set(schema), where)
    for name, (_, required) in schema.items():
        if required and name not in value:
            raise ContractError(f"{where}.{name}: missing")
    members = {name: _value(schema[name][0], member, f"{where}.{name}") for name, member in value.items()}
    try:
        return kind(**members)
    except ContractError as error:  # the fields are right, each by itself, and do not go together
        raise ContractError(f"{where}: {error}") from None


def refuse_unknown(fields: dict[str, object], known: set[str], where: str) -> None:
    """Raise ``ContractError`` naming the first of ``fields`` that is not ``known``."""
    for name in fields:
        if name not in known:
            raise ContractError(f"{where}.{shown(name)[1:-1]}: unknown; wanted only {', '.join(sorted(known))}")


@functools.cache
def _schema(kind: type) -> dict[str, tuple[object, bool]]:
    """Field name → (annotation, required) of a dataclass."""
    hints = typing.get_type_hints(kind, vars(sys.modules[kind.__module__]), include_extras=True)
    return {
        field.name: (
            hints[field.name],
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(typing.cast("typing.Any", kind))
    }


def _value(wanted: object, value: object, where: str) -> object:
    origin = typing.get_origin(wanted)
    if origin is typing.Annotated:
        base, interval = typing.get_args(wanted)
        return _in_range(_value(base, value, where), interval, where)
    if origin in (types.UnionType, typing.Union):
        inner, _ = typing.get_args(wanted)
        return None if value is None else _value(inner, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise ContractError(f"{where}: wanted a list, found {shown(value)}")
        member_type = typing.get_args(wanted)[0]
        return tuple(_value(member_type, member, f"{where}[{i}]") for i, member in enumerate(value))
    return _scalar(typing.cast("type", wanted), value, where)


def _scalar(wanted: type, value: object, where: str) -> object:
    if dataclasses.is_dataclass(wanted):
        return build(wanted, value, where)
    if issubclass(wanted, Enum):
        words = [member.value for member in wanted]
        if value not in words:
            raise ContractError(f"{where}: wanted one of {', '.join(words)}, found {shown(value)}")
        return wanted(value)
    if issubclass(wanted, Name | IPv4Address | IPv4Network):
        if not isinstance(value, str):
            raise ContractError(f"{where}: wanted {_WORDS.get(wanted, 'a string')}, found {shown(value)}")
        try:
            return wanted(value)
        except ValueError as error:
            detail = str(error) if issubclass(wanted, Name) else f"wanted {_WORDS[wanted]}, found {error}"
            raise ContractError(f"{where}: {detail}") from None
    if type(value) is not wanted or (isinstance(value, str) and _SURROGATE.search(value)):
        raise ContractError(f"{where}: wanted {_WORDS[wanted]}, found {shown(value)}")
    return value


def _in_range(value: object, interval: Range, where: str) -> object:
    if not interval.low <= typing.cast("int", value) <= interval.high:
        raise ContractError(f"{where}: wanted {interval.low} to {interval.high}, found {shown(value)}")
    return value


# JSON can spell half a pair ("\ud800"), which no terminal, log or file can be sent.
_SURROGATE = re.compile("[\ud800-\udfff]")

_WORDS: dict[type, str] = {
    int: "a whole number",
    str: "a string",
    bool: "true or false",
    IPv4Address: "an IPv4 address",
    IPv4Network: "an IPv4 network such as 10.100.0.0/24",
}
