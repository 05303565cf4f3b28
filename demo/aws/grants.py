"""Knows where moto keeps the statements that grant a role or a function's callers something; not what they come to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from demo.aws.gaps import Moto
from demo.aws.policies import Statement, as_list


def of_role(role: Moto, iam: Moto) -> Iterator[Statement]:
    """The statements of a role's own and attached policies."""
    for document in role.policies.values():
        yield from as_list(_document(document)["Statement"])
    for arn in role.managed_policies:
        yield from as_list(_document(iam.managed_policies[arn].document)["Statement"])


def of_function(function: Moto, *, kind: str, names: frozenset[str]) -> Iterator[Statement]:
    """The function's own statements for a principal, in the form of identity statements.

    ``kind`` is what IAM calls the principal (``AWS``, ``Service``), ``names`` what the principal goes by.
    """
    for statement in function.policy.statements:
        principal = statement["Principal"]
        principals = set(as_list(principal.get(kind, []) if isinstance(principal, dict) else principal))
        if not principals & names:
            continue
        condition = dict(statement.get("Condition", {}))
        if "FunctionUrlAuthType" in statement:
            condition["StringEquals"] = {
                **condition.get("StringEquals", {}),
                "lambda:FunctionUrlAuthType": statement["FunctionUrlAuthType"],
            }
        yield {
            "Effect": statement["Effect"],
            "Action": statement["Action"],
            "Resource": function.function_arn,
            "Condition": condition,
        }


def of_trust(role: Moto, *, service: str) -> Iterator[Statement]:
    """The statements that let a service of AWS assume the role, in the form of identity statements."""
    for statement in as_list(_document(role.assume_role_policy_document)["Statement"]):
        if service in as_list(statement["Principal"].get("Service", [])):
            yield {name: value for name, value in statement.items() if name != "Principal"} | {"Resource": role.arn}


def _document(document: str | dict[str, Any]) -> dict[str, Any]:
    return document if isinstance(document, dict) else dict(json.loads(document))
