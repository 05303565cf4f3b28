"""Pure: knows whether IAM statements allow an action; it must not know where statements come from.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

Statement: TypeAlias = Mapping[str, Any]


def allowed(statements: Iterable[Statement], *, action: str, resource: str, context: Mapping[str, str]) -> bool:
    """Whether some statement allows it and none denies it. ``context`` has condition keys in lower case."""
    matching = [s for s in statements if _covers(s, action, resource) and _holds(s, context)]
    denied = any(statement["Effect"] == "Deny" for statement in matching)
    return not denied and any(statement["Effect"] == "Allow" for statement in matching)


def as_list(value: object) -> list[Any]:
    """IAM writes one value for a list of one."""
    return value if isinstance(value, list) else [value]


def _covers(statement: Statement, action: str, resource: str) -> bool:
    if "Action" in statement:
        acts = any(_like(action.lower(), pattern.lower()) for pattern in as_list(statement["Action"]))
    else:
        acts = not any(_like(action.lower(), pattern.lower()) for pattern in as_list(statement["NotAction"]))
    if "NotResource" in statement:
        return acts and not any(_like(resource, pattern) for pattern in as_list(statement["NotResource"]))
    return acts and any(_like(resource, pattern) for pattern in as_list(statement["Resource"]))


def _holds(statement: Statement, context: Mapping[str, str]) -> bool:
    """Whether the conditions are met; one that is not understood never lets an Allow through nor a Deny pass."""
    for name, tests in statement.get("Condition", {}).items():
        for key, wanted in tests.items():
            met = _met(name, context.get(key.lower()), [str(value) for value in as_list(wanted)])
            if met is None:
                return bool(statement["Effect"] == "Deny")
            if not met:
                return False
    return True


def _met(name: str, found: str | None, wanted: list[str]) -> bool | None:
    """Whether one test of a condition is met; None if the operator is not known here."""
    base = name.removesuffix("IfExists")
    if base == "Null":
        return (found is None) == (wanted[0].lower() == "true")
    negated = "Not" in base
    test = _TESTS.get(base.replace("Not", ""))
    if test is None:
        return None
    if found is None:
        return negated or name != base
    return any(test(found, value) for value in wanted) != negated


def _like(text: str, pattern: str) -> bool:
    expression = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


_TESTS: Final[dict[str, Callable[[str, str], bool]]] = {
    "StringEquals": operator.eq,
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda found, wanted: found.lower() == wanted.lower(),
}
