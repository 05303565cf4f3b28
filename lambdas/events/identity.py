"""Which instance signed a request, as IAM found it; it must not know what is asked, nor trust a word of the body.

A function URL with ``AWS_IAM`` puts the verified signer into ``requestContext.authorizer.iam``. For EC2's instance
credentials the session's name is the instance id: EC2 alone may assume a role that trusts only EC2, and chooses it.
Source: AWS Lambda Developer Guide, "Invoking function URLs"; IAM User Guide, "IAM identifiers" (``AROA…:i-…``).
"""

from __future__ import annotations

import re

from core_agent.contract.names import InstanceId, shown
from core_agent.errors import ContractError
from lambdas.errors import Forbidden
from lambdas.events import fields
from lambdas.events.fields import Fields

_INSTANCE = re.compile(r"i-(?:[0-9a-f]{17}|[0-9a-f]{8})", re.ASCII)
_ARN = re.compile(r"arn:aws:sts::(?P<account>\d{12}):assumed-role/(?P<role>[\w+=,.@-]+)/(?P<session>[^/]+)", re.ASCII)


def caller(request: Fields, *, account: str, role: str) -> InstanceId:
    """Return the instance that signed ``request``, or raise ``Forbidden`` saying what is not ours about it."""
    iam = _signer(request)
    arn = _text(iam, "userArn")
    found = _ARN.fullmatch(arn)
    if found is None:
        raise Forbidden(f"identifying the caller: wanted an instance of role {role}, found {shown(arn)}")
    if {found["account"], _text(iam, "accountId")} != {account}:
        raise Forbidden(f"identifying the caller: wanted account {account}, found {shown(arn)}")
    if found["role"] != role:
        raise Forbidden(f"identifying the caller: wanted role {role}, found {shown(arn)}")
    session = found["session"]
    if _INSTANCE.fullmatch(session) is None:
        raise Forbidden(f"identifying the caller: wanted a session named by its instance id, found {shown(session)}")
    user = _text(iam, "userId")
    if user.partition(":")[2] != session:
        raise Forbidden(f"identifying the caller: wanted a user id that ends in :{session}, found {shown(user)}")
    return InstanceId(session)


def _signer(request: Fields) -> Fields:
    try:
        context = fields.member(request, "requestContext", "request")
        authorizer = fields.member(context, "authorizer", "requestContext")
        return fields.member(authorizer, "iam", "authorizer")
    except ContractError as error:
        raise Forbidden(f"identifying the caller: wanted a request signed with SigV4, found {error}") from None


def _text(iam: Fields, name: str) -> str:
    try:
        return fields.string(iam, name, "iam")
    except ContractError as error:
        raise Forbidden(f"identifying the caller: {error}") from None
