"""Hypothesis strategies for every message, made from its annotations; it must not know any message by name."""

from __future__ import annotations

import base64
import dataclasses
import sys
import types
import typing
from enum import Enum

from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from core_agent.contract.names import GroupName, InstanceId, Name, PublicKey, Reason, ServerName
from core_agent.contract.shapes import Range
from core_agent.errors import ContractError

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_NAMES: dict[type[Name], SearchStrategy[Name]] = {
    InstanceId: st.from_regex(InstanceId.shape, fullmatch=True).map(InstanceId),
    GroupName: st.from_regex(GroupName.shape, fullmatch=True).map(GroupName),
    Reason: st.from_regex(Reason.shape, fullmatch=True).map(Reason),
    ServerName: st.from_regex(ServerName.shape, fullmatch=True).map(ServerName),
    PublicKey: st.binary(min_size=32, max_size=32)
    .filter(any)
    .map(lambda raw: PublicKey(base64.b64encode(raw).decode())),
}


def messages(kind: type) -> SearchStrategy[typing.Any]:
    """Return a strategy for the dataclass ``kind``: every field anything that its annotation and the rest allow."""

    def made(**members: object) -> object:
        try:
            return kind(**members)
        except ContractError:
            reject()

    hints = typing.get_type_hints(kind, vars(sys.modules[kind.__module__]), include_extras=True)
    return st.builds(made, **{field.name: _values(hints[field.name]) for field in dataclasses.fields(kind)})


def _values(wanted: typing.Any) -> SearchStrategy[typing.Any]:  # noqa: ANN401, PLR0911  one return per kind of type
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Annotated:
        interval = typing.cast("Range", arguments[1])
        return st.integers(interval.low, interval.high)
    if origin in (types.UnionType, typing.Union):
        return st.none() | _values(arguments[0])
    if origin is tuple:
        return st.lists(_values(arguments[0]), max_size=3).map(tuple)
    if dataclasses.is_dataclass(wanted):
        return messages(typing.cast("type", wanted))
    if issubclass(wanted, Enum):
        return st.sampled_from(wanted)
    if issubclass(wanted, Name):
        return _NAMES[wanted]
    return {str: _TEXT, bool: st.booleans()}[wanted]
