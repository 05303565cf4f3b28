"""Plain data → frozen dataclass, strictly, by its annotations; it must not know where the data came from.

Shared by the contract's codec (JSON) and by ``settings`` (TOML), so both refuse in the same words. Understood: nested
dataclasses, ``tuple[T, ...]``, ``T | None``, enums of strings, ``Name`` types, IPv4 addresses and networks, ``str``,
``int``, ``bool``, and ``Annotated[int, Range(…)]``. A field without a default is required; an unknown one is refused.

An annotation is taken apart once, into a reader; a message is then read by its readers alone.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import sys
import types
import typing
from collections.abc import Callable, KeysView
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from typing import TypeVar

from core_agent.contract.names import Name, shown
from core_agent.errors import ContractError

T = TypeVar("T")
# (the value, where it stands) → what the annotation wants, or ContractError.
Reader = Callable[[object, str], object]


@dataclass(frozen=True, slots=True)
class Range:
    """The closed interval that an integer must lie in."""

    low: int
    high: int


def build(kind: type[T], value: object, where: str) -> T:
    """Return ``value``, a mapping, as the dataclass ``kind``; raises ``ContractError`` naming the field."""
    if not isinstance(value, dict):
        raise ContractError(f"{where}: wanted named fields, found {shown(value)}")
    readers, required = _fields(typing.cast("type", kind))
    refuse_unknown(value, readers.keys(), where)
    for name in required:
        if name not in value:
            raise ContractError(f"{where}.{name}: missing")
    members = {name: readers[name](member, f"{where}.{name}") for name, member in value.items()}
    try:
        return kind(**members)
    except ContractError as error:  # the fields are right, each by itself, and do not go together
        raise ContractError(f"{where}: {error}") from None


def refuse_unknown(fields: dict[str, object], known: KeysView[str] | set[str], where: str) -> None:
    """Raise ``ContractError`` naming the first of ``fields`` that is not ``known``."""
    for name in fields:
        if name not in known:
            raise ContractError(f"{where}.{shown(name)[1:-1]}: unknown; wanted only {', '.join(sorted(known))}")


def field_types(kind: type) -> dict[str, object]:
    """Return the fields of the dataclass ``kind``, each with its annotation."""
    hints = typing.get_type_hints(kind, vars(sys.modules[kind.__module__]), include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(typing.cast("typing.Any", kind))}


@functools.cache
def _fields(kind: type) -> tuple[dict[str, Reader], tuple[str, ...]]:
    """Return the reader of each field of a dataclass, and the names of those that have no default."""
    required = (
        field.name
        for field in dataclasses.fields(typing.cast("typing.Any", kind))
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )
    return {name: _reader(wanted) for name, wanted in field_types(kind).items()}, tuple(required)


def _reader(wanted: object) -> Reader:
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Annotated:
        return _in_range(_reader(arguments[0]), arguments[1])
    if origin in (types.UnionType, typing.Union):
        return _optional(_reader(arguments[0]))
    if origin is tuple:
        return _listed(arguments[0])
    return _single(typing.cast("type", wanted))


def _single(wanted: type) -> Reader:
    if dataclasses.is_dataclass(wanted):
        return functools.partial(build, wanted)
    if issubclass(wanted, StrEnum):
        return _word(wanted)
    if issubclass(wanted, Name | IPv4Address | IPv4Network):
        return _text(wanted)
    return _scalar(wanted)


def _in_range(inner: Reader, interval: Range) -> Reader:
    low, high = interval.low, interval.high

    def read(value: object, where: str) -> object:
        number = typing.cast("int", inner(value, where))
        if not low <= number <= high:
            raise ContractError(f"{where}: wanted {low} to {high}, found {shown(number)}")
        return number

    return read


def _optional(inner: Reader) -> Reader:
    return lambda value, where: None if value is None else inner(value, where)


def _listed(member: object) -> Reader:
    inner = _reader(member)
    name = member if isinstance(member, type) and issubclass(member, Name) else None

    def read(value: object, where: str) -> object:
        if not isinstance(value, list):
            raise ContractError(f"{where}: wanted a list, found {shown(value)}")
        if name is not None and (names := name.column(value)) is not None:
            return names
        return tuple([inner(one, f"{where}[{i}]") for i, one in enumerate(value)])

    return read


def _word(wanted: type[StrEnum]) -> Reader:
    words = {member.value: member for member in wanted}

    def read(value: object, where: str) -> object:
        member = words.get(value) if isinstance(value, str) else None
        if member is None:
            raise ContractError(f"{where}: wanted one of {', '.join(words)}, found {shown(value)}")
        return member

    return read


def _text(wanted: type[Name | IPv4Address | IPv4Network]) -> Reader:
    def read(value: object, where: str) -> object:
        if not isinstance(value, str):
            raise ContractError(f"{where}: wanted {_WORDS.get(wanted, 'a string')}, found {shown(value)}")
        try:
            return wanted(value)
        except ValueError as error:
            detail = str(error) if issubclass(wanted, Name) else f"wanted {_WORDS[wanted]}, found {error}"
            raise ContractError(f"{where}: {detail}") from None

    return read


def _scalar(wanted: type) -> Reader:
    word = _WORDS[wanted]

    def read(value: object, where: str) -> object:
        if type(value) is not wanted or (isinstance(value, str) and _SURROGATE.search(value)):
            raise ContractError(f"{where}: wanted {word}, found {shown(value)}")
        return value

    return read


# JSON can spell half a pair ("\ud800"), which no terminal, log or file can be sent.
_SURROGATE = re.compile("[\ud800-\udfff]")

_WORDS: dict[type, str] = {
    int: "a whole number",
    str: "a string",
    bool: "true or false",
    IPv4Address: "an IPv4 address",
    IPv4Network: "an IPv4 network such as 10.100.0.0/24",
}
