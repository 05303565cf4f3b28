"""Reading single fields out of AWS's JSON, with errors that name them; it must not know any particular event.

Unlike the contract's own documents, AWS's may gain fields at any time: what is not read here is not refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from core_agent.contract.names import InstanceId, shown
from core_agent.errors import ContractError

Fields = Mapping[str, object]


def document(text: str | bytes, where: str) -> Fields:
    """Return the JSON object in ``text``; raises ``ContractError``."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ContractError(f"{where}: wanted one JSON object, found text that is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise ContractError(f"{where}: wanted one JSON object, found {shown(value)}")
    return value


def member(fields: Fields, name: str, where: str) -> Fields:
    """Return the object in field ``name``; raises ``ContractError``."""
    value = _present(fields, name, where)
    if not isinstance(value, dict):
        raise ContractError(f"{where}.{name}: wanted an object, found {shown(value)}")
    return value


def objects(fields: Fields, name: str, where: str) -> tuple[Fields, ...]:
    """Return the objects in the list in field ``name``; raises ``ContractError``."""
    values = _present(fields, name, where)
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise ContractError(f"{where}.{name}: wanted a list of objects, found {shown(values)}")
    return tuple(values)


def string(fields: Fields, name: str, where: str) -> str:
    """Return the non-empty string in field ``name``; raises ``ContractError``."""
    value = _present(fields, name, where)
    if not isinstance(value, str) or not value:
        raise ContractError(f"{where}.{name}: wanted a string, found {shown(value)}")
    return value


def optional_string(fields: Fields, name: str, where: str) -> str | None:
    """Return the string in field ``name``, None when there is no such field; raises ``ContractError``."""
    return string(fields, name, where) if fields.get(name) is not None else None


def instance(fields: Fields, name: str, where: str) -> InstanceId:
    """Return the instance id in field ``name``; raises ``ContractError``."""
    text = string(fields, name, where)
    try:
        return InstanceId(text)
    except ValueError as error:
        raise ContractError(f"{where}.{name}: {error}") from None


def _present(fields: Fields, name: str, where: str) -> object:
    if name not in fields:
        raise ContractError(f"{where}.{name}: missing")
    return fields[name]
