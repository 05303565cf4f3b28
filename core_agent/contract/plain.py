"""Frozen dataclass → plain data, by its annotations, as ``shapes`` reads it; it must not know what is made of the data.

Rule: an optional field that is None is left out, so a peer that does not know it is not troubled.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable
from enum import StrEnum
from operator import attrgetter

from core_agent.contract.shapes import field_types

# A value → its plain form. None stands for the values that are plain as they are, and need not be touched.
Writer = Callable[[typing.Any], object]


def plain(message: object) -> dict[str, object]:
    """Return the dataclass ``message`` as dicts, lists, strings, numbers and booleans."""
    fields = {}
    for name, writer, required in _fields(typing.cast("type", type(message))):
        member = getattr(message, name)
        if member is not None:
            fields[name] = member if writer is None else writer(member)
        elif required:
            fields[name] = None
    return fields


@functools.cache
def _fields(kind: type) -> tuple[tuple[str, Writer | None, bool], ...]:
    """Return of each field of a dataclass its name, its writer, and whether it has no default."""
    wanted = field_types(kind)
    return tuple(
        (field.name, _writer(wanted[field.name]), field.default is dataclasses.MISSING)
        for field in dataclasses.fields(typing.cast("typing.Any", kind))
    )


def _writer(wanted: object) -> Writer | None:
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (types.UnionType, typing.Union, typing.Annotated):
        return _writer(arguments[0])
    if origin is tuple:
        inner = _writer(arguments[0])
        return list if inner is None else lambda members: [inner(member) for member in members]
    kind = typing.cast("type", wanted)
    if dataclasses.is_dataclass(kind):
        return plain
    return attrgetter("value") if issubclass(kind, StrEnum) else None
